package policy

import (
	"net/netip"
	"slices"
	"strings"
)

// limitingKeys are condition keys that say who asks, or from where, so that not anybody can meet a condition about them
// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html; the list of S3's meaning of "public", and those of
// its kind). Referer and user agent are not among them: anybody can send any.
var limitingKeys = []string{
	"aws:sourceip", "aws:vpcsourceip", "aws:sourcevpc", "aws:sourcevpce", "aws:sourcevpcarn", "aws:sourceaccount", "aws:sourceowner", "aws:sourcearn",
	"aws:sourceorgid", "aws:sourceorgpaths", "aws:principalorgid", "aws:principalorgpaths", "aws:principalaccount", "aws:principalarn", "aws:userid",
	"aws:username", "aws:principalservicename", "aws:principalservicenameslist", "aws:principalisawsservice", "aws:vpceaccount", "aws:vpceorgid",
	"aws:vpceorgpaths", "ec2:sourceinstancearn", "s3:dataaccesspointarn", "s3:dataaccesspointaccount", "kms:calleraccount", "sns:endpoint",
}

// narrowed says whether a condition keeps a statement from being for anybody. All conditions have to hold, so one is enough.
func (s statement) narrowed() bool {
	for operator, keys := range s.Condition {
		for key, values := range keys {
			if limiting(operator, key, values) {
				return true
			}
		}
	}
	return false
}

// limiting says whether a condition is one that only some can meet: an operator that requires something of a key that tells who asks,
// and values that are not for everybody.
func limiting(operator, key string, values []scalar) bool {
	operator, key = strings.ToLower(operator), strings.ToLower(key)
	if !slices.Contains(limitingKeys, key) || len(values) == 0 {
		return false
	}
	if strings.HasPrefix(operator, "forallvalues:") {
		return false // true where the key is missing, which it is for who has no identity
	}
	operator = strings.TrimPrefix(operator, "foranyvalue:")
	if base, optional := strings.CutSuffix(operator, "ifexists"); optional {
		if key != "aws:sourceip" { // the only one that every request has
			return false
		}
		operator = base
	}
	for _, v := range values {
		if !fixed(operator, string(v)) {
			return false
		}
	}
	return true
}

// fixed says whether a value under an operator is met by some only.
func fixed(operator, value string) bool {
	switch operator {
	case "ipaddress":
		return narrowRange(value)
	case "bool":
		return value == "true"
	case "stringequals", "stringequalsignorecase":
		return value != ""
	case "stringlike", "arnequals", "arnlike":
		return !strings.ContainsAny(value, "*?") || ownAccount(value)
	}
	return false
}

// ownAccount says whether an ARN with wildcards names its account in full: then only that account can have such a thing.
func ownAccount(arn string) bool {
	parts := strings.SplitN(arn, ":", 6)
	return len(parts) == 6 && len(parts[4]) == 12 && strings.Trim(parts[4], "0123456789") == ""
}

// The widest ranges that S3 does not call public
// (docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html).
const (
	widest4 = 8
	widest6 = 32
)

func narrowRange(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return false
	}
	if p.Addr().Is4() {
		return p.Bits() >= widest4
	}
	return p.Bits() >= widest6
}

// negated says whether an operator is one of "not", and positive is the operator without it.
func negated(operator string) bool { return positive(operator) != strings.ToLower(operator) }

func positive(operator string) string {
	operator = strings.TrimSuffix(strings.ToLower(operator), "ifexists") // a "not" holds where the key is missing, with or without it
	switch operator {
	case "notipaddress":
		return "ipaddress"
	case "stringnotequals":
		return "stringequals"
	case "stringnotequalsignorecase":
		return "stringequalsignorecase"
	case "stringnotlike":
		return "stringlike"
	case "arnnotequals":
		return "arnequals"
	case "arnnotlike":
		return "arnlike"
	}
	return strings.ToLower(operator)
}
