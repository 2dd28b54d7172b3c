package service

import "sync"

// datagramTable are all protocols that are asked over UDP. What moves machines hears its words on its own port only.
var datagramTable = sync.OnceValue(func() []datagramProtocol {
	return []datagramProtocol{
		{name: "dns", ports: []uint16{53, 5300}, anywhere: true, speak: dnsOverUDP},
		{name: "snmp", ports: []uint16{161, 1161, 10161}, anywhere: true, speak: snmp},
		{name: "ntp", ports: []uint16{123}, anywhere: true, speak: ntp},
		{name: "ipmi", ports: []uint16{623}, anywhere: true, speak: ipmi},
		{name: "tftp", ports: []uint16{69}, anywhere: true, speak: tftp},
		{name: "ike", ports: []uint16{500, 4500}, anywhere: true, speak: ike},
		{name: "openvpn", ports: []uint16{1194}, anywhere: true, speak: openVPN},
		{name: "netbios", ports: []uint16{137}, anywhere: true, speak: netbiosNames},
		{name: "ldap", ports: []uint16{389}, anywhere: true, speak: cldap},
		{name: "memcached", ports: []uint16{11211}, anywhere: true, speak: memcachedOverUDP},
		{name: "ssdp", ports: []uint16{1900}, anywhere: true, speak: ssdp},
		{name: "mdns", ports: []uint16{5353}, anywhere: true, speak: mdns},
		{name: "ws-discovery", ports: []uint16{3702}, anywhere: true, speak: wsDiscovery},
		{name: "rpcbind", ports: []uint16{111}, anywhere: true, speak: rpcbindOverUDP},
		{name: "sip", ports: []uint16{5060, 5061, 5080}, anywhere: true, speak: sipOverUDP},
		{name: "stun", ports: []uint16{3478, 3479, 19302}, anywhere: true, speak: stun},
		{name: "coap", ports: []uint16{5683}, anywhere: true, speak: coap},
		{name: "mssql-browser", ports: []uint16{1434}, anywhere: true, speak: mssqlBrowser},
		{name: "ubiquiti-discovery", ports: []uint16{10001}, speak: ubiquiti},
		{name: "echo", ports: []uint16{7}, speak: smallService("echo")},
		{name: "daytime", ports: []uint16{13}, speak: smallService("daytime")},
		{name: "qotd", ports: []uint16{17}, speak: smallService("qotd")},
		{name: "chargen", ports: []uint16{19}, speak: smallService("chargen")},
		{name: "bacnet", ports: []uint16{47808}, speak: bacnet},
		{name: "ethernetip", ports: []uint16{44818}, speak: etherNetIPOverUDP},
	}
})
