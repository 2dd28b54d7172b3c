package service

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// speakTo has one protocol's words with a service, without the survey around them: for protocols that are spoken only on
// ports that a test may not take.
func speakTo(t testing.TB, name string, server handler) *modelv1.ServiceFact {
	t.Helper()
	port := serve(t, "127.0.0.1:0", server)
	prober := &prober{
		env: probes.Env{}, connect: netguard.New(netguard.Options{AllowPrivate: true}).DialContext,
		reach: "127.0.0.1", port: port, patience: hurried(false),
	}
	l, err := prober.open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for _, p := range protocols() {
		if p.name == name {
			return p.speak(&talk{line: l, prober: prober})
		}
	}
	t.Fatalf("no protocol %q", name)
	return nil
}

func TestProtocolsOfTheirOwnPorts(t *testing.T) {
	answerRPC := func(body string) string { return "\x80" + be32(len(body))[1:] + body }
	program := func(number, version, protocol, port int) string {
		return be32(1) + be32(number) + be32(version) + be32(protocol) + be32(port)
	}
	chaos := func(version string) string {
		message := "\x72\x70\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00\x07version\x04bind\x00\x00\x10\x00\x03" +
			"\xc0\x0c\x00\x10\x00\x03\x00\x00\x00\x00" + be16(len(version)+1) + string(rune(len(version))) + version
		return be16(len(message)) + message
	}
	tests := map[string]struct {
		protocol string
		server   handler
		want     want
	}{
		"modbus": {"modbus", conversation([]exchange{{begins: "\x72\x70\x00\x00\x00\x05\x00\x2b\x0e\x01\x00", answer: "\x72\x70\x00\x00\x00\x1b\x00\x2b\x0e\x01\x01\x00\x00\x02\x00\x09Schneider\x01\x06TM221C"}}),
			want{name: "modbus", product: "Schneider TM221C"}},
		"modbus that refuses": {"modbus", conversation([]exchange{{begins: "\x72\x70", size: 11, answer: "\x72\x70\x00\x00\x00\x03\x00\xab\x01"}}), want{name: "modbus"}},
		"s7": {"s7comm", conversation([]exchange{
			{begins: "\x03\x00\x00\x16\x11\xe0", size: 22, answer: "\x03\x00\x00\x16\x11\xd0\x00\x01\x00\x02\x00\xc0\x01\x0a\xc1\x02\x01\x00\xc2\x02\x01\x02"},
			{begins: "\x03\x00\x00\x19\x02\xf0\x80\x32", size: 25, answer: "\x03\x00\x00\x1b\x02\xf0\x80\x32\x03\x00\x00\x00\x01\x00\x08\x00\x00\x00\x00\xf0\x00\x00\x01\x00\x01\x00\xf0"},
		}), want{name: "s7comm"}},
		"rpcbind": {"rpcbind", conversation([]exchange{{begins: "\x80\x00\x00\x28risp", size: 44,
			answer: answerRPC("risp" + be32(1) + be32(0) + be32(0) + be32(0) + be32(0) + program(100000, 2, 6, 111) + program(100003, 3, 6, 2049) + program(100003, 4, 6, 2049) + program(400001, 1, 6, 9) + be32(0))}}),
			want{name: "rpcbind", details: map[string]string{"rpcbind.programs": "portmapper,nfs,400001"}}},
		"bind": {"dns", conversation([]exchange{{begins: string(versionBind), answer: chaos("9.16.1-Ubuntu")}}),
			want{name: "dns", product: "ISC BIND", version: "9.16.1", details: map[string]string{"dns.version": "9.16.1-Ubuntu"}}},
		"dnsmasq":                         {"dns", conversation([]exchange{{begins: string(versionBind), answer: chaos("dnsmasq-2.85")}}), want{name: "dns", product: "dnsmasq", version: "2.85"}},
		"a name server that does not say": {"dns", conversation([]exchange{{begins: string(versionBind), answer: "\x00\x1e\x72\x70\x84\x05" + string(versionBind[6:])}}), want{name: "dns"}},
		"kafka":                           {"kafka", conversation([]exchange{{begins: "\x00\x00\x00\x16\x00\x12", size: 26, answer: be32(10) + "risp" + "\x00\x00\x00\x00\x00\x00"}}), want{name: "kafka", product: "Apache Kafka"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fact := speakTo(t, tt.protocol, tt.server)
			if fact == nil {
				t.Fatal("not told")
			}
			tt.want.check(t, fact)
		})
	}
}

// What moves machines, and what prints, hears nothing that is not for it.
func TestFragileServicesAreLeftAlone(t *testing.T) {
	for _, p := range protocols() {
		if p.anywhere && (p.name == "modbus" || p.name == "s7comm") {
			t.Errorf("%s is spoken anywhere", p.name)
		}
	}
	heard := make(chan string, 64)
	listener := serve(t, "127.0.6.9:9100", func(conn net.Conn) {
		text := make([]byte, 256)
		n, _ := conn.Read(text)
		heard <- string(text[:n])
	})
	result := scan(t, "127.0.6.9", listener)
	if fact := factOf(t, result); fact.GetName() != unknown || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
		t.Errorf("%v %v", result.Outcome, fact)
	}
	for len(heard) > 0 {
		if text := <-heard; text != "" {
			t.Errorf("a printer heard %q", text)
		}
	}
}

func TestProtocolTable(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range protocols() {
		if seen[p.name] || p.name == "" || p.speak == nil || len(p.ports) == 0 {
			t.Errorf("protocol %+v", p)
		}
		seen[p.name] = true
	}
}

// A quick scan asks only for what is usual on the port.
func TestQuickScanAsksLess(t *testing.T) {
	count := func(profile modelv1.Profile) int {
		connections := make(chan struct{}, 100)
		port := serve(t, "127.0.0.1:0", func(conn net.Conn) {
			connections <- struct{}{}
			_, _ = conn.Read(make([]byte, 1024))
		})
		job := serviceJob("127.0.0.1", port)
		job.Options.Profile = profile
		permits := make(chan int, 100)
		env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true}), Permit: func(_ context.Context, host string, cost int) error {
			if host != "127.0.0.1" {
				t.Errorf("permits for %q", host)
			}
			permits <- cost
			return nil
		}}
		if _, err := (&Probe{patience: hurried}).Scan(t.Context(), env, job); err != nil {
			t.Fatal(err)
		}
		if len(permits) != len(connections) {
			t.Errorf("%v: %d permits for %d connections", profile, len(permits), len(connections))
		}
		return len(connections)
	}
	quick, standard := count(modelv1.Profile_PROFILE_QUICK), count(modelv1.Profile_PROFILE_STANDARD)
	if quick != 3 || standard < 15 || standard > 30 {
		t.Errorf("%s connections for a quick scan, %s for a standard one", strconv.Itoa(quick), strings.TrimSpace(strconv.Itoa(standard)))
	}
}
