package consent

import (
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
)

const (
	// tarpit is an address with many ports where nobody says anything: every look at one takes seconds.
	tarpit      = "127.68.0.1"
	tarpitPorts = 150
	firstPort   = 20000
	// killLimit is the promise.
	killLimit = 60 * time.Second
)

// silence listens at all ports of the tarpit, takes every connection and says nothing. It tells when somebody last came.
type silence struct {
	mu     sync.Mutex
	visits int
	last   time.Time
	held   []net.Conn
}

func (s *silence) heard() (int, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.visits, s.last
}

func newSilence(t *testing.T) *silence {
	t.Helper()
	s := &silence{}
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, conn := range s.held {
			_ = conn.Close()
		}
	})
	for port := firstPort; port < firstPort+tarpitPorts; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort(tarpit, strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				s.mu.Lock()
				s.visits++
				s.last, s.held = time.Now(), append(s.held, conn)
				s.mu.Unlock()
			}
		}()
	}
	return s
}

// TestStop: the kill switch on the whole platform. An assessment is in the middle of many slow scans; after the stop no connection is
// made later than a minute, and the assessment ends and says why.
func TestStop(t *testing.T) {
	w, s := start(t), newSilence(t)
	w.attested(tarpit)
	ports := strconv.Itoa(firstPort) + "-" + strconv.Itoa(firstPort+tarpitPorts-1)
	a := &schedulerv1.Assessment{}
	w.must("acme", http.MethodPost, "/v1/assessments", map[string]any{"targets": []string{tarpit}, "ports": ports}, a)
	wait := func(what string, done func() bool) {
		t.Helper()
		limit := time.After(5 * time.Minute)
		for tick := time.NewTicker(50 * time.Millisecond); !done(); {
			select {
			case <-limit:
				t.Fatalf("it takes too long until %s", what)
			case <-tick.C:
			}
		}
	}
	wait("services are asked", func() bool { n, _ := s.heard(); return n > tarpitPorts+30 })
	stopped := time.Now()
	stop := &ingestv1.Stop{}
	w.must("acme", http.MethodPost, "/v1/stops", map[string]any{"target": tarpit, "reason": "the case"}, stop)
	wait("the assessment ends", func() bool {
		w.must("acme", http.MethodGet, "/v1/"+a.GetName(), nil, a)
		return a.GetClosed()
	})
	n, last := s.heard()
	t.Logf("%d connections, the last %s after the stop; the assessment ended %s after it", n, last.Sub(stopped).Round(time.Millisecond), time.Since(stopped).Round(time.Second))
	if late := last.Sub(stopped); late > killLimit {
		t.Errorf("a connection was made %s after the stop", late)
	}
	if a.GetState() != schedulerv1.Assessment_STATE_INCOMPLETE {
		t.Errorf("the assessment ended as %s", a.GetState())
	}
	events := &schedulerv1.ListAssessmentEventsResponse{}
	refused := 0
	for token := ""; ; token = events.GetNextPageToken() {
		events.Reset()
		w.must("acme", http.MethodGet, "/v1/"+a.GetName()+"/events?page_size=500&page_token="+url.QueryEscape(token), nil, events)
		for _, e := range events.GetEvents() {
			if strings.Contains(e.GetMessage(), "not permitted") && strings.Contains(e.GetMessage(), "stopped at") {
				refused++
			}
		}
		if events.GetNextPageToken() == "" {
			break
		}
	}
	if refused == 0 {
		t.Error("nothing was stopped: the assessment was done before")
	}
	w.must("acme", http.MethodDelete, "/v1/"+stop.GetName(), nil, nil)
	if err := w.call("acme", http.MethodPost, "/v1/scans", map[string]any{"scanType": "SCAN_TYPE_PORT", "target": tarpit, "ports": strconv.Itoa(firstPort)}, nil); err != nil {
		t.Errorf("after it was resumed: %v", err)
	}
}
