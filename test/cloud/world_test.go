//go:build awstest

package cloud

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"google.golang.org/protobuf/proto"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	probe "github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/cloudtest"
	"github.com/riskprofiler/riskprofiler/test"
)

const (
	region = awstest.Region
	// limit ends what hangs: many times what it takes on a busy machine.
	limit = 5 * time.Minute
)

// world is one account on moto, a platform that proved it, and what has to be found. What moto does not play is answered as the
// documents of AWS say.
type world struct {
	*cloudtest.AWS

	t        *testing.T
	account  string
	role     string
	config   sdk.Config // of somebody who may do everything in the account
	platform *test.Platform
	// truth are the findings that have to be there, by a word of the test's own for what they are about.
	truth map[string][]string
}

// forward sends requests as they would go to AWS.
type forward struct{ to *url.URL }

// RoundTrip keeps the Host, by which moto knows what is asked for.
func (f forward) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host, r.URL.Scheme, r.URL.Host = r.URL.Host, f.to.Scheme, f.to.Host
	return http.DefaultTransport.RoundTrip(r)
}

// newWorld makes an empty account and starts a platform that knows nothing of it.
func newWorld(t *testing.T, account string) *world {
	t.Helper()
	w := &world{t: t, account: account, role: "arn:aws:iam::" + account + ":role/RiskProfiler", truth: map[string][]string{}}
	w.AWS = cloudtest.NewAWS(t, account, w.role, "")
	to, err := url.Parse(awstest.Moto(t))
	if err != nil {
		t.Fatal(err)
	}
	w.Next = &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to); p.Out.Host = p.In.Host }}
	w.Answer("sts GetCallerIdentity", nil)
	w.letIn("setup")
	for _, service := range []string{"lightsail", "ecr-public"} { // moto would pass them on to AWS
		w.JSON(service, "{}")
	}
	w.JSON("wafv2 ListResourcesForWebACL", "{}")
	w.Answer("ec2 DescribeSnapshots", w.snapshots)
	w.config = sdk.Config{
		Region: region, HTTPClient: &http.Client{Transport: forward{to}}, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
	out := must(w, sts.NewFromConfig(w.config).AssumeRole)(&sts.AssumeRoleInput{RoleArn: &w.role, RoleSessionName: sdk.String("setup")})
	w.config.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
	return w
}

// letIn has the role let in who knows the external id. Moto lets everybody in, and no role that does may prove an account.
func (w *world) letIn(externalID string) {
	w.Answer("sts AssumeRole", func(rw http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("ExternalId") != externalID || r.PostForm.Get("RoleArn") != w.role {
			cloudtest.Refuse(rw, http.StatusForbidden, "AccessDenied")
			return
		}
		w.Next.ServeHTTP(rw, r)
	})
}

// must makes a call of the SDK that has to work.
func must[I, O, F any](w *world, call func(context.Context, *I, ...F) (*O, error)) func(*I) *O {
	w.t.Helper()
	return func(in *I) *O {
		w.t.Helper()
		out, err := call(w.t.Context(), in)
		if err != nil {
			w.t.Fatalf("%T: %v", in, err)
		}
		return out
	}
}

// holds declares a finding.
func (w *world) holds(about, check, asset, location string) {
	w.truth[about] = append(w.truth[about], line(check, asset, location))
}

func line(check, asset, location string) string { return check + "  " + asset + "  " + location }

// all is the truth but for what is about some things.
func (w *world) all(but ...string) []string {
	var out []string
	for about, lines := range w.truth {
		if !slices.Contains(but, about) {
			out = append(out, lines...)
		}
	}
	slices.Sort(out)
	return out
}

// warm has moto load what it plays: that takes longer than a call may, once, on a busy machine.
func (w *world) warm() {
	w.letIn("warm")
	env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true}), Cloud: probes.CloudSettings{URLs: map[string]string{"aws": w.URL}}}
	for range 3 { // what was too slow is ready at the next look
		gaps, err := aws.New().Inventory(w.t.Context(), env, w.account, &modelv1.CloudAccess{Role: w.role, ExternalId: "warm"}, func(probe.Resource) error { return nil })
		if err == nil && len(gaps) == 0 {
			return
		}
	}
}

