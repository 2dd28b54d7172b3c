package service

import (
	"slices"
	"sync"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// protocol is one whose clients speak first.
type protocol struct {
	name  string
	ports []uint16 // where it is usual: asked at once
	// anywhere says that its words do no harm to a service that is another: asked where nothing else answered.
	anywhere bool
	// clearOnly protocols are not spoken inside TLS.
	clearOnly bool
	// speak says the protocol's words; nil when the answer is not its own.
	speak func(t *talk) *modelv1.ServiceFact
}

func (p protocol) usualOn(port uint16) bool { return slices.Contains(p.ports, port) }

// protocols are all that are asked for, in the order in which a silent port is asked.
var protocols = sync.OnceValue(func() []protocol {
	return []protocol{
		{name: "redis", ports: []uint16{6379, 6380, 6381, 16379, 21379, 26379}, anywhere: true, speak: redis},
		{name: "mongodb", ports: []uint16{27017, 27018, 27019}, anywhere: true, speak: mongodb},
		{name: "postgresql", ports: []uint16{5432, 5433, 5434, 5439, 6432}, anywhere: true, clearOnly: true, speak: postgresql},
		{name: "memcached", ports: []uint16{11211}, anywhere: true, speak: memcached},
		{name: "rdp", ports: []uint16{3388, 3389, 3390, 3391, 33899}, anywhere: true, clearOnly: true, speak: rdp},
		{name: "smb", ports: []uint16{139, 445}, anywhere: true, clearOnly: true, speak: smb},
		{name: "mqtt", ports: []uint16{1883, 1884, 8883}, anywhere: true, speak: mqtt},
		{name: "amqp", ports: []uint16{5671, 5672, 5673}, anywhere: true, speak: amqp},
		{name: "ldap", ports: []uint16{389, 636, 3268, 3269}, anywhere: true, speak: ldap},
		{name: "zookeeper", ports: []uint16{2181, 2182, 2183}, anywhere: true, speak: zookeeper},
		{name: "cassandra", ports: []uint16{9042, 9142}, anywhere: true, speak: cassandra},
		{name: "mssql", ports: []uint16{1433, 1434}, anywhere: true, clearOnly: true, speak: mssql},
		{name: "oracledb", ports: []uint16{1521, 1522, 1523, 1524, 1525, 1526, 1527, 2483, 2484}, anywhere: true, speak: oracledb},
		{name: "jdwp", ports: []uint16{5005, 8000, 8453, 8787}, anywhere: true, clearOnly: true, speak: jdwp},
		{name: "rmi", ports: []uint16{1090, 1098, 1099, 1100, 8686, 9010}, anywhere: true, speak: rmi},
		{name: "neo4j", ports: []uint16{7687}, anywhere: true, speak: bolt},
		{name: "socks", ports: []uint16{1080, 9050, 9150}, anywhere: true, clearOnly: true, speak: socks},
		{name: "x11", ports: []uint16{6000, 6001, 6002, 6003, 6004, 6005, 6006}, anywhere: true, clearOnly: true, speak: x11},
		{name: "rtsp", ports: []uint16{554, 8554, 10554}, anywhere: true, speak: rtsp},
		{name: "dns", ports: []uint16{53, 853, 5300, 5353}, speak: dnsOverTCP},
		{name: "rpcbind", ports: []uint16{111}, clearOnly: true, speak: rpcbind},
		{name: "kafka", ports: []uint16{9092, 9093, 9094}, speak: kafka},
		{name: "nfs", ports: []uint16{2049}, clearOnly: true, speak: nfs},
		{name: "stomp", ports: []uint16{61612, 61613, 61614}, speak: stomp},
		{name: "sip", ports: []uint16{5060, 5061}, speak: sipOverTCP},
		{name: "xmpp", ports: []uint16{5222, 5223, 5269}, speak: xmpp},
		{name: "zabbix-agent", ports: []uint16{10050, 10051}, clearOnly: true, speak: zabbixAgent},
		{name: "ajp", ports: []uint16{8009}, clearOnly: true, speak: ajp},
		{name: "smart-install", ports: []uint16{4786}, clearOnly: true, speak: smartInstall},
		{name: "pptp", ports: []uint16{1723}, clearOnly: true, speak: pptp},
		{name: "openvpn", ports: []uint16{1194}, clearOnly: true, speak: openVPNOverTCP},
		{name: "epmd", ports: []uint16{4369}, clearOnly: true, speak: epmd},
		{name: "git", ports: []uint16{9418}, clearOnly: true, speak: gitDaemon},
		{name: "db2", ports: []uint16{50000, 50001, 1527, 446}, speak: db2},
		{name: "firebird", ports: []uint16{3050}, clearOnly: true, speak: firebird},
		// What moves machines hears only its own words, on its own port.
		{name: "modbus", ports: []uint16{502}, clearOnly: true, speak: modbus},
		{name: "s7comm", ports: []uint16{102}, clearOnly: true, speak: s7comm},
		{name: "ethernetip", ports: []uint16{44818}, clearOnly: true, speak: etherNetIP},
		{name: "dnp3", ports: []uint16{20000}, clearOnly: true, speak: dnp3},
		{name: "iec104", ports: []uint16{2404}, clearOnly: true, speak: iec104},
		{name: "opcua", ports: []uint16{4840}, clearOnly: true, speak: opcua},
		{name: "fox", ports: []uint16{1911, 4911}, speak: fox},
	}
})

// speaksWeb says whether web servers are usual on the port, so that TLS and HTTP need not wait for a greeting that will not
// come.
func speaksWeb(port uint16) bool {
	switch port {
	case 80, 443, 8000, 8008, 8080, 8081, 8088, 8443, 8888, 9090, 9200, 9443, 2375, 2376, 2379, 5984, 6443, 8086, 7474, 10250, 10255, 3128, 5985, 5986, 8500, 8200, 4646, 8123, 9870, 50070, 8983, 11434, 6333, 631:
		return true
	}
	return port >= 80 && port <= 90 || port >= 8000 && port <= 8100 || port >= 9000 && port <= 9010 || port == 3000 || port == 5000
}

// printsWhatItHears says whether printers listen on the port, which put on paper whatever is sent to them: raw printing, as
// most vendors have it, on 9100 to 9107, and the line printer daemon.
func printsWhatItHears(port uint16) bool {
	return port >= 9100 && port <= 9107 || port == 515
}
