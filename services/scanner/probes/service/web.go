package service

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// userAgent names the requests of this probe.
const userAgent = "RiskProfiler/1 (service scan)"

// answer is one HTTP answer, bounded like all that is read here.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// web asks for "/" and looks at who answers: a web server, or a database or control plane that speaks HTTP.
func web(t *talk) *modelv1.ServiceFact {
	if t.send(request("GET", "/", t.prober.hostHeader(), nil)) != nil {
		return nil
	}
	t.gather(t.patience.step, httpComplete)
	a, err := parseAnswer(t.rest())
	if err != nil {
		t.hint = soundsLike(t.rest())
		return nil
	}
	if t.prober.courtesy != nil {
		t.prober.courtesy.Answered(t.ctx, a.status, a.header.Get("Retry-After"))
	}
	fact := named("http")
	server := a.header.Get("Server")
	nameProduct(fact, server, webProducts)
	fact.Banner = safe("HTTP "+strconv.Itoa(a.status)+" "+server, maxBanner)
	detail(fact, "http.server", server)
	if !t.secure && t.prober.wantsTLS(a) {
		t.weak = true
		return fact
	}
	t.web = true
	for _, api := range slices.Concat(webAPIs, moreWebAPIs) {
		specific := named(api.name)
		specific.Banner = fact.GetBanner()
		if api.is(t, a) && api.look(t, a, specific) {
			return specific
		}
	}
	return fact
}

// wantsTLS knows what servers say to plain HTTP on a port of HTTPS: a bad request in so many words, or a way to the same
// port.
func (p *prober) wantsTLS(a answer) bool {
	if a.status == http.StatusBadRequest {
		lower := bytes.ToLower(a.body)
		return bytes.Contains(lower, []byte("https")) || bytes.Contains(lower, []byte("ssl")) || bytes.Contains(lower, []byte("tls"))
	}
	way, err := url.Parse(a.header.Get("Location"))
	if err != nil || way.Scheme != "https" {
		return false
	}
	return way.Port() == strconv.Itoa(int(p.port)) || way.Port() == "" && p.port == 443
}

// hostHeader is the name and port to ask for.
func (p *prober) hostHeader() string {
	host := p.host
	if host == "" {
		host = p.reach
	}
	return net.JoinHostPort(host, strconv.Itoa(int(p.port)))
}

// request writes a request whose answer ends with the connection.
func request(method, path, host string, body []byte) []byte {
	var text bytes.Buffer
	text.WriteString(method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: " + userAgent + "\r\nAccept: */*\r\nConnection: close\r\n")
	if body != nil {
		text.WriteString("Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	text.WriteString("\r\n")
	text.Write(body)
	return text.Bytes()
}

// fetch asks for another path on a further connection.
func (t *talk) fetch(method, path string, body []byte) (answer, error) {
	other, err := t.another()
	if err != nil {
		return answer{}, err
	}
	defer t.done(other)
	if err := other.send(request(method, path, t.prober.hostHeader(), body)); err != nil {
		return answer{}, err
	}
	other.gather(other.patience.step, httpComplete)
	return parseAnswer(other.rest())
}

// httpComplete says whether an answer is all there, where it says how long it is; else the connection's end does.
func httpComplete(data []byte) bool {
	head, body, found := bytes.Cut(data, []byte("\r\n\r\n"))
	if !found {
		return len(data) > 4 && !bytes.HasPrefix(data, []byte("HTTP/"))
	}
	length := -1
	for text := range strings.SplitSeq(strings.ToLower(string(head)), "\r\n") {
		name, value, _ := strings.Cut(text, ":")
		switch strings.TrimSpace(name) {
		case "content-length":
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
				length = n
			}
		case "transfer-encoding":
			return bytes.HasSuffix(body, []byte("\r\n0\r\n\r\n")) || bytes.Equal(body, []byte("0\r\n\r\n"))
		}
	}
	return length >= 0 && len(body) >= length
}

// parseAnswer reads an answer whose body may be cut.
func parseAnswer(data []byte) (answer, error) {
	if !bytes.HasPrefix(data, []byte("HTTP/")) || !bytes.Contains(data, []byte("\n")) {
		return answer{}, errNotIt
	}
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), nil)
	if err != nil {
		if bytes.HasPrefix(data, []byte("HTTP/1.")) {
			return answer{status: 0, header: http.Header{}}, nil // the rest of the head is broken or missing
		}
		return answer{}, errNotIt
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, probes.MaxBannerBytes))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		body = nil
	}
	return answer{status: response.StatusCode, header: response.Header, body: body}, nil
}

// soundsLike knows what other services say to an HTTP request.
func soundsLike(said []byte) string {
	lower := bytes.ToLower(said[:min(len(said), 256)])
	for _, sound := range []struct{ begin, name string }{
		{"-err", "redis"}, {"-noauth", "redis"}, {"-denied", "redis"},
		{"error\r\n", "memcached"},
		{"rtsp/1.0", "rtsp"},
		{"it looks like you are trying to access mongodb", "mongodb"},
		{"amqp", "amqp"},
		{"jdwp", "jdwp"},
	} {
		if bytes.HasPrefix(lower, []byte(sound.begin)) {
			return sound.name
		}
	}
	return ""
}

// fields reads an object; nil for anything else.
func fields(body []byte) map[string]any {
	var object map[string]any
	if json.Unmarshal(body, &object) != nil {
		return nil
	}
	return object
}

// textAt reads a string at the path of keys; empty where there is none.
func textAt(object map[string]any, keys ...string) string {
	for i, key := range keys {
		if i == len(keys)-1 {
			value, _ := object[key].(string)
			return value
		}
		object, _ = object[key].(map[string]any)
	}
	return ""
}
