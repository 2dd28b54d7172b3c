package service

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// ntp asks for the time, as any client does; then for the variables of the server (mode 6, RFC 9327) and for its list of
// clients (mode 7, MON_GETLIST_1 of ntpd before 4.2.7p26): old servers give both to everybody, and at a multiple of what was
// asked.
func ntp(d *datagrams) *modelv1.ServiceFact {
	question := make([]byte, 48)
	question[0] = 0x23 // version 4, client (RFC 5905 section 7.3)
	answer, err := d.ask(question, func(answer []byte) bool { return len(answer) >= 48 && answer[0]&7 == 4 })
	variables, refused := d.ask([]byte{0x16, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, func(answer []byte) bool {
		return len(answer) >= 12 && answer[0]&7 == 6 && answer[1]&0xdf == 0x82 // a response to "read variables", not an error
	})
	if err != nil && refused != nil {
		return nil
	}
	fact := named("ntp")
	if err == nil {
		detail(fact, "ntp.stratum", strconv.Itoa(int(answer[1])))
	}
	if refused == nil {
		ntpVariables(fact, variables)
	}
	list, err := d.ask(append([]byte{0x17, 0, 3, 0x2a}, make([]byte, 44)...), func(answer []byte) bool {
		return len(answer) >= 8 && answer[0]&0x87 == 0x87 && answer[2] == 3 && answer[3] == 0x2a
	})
	if err == nil && binary.BigEndian.Uint16(list[4:])&0xfff > 0 {
		detail(fact, "ntp.monlist", "true")
		proven(fact, "monlist: "+strconv.Itoa(int(binary.BigEndian.Uint16(list[4:])&0xfff))+" clients in the first packet")
	}
	return fact
}

// ntpVariables reads the text of variables: name=value, with quotes, divided by commas.
func ntpVariables(fact *modelv1.ServiceFact, packet []byte) {
	size := int(binary.BigEndian.Uint16(packet[10:]))
	text := string(packet[12:min(12+size, len(packet))])
	values := make(map[string]string)
	for len(text) > 0 && len(values) < 64 {
		name, rest, found := strings.Cut(text, "=")
		if !found {
			break
		}
		var value string
		if quoted, isQuoted := strings.CutPrefix(rest, `"`); isQuoted {
			value, text, _ = strings.Cut(quoted, `"`)
			_, text, _ = strings.Cut(text, ",")
		} else {
			value, text, _ = strings.Cut(rest, ",")
		}
		values[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	version := values["version"]
	detail(fact, "ntp.version", version)
	setSystem(fact, values["system"])
	switch lower := strings.ToLower(version); {
	case strings.HasPrefix(lower, "ntpd ntpsec-"):
		setProduct(fact, "NTPsec", "ntpsec", "ntpsec", versionAfter(lower, "ntpsec-"))
	case strings.HasPrefix(lower, "ntpd "):
		setProduct(fact, "ntpd", "ntp", "ntp", versionAfter(lower, "ntpd "))
	}
}

// ipmi asks a management controller how it lets people in, which it tells everybody (IPMI 2.0, section 22.13), and whether it
// would open a session without authentication, integrity and encryption, "cipher suite 0" (section 13.17). Nobody logs in.
func ipmi(d *datagrams) *modelv1.ServiceFact {
	question := []byte{6, 0, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x20, 0x18, 0xc8, 0x81, 0, 0x38, 0x8e, 4, 0xb5}
	answer, err := d.ask(question, func(answer []byte) bool {
		return len(answer) >= 25 && answer[0] == 6 && answer[3] == 7 && answer[19] == 0x38 && answer[20] == 0
	})
	if err != nil {
		return nil
	}
	fact := named("ipmi")
	kinds, status, versions := answer[22], answer[23], answer[24]
	version := "1.5"
	if kinds&0x80 != 0 && versions&2 != 0 {
		version = "2.0"
	}
	detail(fact, "ipmi.version", version)
	var offered []string
	for bit, name := range []string{"none", "md2", "md5", "", "password", "oem"} {
		if name != "" && kinds&(1<<bit) != 0 {
			offered = append(offered, name)
		}
	}
	detail(fact, "ipmi.authentication", strings.Join(offered, ","))
	detail(fact, "ipmi.anonymous", strconv.FormatBool(status&3 != 0))
	if version == "2.0" && ipmiCipherZero(d) {
		detail(fact, "ipmi.cipher_zero", "true")
	}
	return fact
}

func ipmiCipherZero(d *datagrams) bool {
	question := []byte{6, 0, 0xff, 7, 6, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0}
	question = append(question, 0, 0, 0, 0, 'r', 'i', 's', 'p')
	for algorithm := range byte(3) { // authentication, integrity, confidentiality: none of each
		question = append(question, algorithm, 0, 0, 8, 0, 0, 0, 0)
	}
	answer, err := d.ask(question, func(answer []byte) bool {
		return len(answer) >= 18 && answer[0] == 6 && answer[3] == 7 && answer[4] == 6 && answer[5]&0x3f == 0x11
	})
	return err == nil && answer[17] == 0
}

// tftp asks for a file that nobody has (RFC 1350). The answer comes from another port.
func tftp(d *datagrams) *modelv1.ServiceFact {
	answer, err := d.askElsewhere([]byte("\x00\x01riskprofiler-no-such-file\x00octet\x00"), isTFTP)
	if err != nil {
		return nil
	}
	return tftpFact(answer)
}

// isTFTP knows an error, data, or an acknowledgement of options (RFC 2347).
func isTFTP(data []byte) bool {
	if len(data) < 4 || data[0] != 0 {
		return false
	}
	switch data[1] {
	case 3:
		return data[2] == 0 && data[3] == 1
	case 5:
		return data[2] == 0 && data[3] <= 8 && bytes.IndexByte(data[4:], 0) >= 0
	case 6:
		return true
	}
	return false
}

func tftpFact(answer []byte) *modelv1.ServiceFact {
	fact := named("tftp")
	if answer[1] == 5 {
		text, _, _ := cutZero(answer[4:])
		detail(fact, "tftp.answer", strconv.Itoa(int(answer[3]))+" "+text)
	}
	return fact
}
