package consent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/test"
)

// proofPort is where files are looked for: nobody counts there, for looking at a proof is no probing.
const proofPort = "8099"

// watchedPorts are those that a scan would ask.
var watchedPorts = []string{"8080", "8443", "2222"}

// world is the platform with two tenants, a name server and one case's host.
type world struct {
	t        *testing.T
	platform *test.Platform
	table    *table.Table
	zone     *zone
	files    *files
	keys     map[string]string
	visits   *atomic.Int64
	// host is the case's own name, address where its names lead, other a second address of the case.
	host, address string
}

// start starts the platform and the name server.
func start(t *testing.T) *world {
	t.Helper()
	z := newZone(t)
	p := test.InProcess(t, test.Options{Resolver: z.address, Settings: map[string]string{"RISKPROFILER_PROOF_PORT": proofPort}})
	db, err := sqlitetable.Open(t.Context(), sqlitetable.Options{Path: filepath.Join(p.Data, "tables.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{t: t, platform: p, zone: z, keys: map[string]string{"acme": p.Key}, table: table.New(db.Table("ingest"), table.Options{Name: "ingest"})}
	w.must("acme", http.MethodPost, "/v1/tenants?tenant_id=other", map[string]any{"displayName": "Other"}, nil)
	key := &accessv1.CreateKeyResponse{}
	w.must("acme", http.MethodPost, "/v1/keys", map[string]any{"tenant": "tenants/other", "roles": []string{"ROLE_ADMIN"}}, key)
	w.keys["other"] = key.GetSecret()
	return w
}

// on is the world of one case: with a host, an address and counters of its own.
func (w *world) on(t *testing.T, n int) *world {
	t.Helper()
	out := *w
	out.t, out.host, out.address = t, fmt.Sprintf("case%d.test", n), fmt.Sprintf("127.66.%d.1", n)
	out.visits = watch(t, out.address)
	out.files = serve(t, out.address+":"+proofPort)
	w.zone.set(out.host, "A "+out.address)
	w.zone.set("www."+out.host, "A "+out.address)
	return &out
}

func (w *world) call(tenant, method, path string, in any, out proto.Message) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	_, err := w.platform.Call(ctx, w.keys[tenant], method, path, in, out)
	return err
}

func (w *world) must(tenant, method, path string, in any, out proto.Message) {
	w.t.Helper()
	if err := w.call(tenant, method, path, in, out); err != nil {
		w.t.Fatal(err)
	}
}

// asset adds a value as a seed of a tenant.
func (w *world) asset(tenant, value string) *modelv1.Asset {
	w.t.Helper()
	a := &modelv1.Asset{}
	w.must(tenant, http.MethodPost, "/v1/assets", map[string]any{"value": value}, a)
	return a
}

// challenge is a new proof of an asset.
func (w *world) challenge(tenant, value string, m ingestv1.ProofMethod) *ingestv1.Proof {
	w.t.Helper()
	p := &ingestv1.Proof{}
	w.must(tenant, http.MethodPost, "/v1/"+w.asset(tenant, value).GetName()+"/proofs", map[string]any{"method": m.String()}, p)
	return p
}

func (w *world) dns(value string) *ingestv1.Proof {
	w.t.Helper()
	return w.challenge("acme", value, ingestv1.ProofMethod_PROOF_METHOD_DNS_TXT)
}

func (w *world) file(value string) *ingestv1.Proof {
	w.t.Helper()
	return w.challenge("acme", value, ingestv1.ProofMethod_PROOF_METHOD_HTTP_FILE)
}

// label is where the DNS proof of the case's host stands.
func (w *world) label() string { return "_riskprofiler-challenge." + w.host }

// verify looks at a proof, which has to be there or not.
func (w *world) verify(p *ingestv1.Proof, want bool) {
	w.t.Helper()
	w.verifyAs("acme", p, want)
}

func (w *world) verifyAs(tenant string, p *ingestv1.Proof, want bool) {
	w.t.Helper()
	got := &ingestv1.Proof{}
	w.must(tenant, http.MethodPost, "/v1/"+p.GetName()+":verify", map[string]any{}, got)
	if got.GetVerified() != want || want == (got.GetProblem() != "") {
		w.t.Fatalf("the proof is verified: %v, want %v: %s", got.GetVerified(), want, got.GetProblem())
	}
}

// proven is the case's host, proven by DNS.
func (w *world) proven() *ingestv1.Proof {
	w.t.Helper()
	p := w.dns(w.host)
	w.zone.set(w.label(), "TXT "+p.GetToken())
	w.verify(p, true)
	return p
}

// provenByFile is the case's host, proven by a file.
func (w *world) provenByFile() *ingestv1.Proof {
	w.t.Helper()
	p := w.file(w.host)
	w.files.set(text(p.GetToken()))
	w.verify(p, true)
	return p
}

func text(body string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(body)) }
}

