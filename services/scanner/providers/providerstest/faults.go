package providerstest

import (
	"net/http"
	"strings"
	"time"
)

// Status answers with a status and an error of the kind that interfaces send; it repeats the request, key and all, as some do.
func Status(code int) Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, `{"error": "cannot answer `+r.URL.String()+" "+strings.Join(r.Header.Values("X-Apikey"), "")+`"}`, code)
	}
}

// TooMany answers 429 with a Retry-After, empty for none.
func TooMany(retryAfter string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, `{"error":{"code":"QuotaExceededError"}}`, http.StatusTooManyRequests)
	}
}

// Body answers 200 with these bytes.
func Body(text string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

// Giant sends JSON without end.
func Giant(w http.ResponseWriter, r *http.Request) {
	block := []byte(strings.Repeat(`{"common_name":"a.example.com","name_value":"b.example.com"},`, 1000))
	_, _ = w.Write([]byte("["))
	for r.Context().Err() == nil {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// Drip sends a byte now and then and never ends.
func Drip(w http.ResponseWriter, r *http.Request) {
	controller := http.NewResponseController(w)
	for r.Context().Err() == nil {
		if _, err := w.Write([]byte(" ")); err != nil || controller.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Silent takes the request and says nothing.
func Silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// Hangup ends the connection without an answer.
func Hangup(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// Elsewhere redirects to another address, with all that was sent.
func Elsewhere(target string) Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target+"?"+r.URL.RawQuery, http.StatusFound)
	}
}
