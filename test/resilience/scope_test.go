package resilience

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/protobuf/encoding/protojson"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
)

const (
	// watchedHost is where watchers listen, openHost where one assessment may look.
	watchedHost, openHost = "127.64.0.1", "127.64.0.2"
	exitIncomplete        = 3
)

var watchedPorts = []string{"2222", "2323", "8080", "8443", "9200"}

// watch listens independently of the lab and of the platform, and counts who comes.
func watch(t *testing.T, host string, ports []string) *atomic.Int64 {
	t.Helper()
	var visits atomic.Int64
	for _, port := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				visits.Add(1)
				_ = conn.Close()
			}
		}()
	}
	return &visits
}

// traps are names that anybody could publish, and where they lead.
var traps = map[string][]string{
	"loopback.trap.test.":    {"A " + watchedHost},
	"alias.trap.test.":       {"CNAME loopback.trap.test."},
	"mixed.trap.test.":       {"A " + watchedHost, "AAAA ::1"},
	"private.trap.test.":     {"A 10.0.0.1", "A 192.168.0.1", "A 172.16.0.1", "A 100.64.0.1"},
	"metadata.trap.test.":    {"A 169.254.169.254"},
	"metadata6.trap.test.":   {"AAAA fd00:ec2::254"},
	"linklocal.trap.test.":   {"A 169.254.7.7"},
	"mapped.trap.test.":      {"AAAA ::ffff:" + watchedHost},
	"translated.trap.test.":  {"AAAA 64:ff9b::7f40:1"},
	"unspecified.trap.test.": {"A 0.0.0.0"},
	"broadcast.trap.test.":   {"A 255.255.255.255"},
}

// bothAt listens at one port for datagrams and connections. One that is free for the first may be taken for the second.
func bothAt(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 50 {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if l, err := net.Listen("tcp", conn.LocalAddr().String()); err == nil {
			return conn, l
		}
		_ = conn.Close()
	}
	t.Fatal("no port is free for both")
	return nil, nil
}

// trapServer answers for the traps and returns where.
func trapServer(t *testing.T) string {
	t.Helper()
	conn, l := bothAt(t)
	for _, s := range []*dns.Server{{PacketConn: conn, Handler: dns.HandlerFunc(answerTrap)}, {Listener: l, Handler: dns.HandlerFunc(answerTrap)}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return conn.LocalAddr().String()
}

func answerTrap(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name := strings.ToLower(q.Question[0].Name)
	records, known := traps[name]
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	for _, text := range records {
		r, err := dns.NewRR(name + " 60 IN " + text)
		if err != nil {
			panic(err) // the table above is wrong
		}
		kind := r.Header().Rrtype
		if kind == q.Question[0].Qtype || kind == dns.TypeCNAME {
			m.Answer = append(m.Answer, r)
		}
		if alias, ok := r.(*dns.CNAME); ok {
			for _, text := range traps[alias.Target] {
				if r, err := dns.NewRR(alias.Target + " 60 IN " + text); err == nil && r.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, r)
				}
			}
		}
	}
	_ = w.WriteMsg(m) // who asked may be gone
}

// assessTraps assesses targets in a child and returns its report and exit code.
func assessTraps(t *testing.T, resolver string, more []string, targets []string) (*reporterv1.ReportDocument, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := append([]string{"assess", "--resolver", resolver, "--ports", strings.Join(watchedPorts, ","), "--output", "json"}, more...)
	c := exec.CommandContext(ctx, command(t), append(args, targets...)...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil && c.ProcessState.ExitCode() != exitIncomplete {
		t.Fatalf("assess: %v\n%s", err, &stderr)
	}
	doc := &reporterv1.ReportDocument{}
	if err := protojson.Unmarshal(stdout.Bytes(), doc); err != nil {
		t.Fatalf("read report: %v\n%s", err, &stderr)
	}
	return doc, c.ProcessState.ExitCode()
}

// Without the operator's flag no packet goes to loopback, private, link-local or metadata addresses, whatever they are
// called, and the report says so.
func TestNothingForbiddenIsTouched(t *testing.T) {
	visits := watch(t, watchedHost, watchedPorts)
	resolver := trapServer(t)
	literal := []string{
		watchedHost, watchedHost + ":8080", "http://" + watchedHost + ":8443/admin", "127.64.0.0/30", "::1", "[::1]:8080",
		"10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.7.7", "169.254.169.254", "http://169.254.169.254/latest/meta-data/",
		"fd00:ec2::254", "fe80::1", "64:ff9b::7f40:1",
	}
	targets := slices.Clone(literal)
	for name := range traps {
		name = strings.TrimSuffix(name, ".")
		targets = append(targets, name, "https://"+name+":8443/")
	}
	doc, code := assessTraps(t, resolver, nil, targets)
	if n := visits.Load(); n != 0 {
		t.Errorf("%d connections to addresses that are not permitted", n)
	}
	if code != exitIncomplete {
		t.Errorf("exit code %d, want %d", code, exitIncomplete)
	}
	refused := map[string]bool{}
	for _, c := range doc.GetCoverage() {
		if c.GetScanType() == modelv1.ScanType_SCAN_TYPE_DNS {
			continue // asks the operator's resolver
		}
		if c.GetOutcome() != modelv1.Outcome_OUTCOME_NOT_PERMITTED || c.GetReason() == "" {
			t.Errorf("%s of %s is %s because %q", c.GetScanType(), c.GetTarget(), c.GetOutcome(), c.GetReason())
		}
		refused[c.GetTarget().GetValue()] = true
	}
	for _, want := range []string{watchedHost, "127.64.0.3", "::1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.7.7", "169.254.169.254", "fd00:ec2::254", "fe80::1", "64:ff9b::7f40:1"} {
		if !refused[want] {
			t.Errorf("the report does not say that %s was not touched", want)
		}
	}

	// The same with the flag shows that the watchers see who comes.
	if _, code := assessTraps(t, resolver, []string{"--allow-private"}, []string{"alias.trap.test"}); code != 0 {
		t.Errorf("with the flag: exit code %d", code)
	}
	if visits.Load() == 0 {
		t.Error("the watchers saw nobody, also where it is permitted: nothing was tested")
	}
}

// A redirect is a wish of the target's. It leads nowhere that the assessment may not go by itself.
func TestRedirectsStayInScope(t *testing.T) {
	visits := watch(t, watchedHost, watchedPorts)
	l, err := net.Listen("tcp", net.JoinHostPort(openHost, "8080"))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		http.Redirect(w, r, []string{
			fmt.Sprintf("http://%s:8080/", watchedHost), fmt.Sprintf("https://%s:8443/", watchedHost),
			"http://loopback.trap.test:8080/", "http://169.254.169.254/latest/meta-data/", "//" + watchedHost + ":9200/",
		}[n%5], http.StatusFound)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	_, code := assessTraps(t, trapServer(t), []string{"--allow-private"}, []string{openHost})
	if asked.Load() == 0 {
		t.Error("nobody asked the redirecting server: nothing was tested")
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("%d connections to where only a redirect leads (exit code %d)", n, code)
	}
}
