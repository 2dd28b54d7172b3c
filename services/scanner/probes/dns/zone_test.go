package dns

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/dnswild"
)

func TestNameServers(t *testing.T) {
	zone := func(extra string) string {
		return `
z.test. SOA ns1.z.test. a.z.test. 1 1 1 1 1
z.test. NS ns1.z.test.
z.test. NS ns2.z.test.
ns1.z.test. A 127.0.0.1
` + extra
	}
	good := func(t *testing.T) *world { return newWorld(t, zone("")) }
	onlySOA := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		reply := new(mdns.Msg).SetReply(q)
		reply.Authoritative = true
		reply.Answer = good(t).names["z.test."][mdns.TypeSOA]
		if q.Question[0].Qtype == mdns.TypeAXFR {
			reply.Answer = append(reply.Answer, reply.Answer[0])
		}
		_ = w.WriteMsg(reply)
	})
	noAuthority := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		reply := new(mdns.Msg).SetReply(q)
		reply.Answer = good(t).names["z.test."][mdns.TypeSOA]
		_ = w.WriteMsg(reply)
	})
	open := good(t)
	open.open["z.test."] = true
	tests := []struct {
		name     string
		records  string
		second   mdns.Handler // at 127.0.0.2
		lame     []string
		transfer []string
		dangling string
		outcome  modelv1.Outcome
	}{
		{"good", "ns2.z.test. A 127.0.0.2", good(t), nil, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"refuses", "ns2.z.test. A 127.0.0.2", refuse, []string{"ns2.z.test"}, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"without authority", "ns2.z.test. A 127.0.0.2", noAuthority, []string{"ns2.z.test"}, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"silent, while the other answers", "ns2.z.test. A 127.0.0.2", mute, []string{"ns2.z.test"}, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"one of two addresses is good", "ns2.z.test. A 127.0.0.3\nns2.z.test. A 127.0.0.2", good(t), nil, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"without address", "ns2.z.test. TXT x", good(t), []string{"ns2.z.test"}, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"does not exist", "", good(t), nil, nil, "NS ns2.z.test", modelv1.Outcome_OUTCOME_COMPLETE},
		{"hands out the zone", "ns2.z.test. A 127.0.0.2", open, nil, []string{"ns2.z.test"}, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"hands out nothing but the SOA", "ns2.z.test. A 127.0.0.2", onlySOA, nil, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"at a forbidden address", "ns2.z.test. A 169.254.169.254", good(t), nil, nil, "", modelv1.Outcome_OUTCOME_PARTIAL},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := probeFor(t, newWorld(t, zone(test.records)), map[string]mdns.Handler{"127.0.0.2": test.second})
			result := run(t, p, jobFor(host, "z.test"))
			dns, _, dangling := facts(result)
			if result.Outcome != test.outcome || !slices.Equal(dns.GetLameNs(), test.lame) || !slices.Equal(dns.GetZoneTransferNs(), test.transfer) {
				t.Errorf("got %v (%s), lame %v, transfer %v", result.Outcome, result.Reason, dns.GetLameNs(), dns.GetZoneTransferNs())
			}
			got := ""
			for _, d := range dangling {
				got = d.GetRecord() + " " + d.GetTarget()
			}
			if got != test.dangling || len(dangling) > 1 {
				t.Errorf("dangling %v, want %q", dangling, test.dangling)
			}
			if strings.Contains(result.Reason, "169.254") {
				t.Errorf("the reason names the address: %s", result.Reason)
			}
		})
	}
}

func TestAllNameServersSilent(t *testing.T) {
	zone := "z.test. SOA ns1.z.test. a.z.test. 1 1 1 1 1\nz.test. NS ns1.z.test.\nz.test. NS ns2.z.test.\nns1.z.test. A 127.0.0.2\nns2.z.test. A 127.0.0.3\n"
	p := probeFor(t, newWorld(t, zone), map[string]mdns.Handler{"127.0.0.2": mute, "127.0.0.3": mute})
	result := run(t, p, jobFor(host, "z.test"))
	dns, _, _ := facts(result)
	if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || len(dns.GetLameNs()) != 0 || !strings.Contains(result.Reason, "no answer in time") {
		t.Errorf("got %v (%s), %v; want partial and no name server lame", result.Outcome, result.Reason, dns.GetLameNs())
	}
}

