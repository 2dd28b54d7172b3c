package service

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// sipOptions asks a telephone exchange what it can do (RFC 3261 section 11). Nobody is called.
func sipOptions(transport, host string) []byte {
	return []byte("OPTIONS sip:" + host + " SIP/2.0\r\nVia: SIP/2.0/" + transport + " " + ownName + ";branch=z9hG4bKriskprofiler;rport\r\n" +
		"Max-Forwards: 70\r\nFrom: <sip:scan@" + ownName + ">;tag=riskprofiler\r\nTo: <sip:" + host + ">\r\nCall-ID: riskprofiler@" + ownName + "\r\n" +
		"CSeq: 1 OPTIONS\r\nUser-Agent: " + userAgent + "\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n")
}

func isSIP(answer []byte) bool { return bytes.HasPrefix(answer, []byte("SIP/2.0 ")) }

func sipOverUDP(d *datagrams) *modelv1.ServiceFact {
	answer, err := d.ask(sipOptions("UDP", d.prober.hostHeader()), isSIP)
	if err != nil {
		return nil
	}
	return sipFact(answer)
}

func sipOverTCP(t *talk) *modelv1.ServiceFact {
	if t.send(sipOptions("TCP", t.prober.hostHeader())) != nil {
		return nil
	}
	t.gather(t.patience.step, func(rest []byte) bool { return bytes.Contains(rest, []byte("\r\n\r\n")) })
	if !isSIP(t.rest()) {
		return nil
	}
	return sipFact(t.rest())
}

func sipFact(answer []byte) *modelv1.ServiceFact {
	fact := named("sip")
	server := headerOf(answer, "server")
	if server == "" {
		server = headerOf(answer, "user-agent")
	}
	status, _, _ := strings.Cut(string(answer[:min(len(answer), 128)]), "\r\n")
	fact.Banner = safe(status+" "+server, maxBanner)
	detail(fact, "sip.server", server)
	nameProduct(fact, server, []product{
		{"asterisk pbx ", "Asterisk", "digium", "asterisk", "asterisk pbx "},
		{"fpbx-", "FreePBX", "sangoma", "freepbx", "fpbx-"},
		{"kamailio", "Kamailio", "kamailio", "kamailio", "kamailio ("},
		{"opensips", "OpenSIPS", "opensips", "opensips", "opensips ("},
		{"freeswitch", "FreeSWITCH", "freeswitch", "freeswitch", "freeswitch-mod_sofia/"},
		{"cisco-sipgateway", "Cisco SIP Gateway", "cisco", "ios", ""},
		{"3cxphonesystem", "3CX", "3cx", "3cx", "3cxphonesystem "},
	})
	return fact
}

// coap reads the list of resources that devices give to everybody (RFC 6690 section 4): that it may be read is the proof.
func coap(d *datagrams) *modelv1.ServiceFact {
	question := []byte("\x40\x01rp\xbb.well-known\x04core") // confirmable GET, two segments of the path
	answer, err := d.ask(question, func(answer []byte) bool {
		return len(answer) >= 4 && (answer[0]>>4 == 6 || answer[0]>>4 == 7) && string(answer[2:4]) == "rp"
	})
	if err != nil {
		return nil
	}
	fact := named("coap")
	detail(fact, "coap.code", fmt.Sprintf("%d.%02d", answer[1]>>5, answer[1]&0x1f))
	if _, list, found := bytes.Cut(answer[4:], []byte{0xff}); found && answer[1] == 0x45 { // 2.05 Content
		detail(fact, "coap.resources", string(list))
		proven(fact, "GET /.well-known/core: 2.05 with "+strconv.Itoa(bytes.Count(list, []byte("<")))+" resources")
	}
	return fact
}

// bacnet reads two properties of the device itself, whose number is not known, so the wildcard stands for it (ASHRAE 135, clause
// 12.11): its model and its vendor.
func bacnet(d *datagrams) *modelv1.ServiceFact {
	const model, vendor = 70, 121
	read := func(property byte) (string, bool) {
		answer, err := d.ask([]byte{0x81, 0x0a, 0, 0x11, 1, 4, 0, 5, 1, 0x0c, 0x0c, 2, 0x3f, 0xff, 0xff, 0x19, property}, func(answer []byte) bool {
			return len(answer) >= 9 && answer[0] == 0x81 && (answer[1] == 0x0a || answer[1] == 0x0b) &&
				int(binary.BigEndian.Uint16(answer[2:])) == len(answer) && answer[4] == 1
		})
		return bacnetText(answer, property), err == nil
	}
	first, ok := read(model)
	if !ok {
		return nil
	}
	fact := named("bacnet")
	maker, _ := read(vendor)
	detail(fact, "bacnet.model", first)
	detail(fact, "bacnet.vendor", maker)
	fact.Product = safe(strings.TrimSpace(maker+" "+first), maxName)
	return fact
}

