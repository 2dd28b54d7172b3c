package http

import (
	"io"
	nethttp "net/http"
	"net/url"
	"strings"
	"testing"
)

func benchPage() string {
	return front + strings.Repeat("<div class=\"row\"><p>some text of a page</p></div>\n", 600)
}

func benchHandler(w nethttp.ResponseWriter, r *nethttp.Request) {
	if r.URL.Path != "/" {
		nethttp.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Server", "nginx/1.18.0")
	_, _ = io.WriteString(w, benchPage())
}

// BenchmarkScan is one standard scan (about 46 requests) of an application on loopback; both ends run on this machine. Its floor
// is BenchmarkScanFloor: the same number of bare requests.
func BenchmarkScan(b *testing.B) {
	server := serve(b, false, benchHandler)
	p, job := New(Options{}), jobFor(server.Listener.Addr().String(), "", false)
	env := newLab().Env
	env.Blobs = nil
	scan(b, p, env, job) // loads the fingerprints
	b.ResetTimer()
	for b.Loop() {
		scan(b, p, env, job)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scans/s")
}

// BenchmarkQuickScan is one quick scan: a connection, a request, and the facts of a page of 32 KB.
func BenchmarkQuickScan(b *testing.B) {
	server := serve(b, false, benchHandler)
	p, job := New(Options{}), quick(jobFor(server.Listener.Addr().String(), "", false))
	env := newLab().Env
	env.Blobs = nil
	scan(b, p, env, job)
	b.ResetTimer()
	for b.Loop() {
		scan(b, p, env, job)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scans/s")
}

// BenchmarkScanFloor sends as many requests as a standard scan over one kept connection, and reads the answers.
func BenchmarkScanFloor(b *testing.B) {
	server := serve(b, false, benchHandler)
	client := &nethttp.Client{Transport: &nethttp.Transport{}}
	defer client.CloseIdleConnections()
	requests := len(commonPaths()) + 6
	b.ResetTimer()
	for b.Loop() {
		for i := range requests {
			place := server.URL + "/"
			if i > 0 {
				place += "missing"
			}
			response, err := client.Get(place)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scans/s")
}

// BenchmarkTechnologies matches a page of 32 KB against all fingerprints.
func BenchmarkTechnologies(b *testing.B) {
	at, _ := url.Parse("https://a.test/")
	answer := &reply{url: at, status: 200, header: nethttp.Header{"Server": {"nginx/1.18.0"}, "Content-Type": {"text/html"}}, body: []byte(benchPage())}
	p := readPage(answer.body, at)
	technologies(answer, p)
	b.SetBytes(int64(len(answer.body)))
	for b.Loop() {
		technologies(answer, p)
	}
}

// BenchmarkLoadFingerprints is what the first scan of a process pays.
func BenchmarkLoadFingerprints(b *testing.B) {
	for b.Loop() {
		readCatalogue()
	}
}
