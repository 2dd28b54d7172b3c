package consent

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

const (
	aDay   = 25 * time.Hour
	aMonth = 31 * 24 * time.Hour

	dnsTXT = ingestv1.ProofMethod_PROOF_METHOD_DNS_TXT
)

// one is a case: it prepares what is wrong, and names what must not be probed; nothing: the host of the case.
type one struct {
	name    string
	prepare func(w *world) (targets []string)
}

// cases are all ways we know in which somebody seems to own what they do not, or no longer do.
var cases = []one{
	// Proofs by DNS that never were.
	{"never added", func(w *world) []string { return nil }},
	{"added and never proven", func(w *world) []string { w.asset("acme", w.host); return nil }},
	{"a challenge that nobody answered", func(w *world) []string { w.verify(w.dns(w.host), false); return nil }},
	{"another text", func(w *world) []string {
		w.zone.set(w.label(), "TXT riskprofiler-00000000000000000000000000000000")
		w.verify(w.dns(w.host), false)
		return nil
	}},
	{"the token of another tenant", func(w *world) []string {
		theirs := w.challenge("other", w.host, dnsTXT)
		w.zone.set(w.label(), "TXT "+theirs.GetToken())
		w.verify(w.dns(w.host), false)
		return nil
	}},
	{"the token of another asset", func(w *world) []string {
		p := w.dns("another." + w.host)
		w.zone.set(w.label(), "TXT "+p.GetToken())
		w.verify(w.dns(w.host), false)
		return nil
	}},
	{"the token among other words", func(w *world) []string {
		p := w.dns(w.host)
		w.zone.set(w.label(), "TXT we do not want "+p.GetToken()+" here")
		w.verify(p, false)
		return nil
	}},
	{"half of the token", func(w *world) []string {
		p := w.dns(w.host)
		w.zone.set(w.label(), "TXT "+p.GetToken()[:30])
		w.verify(p, false)
		return nil
	}},
	{"the token in capitals", func(w *world) []string {
		p := w.dns(w.host)
		w.zone.set(w.label(), "TXT "+strings.ToUpper(p.GetToken()))
		w.verify(p, false)
		return nil
	}},
	{"the token at the name itself", func(w *world) []string {
		p := w.dns(w.host)
		w.zone.set(w.host, "A "+w.address, "TXT "+p.GetToken())
		w.verify(p, false)
		return nil
	}},
	{"the token at the parent's place", func(w *world) []string {
		p := w.dns("www." + w.host)
		w.zone.set(w.label(), "TXT "+p.GetToken())
		w.verify(p, false)
		return []string{"www." + w.host, w.host}
	}},
	{"the token at a child's place", func(w *world) []string {
		p := w.dns(w.host)
		w.zone.set("_riskprofiler-challenge.www."+w.host, "TXT "+p.GetToken())
		w.verify(p, false)
		return nil
	}},
	{"the child is proven, not the parent", func(w *world) []string {
		p := w.dns("own." + w.host)
		w.zone.set("_riskprofiler-challenge.own."+w.host, "TXT "+p.GetToken())
		w.verify(p, true)
		return []string{w.host, "www." + w.host, "notown." + w.host}
	}},
	{"a server that fails", func(w *world) []string {
		w.zone.set(w.label(), "RCODE 2")
		w.verify(w.dns(w.host), false)
		return nil
	}},

	// Aliases and wildcards.
	{"an alias to where the attacker writes", func(w *world) []string {
		p := w.dns(w.host)
		w.zone.set(w.label(), "CNAME proof.attacker.test.")
		w.zone.set("proof.attacker.test", "TXT "+p.GetToken())
		w.verify(p, false)
		return nil
	}},
	{"an alias to another tenant's record", func(w *world) []string {
		theirs := w.challenge("other", "their."+w.host, dnsTXT)
		w.zone.set("_riskprofiler-challenge.their."+w.host, "TXT "+theirs.GetToken())
		w.verifyAs("other", theirs, true)
		w.zone.set(w.label(), "CNAME _riskprofiler-challenge.their."+w.host+".")
		w.verify(w.dns(w.host), false)
		return nil
	}},
	{"an alias over three names", func(w *world) []string {
		p := w.dns(w.host)
		w.zone.set(w.label(), "CNAME a."+w.host+".")
		w.zone.set("a."+w.host, "CNAME b."+w.host+".")
		w.zone.set("b."+w.host, "TXT "+p.GetToken())
		w.verify(p, false)
		return nil
	}},
	{"an alias of itself", func(w *world) []string {
		p := w.dns(w.host)
		w.zone.set(w.label(), "CNAME "+w.label()+".", "TXT "+p.GetToken())
		w.verify(p, false)
		return nil
	}},
	{"a wildcard record", func(w *world) []string {
		p := w.dns(w.host)
		w.zone.set("*."+w.host, "TXT "+p.GetToken())
		w.verify(p, false)
		return nil
	}},
	{"a wildcard alias to a hoster", func(w *world) []string {
		p := w.dns(w.host)
		w.zone.set("*."+w.host, "CNAME customers.hoster.test.")
		w.zone.set("customers.hoster.test", "TXT "+p.GetToken())
		w.verify(p, false)
		return nil
	}},

	// Proofs by file that never were.
	{"no file", func(w *world) []string { w.verify(w.file(w.host), false); return nil }},
	{"a page for everything", func(w *world) []string {
		w.files.set(text("<html>welcome</html>"))
		w.verify(w.file(w.host), false)
		return nil
	}},
	{"a page that repeats what it was asked for", func(w *world) []string {
		w.files.set(func(rw http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(rw, r.URL, r.Header) })
		w.verify(w.file(w.host), false)
		return nil
	}},
	{"the token among other words in a file", func(w *world) []string {
		p := w.file(w.host)
		w.files.set(text("comment: " + p.GetToken()))
		w.verify(p, false)
		return nil
	}},
	{"the token behind what is read of a file", func(w *world) []string {
		p := w.file(w.host)
		w.files.set(text(strings.Repeat(" ", 5000) + p.GetToken()))
		w.verify(p, false)
		return nil
	}},
	{"the token on an error page", func(w *world) []string {
		p := w.file(w.host)
		w.files.set(func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, p.GetToken(), http.StatusForbidden) })
		w.verify(p, false)
		return nil
	}},
	{"a redirect to another host", func(w *world) []string {
		p := w.file(w.host)
		w.zone.set("attacker."+w.host, "A "+w.address)
		w.files.set(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Host, "attacker.") {
				text(p.GetToken())(rw, r)
				return
			}
			redirect("http://attacker."+w.host+":"+proofPort+"/token")(rw, r)
		})
		w.verify(p, false)
		return nil
	}},
	{"a redirect to another port, where anybody may serve", func(w *world) []string {
		p := w.file(w.host)
		serve(w.t, w.address+":8098").set(text(p.GetToken()))
		w.files.set(redirect("http://" + w.host + ":8098/token"))
		w.verify(p, false)
		return nil
	}},
	{"a redirect to the address instead of the name", func(w *world) []string {
		p := w.file(w.host)
		w.files.set(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Host, w.address) {
				text(p.GetToken())(rw, r)
				return
			}
			redirect("http://"+w.address+":"+proofPort+"/token")(rw, r)
		})
		w.verify(p, false)
		return nil
	}},
	{"redirects in a circle", func(w *world) []string {
		w.files.set(redirect("/again"))
		w.verify(w.file(w.host), false)
		return nil
	}},
	{"the file proves the host and not what is below", func(w *world) []string {
		w.provenByFile()
		return []string{"www." + w.host}
	}},

	// Proofs that were.
	{"the record was deleted", func(w *world) []string {
		w.proven()
		w.zone.set(w.label())
		w.age(w.host, aDay)
		return nil
	}},
	{"the record was replaced", func(w *world) []string {
		w.proven()
		w.zone.set(w.label(), "TXT riskprofiler-ffffffffffffffffffffffffffffffff")
		w.age(w.host, aDay)
		return nil
	}},
	{"the record became an alias", func(w *world) []string {
		p := w.proven()
		w.zone.set(w.label(), "CNAME new-owner.test.")
		w.zone.set("new-owner.test", "TXT "+p.GetToken())
		w.age(w.host, aDay)
		return nil
	}},
	{"the record became a wildcard", func(w *world) []string {
		p := w.proven()
		w.zone.set(w.label())
		w.zone.set("*."+w.host, "TXT "+p.GetToken())
		w.age(w.host, aDay)
		return nil
	}},
	{"the domain was given up", func(w *world) []string {
		w.proven()
		w.zone.set(w.label())
		w.zone.set(w.host)
		w.zone.set("www." + w.host)
		w.age(w.host, aDay)
		return []string{w.host, "www." + w.host}
	}},
	{"the domain moved to servers that do not answer", func(w *world) []string {
		w.proven()
		w.zone.set(w.label(), "RCODE 2")
		w.age(w.host, aDay)
		return nil
	}},
	{"proven a month ago and gone since", func(w *world) []string {
		w.proven()
		w.zone.set(w.label())
		w.age(w.host, aMonth)
		return []string{w.host, "www." + w.host}
	}},
	{"a second proof that nobody looked at", func(w *world) []string {
		w.proven()
		second := w.dns(w.host)
		w.zone.set(w.label(), "TXT "+second.GetToken())
		w.age(w.host, aDay)
		return nil
	}},
	{"the file was deleted", func(w *world) []string {
		w.provenByFile()
		w.files.set(nil)
		w.age(w.host, aDay)
		return nil
	}},
	{"the file moved to another host", func(w *world) []string {
		p := w.provenByFile()
		serve(w.t, "127.67.0.1:"+proofPort).set(text(p.GetToken()))
		w.zone.set("moved."+w.host, "A 127.67.0.1")
		w.files.set(redirect("http://moved." + w.host + ":" + proofPort + "/"))
		w.age(w.host, aDay)
		return nil
	}},
	{"the host moved to an address without the file", func(w *world) []string {
		w.provenByFile()
		serve(w.t, "127.67.0.2:"+proofPort)
		w.zone.set(w.host, "A 127.67.0.2")
		w.age(w.host, aDay)
		return []string{w.host, w.address}
	}},
	{"the web server does not answer", func(w *world) []string {
		w.provenByFile()
		w.zone.set(w.host, "A 127.67.0.3")
		w.age(w.host, aDay)
		return nil
	}},
	{"the asset was deleted", func(w *world) []string {
		p := w.proven()
		w.must("acme", http.MethodDelete, "/v1/"+strings.Split(p.GetName(), "/proofs/")[0], nil, nil)
		return []string{w.host, "www." + w.host}
	}},
	{"the asset was deleted and added again", func(w *world) []string {
		p := w.proven()
		w.must("acme", http.MethodDelete, "/v1/"+strings.Split(p.GetName(), "/proofs/")[0], nil, nil)
		w.asset("acme", w.host)
		return nil
	}},
	{"an attestation that ended", func(w *world) []string {
		w.attested(w.host)
		w.age(w.host, aMonth)
		return nil
	}},

	// What is somebody else's although something is proven.
	{"a name that ends alike", func(w *world) []string {
		w.proven()
		w.zone.set("not"+w.host, "A "+w.address)
		return []string{"not" + w.host, "test"}
	}},
	{"a name that looks alike", func(w *world) []string {
		lookalike := strings.Replace(w.host, "a", "а", 1) // Cyrillic
		p := w.dns(lookalike)
		w.zone.set(p.GetLocation(), "TXT "+p.GetToken())
		w.verify(p, true)
		return nil
	}},
	{"the address behind a name that nobody assessed", func(w *world) []string {
		w.proven()
		return []string{w.address}
	}},
	{"a range around a proven address", func(w *world) []string {
		p := w.file(w.address)
		w.files.set(text(p.GetToken()))
		w.verify(p, true)
		return []string{strings.TrimSuffix(w.address, "1") + "0/30", strings.TrimSuffix(w.address, "1") + "2"}
	}},
	{"excluded", func(w *world) []string {
		w.proven()
		w.must("acme", http.MethodPost, "/v1/exclusions", map[string]any{"value": w.host}, nil)
		return []string{w.host, "www." + w.host, strings.ToUpper(w.host), w.host + "."}
	}},
	{"on the do-not-scan list", func(w *world) []string {
		w.proven()
		w.must("acme", http.MethodPost, "/v1/doNotScan", map[string]any{"value": w.host}, nil)
		return []string{w.host, "www." + w.host}
	}},
	{"the address is on the do-not-scan list", func(w *world) []string {
		w.attested(w.address)
		w.must("acme", http.MethodPost, "/v1/doNotScan", map[string]any{"value": w.address}, nil)
		return []string{w.address}
	}},
	{"stopped", func(w *world) []string {
		w.proven()
		w.must("acme", http.MethodPost, "/v1/stops", map[string]any{"target": w.host, "reason": "the case"}, nil)
		return []string{w.host, "www." + w.host}
	}},
	{"cleared for passive only", func(w *world) []string {
		p := w.proven()
		w.must("acme", http.MethodPost, "/v1/"+strings.Split(p.GetName(), "/proofs/")[0]+":grantClearance", map[string]any{"clearance": "CLEARANCE_PASSIVE", "reference": "the case"}, nil)
		return nil
	}},
}

