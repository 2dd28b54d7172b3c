package service

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// What is here is meant for the local network: that it answers at all is what there is to say.

// nodeStatus asks for the names of a Windows machine (RFC 1002 section 4.2.17): the name "*", filled with zeros.
var nodeStatus = []byte("\x72\x70\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x20CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x00\x00\x21\x00\x01")

func netbiosNames(d *datagrams) *modelv1.ServiceFact {
	answer, err := d.ask(nodeStatus, func(answer []byte) bool {
		return len(answer) >= 57 && string(answer[:2]) == "\x72\x70" && answer[2]&0x80 != 0 && binary.BigEndian.Uint16(answer[46:]) == 0x21
	})
	if err != nil {
		return nil
	}
	fact := named("netbios")
	names, unit := parseNodeStatus(answer)
	detail(fact, "netbios.names", strings.Join(names, ","))
	detail(fact, "netbios.unit", unit)
	return fact
}

// parseNodeStatus reads the names, each of 15 bytes with a suffix and flags, and the unit (the MAC address).
func parseNodeStatus(answer []byte) (names []string, unit string) {
	rest := answer[57:]
	for range min(int(answer[56]), 32) {
		if len(rest) < 18 {
			return names, ""
		}
		name := fmt.Sprintf("%s<%02x>", strings.TrimRight(string(rest[:15]), " \x00"), rest[15])
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		rest = rest[18:]
	}
	if len(rest) >= 6 {
		unit = hex.EncodeToString(rest[:6])
	}
	return names, unit
}

// mdnsServices asks for the kinds of service (RFC 6763 section 9), and to be answered alone (RFC 6762 section 5.4).
var mdnsServices = []byte("\x72\x70\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09_services\x07_dns-sd\x04_udp\x05local\x00\x00\x0c\x80\x01")

func mdns(d *datagrams) *modelv1.ServiceFact {
	answer, err := d.ask(mdnsServices, func(answer []byte) bool {
		return len(answer) > 12 && answer[2]&0x80 != 0 && answer[3]&0x0f == 0 && binary.BigEndian.Uint16(answer[6:]) > 0 && bytes.Contains(answer, []byte("_services"))
	})
	if err != nil {
		return nil
	}
	fact := named("mdns")
	detail(fact, "mdns.services", strings.Join(mdnsKinds(answer), ","))
	return fact
}

// mdnsKinds reads labels that name a kind of service: they begin with "_", and the transport is none.
func mdnsKinds(answer []byte) []string {
	var kinds []string
	for rest := answer[12:]; len(rest) > 2 && len(kinds) < 32; rest = rest[1:] {
		size := int(rest[0])
		if size < 2 || size > 16 || size >= len(rest) || rest[1] != '_' {
			continue
		}
		label := string(rest[1 : 1+size])
		ours := label == "_services" || label == "_dns-sd" || label == "_udp" || label == "_tcp"
		if !ours && strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789_-") == "" && !slices.Contains(kinds, label) {
			kinds = append(kinds, label)
		}
	}
	return kinds
}

// ssdp looks for root devices (UPnP Device Architecture 2.0, section 1.3).
func ssdp(d *datagrams) *modelv1.ServiceFact {
	question := "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: upnp:rootdevice\r\nUSER-AGENT: " + userAgent + "\r\n\r\n"
	answer, err := d.askElsewhere([]byte(question), func(answer []byte) bool { return bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) })
	if err != nil {
		return nil
	}
	fact := named("ssdp")
	server := headerOf(answer, "server")
	fact.Banner = safe(server, maxBanner)
	detail(fact, "ssdp.server", server)
	detail(fact, "ssdp.location", headerOf(answer, "location"))
	nameProduct(fact, server, []product{
		{"miniupnpd/", "MiniUPnPd", "miniupnp_project", "miniupnpd", "miniupnpd/"},
		{"portable sdk for upnp devices/", "Portable SDK for UPnP", "pupnp_project", "pupnp", "portable sdk for upnp devices/"},
		{"intel sdk for upnp devices", "Intel SDK for UPnP", "", "", "intel sdk for upnp devices/"},
	})
	return fact
}

// headerOf reads one header of a message in the form of HTTP; name in lower case.
func headerOf(message []byte, name string) string {
	for text := range bytes.Lines(message) {
		header, value, found := strings.Cut(string(text), ":")
		if found && strings.EqualFold(strings.TrimSpace(header), name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// wsDiscovery probes for devices of every type (WS-Discovery 1.1, section 5.2).
func wsDiscovery(d *datagrams) *modelv1.ServiceFact {
	question := `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" ` +
		`xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><s:Header>` +
		`<a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action><a:MessageID>urn:uuid:72697370-726f-4669-8c65-720000000001</a:MessageID>` +
		`<a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header><s:Body><d:Probe/></s:Body></s:Envelope>`
	answer, err := d.ask([]byte(question), func(answer []byte) bool { return bytes.Contains(answer, []byte("ProbeMatches")) })
	if err != nil {
		return nil
	}
	fact := named("ws-discovery")
	detail(fact, "ws-discovery.types", elementText(answer, "Types"))
	return fact
}

// elementText reads the text of the first XML element of that name, whatever its prefix.
func elementText(document []byte, name string) string {
	for _, mark := range []string{":" + name + ">", "<" + name + ">"} {
		if _, after, found := bytes.Cut(document, []byte(mark)); found {
			text, _, _ := bytes.Cut(after, []byte("<"))
			return string(text)
		}
	}
	return ""
}
