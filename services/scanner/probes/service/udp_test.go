package service

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// datagramHandler answers one datagram with any number of them.
type datagramHandler func(question []byte) [][]byte

// serveUDP runs a service over UDP until the test ends.
func serveUDP(t testing.TB, address string, handle datagramHandler) uint16 {
	t.Helper()
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		data := make([]byte, 64<<10)
		for {
			n, sender, err := socket.ReadFrom(data)
			if err != nil {
				return
			}
			for _, answer := range handle(data[:n:n]) {
				_, _ = socket.WriteTo(answer, sender)
			}
		}
	})
	t.Cleanup(func() { _ = socket.Close(); group.Wait() })
	return uint16(socket.LocalAddr().(*net.UDPAddr).Port)
}

// answers gives an answer to each question that begins like one of the keys, which are in turn.
func answers(pairs ...string) datagramHandler {
	return func(question []byte) [][]byte {
		for i := 0; i+1 < len(pairs); i += 2 {
			if strings.HasPrefix(string(question), pairs[i]) {
				return [][]byte{[]byte(pairs[i+1])}
			}
		}
		return nil
	}
}

func udpJob(address string, port uint16) *modelv1.ScanJob {
	job := serviceJob(address, port)
	job.Target.Transport = modelv1.Transport_TRANSPORT_UDP
	return job
}

// speakUDP has one protocol's questions answered, whatever the port.
func speakUDP(t testing.TB, name string, handle datagramHandler) *modelv1.ServiceFact {
	t.Helper()
	p := udpProber(serveUDP(t, "127.0.0.1:0", handle))
	for _, protocol := range datagramTable() {
		if protocol.name == name {
			answer := p.askDatagram(t.Context(), protocol)
			if answer.mistake != "" {
				t.Fatal(answer.mistake)
			}
			return answer.fact
		}
	}
	t.Fatalf("no protocol %q", name)
	return nil
}

func udpProber(port uint16) *prober {
	guard := netguard.New(netguard.Options{AllowPrivate: true})
	return &prober{
		env: probes.Env{Guard: guard}, connect: guard.DialContext, reach: "127.0.0.1", port: port,
		transport: modelv1.Transport_TRANSPORT_UDP, patience: hurried(false), thorough: true,
	}
}

