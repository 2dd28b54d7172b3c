package badinput

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
)

// inside is what no answer may have: Go's types and values, files of ours, SQL, stacks.
var inside = regexp.MustCompile(`(?i)\*?(fault|proto|json|http|errors)\.[A-Z][a-zA-Z]+\b|/(tmp|work|root|home|usr|var)/|\.go:\d|\.db\b|goroutine |panic|runtime error|sqlite|\b(select|insert|update) .*\b(from|into|set)\b|0x[0-9a-f]{6,}|<nil>|%!|interface \{\}|strconv|unmarshal`)

// answer is google.rpc.Status as REST shows it.
type answer struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Details []struct {
		Type            string `json:"@type"`
		FieldViolations []struct {
			Field, Description string
		} `json:"fieldViolations"`
	} `json:"details"`
}

func (a answer) fields() (fields []string) {
	for _, d := range a.Details {
		for _, v := range d.FieldViolations {
			if d.Type == "type.googleapis.com/google.rpc.BadRequest" && v.Description != "" {
				fields = append(fields, v.Field)
			}
		}
	}
	return fields
}

type bad struct {
	name, method, path, body string
	header                   http.Header
	keyless                  bool
	status                   int
	code                     codes.Code
	// field is what google.rpc.BadRequest names; says is in the message.
	field, says string
}

