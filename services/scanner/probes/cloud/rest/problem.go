package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// Problem is a call that gave no answer to read. Its text is ours, with at most a code word of the provider's.
type Problem struct {
	Kind cloud.GapKind
	// Status is the HTTP status, 0 where there was none.
	Status int
	// Code is the provider's code word: "AuthorizationFailed", "SERVICE_DISABLED", "invalid_client"; may be empty.
	Code string
	// Down says that the provider does not answer, which says nothing about the account.
	Down bool
	text string
}

// Error is one line without secrets.
func (p *Problem) Error() string {
	if p.Status == 0 {
		return p.text
	}
	text := p.text + " (" + strconv.Itoa(p.Status)
	if p.Code != "" {
		text += " " + p.Code
	}
	return text + ")"
}

// transient says that the same request may be answered in a moment.
func (p *Problem) transient() bool {
	return p.Status == http.StatusTooManyRequests || p.Status >= http.StatusInternalServerError && p.Status != http.StatusNotImplemented
}

// Gap is a problem as what could not be read.
func Gap(err error, api, region string) cloud.Gap {
	var p *Problem
	if !errors.As(err, &p) {
		return cloud.Gap{API: api, Region: region, Why: cloud.GapFailed, Detail: "it could not be read"}
	}
	return cloud.Gap{API: api, Region: region, Why: p.Kind, Detail: p.Error()}
}

// Fault is a problem at the door of an account: refused is fault.FailedPrecondition, anything else fault.Unavailable. what says what
// was tried and, where the account refused, what to do.
func Fault(err error, what string) error {
	var p *Problem
	if !errors.As(err, &p) {
		return err
	}
	if p.Kind == cloud.GapDenied || p.Status == http.StatusNotFound || p.Status == http.StatusBadRequest {
		return fault.New(fault.FailedPrecondition, "%s: %s", what, p)
	}
	return fault.New(fault.Unavailable, "%s: %s", what, p)
}

// Broken is a problem with what the provider answered, in our words.
func Broken(text string) error { return broken(text) }

func broken(text string) *Problem { return &Problem{Kind: cloud.GapFailed, text: text} }

func timeOver() *Problem { return &Problem{Kind: cloud.GapTime, text: "the scan's time was over"} }

// refusalOf is what an answer with another status than 200 means.
func refusalOf(status int, body []byte) *Problem {
	p := &Problem{Kind: cloud.GapFailed, Status: status, Code: codeOf(body)}
	switch {
	case status == http.StatusTooManyRequests:
		p.Kind, p.text = cloud.GapThrottled, "it asks for fewer calls"
	case notEnabled(p.Code):
		p.text = "the API is not enabled"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		p.Kind, p.text = cloud.GapDenied, "it refuses this call to the credential"
	case status >= http.StatusInternalServerError:
		p.Down, p.text = true, "it fails"
	case status >= http.StatusMultipleChoices && status < http.StatusBadRequest:
		p.text = "it wants to send us elsewhere"
	default:
		p.text = "it does not do this"
	}
	return p
}

// notEnabled knows the code of an API that a project does not have (cloud.google.com/service-usage/docs/troubleshooting,
// google.rpc.ErrorInfo reason SERVICE_DISABLED).
func notEnabled(code string) bool {
	return code == "SERVICE_DISABLED" || code == "SubscriptionNotRegistered"
}

// codeOf is the code word of an error: of Azure Resource Manager ({"error":{"code":"..."}}), of Google APIs
// ({"error":{"status":"...","details":[{"reason":"..."}]}}, google.rpc.ErrorInfo first), of OAuth ({"error":"..."}, RFC 6749 section 5.2,
// with Microsoft's numbers in error_codes). Empty where there is none: nothing but a word is taken.
func codeOf(body []byte) string {
	var outer struct {
		Error json.RawMessage `json:"error"`
		Codes []json.Number   `json:"error_codes"`
	}
	if json.Unmarshal(body, &outer) != nil {
		return ""
	}
	var name string
	if json.Unmarshal(outer.Error, &name) == nil {
		if len(outer.Codes) > 0 && word(outer.Codes[0].String()) != "" {
			return word(name + "-AADSTS" + outer.Codes[0].String())
		}
		return word(name)
	}
	var inner struct {
		Code    json.RawMessage `json:"code"`
		Status  string          `json:"status"`
		Details []struct {
			Reason string `json:"reason"`
		} `json:"details"`
	}
	if json.Unmarshal(outer.Error, &inner) != nil {
		return ""
	}
	for _, d := range inner.Details {
		if reason := word(d.Reason); reason != "" {
			return reason
		}
	}
	if json.Unmarshal(inner.Code, &name) == nil && word(name) != "" {
		return word(name)
	}
	return word(inner.Status)
}

// maxWord bounds a code word; the longest documented is about 50.
const maxWord = 64

func word(text string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
	}
	if text == "" || len(text) > maxWord || strings.ContainsFunc(text, odd) {
		return ""
	}
	return text
}

// retryAfter reads a Retry-After header: seconds or a date (RFC 9110 section 10.2.3). What cannot be read is 0, and a time that is
// over is a second.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31); err == nil {
		return max(time.Duration(n)*time.Second, time.Second)
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(t.Sub(now), time.Second)
	}
	return 0
}
