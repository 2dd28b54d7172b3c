package netguard

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// The rules that are no entry of the address tables, as they stand in [RefusedError.Rule].
const (
	// RuleSpelling: the text is no address or name in its one usual form (127.1, 0x7f000001, a zone).
	RuleSpelling = "spelling"
	// RuleScope: [Options.Permit] said no.
	RuleScope = "scope"
	// RuleNetwork: the network is neither tcp nor udp.
	RuleNetwork = "network"
	// RuleURL: the URL is not plain http or https, or carries user information.
	RuleURL = "url"
	// RuleRedirect: one redirect too many, or one that would send a body on.
	RuleRedirect = "redirect"
	// RulePin: the session already pinned the name to another address.
	RulePin = "pin"
)

// maxQuoted bounds foreign text in an error: a DNS name has at most 253 bytes (RFC 1035 2.3.4).
const maxQuoted = 253

// RefusedError says that the guard did not connect, which is different from a target that did not
// answer: no packet was sent. Its code is [fault.PermissionDenied], for [RuleSpelling] and
// [RuleURL] [fault.Invalid].
//
// The text names the address a name resolved to. That is for the operator: showing it to a tenant
// would let a tenant ask for the addresses of internal names.
type RefusedError struct {
	// Target is the name, address or URL as it was asked for. Hostile text: quote it.
	Target string
	// Addr is the judged address, invalid where the refusal came before there was one.
	Addr netip.Addr
	// Rule is the name of the rule: one of the constants above or of the address tables
	// ("loopback", "private use", "cloud metadata").
	Rule string
	// Source is where the rule comes from, such as "RFC 1918".
	Source string
	// Remedy says what would permit the connection, or that nothing would.
	Remedy string
	// Cause is the error of the caller's own rule ([Options.Permit], the same function of a redirect).
	Cause error
}

// Error is the full story in one line; foreign text in it is quoted and cut.
func (e *RefusedError) Error() string {
	text := "refused"
	if e.Target != "" {
		text += " " + quote(e.Target)
	}
	if e.Addr.IsValid() && e.Addr.String() != e.Target {
		text += " at " + e.Addr.String()
	}
	text += ": " + e.Rule
	if e.Source != "" {
		text += " (" + e.Source + ")"
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Unwrap gives the caller's own error back.
func (e *RefusedError) Unwrap() error { return e.Cause }

// FaultCode lets [fault.CodeOf] know the error.
func (e *RefusedError) FaultCode() fault.Code {
	if e.Rule == RuleSpelling || e.Rule == RuleURL {
		return fault.Invalid
	}
	return fault.PermissionDenied
}

// Is makes errors.Is(err, fault.PermissionDenied) work.
func (e *RefusedError) Is(target error) bool {
	code, ok := target.(fault.Code)
	return ok && code == e.FaultCode()
}

// misspelt is the refusal of a text that is no canonical address or name.
func misspelt(target, format string, args ...any) error {
	return &RefusedError{Target: target, Rule: RuleSpelling, Source: fmt.Sprintf(format, args...)}
}

// quote makes foreign text safe for one line of a log: ASCII only, no control characters, cut.
func quote(s string) string {
	if len(s) > maxQuoted {
		s = s[:maxQuoted]
	}
	return strconv.QuoteToASCII(s)
}
