package http

import (
	"io"
	nethttp "net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
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

// BenchmarkScan is one standard scan of an application on loopback, of which both ends run on this machine, and beside it the floor:
// as many requests over one kept connection for each of the scan's four, answers read, in the same run. Reported are both rates, the
// ratio, and what one target allocates in all.
func BenchmarkScan(b *testing.B) {
	var requests atomic.Int64
	server := serve(b, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		requests.Add(1)
		benchHandler(w, r)
	})
	p, job := New(Options{}), jobFor(server.Listener.Addr().String(), "", false)
	compare(b, &requests, server.URL, p, job)
}

// BenchmarkQuickScan is one quick scan: a connection, a request, and the facts of a page of 32 KB, with its floor.
func BenchmarkQuickScan(b *testing.B) {
	var requests atomic.Int64
	server := serve(b, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		requests.Add(1)
		benchHandler(w, r)
	})
	p, job := New(Options{}), quick(jobFor(server.Listener.Addr().String(), "", false))
	compare(b, &requests, server.URL, p, job)
}

// compare measures the scan, then the bare loop that sends as many requests.
func compare(b *testing.B, requests *atomic.Int64, at string, p *Probe, job *modelv1.ScanJob) {
	env := newLab().Env
	env.Blobs = nil
	scan(b, p, env, job) // loads the fingerprints
	each := requests.Swap(0)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	for b.Loop() {
		scan(b, p, env, job)
	}
	scanning := b.Elapsed()
	b.StopTimer()
	runtime.ReadMemStats(&after)
	began := time.Now()
	for range b.N {
		bare(b, at, int(each))
	}
	floor := time.Since(began)
	b.ReportMetric(float64(b.N)/scanning.Seconds(), "targets/s")
	b.ReportMetric(float64(b.N)/floor.Seconds(), "floor-targets/s")
	b.ReportMetric(scanning.Seconds()/floor.Seconds(), "x-floor")
	b.ReportMetric(float64(each), "requests/target")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N)/1024, "KiB/target")
}

// bare is the floor: count requests over as many connections as a scan has, in a loop of net/http.
func bare(b *testing.B, at string, count int) {
	client := &nethttp.Client{Transport: &nethttp.Transport{MaxConnsPerHost: parallel, MaxIdleConnsPerHost: parallel}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for worker := range parallel {
		all.Go(func() {
			for i := worker; i < count; i += parallel {
				place := at + "/"
				if i > 0 {
					place += "missing"
				}
				response, err := client.Get(place)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
		})
	}
	all.Wait()
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
