package wire_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

// anyMetadata draws metadata as gRPC allows it: text under most names, bytes under "-bin".
func anyMetadata(t *rapid.T, label string) map[string][]string {
	texts := rapid.SliceOfN(rapid.StringMatching(`[ -~]{0,20}`), 1, 3)
	out := rapid.MapOfN(rapid.StringMatching(`[a-z0-9_.]{1,8}`), texts, 0, 3).Draw(t, label)
	for name, values := range rapid.MapOfN(rapid.StringMatching(`[a-z]{1,4}-bin`), rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 20), 1, 3), 0, 2).Draw(t, label+" binary") {
		for _, v := range values {
			out[name] = append(out[name], string(v))
		}
	}
	return out
}

func TestEnvelopeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		call := &wire.Call{
			Method: rapid.StringMatching(`/[a-z.]+/[A-Z][a-z]+`).Draw(t, "method"), Metadata: anyMetadata(t, "metadata"),
			Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		if rapid.Bool().Draw(t, "has deadline") {
			call.Deadline = time.Unix(0, rapid.Int64Range(0, 1<<61).Draw(t, "deadline")).UTC()
		}
		same(t, call, &wire.Call{})
		reply := &wire.Reply{
			Header: anyMetadata(t, "header"), Trailer: anyMetadata(t, "trailer"), Body: rapid.SliceOf(rapid.Byte()).Draw(t, "reply"),
		}
		if rapid.Bool().Draw(t, "fails") {
			reply.Status = &spb.Status{Code: rapid.Int32Range(1, 16).Draw(t, "code"), Message: rapid.String().Draw(t, "words")}
		}
		same(t, reply, &wire.Reply{})
	})
}

func same[T any](t *rapid.T, v, into T) {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, into, protocmp.Transform(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s\n(-before +after)\n%s", data, diff)
	}
}

// TestCallGolden pins the form that other programs write: a state machine, a schedule, an older
// version of ourselves.
func TestCallGolden(t *testing.T) {
	call := &wire.Call{
		Method: "/a.B/C", Metadata: map[string][]string{"k": {"v"}, "x-bin": {"\xff"}}, Body: []byte{1, 2},
		Deadline: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
	}
	const want = `{"method":"/a.B/C","metadata":{"k":["v"],"x-bin":["/w=="]},"body":"AQI=","deadline":"2026-01-02T03:04:05.000006Z"}`
	if got, err := json.Marshal(call); err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	reply := &wire.Reply{Status: &spb.Status{Code: 5, Message: "none"}, Trailer: map[string][]string{"k": {"v"}}}
	const wantReply = `{"code":"NotFound","error":"none","status":"CAUSBG5vbmU=","trailer":{"k":["v"]}}`
	if got, err := json.Marshal(reply); err != nil || string(got) != wantReply {
		t.Errorf("got  %s, %v\nwant %s", got, err, wantReply)
	}
}

// serveText serves one payload and gives the answer as JSON.
func serveText(t *testing.T, m *wire.Mux, payload string) map[string]any {
	t.Helper()
	out, err := m.ServeJSON(t.Context(), []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	var reply map[string]any
	if err := json.Unmarshal(out, &reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestServeMessageForm(t *testing.T) {
	m, _ := serve(func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if req.ResponseSize == 0 {
			return nil, fault.New(fault.NotFound, "no such plan")
		}
		md, _ := metadata.FromIncomingContext(ctx)
		return &testpb.SimpleResponse{Username: strings.Join(md.Get("k"), "+"), ServerId: "s"}, nil
	})
	reply := serveText(t, m, `{"method":"/grpc.testing.TestService/UnaryCall","message":{"responseSize":1},"metadata":{"k":["a","b"]}}`)
	want := map[string]any{ // default values are written out: the paths of a state machine need them
		"username": "a+b", "serverId": "s", "grpclbRouteType": "GRPCLB_ROUTE_TYPE_UNKNOWN", "hostname": "", "oauthScope": "",
	}
	if diff := cmp.Diff(map[string]any{"message": want}, reply); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	reply = serveText(t, m, `{"method":"/grpc.testing.TestService/UnaryCall","message":{}}`)
	if reply["code"] != "NotFound" || reply["error"] != "no such plan" || reply["message"] != nil {
		t.Errorf("got %v", reply)
	}
	reply = serveText(t, m, `{"method":"/grpc.testing.TestService/UnaryCall","message":{"hunter2":1}}`)
	if reply["code"] != "InvalidArgument" || strings.Contains(reply["error"].(string), "hunter2") {
		t.Errorf("got %v", reply)
	}
	empty, _ := serve(func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) { return nil, nil }) //nolint:nilnil // the case
	if reply = serveText(t, empty, `{"method":"/grpc.testing.TestService/UnaryCall","message":{}}`); reply["code"] != nil {
		t.Errorf("absent reply: got %v", reply)
	}
}

func TestServeWhatIsNoCall(t *testing.T) {
	ran := false
	m, _ := serve(func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		ran = true
		return &testpb.SimpleResponse{}, nil
	})
	const full = `"method":"/grpc.testing.TestService/UnaryCall"`
	for payload, want := range map[string]string{
		``: "InvalidArgument", `null`: "Unimplemented", `{}`: "Unimplemented", `[]`: "InvalidArgument", `"hunter2"`: "InvalidArgument",
		`{"Records":[]}`: "Unimplemented", `{` + full + `,"body":"hunter2!"}`: "InvalidArgument",
		`{` + full + `,"body":"AQI="}`:                                                     "Internal", // no such message
		`{` + full + `,"body":"","message":{}}`:                                            "InvalidArgument",
		`{` + full + `,"metadata":{"x-bin":["***"]}}`:                                      "InvalidArgument",
		`{` + full + `,"metadata":{"Upper":["x"]}}`:                                        "Internal",
		`{` + full + `,"deadline":"hunter2"}`:                                              "InvalidArgument",
		`{` + full + `,"deadline":"2001-01-01T00:00:00Z"}`:                                 "DeadlineExceeded",
		`{` + full + `,"message":` + deep(20000) + `}`:                                     "InvalidArgument",
		strings.Repeat(" ", wire.MaxEnvelopeBytes) + `{}`:                                  "ResourceExhausted",
		`{` + full + `,"body":"` + strings.Repeat("AAAA", wire.MaxMessageBytes/3+1) + `"}`: "ResourceExhausted",
	} {
		reply := serveText(t, m, payload)
		if reply["code"] != want || strings.Contains(reply["error"].(string), "hunter2") {
			t.Errorf("%.80s: got %v, want %s", payload, reply, want)
		}
	}
	if ran {
		t.Error("the handler ran")
	}
}

