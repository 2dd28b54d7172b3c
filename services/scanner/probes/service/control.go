package service

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// zabbixAgent asks an agent for its version (Zabbix manual, "Passive and active agent checks"): agents hang up on all but their own
// servers, so the answer is the proof. Nothing is run on it.
func zabbixAgent(t *talk) *modelv1.ServiceFact {
	const item = "agent.version"
	question := append([]byte("ZBXD\x01"), binary.LittleEndian.AppendUint64(nil, uint64(len(item)))...)
	if t.send(append(question, item...)) != nil {
		return nil
	}
	head, err := t.take(13)
	if err != nil || !bytes.HasPrefix(head, []byte("ZBXD")) || binary.LittleEndian.Uint32(head[5:]) > 8<<10 {
		return nil
	}
	answer, err := t.take(int(binary.LittleEndian.Uint32(head[5:])))
	if err != nil {
		return nil
	}
	fact := named("zabbix-agent")
	if t.prober.port == 10051 || bytes.HasPrefix(answer, []byte("{")) { // the server speaks JSON
		fact.Name = "zabbix-server"
		setProduct(fact, "Zabbix server", "zabbix", "zabbix", "")
		return fact
	}
	setProduct(fact, "Zabbix agent", "zabbix", "zabbix_agent", versionAfter("v"+strings.ToLower(string(answer)), "v"))
	if fact.GetVersion() != "" {
		proven(fact, "agent.version: "+fact.GetVersion())
	}
	return fact
}

// ajp pings a Tomcat connector (AJP 1.3, CPing and CPong).
func ajp(t *talk) *modelv1.ServiceFact {
	if t.send([]byte{0x12, 0x34, 0, 1, 10}) != nil {
		return nil
	}
	pong, err := t.take(5)
	if err != nil || !bytes.Equal(pong, []byte{'A', 'B', 0, 1, 9}) {
		return nil
	}
	return named("ajp")
}

// smartInstall asks a Cisco switch whether it is a client of Smart Install (advisory cisco-sa-20180328-smi2): a client answers to
// everybody, and does what it is told.
func smartInstall(t *talk) *modelv1.ServiceFact {
	words := func(list ...uint32) []byte {
		var packet []byte
		for _, word := range list {
			packet = binary.BigEndian.AppendUint32(packet, word)
		}
		return packet
	}
	if t.send(words(1, 1, 4, 8, 1, 0)) != nil {
		return nil
	}
	answer, err := t.take(24)
	if err != nil || !bytes.Equal(answer, words(4, 0, 3, 8, 1, 0)) {
		return nil
	}
	fact := named("smart-install")
	setProduct(fact, "Cisco Smart Install client", "cisco", "ios", "")
	return fact
}

// Control messages of PPTP (RFC 2637).
const (
	pptpSize  = 156
	pptpMagic = 0x1a2b3c4d
)

// pptp starts a control connection, which tells name, maker and firmware, and ends it.
func pptp(t *talk) *modelv1.ServiceFact {
	question := make([]byte, pptpSize)
	binary.BigEndian.PutUint16(question, pptpSize)
	binary.BigEndian.PutUint16(question[2:], 1)
	binary.BigEndian.PutUint32(question[4:], pptpMagic)
	question[9], question[12] = 1, 1    // request; protocol 1.0
	question[19], question[23] = 1, 1   // framing and bearer
	copy(question[28:], "riskprofiler") // our name
	if t.send(question) != nil {
		return nil
	}
	answer, err := t.take(pptpSize)
	if err != nil || binary.BigEndian.Uint32(answer[4:]) != pptpMagic || binary.BigEndian.Uint16(answer[8:]) != 2 {
		return nil
	}
	fact := named("pptp")
	name, _, _ := bytes.Cut(answer[28:92], []byte{0})
	vendor, _, _ := bytes.Cut(answer[92:156], []byte{0})
	detail(fact, "pptp.name", string(name))
	detail(fact, "pptp.vendor", string(vendor))
	detail(fact, "pptp.firmware", strconv.Itoa(int(binary.BigEndian.Uint16(answer[26:]))))
	return fact
}

// epmd asks Erlang's port mapper for the names of the nodes (Erlang distribution protocol, NAMES_REQ).
func epmd(t *talk) *modelv1.ServiceFact {
	if t.send([]byte{0, 1, 'n'}) != nil {
		return nil
	}
	head, err := t.take(4)
	if err != nil || binary.BigEndian.Uint32(head) != uint32(t.prober.port) {
		return nil
	}
	fact := named("epmd")
	setProduct(fact, "Erlang port mapper", "", "", "") // the version of Erlang is not told
	var nodes []string
	for len(nodes) < 16 {
		text, err := t.text()
		if err != nil {
			break
		}
		nodes = append(nodes, strings.TrimPrefix(text, "name "))
	}
	detail(fact, "epmd.nodes", strings.Join(nodes, ","))
	return fact
}

// gitDaemon asks for a repository that nobody has (gitprotocol-pack(5)): the refusal is git's own.
func gitDaemon(t *talk) *modelv1.ServiceFact {
	request := "git-upload-pack /riskprofiler-no-such-repository\x00host=" + t.prober.hostHeader() + "\x00"
	if t.send([]byte(hex4(len(request)+4)+request)) != nil {
		return nil
	}
	answer, err := t.take(8)
	if err != nil || string(answer[4:]) != "ERR " {
		return nil
	}
	if size, err := strconv.ParseUint(string(answer[:4]), 16, 16); err != nil || size < 8 {
		return nil
	}
	fact := named("git")
	setProduct(fact, "Git daemon", "", "", "")
	return fact
}

func hex4(n int) string {
	text := strconv.FormatInt(int64(n), 16)
	return strings.Repeat("0", 4-len(text)) + text
}

// xmpp opens a stream and reads what the server offers (RFC 6120 section 4.3); nobody logs in.
func xmpp(t *talk) *modelv1.ServiceFact {
	host := t.prober.host
	if host == "" {
		host = ownName
	}
	kind := "jabber:client"
	if t.prober.port == 5269 {
		kind = "jabber:server"
	}
	if t.send([]byte("<?xml version='1.0'?><stream:stream to='"+xmlText(host)+"' xmlns='"+kind+"' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>")) != nil {
		return nil
	}
	t.gather(t.patience.step, func(rest []byte) bool {
		return bytes.Contains(rest, []byte("</stream:features>")) || bytes.Contains(rest, []byte("</stream:stream>"))
	})
	said := t.rest()
	if !bytes.Contains(said, []byte("http://etherx.jabber.org/streams")) || !bytes.Contains(said, []byte("<stream:")) {
		return nil
	}
	fact := named("xmpp")
	fact.Starttls = bytes.Contains(said, []byte("urn:ietf:params:xml:ns:xmpp-tls"))
	var mechanisms []string
	for rest := said; len(mechanisms) < 16; {
		_, after, found := bytes.Cut(rest, []byte("<mechanism>"))
		if !found {
			break
		}
		name, more, _ := bytes.Cut(after, []byte("<"))
		mechanisms, rest = append(mechanisms, string(name)), more
	}
	detail(fact, "xmpp.mechanisms", strings.Join(mechanisms, ","))
	return fact
}

// xmlText makes a name of ours harmless in an attribute.
func xmlText(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", "'", "&apos;").Replace(text)
}