func badRequests() []bad {
	const id = "assets/aaaaaaaaaaaaaaaa"
	return []bad{
		{name: "page size that is no number", method: "GET", path: "/v1/assets?pageSize=many", status: 400, code: codes.InvalidArgument},
		{name: "unknown parameter", method: "GET", path: "/v1/assets?colour=red", status: 400, code: codes.InvalidArgument},
		{name: "10 MiB", method: "POST", path: "/v1/assessments", body: `{"targets":["` + strings.Repeat("a", 10<<20) + `"]}`, status: 413},
		{name: "method not allowed", method: "DELETE", path: "/v1/assets", status: 405},
		{name: "method not allowed beside the API", method: "POST", path: "/openapi.json", body: `{}`, status: 405},
		{name: "unknown field", method: "POST", path: "/v1/assessments", body: `{"targets":["example.com"],"colour":"red"}`, status: 400, code: codes.InvalidArgument, says: "colour"},
		{name: "wrong type", method: "POST", path: "/v1/assessments", body: `{"targets":7}`, status: 400, code: codes.InvalidArgument, says: "line 1:12"},
		{name: "no JSON", method: "POST", path: "/v1/assessments", body: `targets=example.com`, status: 400, code: codes.InvalidArgument},
		{name: "half of JSON", method: "POST", path: "/v1/assessments", body: `{"targets":["exa`, status: 400, code: codes.InvalidArgument},
		{name: "invalid UTF-8", method: "POST", path: "/v1/assessments", body: "{\"targets\":[\"\xff\xfe\"]}", status: 400, code: codes.InvalidArgument},
		// 200 KB: of more than 256 KiB that a refusal left unread, net/http resets the connection, and the answer may be lost on its way.
		{name: "deeply nested", method: "POST", path: "/v1/assessments", body: strings.Repeat(`{"a":`, 40_000), status: 400, code: codes.InvalidArgument},
		{name: "missing field", method: "POST", path: "/v1/assessments", body: `{}`, status: 400, code: codes.InvalidArgument, field: "targets", says: "targets"},
		{name: "empty item", method: "POST", path: "/v1/assessments", body: `{"targets":["example.com",""]}`, status: 400, code: codes.InvalidArgument, field: "targets[1]"},
		{name: "malformed target", method: "POST", path: "/v1/assessments", body: `{"targets":["not a name"]}`, status: 400, code: codes.InvalidArgument, says: "not a name"},
		{name: "unknown enum", method: "POST", path: "/v1/assessments", body: `{"targets":["example.com"],"profile":"PROFILE_WILD"}`, status: 400, code: codes.InvalidArgument, says: "profile"},
		{name: "enum out of range", method: "POST", path: "/v1/assessments", body: `{"targets":["example.com"],"profile":99}`, status: 400, code: codes.InvalidArgument, field: "profile"},
		{name: "malformed ports", method: "POST", path: "/v1/assessments", body: `{"targets":["example.com"],"ports":"80-x"}`, status: 400, code: codes.InvalidArgument, says: "ports"},
		{name: "missing reason", method: "POST", path: "/v1/" + id + ":attest", body: `{}`, status: 400, code: codes.InvalidArgument, field: "reason"},
		{name: "malformed name", method: "GET", path: "/v1/assets/NO_SUCH%20FORM", status: 400, code: codes.InvalidArgument, field: "name"},
		{name: "name with a zero byte", method: "GET", path: "/v1/assets/a%00b", status: 400, code: codes.InvalidArgument, field: "name"},
		{name: "absent asset", method: "GET", path: "/v1/" + id, status: 404, code: codes.NotFound, says: "asset"},
		{name: "absent report", method: "GET", path: "/v1/reports/aaaaaaaaaaaaaaaa", status: 404, code: codes.NotFound, says: "report"},
		{name: "filter by unknown field", method: "GET", path: "/v1/assets?filter=colour%20%3D%20red", status: 400, code: codes.InvalidArgument, says: "colour"},
		{name: "filter that is SQL", method: "GET", path: "/v1/risks?filter=1%3D1%20OR%20%27a%27%3D%27a", status: 400, code: codes.InvalidArgument, says: "filter"},
		{name: "too long filter", method: "GET", path: "/v1/assets?filter=" + strings.Repeat("a", 2000), status: 400, code: codes.InvalidArgument, field: "filter"},
		{name: "foreign page token of assets", method: "GET", path: "/v1/assets?pageToken=bm90IG91cnM", status: 400, code: codes.InvalidArgument, says: "page token"},
		{name: "page token that is no base64", method: "GET", path: "/v1/risks?pageToken=%21%21", status: 400, code: codes.InvalidArgument, says: "page token"},
		{name: "foreign page token of plans", method: "GET", path: "/v1/plans?pageToken=bm90IG91cnM", status: 400, code: codes.InvalidArgument, says: "page token"},
		{name: "negative page size", method: "GET", path: "/v1/assets?pageSize=-1", status: 400, code: codes.InvalidArgument, field: "page_size"},
		{name: "no key", method: "GET", path: "/v1/assets", keyless: true, status: 401, code: codes.Unauthenticated, says: "API key"},
		{name: "wrong key", method: "GET", path: "/v1/assets", keyless: true, header: http.Header{"Authorization": {"Bearer rp_aaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}}, status: 401, code: codes.Unauthenticated, says: "API key"},
		{name: "key of another scheme", method: "GET", path: "/v1/assets", keyless: true, header: http.Header{"Authorization": {"Basic YTpi"}}, status: 401, code: codes.Unauthenticated, says: "API key"},
		{name: "two keys", method: "GET", path: "/v1/assets", header: http.Header{"X-Api-Key": {"rp_x"}}, status: 401, code: codes.Unauthenticated},
		{name: "unknown path of the API", method: "GET", path: "/v1/nothing", status: 404, code: codes.NotFound},
		{name: "unknown path", method: "GET", path: "/admin.php", status: 404, code: codes.NotFound, says: "openapi.json"},
		{name: "path upwards", method: "GET", path: "/v1/assets/..%2f..%2fetc%2fpasswd", status: 404, code: codes.NotFound},
	}
}

// TestREST sends what is wrong over REST.
func TestREST(t *testing.T) {
	address, key := platform(t)
	for _, b := range badRequests() {
		t.Run(b.name, func(t *testing.T) {
			status, raw := send(t, address, key, b)
			if status != b.status {
				t.Errorf("status %d, want %d: %s", status, b.status, short(raw))
			}
			checkAnswer(t, b, raw)
		})
	}
	t.Run("huge header", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/v1/assets", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Big", strings.Repeat("a", 1<<20))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return // the server hangs up in the middle of the header: the answer may or may not be read before
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("status %d", res.StatusCode)
		}
	})
	if status, raw := send(t, address, key, bad{method: "GET", path: "/v1/whoami"}); status != http.StatusOK {
		t.Errorf("after all of it: status %d: %s", status, short(raw))
	}
}

func send(t *testing.T, address, key string, b bad) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), b.method, "http://"+address+b.path, strings.NewReader(b.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range b.header {
		req.Header[name] = values
	}
	if !b.keyless {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, raw
}

func checkAnswer(t *testing.T, b bad, raw []byte) {
	t.Helper()
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		t.Fatalf("no google.rpc.Status: %v: %s", err, short(raw))
	}
	if a.Message == "" || strings.Contains(a.Message, "\n") {
		t.Errorf("message %q", a.Message)
	}
	if b.code != 0 && codes.Code(a.Code) != b.code {
		t.Errorf("code %v, want %v: %s", codes.Code(a.Code), b.code, short(raw))
	}
	if a.Code == 0 {
		t.Errorf("code 0 in %s", short(raw))
	}
	if b.field != "" && !slices.Contains(a.fields(), b.field) {
		t.Errorf("field violations of %q, want %q: %s", a.fields(), b.field, short(raw))
	}
	if !strings.Contains(strings.ToLower(a.Message), strings.ToLower(b.says)) {
		t.Errorf("message %q does not say %q", a.Message, b.says)
	}
	if found := inside.Find(raw); found != nil {
		t.Errorf("the answer shows the inside (%s): %s", found, short(raw))
	}
	if len(raw) > 8<<10 {
		t.Errorf("the answer has %d bytes", len(raw))
	}
}

