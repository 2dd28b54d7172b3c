package service

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// What is here moves machines: each protocol is spoken on its own port only, and asked who it is, never what it measures and
// never to do anything.

// listIdentity asks an EtherNet/IP device who it is (ODVA, volume 2, section 2-4.2).
var listIdentity = append([]byte{0x63, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, "riskprof\x00\x00\x00\x00"...)

func etherNetIPOverUDP(d *datagrams) *modelv1.ServiceFact {
	answer, err := d.ask(listIdentity, func(answer []byte) bool { return len(answer) >= 26 && answer[0] == 0x63 && answer[1] == 0 })
	if err != nil {
		return nil
	}
	return identityFact(answer[24:])
}

func etherNetIP(t *talk) *modelv1.ServiceFact {
	if t.send(listIdentity) != nil {
		return nil
	}
	head, err := t.take(24)
	if err != nil || head[0] != 0x63 || head[1] != 0 {
		return nil
	}
	body, err := t.take(int(binary.LittleEndian.Uint16(head[2:])))
	if err != nil {
		return nil
	}
	return identityFact(body)
}

// identityFact reads the first item: its kind and length, version, socket address, vendor, kind of device, product code, revision,
// status, serial number and the name behind its length.
func identityFact(body []byte) *modelv1.ServiceFact {
	fact := named("ethernetip")
	if len(body) < 2+4+33 || binary.LittleEndian.Uint16(body[2:]) != 0x0c {
		return fact
	}
	item := body[6:]
	name := string(item[33:min(33+int(item[32]), len(item))])
	fact.Product = safe(name, maxName)
	fact.Version = fmt.Sprintf("%d.%d", item[24], item[25])
	detail(fact, "ethernetip.vendor", strconv.Itoa(int(binary.LittleEndian.Uint16(item[18:]))))
	detail(fact, "ethernetip.name", name)
	return fact
}

// dnp3 asks stations with usual addresses for the state of the link (IEEE 1815, clause 9.2.4.1): a function of the link, not of
// what is behind it.
func dnp3(t *talk) *modelv1.ServiceFact {
	var question []byte
	for _, station := range []uint16{0, 1, 2, 3, 4, 10, 100, 1024, 0xfffc} { // the last one: whoever is there, by itself
		frame := []byte{5, 0x64, 5, 0xc9, byte(station), byte(station >> 8), 0, 0}
		question = append(question, binary.LittleEndian.AppendUint16(frame, dnp3CRC(frame))...)
	}
	if t.send(question) != nil {
		return nil
	}
	answer, err := t.take(10)
	if err != nil || answer[0] != 5 || answer[1] != 0x64 || answer[2] < 5 || answer[3]&0x80 != 0 || dnp3CRC(answer[:8]) != binary.LittleEndian.Uint16(answer[8:]) {
		return nil
	}
	fact := named("dnp3")
	detail(fact, "dnp3.station", strconv.Itoa(int(binary.LittleEndian.Uint16(answer[6:]))))
	return fact
}

// dnp3CRC is the checksum of a frame: polynomial 0x3d65, mirrored, inverted at the end (IEEE 1815, annex E).
func dnp3CRC(data []byte) uint16 {
	var crc uint16
	for _, b := range data {
		crc ^= uint16(b)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xa6bc
			} else {
				crc >>= 1
			}
		}
	}
	return ^crc
}

// iec104 sends the test frame by which both sides see that the other is there (IEC 60870-5-104, section 5.2).
func iec104(t *talk) *modelv1.ServiceFact {
	if t.send([]byte{0x68, 4, 0x43, 0, 0, 0}) != nil {
		return nil
	}
	answer, err := t.take(6)
	if err != nil || !bytes.Equal(answer, []byte{0x68, 4, 0x83, 0, 0, 0}) {
		return nil
	}
	return named("iec104")
}

// opcua says hello (OPC 10000-6, section 7.1.2.3); no channel is opened.
func opcua(t *talk) *modelv1.ServiceFact {
	url := "opc.tcp://" + t.prober.hostHeader()
	body := make([]byte, 0, 28+len(url))
	for _, word := range []uint32{0, 65536, 65536, 0, 0, uint32(len(url))} {
		body = binary.LittleEndian.AppendUint32(body, word)
	}
	body = append(body, url...)
	message := append([]byte("HELF"), binary.LittleEndian.AppendUint32(nil, uint32(8+len(body)))...)
	if t.send(append(message, body...)) != nil {
		return nil
	}
	head, err := t.take(8)
	if err != nil || !bytes.HasPrefix(head, []byte("ACKF")) && !bytes.HasPrefix(head, []byte("ERRF")) || binary.LittleEndian.Uint32(head[4:]) > 8<<10 {
		return nil
	}
	return named("opcua")
}

// fox greets a Niagara station, which greets back with its version and the system it runs on, before any login.
func fox(t *talk) *modelv1.ServiceFact {
	if t.send([]byte("fox a 1 -1 fox hello\n{\nfox.version=s:1.0\nid=i:1\n};;\n")) != nil {
		return nil
	}
	t.gather(t.patience.step, func(rest []byte) bool { return bytes.Contains(rest, []byte("};;")) })
	if !bytes.HasPrefix(t.rest(), []byte("fox a ")) {
		return nil
	}
	values := make(map[string]string)
	for text := range bytes.Lines(t.rest()) {
		if name, value, found := strings.Cut(strings.TrimSpace(string(text)), "=s:"); found && len(values) < 64 {
			values[name] = value
		}
	}
	fact := named("fox")
	setProduct(fact, "Tridium Niagara", "tridium", "niagara", values["app.version"])
	setSystem(fact, strings.TrimSpace(values["os.name"]+" "+values["os.version"]))
	detail(fact, "fox.station", values["station.name"])
	detail(fact, "fox.host", values["hostName"])
	return fact
}
