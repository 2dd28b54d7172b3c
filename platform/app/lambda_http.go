package app

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

// httpRequest is an API Gateway HTTP API request in payload format 2.0
// (docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html). A header that came several
// times is one text with commas there, and cookies are apart.
type httpRequest struct {
	RawPath        string            `json:"rawPath"`
	RawQuery       string            `json:"rawQueryString"`
	Cookies        []string          `json:"cookies"`
	Headers        map[string]string `json:"headers"`
	Body           string            `json:"body"`
	IsBase64       bool              `json:"isBase64Encoded"`
	RequestContext struct {
		Stage      string `json:"stage"`
		DomainName string `json:"domainName"`
		HTTP       struct {
			Method   string `json:"method"`
			Protocol string `json:"protocol"`
			SourceIP string `json:"sourceIp"`
		} `json:"http"`
	} `json:"requestContext"`
}

// httpResponse is the answer in the same format.
type httpResponse struct {
	Status   int               `json:"statusCode"`
	Headers  map[string]string `json:"headers"`
	Cookies  []string          `json:"cookies,omitempty"`
	Body     string            `json:"body"`
	IsBase64 bool              `json:"isBase64Encoded"`
}

// defaultStage is the stage whose name is not part of the path.
const defaultStage = "$default"

// serveHTTP gives a request to the edge's handler and answers with what it wrote.
func (f *function) serveHTTP(ctx context.Context, payload []byte) ([]byte, error) {
	var handler http.Handler
	for _, s := range f.host.specs {
		if h := f.host.services[s.Name].HTTP; h != nil {
			handler = h
		}
	}
	if handler == nil {
		return nil, fault.New(fault.Unimplemented, "no service here serves HTTP")
	}
	var in httpRequest
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, fault.New(fault.Invalid, "the event is no HTTP API 2.0 request")
	}
	// Not the trace header: it may be a stranger's.
	ctx, end := f.begin(ctx, telemetry.Invocation{Trigger: telemetry.TriggerHTTP})
	defer end(nil)
	r, err := in.request(ctx)
	if err != nil {
		return plainError(http.StatusBadRequest, "the request cannot be read").encode()
	}
	w := &recorder{header: http.Header{}}
	handler.ServeHTTP(w, r)
	return w.response().encode()
}

// request is the request as net/http has it. The trace header is left out: a stranger may have written it.
func (in *httpRequest) request(ctx context.Context) (*http.Request, error) {
	var body io.Reader = strings.NewReader(in.Body)
	length := int64(len(in.Body))
	if in.IsBase64 {
		decoded, err := base64.StdEncoding.DecodeString(in.Body)
		if err != nil {
			return nil, fault.New(fault.Invalid, "the body is no base64")
		}
		body, length = bytes.NewReader(decoded), int64(len(decoded))
	}
	path := in.RawPath
	if stage := in.RequestContext.Stage; stage != "" && stage != defaultStage {
		path = strings.TrimPrefix(path, "/"+stage)
	}
	u := &url.URL{Path: path, RawQuery: in.RawQuery}
	if decoded, err := url.PathUnescape(path); err == nil {
		u.Path, u.RawPath = decoded, path
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path, u.RawPath = "/"+u.Path, ""
	}
	h := in.RequestContext.HTTP
	r, err := http.NewRequestWithContext(ctx, h.Method, "/", io.NopCloser(body))
	if err != nil {
		return nil, err
	}
	r.URL, r.RequestURI, r.ContentLength = u, u.RequestURI(), length
	r.RemoteAddr = net.JoinHostPort(h.SourceIP, "0")
	r.Host = in.RequestContext.DomainName
	for name, value := range in.Headers {
		switch name = http.CanonicalHeaderKey(name); name {
		case "X-Amzn-Trace-Id", "Content-Length", "Transfer-Encoding", "Connection":
		case "Host":
			r.Host = value
		default:
			r.Header[name] = append(r.Header[name], value)
		}
	}
	if len(in.Cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(in.Cookies, "; "))
	}
	return r, nil
}

// errTooLarge is what a handler gets that writes more than a function can answer.
var errTooLarge = errors.New("the answer is larger than a function may give")

// recorder keeps what a handler writes. It cannot flush, by which a handler knows that it cannot stream.
type recorder struct {
	header   http.Header
	sent     http.Header // as it was when the status was written
	status   int
	body     bytes.Buffer
	tooLarge bool
}

// Header is the answer's header.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader sets the status, once.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status, w.sent = status, w.header.Clone()
	}
}

// Write keeps as much as fits into an answer.
func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body.Len()+len(b) > wire.MaxEnvelopeBytes {
		w.tooLarge = true
		return 0, errTooLarge
	}
	return w.body.Write(b)
}

func (w *recorder) response() *httpResponse {
	w.WriteHeader(http.StatusOK)
	if w.tooLarge {
		return answerTooLarge()
	}
	if w.body.Len() > 0 && w.sent.Get("Content-Type") == "" {
		w.sent.Set("Content-Type", http.DetectContentType(w.body.Bytes()))
	}
	out := &httpResponse{Status: w.status, Headers: map[string]string{}}
	for name, values := range w.sent {
		if name == "Set-Cookie" {
			out.Cookies = values
			continue
		}
		out.Headers[name] = strings.Join(values, ", ")
	}
	if utf8.Valid(w.body.Bytes()) {
		out.Body = w.body.String()
	} else {
		out.Body, out.IsBase64 = base64.StdEncoding.EncodeToString(w.body.Bytes()), true
	}
	return out
}

// encode is the response as Lambda takes it, or one that says that it would be too large
// (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, invocation payload).
func (r *httpResponse) encode() ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // it makes HTML larger by half
	if err := e.Encode(r); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "answer request")
	}
	if out.Len() > wire.MaxEnvelopeBytes {
		return json.Marshal(answerTooLarge())
	}
	return out.Bytes(), nil
}

func answerTooLarge() *httpResponse {
	return plainError(http.StatusInternalServerError, "the answer is larger than 6 MB, the most that a function may give: ask for less at a time")
}

// plainError is an error in the form of all others of the API, for a request that no handler answers.
func plainError(status int, text string) *httpResponse {
	code := fault.Invalid
	if status >= http.StatusInternalServerError {
		code = fault.ResourceExhausted
	}
	body, _ := json.Marshal(map[string]any{"code": int(code.GRPC()), "message": text, "details": []any{}}) // texts can always be written
	return &httpResponse{Status: status, Headers: map[string]string{"Content-Type": "application/json"}, Body: string(body)}
}