func unhex(t testing.TB, text string) string {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// snmpAnswer is a response to GET.
func snmpAnswer(version uint32, pairs ...[]byte) string {
	var list [][]byte
	for _, pair := range pairs {
		list = append(list, berLong(tagSequence, pair))
	}
	pdu := berLong(0xa2, append(append(append(berInteger(snmpRequest), berInteger(0)...), berInteger(0)...), berLong(tagSequence, list...)...))
	return string(berLong(tagSequence, berInteger(version), berText(tagOctets, community), pdu))
}

// berLong is berSequence for up to 65,535 bytes.
func berLong(tag byte, parts ...[]byte) []byte {
	var body []byte
	for _, part := range parts {
		body = append(body, part...)
	}
	return append([]byte{tag, 0x82, byte(len(body) >> 8), byte(len(body))}, body...)
}

func object(oid string, tag byte, value string) []byte {
	return append(berOID(oid), berLong(tag, []byte(value))...)
}

// engineReport is the answer of Net-SNMP 5.9.3 to discovery.
const engineReport = "3069020103300f02027269020300ffe3040100020103041f301d041180001f888012345678aabbccdd0000000002012a020203e80400040004003032041180001f888012345678aabbccdd000000000400a81b02027269020100020100300f300d06092b060106030f010104410103"

func TestServicesOverUDP(t *testing.T) {
	const linux = "Linux gw 5.10.0-20-amd64 #1 SMP Debian 5.10.158-2 x86_64"
	system := [][]byte{object(oidDescription, tagOctets, linux), object(oidObject, tagOID, string(berOID("1.3.6.1.4.1.8072.3.2.10")[2:])), object(oidName, tagOctets, "gw")}
	engine := unhex(t, engineReport)
	snmpQuestion := func(version byte) datagramHandler {
		return func(question []byte) [][]byte {
			switch {
			case len(question) > 4 && question[4] == snmpV3 && version == snmpV3:
				return [][]byte{[]byte(engine)}
			case len(question) > 4 && question[4] == version:
				return [][]byte{[]byte(snmpAnswer(uint32(version), system...))}
			}
			return nil
		}
	}
	dnsVersion := dnsID + "\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00" + string(versionBind[14:]) + "\xc0\x0c\x00\x10\x00\x03\x00\x00\x00\x00\x00\x19\x189.18.28-1~deb12u2-Debian"
	tests := map[string]struct {
		protocol string
		server   datagramHandler
		want     want
	}{
		"snmp 2c": {"snmp", snmpQuestion(snmpV2c), want{
			name: "snmp", product: "Net-SNMP", unauthenticated: true, os: "Linux 5.10.0-20-amd64",
			details: map[string]string{"snmp.versions": "2c", "snmp.name": "gw", "snmp.description": linux},
		}},
		"snmp 1":      {"snmp", snmpQuestion(snmpV1), want{name: "snmp", product: "Net-SNMP", unauthenticated: true, details: map[string]string{"snmp.versions": "1"}}},
		"snmp 3 only": {"snmp", snmpQuestion(snmpV3), want{name: "snmp", product: "Net-SNMP", details: map[string]string{"snmp.versions": "3", "snmp.engine_id": "80001f888012345678aabbccdd00000000"}}},
		"cisco": {"snmp", func(question []byte) [][]byte {
			if question[4] != snmpV1 {
				return nil
			}
			return [][]byte{[]byte(snmpAnswer(snmpV1, object(oidDescription, tagOctets, "Cisco IOS Software, C2960 Software (C2960-LANBASEK9-M), Version 15.0(2)SE4, RELEASE SOFTWARE")))}
		}, want{name: "snmp", product: "Cisco IOS", version: "15.0", unauthenticated: true}},
		"ntp": {"ntp", answers("\x23", "\x24\x02\x06\xec"+strings.Repeat("\x00", 44)), want{name: "ntp", details: map[string]string{"ntp.stratum": "2", "ntp.monlist": ""}}},
		"old ntp": {"ntp", answers("\x23", "\x24\x02\x06\xec"+strings.Repeat("\x00", 44),
			"\x16\x02", "\x16\x82\x00\x01\x00\x00\x00\x00\x00\x00\x00\x49"+`version="ntpd 4.2.6p5@1.2349-o Fri", processor="x86", system="Linux/3.10", leap=0`,
			"\x17\x00\x03\x2a", "\xd7\x00\x03\x2a\x00\x06\x00\x48"+strings.Repeat("m", 6*72)), want{
			name: "ntp", product: "ntpd", version: "4.2.6p5", unauthenticated: true, os: "Linux/3.10", details: map[string]string{"ntp.monlist": "true"},
		}},
		"ipmi": {"ipmi", answers("\x06\x00\xff\x07\x00", unhex(t, "0600ff0700000000000000000010811c6320003800 019504 03 00000000 ff"), "\x06\x00\xff\x07\x06", unhex(t, "0600ff0706110000000000000000 2400 00000000 72697370 00000000")), want{
			name: "ipmi", details: map[string]string{"ipmi.version": "2.0", "ipmi.anonymous": "false", "ipmi.cipher_zero": "true", "ipmi.authentication": "none,md5,password"},
		}},
		"dns": {"dns", answers(string(versionBind[2:]), dnsVersion, string(rootServers[2:]), dnsID+"\x81\x85\x00\x01\x00\x00\x00\x00\x00\x00"+string(rootServers[14:])), want{
			name: "dns", product: "ISC BIND", version: "9.18.28", distribution: "Debian:12", packageVersion: "1:9.18.28-1~deb12u2", details: map[string]string{"dns.recursion": "refused"},
		}},
		"open resolver": {"dns", answers(string(rootServers[2:]), dnsID+"\x81\x80\x00\x01\x00\x0d\x00\x00\x00\x00"+strings.Repeat("x", 500)), want{name: "dns", details: map[string]string{"dns.recursion": "open"}}},
		"netbios": {"netbios", answers(string(nodeStatus[:2]), "\x72\x70\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\x20CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x00\x00\x21\x00\x01\x00\x00\x00\x00\x00\x2b\x02FILESERVER     \x20\x04\x00WORKGROUP      \x00\x84\x00\x00\x0c\x29\x01\x02\x03"),
			want{name: "netbios", details: map[string]string{"netbios.names": "FILESERVER<20>,WORKGROUP<00>", "netbios.unit": "000c29010203"}}},
		"mdns": {"mdns", answers("rp", "rp\x84\x00\x00\x00\x00\x02\x00\x00\x00\x00\x09_services\x07_dns-sd\x04_udp\x05local\x00\x00\x0c\x00\x01\x00\x00\x00\x0a\x00\x0c\x04_ssh\x04_tcp\xc0\x23\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x0a\x00\x0b\x04_ipp\xc0\x40"),
			want{name: "mdns", details: map[string]string{"mdns.services": "_ssh,_ipp"}}},
		"ssdp": {"ssdp", answers("M-SEARCH", "HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: http://192.168.1.1:5000/rootDesc.xml\r\nSERVER: Linux/3.14 UPnP/1.1 MiniUPnPd/1.9\r\n\r\n"),
			want{name: "ssdp", product: "MiniUPnPd", version: "1.9", details: map[string]string{"ssdp.location": "http://192.168.1.1:5000/rootDesc.xml"}}},
		"ws-discovery": {"ws-discovery", answers("<?xml", `<e:Envelope><e:Body><d:ProbeMatches><d:ProbeMatch><d:Types>dn:NetworkVideoTransmitter</d:Types></d:ProbeMatch></d:ProbeMatches></e:Body></e:Envelope>`),
			want{name: "ws-discovery", details: map[string]string{"ws-discovery.types": "dn:NetworkVideoTransmitter"}}},
		"ike": {"ike", func(question []byte) [][]byte {
			if question[17] != ikeVersion1 {
				return nil
			}
			return [][]byte{ikeReply(ikeVersion1, question[18], payloadSA1, payload{payloadVendor1, []byte(unhex(t, "882fe56d6fd20dbc2251613b2ebe5beb"))})}
		}, want{name: "ike", product: "strongSwan", details: map[string]string{"ike.versions": "1", "ike.aggressive": "true"}}},
		"ike 2": {"ike", func(question []byte) [][]byte {
			if question[17] != ikeVersion2 {
				return nil
			}
			return [][]byte{ikeReply(ikeVersion2, ikeSAInit, 41)}
		}, want{name: "ike", details: map[string]string{"ike.versions": "2", "ike.aggressive": ""}}},
		"openvpn": {"openvpn", answers("\x38", "\x40serversi\x01\x00\x00\x00\x00riskprof\x00\x00\x00\x00"), want{name: "openvpn"}},
		"stun": {"stun", answers("\x00\x01", "\x01\x01\x00\x18\x21\x12\xa4\x42riskprofiler\x80\x22\x00\x13Coturn-4.5.1.1 'dan'\x00"),
			want{name: "stun", product: "coturn", version: "4.5.1.1"}},
		"sip":  {"sip", answers("OPTIONS", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x\r\nServer: Asterisk PBX 18.9.0\r\nContent-Length: 0\r\n\r\n"), want{name: "sip", product: "Asterisk", version: "18.9.0"}},
		"coap": {"coap", answers("\x40\x01rp", "\x60\x45rp\xc1\x28\xff</sensors>;rt=\"t\",</light>"), want{name: "coap", unauthenticated: true, details: map[string]string{"coap.code": "2.05"}}},
		"bacnet": {"bacnet", func(question []byte) [][]byte {
			text := map[byte]string{70: "NAE55", 121: "Johnson Controls"}[question[16]]
			answer := "\x81\x0a\x00\x00\x01\x00\x30\x01\x0c\x0c\x02\x00\x00\x05\x19" + string(question[16]) + "\x3e\x75" + string(rune(len(text)+1)) + "\x00" + text + "\x3f"
			framed := []byte(answer)
			binary.BigEndian.PutUint16(framed[2:], uint16(len(framed)))
			return [][]byte{framed}
		}, want{name: "bacnet", product: "Johnson Controls NAE55"}},
		"active directory": {"ldap", answers("0", string(berLong(tagSequence, []byte{2, 1, 1}, berLong(0x64, berText(4, ""), berLong(0x30,
			berLong(0x30, berText(4, "dnsHostName"), berLong(0x31, berText(4, "dc1.corp.example"))), berLong(0x30, berText(4, "supportedExtension"), berLong(0x31, berText(4, startTLS)))))))),
			want{name: "ldap", product: "Microsoft Active Directory", starttls: true, details: map[string]string{"ldap.host": "dc1.corp.example"}}},
		"memcached": {"memcached", answers("rp\x00\x00\x00\x01\x00\x00version", "rp\x00\x00\x00\x01\x00\x00VERSION 1.5.5\r\n", "rp\x00\x00\x00\x01\x00\x00stats", "rp\x00\x00\x00\x02\x00\x00STAT pid 7\r\n"+strings.Repeat("STAT x 1\r\n", 100)),
			want{name: "memcached", product: "memcached", version: "1.5.5", unauthenticated: true}},
		"rpcbind": {"rpcbind", answers("risp", "risp"+be32(1)+be32(0)+be32(0)+be32(0)+be32(0)+be32(1)+be32(100000)+be32(2)+be32(17)+be32(111)+be32(0)),
			want{name: "rpcbind", details: map[string]string{"rpcbind.programs": "portmapper"}}},
		"sql browser": {"mssql-browser", answers("\x03", "\x05\x40\x00ServerName;SRV;InstanceName;MSSQLSERVER;IsClustered;No;Version;15.0.2000.5;tcp;1433;;"),
			want{name: "mssql-browser", product: "Microsoft SQL Server", version: "15.0.2000.5"}},
		"chargen":  {"chargen", answers("riskprofiler", strings.Repeat(" !\"#$%&", 20)), want{name: "chargen"}},
		"echo":     {"echo", func(question []byte) [][]byte { return [][]byte{question} }, want{name: "echo"}},
		"ubiquiti": {"ubiquiti-discovery", answers("\x01\x00\x00\x00", "\x01\x00\x00\x15\x03\x00\x0bXM.v5.6.5-x\x0b\x00\x04gate"), want{name: "ubiquiti-discovery", product: "Ubiquiti device", details: map[string]string{"ubiquiti.firmware": "XM.v5.6.5-x", "ubiquiti.name": "gate"}}},
		"ethernetip": {"ethernetip", answers("\x63\x00", string(identityAnswer())),
			want{name: "ethernetip", product: "1756-ENBT/A", version: "5.28", details: map[string]string{"ethernetip.vendor": "1"}}},
		"wrong protocol": {"snmp", answers("", "SSH-2.0-OpenSSH_9.9\r\n"), want{}},
		"giant lengths":  {"snmp", answers("", "\x30\x84\xff\xff\xff\xff\x02\x01\x01"), want{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fact := speakUDP(t, tt.protocol, tt.server)
			if fact == nil {
				if tt.want.name != "" {
					t.Fatal("not told")
				}
				return
			}
			tt.want.check(t, fact)
			checkSafe(t, fact)
		})
	}
}

func ikeReply(version, exchange, first byte, payloads ...payload) []byte {
	message := append([]byte(ikeCookie+"respond!"), first, version, exchange, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	next := byte(0)
	if len(payloads) > 0 {
		next = payloads[0].kind
	}
	message = append(message, next, 0, 0, 8, 0, 0, 0, 1)
	for _, p := range payloads {
		message = append(append(message, 0, 0, 0, byte(4+len(p.body))), p.body...)
	}
	binary.BigEndian.PutUint32(message[24:], uint32(len(message)))
	return message
}

func identityAnswer() []byte {
	item := make([]byte, 33)
	item[18], item[24], item[25], item[32] = 1, 5, 28, 11
	item = append(item, "1756-ENBT/A\x03"...)
	body := append([]byte{1, 0, 0x0c, 0, byte(len(item)), 0}, item...)
	return append(append([]byte{0x63, 0, byte(len(body)), 0}, make([]byte, 20)...), body...)
}

// TFTP answers from another port, and only answers of the same host count.
func TestTFTP(t *testing.T) {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transfer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := net.ListenPacket("udp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		data := make([]byte, 512)
		for {
			n, sender, err := socket.ReadFrom(data)
			if err != nil {
				return
			}
			if strings.HasPrefix(string(data[:n]), "\x00\x01riskprofiler") {
				_, _ = stranger.WriteTo([]byte("\x00\x05\x00\x00not me\x00"), sender)
				_, _ = transfer.WriteTo([]byte("\x00\x05\x00\x01File not found\x00"), sender)
			}
		}
	})
	t.Cleanup(func() { _, _, _ = socket.Close(), transfer.Close(), stranger.Close(); group.Wait() })
	p := udpProber(uint16(socket.LocalAddr().(*net.UDPAddr).Port))
	answer := p.askDatagram(t.Context(), datagramProtocol{speak: tftp})
	if answer.fact.GetName() != "tftp" || answer.fact.GetDetails()["tftp.answer"] != "1 File not found" {
		t.Errorf("%v", answer.fact)
	}
}

func scanUDP(t testing.TB, port uint16) *probes.Result {
	t.Helper()
	env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true}), Blobs: new(shelf)}
	result, err := (&Probe{patience: hurried}).Scan(t.Context(), env, udpJob("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// A whole scan of a port that means nothing: the protocol is told, the location ends in /udp, and nothing looks further.
func TestScanOverUDP(t *testing.T) {
	stats := strings.Repeat("STAT x 1\r\n", 120)
	port := serveUDP(t, "127.0.0.1:0", answers("rp\x00\x00\x00\x01\x00\x00version", "rp\x00\x00\x00\x01\x00\x00VERSION 1.5.5\r\n", "rp\x00\x00\x00\x01\x00\x00stats", "rp\x00\x00\x00\x02\x00\x00"+stats))
	result := scanUDP(t, port)
	fact := factOf(t, result)
	if fact.GetName() != "memcached" || fact.GetTransport() != modelv1.Transport_TRANSPORT_UDP || !strings.HasSuffix(result.Observations[0].GetLocation(), "/udp") ||
		len(result.Leads) != 0 || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
		t.Errorf("%v %v %v", result.Outcome, fact, result.Leads)
	}
	// 1,208 bytes for a question of 15.
	if fact.GetAmplification() != 80 {
		t.Errorf("amplification %d", fact.GetAmplification())
	}
	if result.Observations[0].GetEvidence().GetBlob() == "" {
		t.Error("no evidence")
	}
}

// Whoever answers nothing, floods, or is not there at all is no service, and the scan keeps to its time.
func TestHostileOverUDP(t *testing.T) {
	flood := make([]byte, 60<<10)
	silent := serveUDP(t, "127.0.0.1:0", func([]byte) [][]byte { return nil })
	garbage := serveUDP(t, "127.0.0.1:0", func([]byte) [][]byte { return [][]byte{flood, flood, flood, flood} })
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := uint16(gone.LocalAddr().(*net.UDPAddr).Port)
	_ = gone.Close()
	for name, port := range map[string]uint16{"silent": silent, "garbage": garbage, "closed": closed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := scanUDP(t, port)
			if len(result.Observations) != 0 || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
				t.Errorf("%v %q %v", result.Outcome, result.Reason, result.Observations)
			}
		})
	}
	t.Run("out of time", func(t *testing.T) {
		job := udpJob("127.0.0.1", silent)
		job.Options.Budget = durationpb.New(100 * time.Millisecond)
		result, err := New().Scan(t.Context(), probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}, job)
		if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL {
			t.Errorf("%v %v", result, err)
		}
	})
	t.Run("refused by the guard", func(t *testing.T) {
		result, err := New().Scan(t.Context(), probes.Env{Guard: netguard.New(netguard.Options{})}, udpJob("127.0.0.1", silent))
		if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_NOT_PERMITTED {
			t.Errorf("%v %v", result, err)
		}
	})
}

// A service that floods after its answer is counted, and what is kept is bounded.
func TestFloodIsBounded(t *testing.T) {
	piece := append([]byte("rp\x00\x00\x00\x01\x00\x00VERSION 1.5.5\r\n"), make([]byte, 30<<10)...)
	port := serveUDP(t, "127.0.0.1:0", func([]byte) [][]byte {
		var all [][]byte
		for range 20 {
			all = append(all, piece)
		}
		return all
	})
	result := scanUDP(t, port)
	evidence := result.Observations[0].GetEvidence()
	if !evidence.GetTruncated() || factOf(t, result).GetAmplification() < 1000 {
		t.Errorf("%v %v", evidence, factOf(t, result))
	}
}

func TestDatagramTable(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range datagramTable() {
		if seen[p.name] || p.name == "" || p.speak == nil || len(p.ports) == 0 {
			t.Errorf("protocol %+v", p)
		}
		seen[p.name] = true
		if moves := p.name == "bacnet" || p.name == "ethernetip"; moves && p.anywhere {
			t.Errorf("%s is spoken anywhere", p.name)
		}
	}
}
