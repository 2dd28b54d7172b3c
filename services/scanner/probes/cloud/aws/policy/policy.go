// Package policy says whether the policy of a resource of AWS lets anybody in. It is apart from the SDK, so that its fuzzers build fast.
package policy

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

const (
	// maxPolicy is six times the longest policy of a resource (20 KB of S3,
	// docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
	maxPolicy = 128 << 10
	// maxStatements bounds what is judged; ours.
	maxStatements = 1000
	// maxActions is how many actions are kept.
	maxActions = 20
)

// Verdict is what a resource's policy says about anybody.
type Verdict struct {
	// State is one of the Policy constants of package cloud.
	State string
	// Actions are what anybody may do, as patterns of the policy.
	Actions []string
}

// errPolicy says that a text is no policy.
var errPolicy = errors.New("the policy cannot be read")

// Judge says whether the policy of a resource lets anybody in: any principal, without a condition that only some can meet. It
// follows docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html (the meaning of "public"), extended by
// statements that deny all but some. What it cannot decide counts as public only where AWS would let an anonymous caller in.
func Judge(text string) (Verdict, error) {
	if strings.TrimSpace(text) == "" {
		return Verdict{State: cloud.PolicyNone}, nil
	}
	if len(text) > maxPolicy {
		return Verdict{}, errPolicy
	}
	var doc struct {
		Statement list[statement]
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Statement) > maxStatements {
		return Verdict{}, errPolicy
	}
	v := Verdict{State: cloud.PolicyNone}
	if len(doc.Statement) > 0 {
		v.State = cloud.PolicyRestricted
	}
	for _, s := range doc.Statement {
		if !s.letsAnybodyIn() || slices.ContainsFunc(doc.Statement, func(d statement) bool { return d.takesBack(s) }) {
			continue
		}
		v.State = cloud.PolicyPublic
		v.Actions = append(v.Actions, s.actions()...)
	}
	slices.Sort(v.Actions)
	v.Actions = slices.Compact(v.Actions)
	v.Actions = v.Actions[:min(len(v.Actions), maxActions)]
	return v, nil
}

// Permits says whether anybody may do one action.
func (v Verdict) Permits(action string) bool {
	return slices.ContainsFunc(v.Actions, func(pattern string) bool { return like(pattern, action) })
}

// Fill writes the verdict into settings.
func (v Verdict) Fill(settings map[string]string) {
	settings[cloud.SettingPolicy] = v.State
	if len(v.Actions) > 0 {
		settings[cloud.SettingPolicyActions] = strings.Join(v.Actions, " ")
	}
}

// statement is one statement (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
type statement struct {
	Effect       string
	Principal    principal
	NotPrincipal principal
	Action       list[string]
	NotAction    list[string]
	Resource     list[string]
	NotResource  list[string]
	Condition    map[string]map[string]list[scalar]
}

// list is one value or several.
type list[T any] []T

// UnmarshalJSON reads both spellings.
func (l *list[T]) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '[' {
		return json.Unmarshal(raw, (*[]T)(l))
	}
	var one T
	if err := json.Unmarshal(raw, &one); err != nil {
		return err
	}
	*l = list[T]{one}
	return nil
}

// scalar is a text, a number or a truth value, as text.
type scalar string

// UnmarshalJSON keeps the text of what is no text.
func (s *scalar) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, (*string)(s))
	}
	*s = scalar(raw)
	return nil
}

// principal is whom a statement is about.
type principal struct {
	set, anybody bool
}

// UnmarshalJSON reads "*" and {"AWS": ...}; anybody is named by an asterisk and by nothing else.
func (p *principal) UnmarshalJSON(raw []byte) error {
	p.set = true
	var text string
	if json.Unmarshal(raw, &text) == nil {
		p.anybody = text == "*"
		return nil
	}
	var kinds map[string]list[string]
	if err := json.Unmarshal(raw, &kinds); err != nil {
		return err
	}
	for kind, who := range kinds {
		p.anybody = p.anybody || (kind == "AWS" || kind == "*") && slices.Contains(who, "*")
	}
	return nil
}

// letsAnybodyIn says whether a statement allows what anybody asks. Who is let in by exception ("all but these") is anybody.
func (s statement) letsAnybodyIn() bool {
	return s.Effect == "Allow" && (s.Principal.anybody || s.NotPrincipal.set) && !s.narrowed()
}

// actions are what a statement is about; all where it names exceptions.
func (s statement) actions() []string {
	if len(s.Action) == 0 {
		return []string{"*"}
	}
	return s.Action
}

// takesBack says whether a statement denies anybody what another allows: all of it, or to all but some.
func (s statement) takesBack(allowed statement) bool {
	if s.Effect != "Deny" || !s.Principal.anybody || len(s.NotAction) > 0 || len(s.NotResource) > 0 {
		return false
	}
	return s.exceptSome() && covers(s.Action, allowed.actions()) && (len(allowed.Resource) == 0 || covers(s.Resource, allowed.Resource))
}

// exceptSome says whether a statement is about everybody, or everybody but those who meet one condition that only some can meet.
func (s statement) exceptSome() bool {
	count := 0
	limits := true
	for operator, keys := range s.Condition {
		for key, values := range keys {
			count++
			limits = limits && negated(operator) && limiting(positive(operator), key, values)
		}
	}
	return count == 0 || count == 1 && limits
}

// covers says whether each text matches a pattern.
func covers(patterns, texts []string) bool {
	for _, t := range texts {
		if !slices.ContainsFunc(patterns, func(p string) bool { return like(p, t) }) {
			return false
		}
	}
	return true
}

// like matches a pattern of policies: * is any text, ? any character; actions are compared without regard to case
// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html).
func like(pattern, text string) bool {
	pattern, text = strings.ToLower(pattern), strings.ToLower(text)
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
