package policy

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

func TestJudge(t *testing.T) {
	for name, tt := range map[string]struct{ policy, want, actions string }{
		"none":                      {``, cloud.PolicyNone, ""},
		"no statements":             {`{"Version":"2012-10-17","Statement":[]}`, cloud.PolicyNone, ""},
		"anybody":                   {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}`, cloud.PolicyPublic, "s3:GetObject"},
		"anybody with an account":   {`{"Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["sqs:SendMessage","sqs:ReceiveMessage"],"Resource":"*"}}`, cloud.PolicyPublic, "sqs:ReceiveMessage sqs:SendMessage"},
		"anybody in a list":         {`{"Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:root","*"]},"Action":"*","Resource":"*"}]}`, cloud.PolicyPublic, "*"},
		"an account":                {`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"s3:*","Resource":"*"}]}`, cloud.PolicyRestricted, ""},
		"a service":                 {`{"Statement":[{"Effect":"Allow","Principal":{"Service":"cloudfront.amazonaws.com"},"Action":"s3:GetObject","Resource":"*"}]}`, cloud.PolicyRestricted, ""},
		"a federation":              {`{"Statement":[{"Effect":"Allow","Principal":{"Federated":"*"},"Action":"s3:GetObject","Resource":"*"}]}`, cloud.PolicyRestricted, ""},
		"all but one":               {`{"Statement":[{"Effect":"Allow","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"s3:GetObject","Resource":"*"}]}`, cloud.PolicyPublic, "s3:GetObject"},
		"denied":                    {`{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}]}`, cloud.PolicyRestricted, ""},
		"actions by exception":      {`{"Statement":[{"Effect":"Allow","Principal":"*","NotAction":"s3:PutObject","Resource":"*"}]}`, cloud.PolicyPublic, "*"},
		"addresses":                 {allow(`"IpAddress":{"aws:SourceIp":["198.51.100.0/24","2001:db8::/48"]}`), cloud.PolicyRestricted, ""},
		"one address":               {allow(`"IpAddress":{"aws:SourceIp":"198.51.100.7"}`), cloud.PolicyRestricted, ""},
		"addresses, optional":       {allow(`"IpAddressIfExists":{"aws:SourceIp":"198.51.100.7/32"}`), cloud.PolicyRestricted, ""},
		"every address":             {allow(`"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}`), cloud.PolicyPublic, "s3:GetObject"},
		"half of all addresses":     {allow(`"IpAddress":{"aws:SourceIp":["198.51.100.0/24","0.0.0.0/1"]}`), cloud.PolicyPublic, "s3:GetObject"},
		"all but an address":        {allow(`"NotIpAddress":{"aws:SourceIp":"198.51.100.7"}`), cloud.PolicyPublic, "s3:GetObject"},
		"no address":                {allow(`"IpAddress":{"aws:SourceIp":"nonsense"}`), cloud.PolicyPublic, "s3:GetObject"},
		"a network":                 {allow(`"StringEquals":{"aws:SourceVpce":"vpce-1a2b"}`), cloud.PolicyRestricted, ""},
		"a network, optional":       {allow(`"StringEqualsIfExists":{"aws:SourceVpce":"vpce-1a2b"}`), cloud.PolicyPublic, "s3:GetObject"},
		"an organisation":           {allow(`"StringEquals":{"aws:PrincipalOrgID":"o-abc123"}`), cloud.PolicyRestricted, ""},
		"every organisation":        {allow(`"StringLike":{"aws:PrincipalOrgID":"o-*"}`), cloud.PolicyPublic, "s3:GetObject"},
		"the owner, as SNS writes":  {allow(`"StringEquals":{"AWS:SourceOwner":"111122223333"}`), cloud.PolicyRestricted, ""},
		"a source account":          {allow(`"StringEquals":{"aws:SourceAccount":"111122223333"}`), cloud.PolicyRestricted, ""},
		"a source":                  {allow(`"ArnLike":{"aws:SourceArn":"arn:aws:s3:::bucket"}`), cloud.PolicyRestricted, ""},
		"sources of an account":     {allow(`"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:111122223333:*"}`), cloud.PolicyRestricted, ""},
		"sources of any account":    {allow(`"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:*:topic"}`), cloud.PolicyPublic, "s3:GetObject"},
		"roles of any account":      {allow(`"StringLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/reader"}`), cloud.PolicyPublic, "s3:GetObject"},
		"AWS itself":                {allow(`"Bool":{"aws:PrincipalIsAWSService":"true"}`), cloud.PolicyRestricted, ""},
		"AWS itself, as truth":      {allow(`"Bool":{"aws:PrincipalIsAWSService":true}`), cloud.PolicyRestricted, ""},
		"not AWS itself":            {allow(`"Bool":{"aws:PrincipalIsAWSService":"false"}`), cloud.PolicyPublic, "s3:GetObject"},
		"over TLS":                  {allow(`"Bool":{"aws:SecureTransport":"true"}`), cloud.PolicyPublic, "s3:GetObject"},
		"a page that anybody names": {allow(`"StringLike":{"aws:Referer":"https://example.com/*"}`), cloud.PolicyPublic, "s3:GetObject"},
		"all values of nothing":     {allow(`"ForAllValues:StringEquals":{"aws:PrincipalOrgID":"o-abc123"}`), cloud.PolicyPublic, "s3:GetObject"},
		"any value":                 {allow(`"ForAnyValue:StringEquals":{"aws:PrincipalOrgPaths":"o-abc123/r-1"}`), cloud.PolicyRestricted, ""},
		"one of two conditions":     {allow(`"Bool":{"aws:SecureTransport":"true"},"StringEquals":{"aws:PrincipalOrgID":"o-abc123"}`), cloud.PolicyRestricted, ""},
		"denied to all but addresses": {two(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"198.51.100.0/24"}}}`),
			cloud.PolicyRestricted, ""},
		"denied to all but a network": {two(`{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"s3:Get*","Resource":"arn:aws:s3:::b/*","Condition":{"StringNotEqualsIfExists":{"aws:SourceVpce":"vpce-1"}}}`),
			cloud.PolicyRestricted, ""},
		"denied without TLS": {two(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`),
			cloud.PolicyPublic, "s3:GetObject"},
		"something else denied": {two(`{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"*"}`), cloud.PolicyPublic, "s3:GetObject"},
		"elsewhere denied":      {two(`{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/private/*"}`), cloud.PolicyPublic, "s3:GetObject"},
		"denied to one":         {two(`{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"s3:*","Resource":"*"}`), cloud.PolicyPublic, "s3:GetObject"},
		"denied when both":      {two(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"198.51.100.0/24"},"Bool":{"aws:ViaAWSService":"false"}}}`), cloud.PolicyPublic, "s3:GetObject"},
		"all denied":            {two(`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`), cloud.PolicyRestricted, ""},
	} {
		v, err := Judge(tt.policy)
		if err != nil || v.State != tt.want || strings.Join(v.Actions, " ") != tt.actions {
			t.Errorf("%s: %v %v, want %s %s", name, v, err, tt.want, tt.actions)
		}
	}
	for _, broken := range []string{"{", "[]", `{"Statement":7}`, `{"Statement":[{"Principal":7}]}`, strings.Repeat("[", maxPolicy+1), `{"Statement":[` + strings.Repeat(`{},`, maxStatements) + `{}]}`} {
		if v, err := Judge(broken); err == nil {
			t.Errorf("%.40s: %v", broken, v)
		}
	}
}

const public = `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"`

