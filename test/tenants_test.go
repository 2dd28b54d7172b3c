package test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/lab"
)

// contracts is where all our contracts lie.
const contracts = "riskprofiler."

// id is the last part of a resource name.
func id(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// nobodys are objects that never existed, in the form of those that do.
var nobodys = objects{
	tenant: "tenants/nobody", key: "keys/0000000000000000", host: "never.nobody.test", asset: "assets/aaaaaaaaaaaaaaaaaaaa",
	proof: "assets/aaaaaaaaaaaaaaaaaaaa/proofs/00000000000000000000000000000000", exclusion: "exclusions/00000000000000000000000000000000",
	plan: "plans/00000000000000000000000000000000", assessment: "assessments/00000000000000000000000000000000",
	job: "00000000000000000000000000000000", finding: "findings/00000000000000000000000000000000",
	risk: "risks/00000000000000000000000000000000", report: "reports/00000000000000000000000000000000", queue: "queues/nothing",
	stop: "stops/t-00000000000000000000000000", entry: "doNotScan/aaaaaaaaaaaaaaaaaaaa",
	imported: "imports/00000000000000000000000000000000", provider: "securitytrails", check: "checks/custom/nobodys",
}

// TestTenants: whatever method a tenant calls with the names of another tenant's objects, the answer is the one for objects
// that never existed: same status, same words, same content.
func TestTenants(t *testing.T) {
	l := StartLab(t, "127.60.4.0/24", lab.Options{})
	p := InProcess(t, Options{Resolver: l.Resolver()})
	theirs := p.populate(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+p.otherTenant(t))
	conn, err := grpc.NewClient(p.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	left := maps.Clone(methods)
	descriptors := allMethods()
	// What creates objects of the caller's own comes last.
	slices.SortStableFunc(descriptors, func(a, b protoreflect.MethodDescriptor) int {
		return order(methods[short(a)]) - order(methods[short(b)])
	})
	for _, d := range descriptors {
		m, ok := methods[short(d)]
		delete(left, short(d))
		if !ok {
			t.Errorf("%s is not covered: add it to methods", d.FullName())
			continue
		}
		t.Run(short(d), func(t *testing.T) {
			never, got := ask(ctx, t, conn, d, m, nobodys), ask(ctx, t, conn, d, m, theirs)
			if never.code != m.want {
				t.Errorf("for objects of nobody: %s, want %s", never, m.want)
			}
			if got != never {
				t.Errorf("the tenant can tell another's objects from none:\nnobody's:  %s\nanother's: %s", never, got)
			}
		})
	}
	for name := range left {
		t.Errorf("%s is in methods and in no contract", name)
	}
	p.checkUntouched(t, theirs)
}

func order(m method) int {
	if m.creates {
		return 1
	}
	return 0
}

// allMethods are the methods of all contracts, by name.
func allMethods() []protoreflect.MethodDescriptor {
	var out []protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				if strings.HasPrefix(string(s.FullName()), contracts) {
					out = append(out, s.Methods().Get(j))
				}
			}
		}
		return true
	})
	slices.SortFunc(out, func(a, b protoreflect.MethodDescriptor) int { return strings.Compare(short(a), short(b)) })
	return out
}

func short(d protoreflect.MethodDescriptor) string {
	return strings.TrimPrefix(string(d.Parent().FullName()), contracts) + "/" + string(d.Name())
}

// answer is all that a caller learns, with the names they asked for taken out.
type answer struct {
	code          codes.Code
	text, content string
}

func (a answer) String() string { return fmt.Sprintf("%s %q %s", a.code, a.text, a.content) }

// ownName is the name of an object in JSON.
var ownName = regexp.MustCompile(`"name":"[^"]*",?`)

// ask calls a method for objects.
func ask(ctx context.Context, t *testing.T, conn *grpc.ClientConn, d protoreflect.MethodDescriptor, m method, o objects) answer {
	t.Helper()
	path := "/" + string(d.Parent().FullName()) + "/" + string(d.Name())
	output, err := protoregistry.GlobalTypes.FindMessageByName(d.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	out := output.New().Interface()
	if d.IsStreamingServer() {
		err = first(ctx, conn, path, m.request(o), out)
	} else {
		err = conn.Invoke(ctx, path, m.request(o), out)
	}
	s := status.Convert(err)
	a := answer{code: s.Code(), text: o.anonymise(s.Message())}
	for _, detail := range s.Details() {
		a.text += o.anonymise(fmt.Sprint(detail))
	}
	if s.Code() == codes.OK {
		forget(out.ProtoReflect())
		a.content = o.anonymise(canonical(out))
	}
	if m.creates { // the name of what is now the caller's own
		a.content = ownName.ReplaceAllString(a.content, "")
	}
	return a
}

// first receives the first message of a stream.
func first(ctx context.Context, conn *grpc.ClientConn, path string, in, out proto.Message) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(in); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(out)
}