func TestPassiveAsksNobodyButTheResolver(t *testing.T) {
	w, other := newWorld(t, tidy), newWorld(t, tidy)
	p := probeFor(t, w, map[string]mdns.Handler{"127.0.0.2": other})
	job := jobFor(domain, "good.test")
	job.Options.Profile = modelv1.Profile_PROFILE_PASSIVE
	env := lab()
	env.Guard = netguard.New(netguard.Options{}) // would refuse and say so, but is not even asked
	result, err := p.Scan(t.Context(), env, job)
	if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || !strings.Contains(result.Reason, "passive") || len(result.Observations) != 2 {
		t.Errorf("got %+v, %v; want a partial result with both facts", result, err)
	}
	if asked := other.questions(); len(asked) != 0 {
		t.Errorf("asked the name server %v", asked)
	}
}

func TestWildcard(t *testing.T) {
	for name, test := range map[string]struct {
		zone string
		want bool
	}{
		"address": {"*.w.test. A 192.0.2.1", true},
		"alias":   {"*.w.test. CNAME nowhere.test.", false},
		"none":    {"a.w.test. A 192.0.2.1", false},
		"text":    {"*.w.test. TXT x", false},
	} {
		t.Run(name, func(t *testing.T) {
			zone := "test. SOA ns.test. a.test. 1 1 1 1 1\nw.test. SOA ns.test. a.test. 1 1 1 1 1\nw.test. NS ns.test.\nns.test. A 127.0.0.1\n" + test.zone
			w := newWorld(t, zone)
			dns, _, _ := facts(run(t, probeFor(t, w, nil), jobFor(host, "w.test")))
			if dns.GetWildcard() != test.want {
				t.Errorf("wildcard %t, want %t", dns.GetWildcard(), test.want)
			}
			random := 0
			for _, asked := range w.questions() {
				if strings.HasPrefix(asked, "rp-") {
					random++
				}
			}
			if random < dnswild.DefaultProbes {
				t.Errorf("%d random names, want %d", random, dnswild.DefaultProbes)
			}
		})
	}
}

func TestDeadMailExchanger(t *testing.T) {
	zone := "test. SOA ns.test. a.test. 1 1 1 1 1\nm.test. SOA ns.test. a.test. 1 1 1 1 1\nm.test. NS ns.test.\nns.test. A 127.0.0.1\nm.test. MX 10 alive.test.\nm.test. MX 20 gone.test.\nalive.test. A 192.0.2.1\n"
	_, mail, dangling := facts(run(t, probeFor(t, newWorld(t, zone), nil), jobFor(domain, "m.test")))
	if len(dangling) != 1 || dangling[0].GetRecord() != "MX" || dangling[0].GetTarget() != "gone.test" || dangling[0].GetConfirmed() || !mail.GetHasMx() {
		t.Errorf("dangling %v, mail %v", dangling, mail)
	}
}

func TestNullMX(t *testing.T) {
	zone := "m.test. SOA ns.test. a.test. 1 1 1 1 1\nm.test. NS ns.test.\nns.test. A 127.0.0.1\nm.test. MX 0 .\n"
	dns, mail, dangling := facts(run(t, probeFor(t, newWorld(t, zone), nil), jobFor(domain, "m.test")))
	if !mail.GetNullMx() || mail.GetHasMx() || len(dangling) != 0 || len(dns.GetMx()) != 1 || dns.GetMx()[0].GetHost() != "." {
		t.Errorf("mail %v, mx %v, dangling %v", mail, dns.GetMx(), dangling)
	}
}

