package aws_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws"
)

const (
	account    = "123456789012"
	externalID = "rp-7f3a"
	role       = "arn:aws:iam::" + account + ":role/RiskProfiler"
	// secretKey is what must be in nothing that leaves the provider.
	secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// fakeAWS answers as the documents of AWS say, for an account in which nothing is but what a test puts there.
type fakeAWS struct {
	*httptest.Server

	mu      sync.Mutex
	calls   map[string]int
	answers map[string]http.HandlerFunc // by "service Operation" or "service METHOD path"
	next    http.Handler                // who answers the rest; nil: an empty account
}

func newFake(t *testing.T) *fakeAWS {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	f := &fakeAWS{calls: map[string]int{}, answers: map[string]http.HandlerFunc{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	f.xml("sts GetCallerIdentity", `<GetCallerIdentityResult><Account>`+account+`</Account><Arn>arn:aws:sts::`+account+`:assumed-role/RiskProfiler/riskprofiler</Arn></GetCallerIdentityResult>`)
	f.answers["sts AssumeRole"] = func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("ExternalId") != externalID || r.PostForm.Get("RoleArn") != role {
			refuse(w, http.StatusForbidden, "AccessDenied")
			return
		}
		body(w, `<R><AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>`+secretKey+`</SecretAccessKey><SessionToken>t</SessionToken>
			<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></R>`)
	}
	f.xml("ec2 DescribeRegions", `<regionInfo><item><regionName>eu-west-1</regionName></item></regionInfo>`)
	return f
}

// xml sets an answer of a query service: the content of its root.
func (f *fakeAWS) xml(key, content string) {
	f.answers[key] = func(w http.ResponseWriter, _ *http.Request) { body(w, "<R>"+content+"</R>") }
}

func (f *fakeAWS) json(key, content string) {
	f.answers[key] = func(w http.ResponseWriter, _ *http.Request) { body(w, content) }
}

// refuse sets an error for a call, in the words of all protocols at once.
func (f *fakeAWS) refuse(key string, status int, code string) {
	f.answers[key] = func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, code) }
}

func body(w http.ResponseWriter, text string) { _, _ = io.WriteString(w, text) }

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Amzn-ErrorType", code)
	if r := w.Header().Get("X-Kind"); r == "json" {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"__type":%q,"message":"User arn:aws:sts::1:assumed-role/us is not authorized"}`, code)
		return
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `<Response><Errors><Error><Code>%[1]s</Code><Message>not authorized</Message></Error></Errors><Error><Code>%[1]s</Code><Message>not authorized</Message></Error><Code>%[1]s</Code></Response>`, code)
}

// operationOf names what is asked for.
func operationOf(r *http.Request) (service, operation string) {
	host := r.Host
	service, _, _ = strings.Cut(host, ".")
	switch {
	case strings.HasPrefix(host, "api.ecr-public"):
		service = "ecr-public"
	case strings.HasPrefix(host, "api.ecr"):
		service = "ecr"
	case strings.Contains(host, ".s3-control."):
		service = "s3-control"
	case strings.Contains(host, ".s3.") || strings.HasPrefix(host, "s3."):
		service = "s3"
	}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return service, target[strings.LastIndexByte(target, '.')+1:]
	}
	if action := r.PostForm.Get("Action"); action != "" {
		return service, action
	}
	if at := strings.LastIndex(r.URL.Path, "/operation/"); at >= 0 { // Smithy RPC v2
		return service, r.URL.Path[at+len("/operation/"):]
	}
	operation = r.Method + " " + r.URL.Path
	if service == "s3" {
		bucket, _, _ := strings.Cut(host, ".s3.")
		if strings.HasPrefix(host, "s3.") { // names with dots stand in the path
			bucket = strings.Trim(r.URL.Path, "/")
		}
		query := r.URL.RawQuery
		query, _, _ = strings.Cut(query, "&")
		operation = r.Method + " " + bucket + "?" + strings.TrimSuffix(query, "=")
	}
	return service, operation
}

func (f *fakeAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(raw)))
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		r.PostForm, _ = url.ParseQuery(string(raw))
	}
	service, operation := operationOf(r)
	key := service + " " + operation
	f.mu.Lock()
	f.calls[key]++
	answer := f.answers[key]
	if answer == nil {
		answer = f.answers[service]
	}
	f.mu.Unlock()
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-amz-json") || strings.Contains("lambda eks kafka mq es apigateway", service) {
		w.Header().Set("X-Kind", "json")
	}
	switch {
	case answer != nil:
		answer(w, r)
	case f.next != nil:
		w.Header().Del("X-Kind")
		f.next.ServeHTTP(w, r)
	default:
		empty(w, service, operation)
	}
}

// empty is how a service says that there is nothing.
func empty(w http.ResponseWriter, service, operation string) {
	switch {
	case service == "s3" && strings.HasSuffix(operation, "?publicAccessBlock"):
		refuse(w, http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration")
	case service == "s3" && strings.HasSuffix(operation, "?policy"):
		refuse(w, http.StatusNotFound, "NoSuchBucketPolicy")
	case service == "s3" && strings.HasSuffix(operation, "?website"):
		refuse(w, http.StatusNotFound, "NoSuchWebsiteConfiguration")
	case service == "s3" && strings.HasPrefix(operation, "HEAD"):
		w.WriteHeader(http.StatusNotFound)
	case service == "s3-control":
		refuse(w, http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration")
	case w.Header().Get("X-Kind") == "json":
		body(w, "{}")
	case !strings.Contains(operation, " "): // the query protocol
		body(w, "<R><"+operation+"Result></"+operation+"Result></R>")
	default:
		body(w, "<R></R>")
	}
}

func (f *fakeAWS) count(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[key]
}

func (f *fakeAWS) env() probes.Env {
	return probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true}), Cloud: probes.CloudSettings{URLs: map[string]string{"aws": f.URL}}}
}

// inventory reads the account, by type and name.
func (f *fakeAWS) inventory(t *testing.T) (map[string]cloud.Resource, []cloud.Gap) {
	t.Helper()
	out := map[string]cloud.Resource{}
	gaps, err := aws.New().Inventory(t.Context(), f.env(), account, &modelv1.CloudAccess{Role: role, ExternalId: externalID}, func(r cloud.Resource) error {
		out[r.Fact.GetType()+" "+r.Fact.GetName()] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, gaps
}

// quoted is a text as JSON has it.
func quoted(text string) string {
	out, _ := json.Marshal(text)
	return string(out)
}