func redirect(to string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, to, http.StatusFound) }
}

// attested is a value of the case that an operator attested.
func (w *world) attested(value string) *modelv1.Asset {
	w.t.Helper()
	a := w.asset("acme", value)
	w.must("acme", http.MethodPost, "/v1/"+a.GetName()+":attest", map[string]any{"reason": "the case"}, nil)
	return a
}

// age makes the stored ownership of an asset older, as if that much time had passed.
func (w *world) age(value string, by time.Duration) {
	w.t.Helper()
	t, err := target.Parse(value)
	if err != nil {
		w.t.Fatal(err)
	}
	name := assetid.Name(int32(t.Kind), t.Value)
	key := table.Key{Partition: "T#acme#A#" + strings.TrimPrefix(name, "assets/"), Sort: "ASSET"}
	for {
		item, err := w.table.Get(w.t.Context(), key)
		if err != nil {
			w.t.Fatal(err)
		}
		a, err := protoitem.Decode(item, &modelv1.Asset{})
		if err != nil {
			w.t.Fatal(err)
		}
		o := a.GetOwnership()
		for _, at := range []*timestamppb.Timestamp{o.GetVerifiedAt(), o.GetCheckedAt(), o.GetExpiresAt()} {
			if at != nil {
				at.Seconds -= int64(by / time.Second)
			}
		}
		aged, err := protoitem.New(key, a)
		if err != nil {
			w.t.Fatal(err)
		}
		aged.Indexes = item.Indexes
		if err := w.table.Write(w.t.Context(), table.Write{Item: aged, If: table.Condition(item.Revision)}); err == nil {
			return
		}
	}
}

// refusals are the errors of all ways to have a target probed: an assessment, a plan, and scans asked for directly.
func (w *world) refusals(tenant, value string) []error {
	out := []error{
		w.call(tenant, http.MethodPost, "/v1/assessments", map[string]any{"targets": []string{value}, "ports": strings.Join(watchedPorts, ",")}, nil),
	}
	for _, scanType := range []string{"PORT", "SERVICE", "TLS", "HTTP", "DNS"} {
		out = append(out, w.call(tenant, http.MethodPost, "/v1/scans", map[string]any{
			"scanType": "SCAN_TYPE_" + scanType, "target": value + ":" + watchedPorts[0], "ports": strings.Join(watchedPorts, ","),
		}, nil))
	}
	return append(out, w.call(tenant, http.MethodPost, "/v1/plans", map[string]any{"cron": "0 3 * * *", "seeds": []string{value}}, nil))
}

// refused fails unless a target is refused in every way, in one clear line.
func (w *world) refused(tenant, value string) {
	w.t.Helper()
	for i, err := range w.refusals(tenant, value) {
		var s *test.Status
		if !errors.As(err, &s) || s.HTTP != http.StatusBadRequest || s.Message == "" || strings.Contains(s.Message, "\n") {
			w.t.Errorf("way %d to probe %s: %v", i, value, err)
		}
	}
}