// anonymise replaces the names of the objects by their kinds, the longest first.
func (o objects) anonymise(text string) string {
	return strings.NewReplacer(
		o.proof, "PROOF", o.asset, "ASSET", o.exclusion, "EXCLUSION", o.plan, "PLAN", o.assessment, "ASSESSMENT", o.finding, "FINDING",
		o.risk, "RISK", o.report, "REPORT", o.key, "KEY", o.tenant, "TENANT", o.queue, "QUEUE", o.stop, "STOP", o.entry, "ENTRY", o.imported, "IMPORT", o.provider, "PROVIDER", o.check, "CHECK", strings.TrimPrefix(o.check, "checks/"), "CHECK-ID", o.host, "HOST", o.job, "JOB",
	).Replace(text)
}

// populate makes one object of each kind in the first tenant.
func (p *Platform) populate(t *testing.T) objects {
	t.Helper()
	const host = "www.acme.test"
	out := p.Assess(t, []string{host}, "8080")
	o := objects{tenant: "tenants/" + Tenant, host: host, queue: "queues/results", assessment: out.Report.GetAssessment().GetName(), report: out.Report.GetReport().GetName()}
	for _, a := range out.Report.GetAssets() {
		if a.GetValue() == host {
			o.asset = a.GetName()
		}
	}
	if len(out.Report.GetFindings()) == 0 || len(out.Report.GetRisks()) == 0 || len(out.Report.GetCoverage()) == 0 {
		t.Fatalf("the assessment found nothing: %v", out.Report)
	}
	o.finding, o.risk, o.job = out.Report.GetFindings()[0].GetName(), out.Report.GetRisks()[0].GetName(), out.Report.GetCoverage()[0].GetJob()
	proof, exclusion, plan, key := &ingestv1.Proof{}, &ingestv1.Exclusion{}, &schedulerv1.Plan{}, &accessv1.CreateKeyResponse{}
	p.must(t, t.Context(), http.MethodPost, "/v1/"+o.asset+"/proofs", map[string]any{"method": "PROOF_METHOD_DNS_TXT"}, proof)
	p.must(t, t.Context(), http.MethodPost, "/v1/exclusions", map[string]any{"value": "elsewhere.acme.test"}, exclusion)
	stop, entry := &ingestv1.Stop{}, &ingestv1.DoNotScanEntry{}
	p.must(t, t.Context(), http.MethodPost, "/v1/stops", map[string]any{"target": "stopped.acme.test"}, stop)
	p.must(t, t.Context(), http.MethodPost, "/v1/doNotScan", map[string]any{"value": "forbidden.example"}, entry)
	o.stop, o.entry = stop.GetName(), entry.GetName()
	p.must(t, t.Context(), http.MethodPost, "/v1/plans", map[string]any{"cron": "0 3 * * *", "seeds": []string{host}}, plan)
	p.must(t, t.Context(), http.MethodPost, "/v1/keys", map[string]any{"roles": []string{"ROLE_VIEWER"}}, key)
	imported := &ingestv1.Import{}
	p.must(t, t.Context(), http.MethodPost, "/v1/imports", map[string]any{"file": "theirs.xml"}, imported)
	o.imported = imported.GetName()
	o.provider = "certspotter"
	p.must(t, t.Context(), http.MethodPost, "/v1/providerKeys", map[string]any{"provider": o.provider, "key": "theirs-0123456789"}, nil)
	own := &correlatorv1.Check{}
	p.must(t, t.Context(), http.MethodPost, "/v1/checks", json.RawMessage(protojson.Format(ownCheck("checks/custom/theirs-only"))), own)
	o.check = own.GetName()
	o.proof, o.exclusion, o.plan, o.key = proof.GetName(), exclusion.GetName(), plan.GetName(), key.GetKey().GetName()
	return o
}

// otherTenant makes a second tenant and returns the key of its administrator.
func (p *Platform) otherTenant(t *testing.T) string {
	t.Helper()
	p.must(t, t.Context(), http.MethodPost, "/v1/tenants?tenant_id=other", map[string]any{"displayName": "Other"}, nil)
	key := &accessv1.CreateKeyResponse{}
	p.must(t, t.Context(), http.MethodPost, "/v1/keys", map[string]any{"tenant": "tenants/other", "roles": []string{"ROLE_ADMIN"}}, key)
	return key.GetSecret()
}

// checkUntouched fails if an object of the first tenant is gone or was changed.
func (p *Platform) checkUntouched(t *testing.T, o objects) {
	t.Helper()
	for path, want := range map[string]string{
		o.tenant: `"suspended":false`, o.asset: `"criticality":0`, o.plan: `"paused":false`, o.assessment: "STATE_SUCCEEDED", o.finding: "STATE_OPEN",
		o.risk: o.risk, o.report: o.report, "keys": `"revoked":false`, "exclusions": o.exclusion, "stops": o.stop, "providerKeys": `"lastFour":"6789"`, "doNotScan": o.entry, o.asset + "/proofs": o.proof,
	} {
		raw, err := p.Call(t.Context(), p.Key, http.MethodGet, "/v1/"+path, nil, nil)
		if err != nil || !strings.Contains(compact(raw), want) || strings.Contains(compact(raw), `"revoked":true`) {
			t.Errorf("after all that, %s is %s (%v), want %s in it", path, raw, err, want)
		}
	}
}