// bacnetText reads a text out of an acknowledgement: property, opening tag, a character string with one or two bytes of length
// and its encoding (UTF-8 is 0).
func bacnetText(answer []byte, property byte) string {
	_, after, found := bytes.Cut(answer, []byte{0x19, property, 0x3e})
	if !found || len(after) < 2 || after[0]>>4 != 7 {
		return ""
	}
	size, body := int(after[0]&7), after[1:]
	if size == 5 {
		size, body = int(after[1]), after[2:]
	}
	if size < 1 || size > len(body) || body[0] != 0 {
		return ""
	}
	return string(body[1:size])
}

// cldap searches the root of a directory over UDP, as domain controllers let their clients ([MS-ADTS] 6.3.3).
func cldap(d *datagrams) *modelv1.ServiceFact {
	answer, err := d.ask(ldapRootDSE(), func(answer []byte) bool {
		message, _, err := berElement(answer)
		return err == nil && answer[0] == tagSequence && bytes.HasPrefix(message, []byte{2, 1, 1}) && len(message) > 3 && (message[3] == 0x64 || message[3] == 0x65)
	})
	if err != nil {
		return nil
	}
	fact := named("ldap")
	ldapDetails(fact, answer)
	return fact
}

// memcachedOverUDP asks behind the frame of eight bytes that memcached has over UDP (protocol.txt): its answers to small questions
// are so long that they brought networks down (US-CERT TA14-017A).
func memcachedOverUDP(d *datagrams) *modelv1.ServiceFact {
	const frame = "rp\x00\x00\x00\x01\x00\x00"
	say := func(words, begins string) (string, error) {
		answer, err := d.ask([]byte(frame+words+"\r\n"), func(answer []byte) bool {
			return len(answer) > 8 && string(answer[:4]) == "rp\x00\x00" && bytes.HasPrefix(answer[8:], []byte(begins))
		})
		if err != nil {
			return "", err
		}
		line, _, _ := strings.Cut(string(answer[8:]), "\r\n")
		return line, nil
	}
	version, err := say("version", "VERSION ")
	if err != nil {
		return nil
	}
	fact := named("memcached")
	setProduct(fact, "memcached", "memcached", "memcached", strings.TrimPrefix(version, "VERSION "))
	if statistic, err := say("stats", "STAT "); err == nil {
		proven(fact, "stats: "+statistic)
	}
	return fact
}

// rpcbindOverUDP asks for the table of programs (RFC 1833 section 3).
func rpcbindOverUDP(d *datagrams) *modelv1.ServiceFact {
	answer, err := d.ask(rpcCall(100000, 2, 4), func(answer []byte) bool { return isRPCReply(answer) })
	if err != nil {
		return nil
	}
	fact := named("rpcbind")
	detail(fact, "rpcbind.programs", strings.Join(rpcNames(rpcPrograms(answer)), ","))
	return fact
}

// mssqlBrowser asks for the instances of SQL Server on the machine ([MC-SQLR] 2.2.2).
func mssqlBrowser(d *datagrams) *modelv1.ServiceFact {
	answer, err := d.ask([]byte{3}, func(answer []byte) bool {
		return len(answer) > 3 && answer[0] == 5 && bytes.Contains(answer, []byte("InstanceName"))
	})
	if err != nil {
		return nil
	}
	fact := named("mssql-browser")
	detail(fact, "mssql.instances", string(answer[3:]))
	words := strings.Split(string(answer[3:]), ";")
	for i := range words {
		if words[i] == "Version" && i+1 < len(words) {
			setProduct(fact, "Microsoft SQL Server", "microsoft", "sql_server", words[i+1])
			break
		}
	}
	return fact
}

// smallService asks those that answer to anything: echo, daytime, quote of the day, character generator (RFC 862, 867, 865, 864).
func smallService(name string) func(d *datagrams) *modelv1.ServiceFact {
	return func(d *datagrams) *modelv1.ServiceFact {
		question := []byte("riskprofiler\r\n")
		answer, err := d.ask(question, func(answer []byte) bool { return len(answer) > 0 && bytes.Equal(answer, question) == (name == "echo") })
		if err != nil {
			return nil
		}
		fact := named(name)
		fact.Banner = safe(string(answer), maxBanner)
		return fact
	}
}

// ubiquiti asks a device of that maker for itself (discovery protocol, version 1): type, length and value of each.
func ubiquiti(d *datagrams) *modelv1.ServiceFact {
	answer, err := d.ask([]byte{1, 0, 0, 0}, func(answer []byte) bool {
		return len(answer) >= 7 && answer[0] == 1 && answer[1] == 0 && int(binary.BigEndian.Uint16(answer[2:])) == len(answer)-4
	})
	if err != nil {
		return nil
	}
	fact := named("ubiquiti-discovery")
	fact.Product = "Ubiquiti device"
	for rest := answer[4:]; len(rest) >= 3; {
		size := int(binary.BigEndian.Uint16(rest[1:]))
		if size > len(rest)-3 {
			break
		}
		value := rest[3 : 3+size]
		switch rest[0] {
		case 1:
			detail(fact, "ubiquiti.unit", hex.EncodeToString(value))
		case 3:
			detail(fact, "ubiquiti.firmware", string(value))
		case 11:
			detail(fact, "ubiquiti.name", string(value))
		case 20:
			detail(fact, "ubiquiti.model", string(value))
		}
		rest = rest[3+size:]
	}
	return fact
}
