package queue

import (
	"strings"
	"unicode/utf8"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Names of the attributes that carry the trace context (https://www.w3.org/TR/trace-context/) and
// of the one that says that the body lies in a blob. They are on the stored message only.
const (
	traceparentKey = "traceparent"
	tracestateKey  = "tracestate"
	spilledKey     = "rp-spilled"
)

func checkName(name string) error {
	if name == "" || len(name) > MaxNameBytes {
		return fault.New(fault.Invalid, "check queue name: it has %d bytes, 1 to %d are allowed", len(name), MaxNameBytes)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return fault.New(fault.Invalid, "check queue name %q: only a-z 0-9 _ - are allowed", name)
		}
	}
	return nil
}

// check says whether Send may take the message. The body's size is judged by encode.
func check(m Message) error {
	if m.Group == "" {
		return fault.New(fault.Invalid, "check message: it has no group")
	}
	if err := checkPrintable("group", m.Group, MaxGroupBytes); err != nil {
		return err
	}
	if err := checkPrintable("dedup id", m.DedupID, MaxDedupBytes); err != nil {
		return err
	}
	own := 0
	for name, value := range m.Attributes {
		if name == traceparentKey || name == tracestateKey {
			continue // not sent as they are, see inject
		}
		own++
		if err := checkAttribute(name, value); err != nil {
			return err
		}
	}
	if own > MaxAttributes {
		return fault.New(fault.Invalid, "check message: it has %d attributes, the most is %d", own, MaxAttributes)
	}
	return nil
}

// checkPrintable allows what SQS allows in a group or dedup id: ASCII letters, digits and
// punctuation.
func checkPrintable(what, s string, limit int) error {
	if len(s) > limit {
		return fault.New(fault.Invalid, "check message: the %s has %d bytes, the most is %d", what, len(s), limit)
	}
	for i, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return fault.New(fault.Invalid, "check message: byte %d of the %s is not a printable ASCII character", i, what)
		}
	}
	return nil
}

func checkAttribute(name, value string) error {
	lower := strings.ToLower(name)
	switch {
	case name == "" || len(name) > MaxAttributeNameBytes:
		return fault.New(fault.Invalid, "check message: an attribute name has %d bytes, 1 to %d are allowed", len(name), MaxAttributeNameBytes)
	case name == spilledKey || strings.HasPrefix(lower, "aws") || strings.HasPrefix(lower, "amazon."):
		return fault.New(fault.Invalid, "check message: the attribute name %q is reserved", name)
	case name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, ".."):
		return fault.New(fault.Invalid, "check message: the attribute name %q has a misplaced dot", name)
	case value == "" || len(value) > MaxAttributeBytes:
		return fault.New(fault.Invalid, "check message: attribute %s has %d bytes, 1 to %d are allowed", name, len(value), MaxAttributeBytes)
	case !utf8.ValidString(value):
		return fault.New(fault.Invalid, "check message: attribute %s is not valid UTF-8", name)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return fault.New(fault.Invalid, "check message: the attribute name %q has a character that is none of letters, digits, _ - .", name)
		}
	}
	for _, c := range value {
		// What XML 1.0, and so SQS, cannot carry.
		if c < ' ' || c == 0x7f || c == 0xFFFE || c == 0xFFFF {
			return fault.New(fault.Invalid, "check message: attribute %s has a control character", name)
		}
	}
	return nil
}

// size is what a message counts towards MaxBatchBytes.
func size(m Message) int {
	n := len(m.Group) + len(m.DedupID) + len(m.Body)
	for name, value := range m.Attributes {
		n += len(name) + len(value)
	}
	return n
}
