package lambdalocal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of an HTTP API: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
const (
	// httpTimeout is the longest that an integration may take.
	httpTimeout = 30 * time.Second
	// maxBodyBytes bounds a request's body.
	maxBodyBytes = 10 << 20
)

// HTTPAPI is an API Gateway HTTP API with one route to one function: it turns requests into events of payload format 2.0 and
// answers into responses (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html).
// Authorizers and throttling are not played.
type HTTPAPI struct {
	Invoke Invoker
	// Function with its qualifier.
	Function string
	// Timeout of the integration. 0: 30 s, the longest that AWS allows.
	Timeout time.Duration
}

// httpEvent is a request in payload format 2.0.
type httpEvent struct {
	Version         string            `json:"version"`
	RouteKey        string            `json:"routeKey"`
	RawPath         string            `json:"rawPath"`
	RawQueryString  string            `json:"rawQueryString"`
	Cookies         []string          `json:"cookies,omitempty"`
	Headers         map[string]string `json:"headers"`
	Query           map[string]string `json:"queryStringParameters,omitempty"`
	RequestContext  httpContext       `json:"requestContext"`
	Body            string            `json:"body,omitempty"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

type httpContext struct {
	AccountID    string   `json:"accountId"`
	APIID        string   `json:"apiId"`
	DomainName   string   `json:"domainName"`
	DomainPrefix string   `json:"domainPrefix"`
	HTTP         httpLine `json:"http"`
	RequestID    string   `json:"requestId"`
	RouteKey     string   `json:"routeKey"`
	Stage        string   `json:"stage"`
	Time         string   `json:"time"`
	TimeEpoch    int64    `json:"timeEpoch"`
}

type httpLine struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

// httpAnswer is what a function answers.
type httpAnswer struct {
	StatusCode      *int              `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Cookies         []string          `json:"cookies"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

const apiID = "local"

// ServeHTTP implements [http.Handler].
func (a HTTPAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		message(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		return
	}
	payload, err := json.Marshal(newHTTPEvent(r, body, time.Now()))
	if err != nil {
		message(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	timeout := a.Timeout
	if timeout == 0 {
		timeout = httpTimeout
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	result, err := a.Invoke(ctx, Invocation{Function: a.Function, Payload: payload})
	switch {
	case errors.Is(err, ErrThrottled), errors.Is(err, context.DeadlineExceeded):
		message(w, http.StatusServiceUnavailable, "Service Unavailable")
	case err != nil, result.FunctionError != "":
		message(w, http.StatusInternalServerError, "Internal Server Error")
	default:
		answerHTTP(w, result.Payload)
	}
}

// newHTTPEvent writes a request down. Names of headers are in lower case and values of one name joined; a body that is no text
// by its type is base64.
func newHTTPEvent(r *http.Request, body []byte, at time.Time) httpEvent {
	sourceIP, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		sourceIP = r.RemoteAddr
	}
	e := httpEvent{
		Version: "2.0", RouteKey: "$default", RawPath: r.URL.EscapedPath(), RawQueryString: r.URL.RawQuery,
		Headers: map[string]string{"host": r.Host, "x-forwarded-for": sourceIP, "x-forwarded-proto": "https", "x-forwarded-port": "443"},
		RequestContext: httpContext{
			AccountID: "123456789012", APIID: apiID, DomainName: r.Host, DomainPrefix: apiID, RequestID: newRequestID(),
			RouteKey: "$default", Stage: "$default", Time: at.UTC().Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: at.UnixMilli(),
			HTTP: httpLine{Method: r.Method, Path: r.URL.EscapedPath(), Protocol: r.Proto, SourceIP: sourceIP, UserAgent: r.UserAgent()},
		},
	}
	for name, values := range r.Header {
		name = strings.ToLower(name)
		switch name {
		case "cookie":
			for _, v := range values {
				for c := range strings.SplitSeq(v, ";") {
					e.Cookies = append(e.Cookies, strings.TrimSpace(c))
				}
			}
		case "x-forwarded-for":
			e.Headers[name] = strings.Join(append(values, sourceIP), ", ")
		case "connection", "transfer-encoding":
		default:
			e.Headers[name] = strings.Join(values, ",")
		}
	}
	trace, _, _ := strings.Cut(newTrace(at), ";")
	if e.Headers["x-amzn-trace-id"] == "" {
		e.Headers["x-amzn-trace-id"] = trace
	}
	if r.URL.RawQuery != "" {
		e.Query = map[string]string{}
		for name, values := range r.URL.Query() {
			e.Query[name] = strings.Join(values, ",")
		}
	}
	if isText(r.Header.Get("Content-Type")) && utf8.Valid(body) {
		e.Body = string(body)
	} else if len(body) > 0 {
		e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return e
}

// isText says whether a body of this type travels as it is.
func isText(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch kind {
	case "application/json", "application/xml", "application/javascript":
		return true
	}
	return strings.HasPrefix(kind, "text/")
}

// answerHTTP writes what the function answered. Without a status code the whole answer is the body, as JSON.
func answerHTTP(w http.ResponseWriter, payload []byte) {
	var answer httpAnswer
	if err := json.Unmarshal(payload, &answer); err != nil || answer.StatusCode == nil {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(payload)
		return
	}
	body := []byte(answer.Body)
	if answer.IsBase64Encoded {
		decoded, err := base64.StdEncoding.DecodeString(answer.Body)
		if err != nil {
			message(w, http.StatusInternalServerError, "Internal Server Error")
			return
		}
		body = decoded
	}
	for name, value := range answer.Headers {
		w.Header().Set(name, value)
	}
	for _, c := range answer.Cookies {
		w.Header().Add("Set-Cookie", c)
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	}
	w.WriteHeader(*answer.StatusCode)
	_, _ = w.Write(body)
}

func message(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"message": text})
}