func short(raw []byte) string { return string(bytes.TrimSpace(raw[:min(len(raw), 600)])) }

// TestGRPC sends what is wrong over gRPC.
func TestGRPC(t *testing.T) {
	address, key := platform(t)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	with := func(key string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+key)
	}
	assets, assessments := ingestv1.NewIngestServiceClient(conn), schedulerv1.NewSchedulerServiceClient(conn)
	ok := with(key)
	for _, c := range []struct {
		name  string
		code  codes.Code
		field string
		call  func() error
	}{
		{"missing field", codes.InvalidArgument, "targets", func() error {
			_, err := assessments.CreateAssessment(ok, &schedulerv1.CreateAssessmentRequest{})
			return err
		}},
		{"malformed name", codes.InvalidArgument, "name", func() error {
			_, err := assets.GetAsset(ok, &ingestv1.GetAssetRequest{Name: "assets/../x"})
			return err
		}},
		{"invalid filter", codes.InvalidArgument, "", func() error {
			_, err := assets.ListAssets(ok, &ingestv1.ListAssetsRequest{Filter: "colour = red"})
			return err
		}},
		{"invalid page token", codes.InvalidArgument, "", func() error {
			_, err := assets.ListAssets(ok, &ingestv1.ListAssetsRequest{PageToken: "not ours"})
			return err
		}},
		{"10 MiB", codes.ResourceExhausted, "", func() error {
			_, err := assets.ListAssets(ok, &ingestv1.ListAssetsRequest{Filter: strings.Repeat("a", 10<<20)})
			return err
		}},
		{"absent", codes.NotFound, "", func() error {
			_, err := assets.GetAsset(ok, &ingestv1.GetAssetRequest{Name: "assets/aaaaaaaaaaaaaaaa"})
			return err
		}},
		{"no key", codes.Unauthenticated, "", func() error {
			_, err := assets.ListAssets(t.Context(), &ingestv1.ListAssetsRequest{})
			return err
		}},
		{"wrong key", codes.Unauthenticated, "", func() error {
			_, err := assets.ListAssets(with("rp_aaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbb"), &ingestv1.ListAssetsRequest{})
			return err
		}},
		{"unknown method", codes.Unimplemented, "", func() error {
			return conn.Invoke(ok, "/riskprofiler.ingest.v1.IngestService/Nothing", &emptypb.Empty{}, &emptypb.Empty{})
		}},
		{"method that is not exposed", codes.PermissionDenied, "", func() error {
			_, err := assets.SubmitResult(ok, &ingestv1.SubmitResultRequest{})
			return err
		}},
		{"watch of what is absent", codes.NotFound, "", func() error {
			stream, err := assessments.WatchAssessment(ok, &schedulerv1.WatchAssessmentRequest{Name: "assessments/aaaaaaaaaaaaaaaa"})
			if err != nil {
				return err
			}
			_, err = stream.Recv()
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) { checkStatus(t, c.call(), c.code, c.field) })
	}
	t.Run("huge header", func(t *testing.T) {
		_, err := assets.ListAssets(metadata.AppendToOutgoingContext(ok, "x-big", strings.Repeat("a", 1<<20)), &ingestv1.ListAssetsRequest{})
		if err == nil || inside.MatchString(status.Convert(err).Message()) {
			t.Errorf("got %v", err)
		}
	})
	if _, err := accessv1.NewAccessServiceClient(conn).WhoAmI(ok, &accessv1.WhoAmIRequest{}); err != nil {
		t.Errorf("after all of it: %v", err)
	}
}

func checkStatus(t *testing.T, err error, want codes.Code, field string) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != want {
		t.Errorf("code %v, want %v: %s", s.Code(), want, s.Message())
	}
	if s.Message() == "" || inside.MatchString(s.Message()) {
		t.Errorf("message %q", s.Message())
	}
	var fields []string
	for _, d := range s.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				fields = append(fields, v.GetField())
			}
		}
	}
	if field != "" && !slices.Contains(fields, field) {
		t.Errorf("field violations of %q, want %q", fields, field)
	}
}