func TestBoundedQuestions(t *testing.T) {
	var zone strings.Builder
	zone.WriteString("big.test. SOA ns.test. a.test. 1 1 1 1 1\nns.test. A 127.0.0.1\n")
	for i := range 60 {
		fmt.Fprintf(&zone, "big.test. NS n%d.test.\nbig.test. MX %d m%d.test.\nn%d.test. A 127.0.0.1\nm%d.test. A 192.0.2.1\n", i, i, i, i, i)
	}
	spf := "v=spf1"
	for i := range 60 {
		spf += fmt.Sprintf(" include:s%d.test", i)
		fmt.Fprintf(&zone, "s%d.test. TXT \"v=spf1 include:t%d.test include:u%d.test -all\"\n", i, i, i)
	}
	fmt.Fprintf(&zone, "big.test. TXT %s\n", quoted(spf+" -all"))
	w := newWorld(t, zone.String())
	result := run(t, probeFor(t, w, nil), jobFor(domain, "big.test"))
	_, mail, _ := facts(result)
	if len(w.questions()) > 2*maxQuestions || mail.GetSpf().GetLookups() <= 10 || len(result.Leads) > maxLeads {
		t.Errorf("%d questions, %d lookups, %d leads", len(w.questions()), mail.GetSpf().GetLookups(), len(result.Leads))
	}
}

func quoted(text string) string {
	var out []string
	for len(text) > 0 {
		n := min(len(text), 250)
		out = append(out, `"`+text[:n]+`"`)
		text = text[n:]
	}
	return strings.Join(out, " ")
}

func TestPanicsReachTheCaller(t *testing.T) {
	defer func() {
		if p, ok := recover().(*together.Panic); !ok || p.Value != "broken" {
			t.Errorf("recovered %v", p)
		}
	}()
	parallel(2, func() {}, func() { panic("broken") })
	t.Error("no panic")
}

func TestNoMoreThanSoManyQuestions(t *testing.T) {
	r, err := newResolver(lab(), probeFor(t, newWorld(t, tidy), nil))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxQuestions {
		if _, err := r.ask(t.Context(), fmt.Sprintf("n%d.good.test", i), mdns.TypeA); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.ask(t.Context(), "one.more.test", mdns.TypeA); !errors.Is(err, errTooMany) {
		t.Errorf("got %v, want %v", err, errTooMany)
	}
	if _, err := r.ask(t.Context(), "n0.good.test", mdns.TypeA); err != nil {
		t.Errorf("a question that was asked before: %v", err)
	}
}

func TestResolverOfTheGuard(t *testing.T) {
	own := probeFor(t, newWorld(t, tidy), nil)
	env := lab()
	env.Guard = netguard.New(netguard.Options{AllowPrivate: true, Resolver: own.options.Resolver})
	result, err := New(Options{}).Scan(t.Context(), env, jobFor(host, "www.good.test"))
	if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Leads) != 2 {
		t.Errorf("got %+v, %v", result, err)
	}
}

// A resolver that fails is asked again, not before it may have forgotten the failure.
func TestServerFailureOnce(t *testing.T) {
	const kept = 40 * time.Millisecond
	w := newWorld(t, tidy)
	var first atomic.Pointer[time.Time]
	w.fault = func(out mdns.ResponseWriter, q *mdns.Msg) bool {
		now := time.Now()
		if q.Question[0].Qtype != mdns.TypeA || !first.CompareAndSwap(nil, &now) && now.Sub(*first.Load()) >= kept {
			return false
		}
		_ = out.WriteMsg(new(mdns.Msg).SetRcode(q, mdns.RcodeServerFailure))
		return true
	}
	p := probeFor(t, w, nil)
	p.limits.failure = 2 * kept
	if result := run(t, p, jobFor(host, "www.good.test")); result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
		t.Errorf("got %v (%s)", result.Outcome, result.Reason)
	}
}