// deep is JSON nested n times.
func deep(n int) string { return strings.Repeat(`{"payload":`, n) + `{}` + strings.Repeat(`}`, n) }

// TestLargestMessageFitsAnInvoke shows that a call at the limit passes Lambda's limit too, with all
// the metadata that it may have.
func TestLargestMessageFitsAnInvoke(t *testing.T) {
	call := &wire.Call{
		Method: "/grpc.testing.TestService/UnaryCall", Body: make([]byte, wire.MaxMessageBytes), Deadline: time.Now(),
		Metadata: map[string][]string{"x-bin": {strings.Repeat("\x00", wire.MaxMetadataBytes)}},
	}
	data, err := json.Marshal(call)
	if err != nil || len(data) > wire.MaxEnvelopeBytes {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func TestJSONTransportWithOddAnswers(t *testing.T) {
	for _, answer := range []string{"", "null", "{}", "hunter2", `{"status":"!!"}`, `{"status":"/////w=="}`, `{"header":{"a-bin":["*"]}}`, `{"trailer":{"a-bin":["*"]}}`, `{"body":"AQI="}`} {
		invoke := func(context.Context, []byte) ([]byte, error) { return []byte(answer), nil }
		conn := wire.NewConn(wire.JSONTransport{Invoke: invoke}, wire.ConnOptions{})
		err := conn.Invoke(t.Context(), "/a.B/C", &testpb.Empty{}, &testpb.SimpleResponse{})
		fine := answer == "null" || answer == "{}"
		if (err == nil) != fine || (err != nil && (fault.CodeOf(err).GRPC() != codes.Internal || strings.Contains(err.Error(), "hunter2"))) {
			t.Errorf("%q: got %v", answer, err)
		}
	}
}

func FuzzServeJSON(f *testing.F) {
	for _, seed := range []string{
		`{"method":"/grpc.testing.TestService/UnaryCall","body":"CAE="}`, `{"method":"/grpc.testing.TestService/UnaryCall","message":{"payload":{"body":"AAAA"}}}`,
		`{"method":"//","metadata":{"a-bin":["AA=="]},"deadline":"2026-01-02T03:04:05Z"}`, `null`, `{"METHOD":1}`,
	} {
		f.Add([]byte(seed))
	}
	m := wire.NewMux(wire.MuxOptions{Interceptors: []grpc.UnaryServerInterceptor{
		func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			if info.FullMethod != testpb.TestService_UnaryCall_FullMethodName {
				panic("another method was reached: " + info.FullMethod)
			}
			return h(ctx, req)
		},
	}})
	testpb.RegisterTestServiceServer(m, impl{unary: ok})
	f.Fuzz(func(t *testing.T, payload []byte) {
		out, err := m.ServeJSON(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		reply := &wire.Reply{}
		if err := json.Unmarshal(out, reply); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if reply.Status.GetMessage() != "" && strings.Contains(reply.Status.GetMessage(), "panic") {
			t.Fatalf("%s", out)
		}
	})
}