// start starts the platform and proves the account to it.
func (w *world) start() {
	w.t.Helper()
	w.warm()
	w.platform = test.InProcess(w.t, test.Options{Settings: map[string]string{"RISKPROFILER_CLOUD_URLS": "aws=" + w.URL}})
	asset, proof := &modelv1.Asset{}, &ingestv1.Proof{}
	w.call(http.MethodPost, "/v1/assets", map[string]any{"value": "aws:" + w.account}, asset)
	w.call(http.MethodPost, "/v1/"+asset.GetName()+"/proofs", map[string]any{"method": ingestv1.ProofMethod_PROOF_METHOD_CLOUD_ROLE.String()}, proof)
	if proof.GetLocation() != w.role || proof.GetToken() == "" {
		w.t.Fatalf("the proof asks for %v", proof)
	}
	w.letIn("another tenant's")
	w.call(http.MethodPost, "/v1/"+proof.GetName()+":verify", map[string]any{}, proof)
	if proof.GetVerified() || !strings.Contains(proof.GetProblem(), "AWS refuses") || strings.Contains(proof.GetProblem(), "rpc error") {
		w.t.Fatalf("a role that does not let us in with our external id proves the account: %v", proof)
	}
	w.letIn(proof.GetToken())
	w.call(http.MethodPost, "/v1/"+proof.GetName()+":verify", map[string]any{}, proof)
	if !proof.GetVerified() {
		w.t.Fatalf("the account is not proven: %s", proof.GetProblem())
	}
}

func (w *world) call(method, path string, in any, out proto.Message) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	if _, err := w.platform.Call(ctx, w.platform.Key, method, path, in, out); err != nil {
		w.t.Fatal(err)
	}
}

// assess reads the account, and nothing else: no address and no name of it is looked at.
func (w *world) assess(want modelv1.Outcome) *reporterv1.ReportDocument {
	w.t.Helper()
	a := &schedulerv1.Assessment{}
	w.call(http.MethodPost, "/v1/assessments", map[string]any{
		"targets": []string{"aws:" + w.account}, "profile": "PROFILE_STANDARD", "scanTypes": []string{"SCAN_TYPE_CLOUD"},
	}, a)
	doc := w.platform.Finish(w.t, a.GetName()).Report
	if len(doc.GetCoverage()) != 1 {
		w.t.Fatalf("more than the account was looked at: %v", doc.GetCoverage())
	}
	if c := doc.GetCoverage()[0]; c.GetScanType() != modelv1.ScanType_SCAN_TYPE_CLOUD || c.GetOutcome() != want {
		w.t.Fatalf("%s of %s is %s, want %s: %s", c.GetScanType(), c.GetTarget().GetValue(), c.GetOutcome(), want, c.GetReason())
	}
	return doc
}

// findings are all that is known, once everything was evaluated.
func (w *world) findings() []*correlatorv1.Finding {
	w.t.Helper()
	evaluated := &correlatorv1.ReevaluateResponse{}
	for token := ""; ; token = evaluated.GetNextPageToken() {
		evaluated.Reset()
		w.call(http.MethodPost, "/v1/findings:reevaluate", map[string]any{"pageToken": token}, evaluated)
		if evaluated.GetNextPageToken() == "" {
			break
		}
	}
	var all []*correlatorv1.Finding
	for token := ""; ; {
		res := &correlatorv1.ListFindingsResponse{}
		w.call(http.MethodGet, "/v1/findings?page_size=1000&page_token="+url.QueryEscape(token), nil, res)
		all = append(all, res.GetFindings()...)
		if token = res.GetNextPageToken(); token == "" {
			return all
		}
	}
}

// compare compares the open findings of cloud checks with what has to be there.
func (w *world) compare(when string, want []string, got []*correlatorv1.Finding) {
	w.t.Helper()
	var lines []string
	for _, f := range got {
		if !strings.HasPrefix(f.GetCheck(), "cloud-") {
			w.t.Errorf("%s: %s of %s is no finding of clouds", when, f.GetCheck(), f.GetAssetValue())
		}
		if f.GetState() == correlatorv1.Finding_STATE_OPEN {
			lines = append(lines, line(f.GetCheck(), f.GetAssetValue(), f.GetLocation()))
		}
	}
	slices.Sort(lines)
	if d := test.Difference(want, lines); d != "" {
		w.t.Errorf("%s: the findings differ from the truth (- missing, + not in the truth):\n%s", when, d)
	}
}

// quoted is a text as JSON has it.
func quoted(text string) string {
	out, _ := json.Marshal(text)
	return string(out)
}