// TestNothingWithoutProof: whatever is wrong with a proof, every way to have the target probed is refused in one line, and not one
// connection is made to it.
func TestNothingWithoutProof(t *testing.T) {
	w := start(t)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := w.on(t, i+1)
			targets := c.prepare(w)
			if len(targets) == 0 {
				targets = []string{w.host}
			}
			for _, value := range targets {
				w.refused("acme", value)
			}
			w.refused("other", targets[0])
			if n := w.visits.Load(); n != 0 {
				t.Errorf("%d connections to what nobody may probe", n)
			}
		})
	}
	if len(cases) < 30 {
		t.Errorf("%d cases, want 30", len(cases))
	}
	t.Run("what is proven is probed", func(t *testing.T) {
		w := w.on(t, len(cases)+1)
		w.proven()
		w.age(w.host, aDay) // and looked at again
		for i, err := range w.refusals("acme", w.host) {
			if err != nil {
				t.Errorf("way %d: %v", i, err)
			}
		}
		if w.visits.Load() == 0 {
			t.Error("the watchers saw nobody, also where it is permitted: nothing was tested")
		}
		a := &modelv1.Asset{}
		w.must("acme", http.MethodGet, "/v1/"+w.asset("acme", w.host).GetName(), nil, a)
		if since := time.Since(a.GetOwnership().GetCheckedAt().AsTime()); since > time.Hour {
			t.Errorf("the proof was last seen %s ago", since)
		}
	})
	// An excluded address is not reached by any name that leads there, even if the name is proven and the probe resolves it itself.
	t.Run("names that lead to what is forbidden", func(t *testing.T) {
		w := w.on(t, len(cases)+2)
		w.proven()
		w.must("acme", http.MethodPost, "/v1/exclusions", map[string]any{"value": w.address}, nil)
		for _, scanType := range []string{"TLS", "HTTP"} {
			_ = w.call("acme", http.MethodPost, "/v1/scans", map[string]any{"scanType": "SCAN_TYPE_" + scanType, "target": w.host + ":" + watchedPorts[0]}, nil)
		}
		if n := w.visits.Load(); n != 0 {
			t.Errorf("%d connections to an excluded address", n)
		}
	})
}