func allow(condition string) string {
	return `{"Statement":[` + public + `,"Condition":{` + condition + `}}]}`
}

func two(second string) string { return `{"Statement":[` + public + `},` + second + `]}` }

// A condition or a denial never makes a policy more public, wherever it stands.
func TestPolicyOnlyNarrows(t *testing.T) {
	conditions := []string{
		`"IpAddress":{"aws:SourceIp":"198.51.100.0/24"}`, `"Bool":{"aws:SecureTransport":"true"}`, `"StringEquals":{"aws:PrincipalOrgID":"o-1"}`,
		`"StringLike":{"aws:PrincipalOrgID":"*"}`, `"Null":{"aws:PrincipalOrgID":"true"}`,
	}
	rapid.Check(t, func(rt *rapid.T) {
		picked := rapid.SliceOfNDistinct(rapid.SampledFrom(conditions), 0, 2, func(c string) string { o, _, _ := strings.Cut(c, ":"); return o }).Draw(rt, "conditions")
		more := rapid.SampledFrom(conditions).Draw(rt, "more")
		if slices.ContainsFunc(picked, func(c string) bool { o, _, _ := strings.Cut(more, ":"); return strings.HasPrefix(c, o+":") }) {
			return
		}
		before, err := Judge(allow(strings.Join(picked, ",")))
		after, err2 := Judge(allow(strings.Join(append(slices.Clone(picked), more), ",")))
		if err != nil || err2 != nil || before.State != cloud.PolicyPublic && after.State == cloud.PolicyPublic {
			rt.Fatalf("%v with %s: %v -> %v (%v %v)", picked, more, before, after, err, err2)
		}
	})
}

func TestLike(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true}, {"*", "s3:GetObject", true}, {"s3:*", "S3:GETOBJECT", true}, {"s3:Get*", "s3:PutObject", false}, {"s3:Get?bject", "s3:GetObject", true},
		{"", "", true}, {"", "a", false}, {"a", "", false}, {"a*b*c", "aXbYbZc", true}, {"a*b*c", "aXbYbZ", false}, {"**", "x", true}, {"arn:aws:s3:::b/*", "arn:aws:s3:::b/k/*", true},
	} {
		if got := like(tt.pattern, tt.text); got != tt.want {
			t.Errorf("%q ~ %q: %v", tt.pattern, tt.text, got)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(two(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"198.51.100.0/24"}}}`))
	f.Add(allow(`"ForAllValues:StringEquals":{"aws:PrincipalOrgID":["o-abc123",7,true,null]}`))
	f.Add(`{"Statement":{"Effect":"Allow","NotPrincipal":{"AWS":[]},"Action":[],"Condition":{"":{"":[]}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := Judge(text)
		if err != nil {
			return
		}
		if !slices.Contains([]string{cloud.PolicyNone, cloud.PolicyRestricted, cloud.PolicyPublic}, v.State) || len(v.Actions) > maxActions || (v.State == cloud.PolicyPublic) != (len(v.Actions) > 0) {
			t.Errorf("%q: %v", text, v)
		}
	})
}

func FuzzLike(f *testing.F) {
	f.Add("a*b?c", "aXbYc")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern)+len(text) > 4096 {
			return
		}
		got := like(pattern, text)
		if p, q := strings.ToLower(pattern), strings.ToLower(text); !strings.ContainsAny(pattern, "*?") && got != (p == q) {
			t.Errorf("%q ~ %q: %v", pattern, text, got)
		}
		if got && !like("*"+pattern+"*", "x"+text+"y") {
			t.Errorf("%q ~ %q is lost in the middle of a text", pattern, text)
		}
	})
}
