// Package cloudtest stands in for the interfaces of clouds in tests: an account in which nothing is but what a test puts there, answered as
// the provider's documents say. It refuses nothing by itself: what a role may not do, a test says.
package cloudtest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Key is the secret key of the process's own credentials, one of the documents of AWS, which must be in nothing that leaves the provider.
const Key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

// AWS answers as the documents of AWS say, for one account. Answers of a test come first, then those of Next, then those of an empty account.
// It is safe for concurrent use, but for Next, which is set before the first request.
type AWS struct {
	*httptest.Server

	// Next answers what no test did; nil: an empty account.
	Next http.Handler

	mu      sync.Mutex
	calls   map[string]int
	answers map[string]http.HandlerFunc
}

// NewAWS starts one for a test, and gives the process credentials of its own. Its account has one region, eu-west-1, and one role, which
// lets in who knows the external id.
func NewAWS(t testing.TB, account, role, externalID string) *AWS {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", Key)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	f := &AWS{calls: map[string]int{}, answers: map[string]http.HandlerFunc{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	f.XML("sts GetCallerIdentity", `<GetCallerIdentityResult><Account>`+account+`</Account><Arn>arn:aws:sts::`+account+`:assumed-role/RiskProfiler/riskprofiler</Arn></GetCallerIdentityResult>`)
	f.Answer("sts AssumeRole", func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("ExternalId") != externalID || r.PostForm.Get("RoleArn") != role {
			Refuse(w, http.StatusForbidden, "AccessDenied")
			return
		}
		Write(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>`+Key+`</SecretAccessKey><SessionToken>t</SessionToken>
			<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	})
	f.XML("ec2 DescribeRegions", `<regionInfo><item><regionName>eu-west-1</regionName></item></regionInfo>`)
	return f
}

// Answer sets who answers a call: "service Operation", "service METHOD path" or "service"; nil: whoever comes after.
func (f *AWS) Answer(key string, by http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[key] = by
}

// Answers is who answers a call by the word of a test.
func (f *AWS) Answers(key string) http.HandlerFunc {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answers[key]
}

// XML sets an answer of a query service: the content of its root.
func (f *AWS) XML(key, content string) {
	_, operation, _ := strings.Cut(key, " ")
	f.Answer(key, func(w http.ResponseWriter, _ *http.Request) { WriteXML(w, operation, content) })
}

// WriteXML answers a call of a query service with the content of its root, which has the name of the operation; that of another protocol
// may have any.
func WriteXML(w http.ResponseWriter, operation, content string) {
	root := "Response"
	if !strings.Contains(operation, " ") {
		root = operation + root
	}
	Write(w, "<"+root+">"+content+"</"+root+">")
}

// JSON sets the text of an answer.
func (f *AWS) JSON(key, content string) {
	f.Answer(key, func(w http.ResponseWriter, _ *http.Request) { Write(w, content) })
}

// Refuse sets an error for a call.
func (f *AWS) Refuse(key string, status int, code string) {
	f.Answer(key, func(w http.ResponseWriter, _ *http.Request) { Refuse(w, status, code) })
}

// Count is how often a call was made.
func (f *AWS) Count(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[key]
}

// Write answers with a text.
func Write(w http.ResponseWriter, text string) { _, _ = io.WriteString(w, text) }

// Refuse answers with an error, in the words of all protocols at once.
func Refuse(w http.ResponseWriter, status int, code string) {
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

// ServeHTTP answers one call.
func (f *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	case f.Next != nil:
		w.Header().Del("X-Kind")
		f.Next.ServeHTTP(w, r)
	default:
		empty(w, service, operation)
	}
}

// empty is how a service says that there is nothing.
func empty(w http.ResponseWriter, service, operation string) {
	switch {
	case service == "s3" && strings.HasSuffix(operation, "?publicAccessBlock"):
		Refuse(w, http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration")
	case service == "s3" && strings.HasSuffix(operation, "?policy"):
		Refuse(w, http.StatusNotFound, "NoSuchBucketPolicy")
	case service == "s3" && strings.HasSuffix(operation, "?website"):
		Refuse(w, http.StatusNotFound, "NoSuchWebsiteConfiguration")
	case service == "s3" && strings.HasPrefix(operation, "HEAD"):
		w.WriteHeader(http.StatusNotFound)
	case service == "s3-control":
		Refuse(w, http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration")
	case w.Header().Get("X-Kind") == "json":
		Write(w, "{}")
	case !strings.Contains(operation, " "): // the query protocol
		WriteXML(w, operation, "<"+operation+"Result></"+operation+"Result>")
	default:
		WriteXML(w, operation, "")
	}
}
