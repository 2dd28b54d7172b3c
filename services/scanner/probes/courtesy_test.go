package probes

import (
	"context"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestCourtesy(t *testing.T) {
	type event struct {
		status int
		header string
		err    error
	}
	reset := event{err: syscall.ECONNRESET}
	tests := []struct {
		name   string
		events []event
		want   []time.Duration // of the back-offs
	}{
		{"fine", []event{{status: 200}, {status: 404}, {status: 500}}, nil},
		{"429 with seconds", []event{{status: 429, header: "30"}}, []time.Duration{30 * time.Second}},
		{"429 without", []event{{status: 429}, {status: 429}, {status: 429}}, []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second}},
		{"calm again", []event{{status: 429}, {status: 429}, {status: 200}, {status: 429}}, []time.Duration{2 * time.Second, 4 * time.Second, 2 * time.Second}},
		{"503 with a date", []event{{status: 503, header: "Sat, 01 Jan 2000 00:01:00 GMT"}}, []time.Duration{time.Minute}},
		{"503 alone is a page", []event{{status: 503}, {status: 503}}, nil},
		{"for ever", []event{{status: 429, header: strings.Repeat("9", 30)}}, []time.Duration{MaxBackoff}},
		{"nonsense", []event{{status: 429, header: "soon"}}, []time.Duration{2 * time.Second}},
		{"one reset", []event{reset, reset, {status: 200}, reset, reset}, nil},
		{"resets", []event{reset, {err: io.ErrUnexpectedEOF}, {err: syscall.EPIPE}, reset, reset, reset}, []time.Duration{2 * time.Second, 4 * time.Second}},
		{"refused and late", []event{{err: syscall.ECONNREFUSED}, {err: context.DeadlineExceeded}, {err: syscall.ECONNREFUSED}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []time.Duration
				env := Env{Pause: func(_ context.Context, host string, until time.Time) error {
					if host != "192.0.2.1" {
						t.Errorf("host %q", host)
					}
					got = append(got, time.Until(until))
					return nil
				}}
				c := env.Courtesy("192.0.2.1")
				for _, e := range tt.events {
					if e.err != nil {
						c.Failed(t.Context(), e.err)
					} else {
						c.Answered(t.Context(), e.status, e.header)
					}
				}
				if len(got) != len(tt.want) {
					t.Fatalf("back-offs %v, want %v", got, tt.want)
				}
				for i := range got {
					if got[i] != tt.want[i] {
						t.Errorf("back-offs %v, want %v", got, tt.want)
					}
				}
			})
		})
	}
	(Env{}).Courtesy("x").Answered(t.Context(), http.StatusTooManyRequests, "1") // nobody is told
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "120", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "99999999999999999999", "1e9", " 5 "} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		if wait, said := RetryAfter(value, now); wait < 0 || wait > MaxBackoff || !said && wait != 0 {
			t.Fatalf("%q: %v %v", value, wait, said)
		}
	})
}
