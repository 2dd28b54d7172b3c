package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// scripted is a provider that says what a test wants.
type scripted struct {
	resources []Resource
	gaps      []Gap
	err       error
	proven    []string
}

func (*scripted) Name() string { return "aws" }

func (s *scripted) Inventory(_ context.Context, _ probes.Env, _ string, _ *modelv1.CloudAccess, emit func(Resource) error) ([]Gap, error) {
	for _, r := range s.resources {
		if err := emit(r); err != nil {
			return s.gaps, err
		}
	}
	return s.gaps, s.err
}

func (s *scripted) ProveRole(_ context.Context, _ probes.Env, account string, access *modelv1.CloudAccess) error {
	s.proven = append(s.proven, account+" "+access.GetRole())
	return nil
}

func run(t *testing.T, s *scripted, account string) *probes.Result {
	t.Helper()
	return runIn(t, s, account, "assessments/1")
}

func runIn(t *testing.T, s *scripted, account, assessment string) *probes.Result {
	t.Helper()
	result, err := New(s).Scan(t.Context(), probes.Env{}, &modelv1.ScanJob{
		ScanType: modelv1.ScanType_SCAN_TYPE_CLOUD, Target: &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT, Value: account}, Assessment: assessment,
	})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

const inAccount = "aws:123456789012"

// Where facts are filed, and what becomes a lead.
func TestPlaces(t *testing.T) {
	fact := func(id string, addresses, names []string) *modelv1.CloudFact {
		return &modelv1.CloudFact{Type: "ec2:instance", Id: id, Addresses: addresses, Hostnames: names}
	}
	for name, tt := range map[string]struct {
		r           Resource
		want, leads string
	}{
		"dedicated":        {Resource{Fact: fact("i", []string{"3.5.140.2", "2600:1f18::1"}, nil), Dedicated: true}, "7 i@,3 3.5.140.2@i,3 2600:1f18::1@i", "2600:1f18::1 3.5.140.2"},
		"shared":           {Resource{Fact: fact("i", []string{"3.5.140.2"}, nil)}, "7 i@", ""},
		"no address":       {Resource{Fact: fact("i", []string{"3.5.140.2:80", "x"}, nil), Dedicated: true}, "7 i@", ""},
		"named":            {Resource{Fact: fact("i", nil, []string{"WWW.Example.com"}), Names: true}, "7 i@,2 www.example.com@i", "www.example.com"},
		"named, not ours":  {Resource{Fact: fact("i", nil, []string{"www.example.com"})}, "7 i@", ""},
		"no name":          {Resource{Fact: fact("i", nil, []string{"*.example.com", "a b", "http://x.example.com:8080/"}), Names: true}, "7 i@", ""},
		"a record":         {Resource{Fact: fact("r", nil, []string{"www.example.com"}), Names: true, PlacesOnly: true}, "2 www.example.com@r", "www.example.com"},
		"a record of all":  {Resource{Fact: fact("r", nil, []string{"*.example.com"}), Names: true, PlacesOnly: true}, "7 r@", ""},
		"of the account":   {Resource{Fact: fact("a", nil, nil), OfAccount: true}, "6 " + inAccount + "@", ""},
		"without an id":    {Resource{Fact: fact("", []string{"3.5.140.2"}, nil), Dedicated: true}, "", ""},
		"a hostile id":     {Resource{Fact: fact("a\x1b[31mb", nil, nil)}, "7 a [31mb~", ""},
		"an endless id":    {Resource{Fact: fact(strings.Repeat("x", 5000), nil, nil)}, "7 " + strings.Repeat("x", 128) + "~", ""},
		"in many places":   {Resource{Fact: fact("i", many(60), nil), Dedicated: true}, "", ""},
		"reached in parts": {Resource{Fact: fact("i", nil, nil), Partly: true}, "7 i@", ""},
	} {
		t.Run(name, func(t *testing.T) {
			result := run(t, &scripted{resources: []Resource{tt.r, tt.r}}, inAccount)
			var filed, leads []string
			for _, o := range result.Observations[:len(result.Observations)-1] { // the last is about the account
				filed = append(filed, fmt.Sprintf("%d %s@%s", o.GetAssetKind(), o.GetAssetValue(), o.GetLocation()))
			}
			for _, l := range result.Leads {
				leads = append(leads, l.GetTarget().GetValue())
			}
			slices.SortFunc(filed, func(a, b string) int { return strings.Compare(b, a) }) // the resource itself first
			got := strings.Join(filed, ",")
			if name == "in many places" {
				if len(filed) != 1+maxPlaces {
					t.Errorf("%d places", len(filed))
				}
				return
			}
			hashed := strings.HasSuffix(tt.want, "~") && strings.HasPrefix(got, tt.want) && len(got) == len(tt.want)+len("0123456789abcdef@")
			if got != tt.want && !hashed || strings.Join(leads, " ") != tt.leads {
				t.Errorf("filed %q, leads %q", got, leads)
			}
			for _, r := range result.Reached {
				if want := map[bool]modelv1.Outcome{true: modelv1.Outcome_OUTCOME_PARTIAL, false: modelv1.Outcome_OUTCOME_COMPLETE}[tt.r.Partly]; r.GetOutcome() != want {
					t.Errorf("reached %v", r)
				}
				named := slices.ContainsFunc(result.Observations, func(o *modelv1.Observation) bool {
					return o.GetAsset() == assetid.Name(int32(r.GetKind()), r.GetValue())
				})
				if !named {
					t.Errorf("%v is not named by any fact", r)
				}
			}
		})
	}
}

// An account with more names and addresses than one assessment follows was read whole all the same, and each has its turn.
func TestManyLeads(t *testing.T) {
	const all = maxLeads + maxLeads/2
	var resources []Resource
	for i := range all {
		address := fmt.Sprintf("3.5.%d.%d", i/250, i%250)
		resources = append(resources, Resource{Fact: &modelv1.CloudFact{Type: "ec2:instance", Id: "i-" + address, Addresses: []string{address}}, Dedicated: true})
	}
	followed := map[string]bool{}
	for n := range 12 {
		assessment := fmt.Sprintf("assessments/%d", n)
		result := runIn(t, &scripted{resources: resources}, inAccount, assessment)
		again := runIn(t, &scripted{resources: resources}, inAccount, assessment)
		if len(result.Leads) != maxLeads || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Unread) > 0 || !strings.HasPrefix(result.Reason, "1000 of 1500 names") {
			t.Fatalf("%d leads, %v, %v: %s", len(result.Leads), result.Outcome, result.Unread, result.Reason)
		}
		for i, l := range result.Leads {
			followed[l.GetTarget().GetValue()] = true
			if l.GetTarget().GetValue() != again.Leads[i].GetTarget().GetValue() {
				t.Fatal("the same assessment followed others")
			}
		}
	}
	if len(followed) != all { // one in 500,000 stays out for twelve times
		t.Errorf("%d of %d had their turn", len(followed), all)
	}
}

func many(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("3.5.140.%d", i))
	}
	return out
}

// What another account of the tenant's holds is not lost to it.
func TestHeldElsewhere(t *testing.T) {
	record := func(id string, lost ...string) Resource {
		return Resource{Lost: lost, Fact: &modelv1.CloudFact{Type: "route53:record", Id: id, PointsTo: lost, Settings: map[string]string{SettingDangling: DanglingAddress}}}
	}
	s := &scripted{resources: []Resource{record("theirs", "192.0.2.1"), record("both", "192.0.2.1", "192.0.2.2"), record("nobody's", "192.0.2.3"), record("idle")}}
	asked := []string(nil)
	env := probes.Env{Holders: func(_ context.Context, places []string) ([]string, error) {
		asked = places
		return []string{"aws:222222222222", "", ""}, nil
	}}
	job := &modelv1.ScanJob{Target: &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT, Value: inAccount}}
	result, err := New(s).Scan(t.Context(), env, job)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(asked, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}) {
		t.Errorf("asked for %v", asked)
	}
	for _, o := range result.Observations {
		settings := o.GetCloud().GetSettings()
		if o.GetCloud().GetType() == TypeAccount {
			continue
		}
		if held := o.GetCloud().GetId() == "theirs"; held != (settings[SettingHeldBy] == "aws:222222222222") || held != (settings[SettingDangling] == "") {
			t.Errorf("%s: %v", o.GetCloud().GetId(), settings)
		}
	}
	env.Holders = func(context.Context, []string) ([]string, error) { return nil, errors.New("away") }
	if _, err := New(s).Scan(t.Context(), env, job); !errors.Is(err, fault.Unavailable) {
		t.Errorf("nobody could be asked: %v", err)
	}
}

// What was not read is told by type and region; where the time was over, or too much was not read, it is everything.
func TestUnread(t *testing.T) {
	var far []Gap
	for i := range maxUnread + 1 {
		far = append(far, Gap{API: "a:B", Kinds: []string{fmt.Sprintf("k%d:", i)}})
	}
	complete, partial := modelv1.Outcome_OUTCOME_COMPLETE, modelv1.Outcome_OUTCOME_PARTIAL
	for name, tt := range map[string]struct {
		gaps    []Gap
		want    []string
		outcome modelv1.Outcome
	}{
		"whole":        {nil, nil, complete},
		"a service":    {[]Gap{{API: "rds:X", Region: "r2", Kinds: []string{"rds:"}}, {API: "rds:Y", Region: "r2", Kinds: []string{"rds:"}}, {API: "s3:Z", Kinds: []string{"s3:"}}}, []string{"rds: r2", "s3: "}, partial},
		"not known":    {[]Gap{{API: "x:Y", Region: "r1"}, {API: "rds:X", Kinds: []string{"rds:"}}}, []string{" r1", "rds: "}, partial},
		"not in time":  {[]Gap{{API: "rds:X", Region: "r2", Kinds: []string{"rds:"}, Why: GapTime}}, []string{" "}, partial},
		"cut":          {[]Gap{{API: "inventory", Why: GapCut}}, []string{" "}, partial},
		"too many":     {far, []string{" "}, partial},
		"not wanted":   {[]Gap{{API: "ec2:DescribeRegions", Region: "r9", Why: GapUnwanted}}, []string{" r9"}, complete},
		"and not read": {[]Gap{{API: "ec2:DescribeRegions", Region: "r9", Why: GapUnwanted}, {API: "s3:Z", Kinds: []string{"s3:"}}}, []string{" r9", "s3: "}, partial},
	} {
		result := run(t, &scripted{gaps: tt.gaps}, inAccount)
		var got []string
		for _, u := range result.Unread {
			got = append(got, u.GetType()+" "+u.GetRegion())
		}
		if !slices.Equal(got, tt.want) || result.Outcome != tt.outcome {
			t.Errorf("%s: unread %q, %s", name, got, result.Outcome)
		}
		if strings.Contains(result.Reason, "r9") {
			t.Errorf("%s: what is not wanted is told as missing: %s", name, result.Reason)
		}
	}
}

// Every way in which an account is not read whole is told, and none is 'nothing there'.
func TestOutcomes(t *testing.T) {
	one := []Resource{{Fact: &modelv1.CloudFact{Type: "s3:bucket", Id: "b"}}}
	complete, partial := modelv1.Outcome_OUTCOME_COMPLETE, modelv1.Outcome_OUTCOME_PARTIAL
	failed, away := modelv1.Outcome_OUTCOME_FAILED, modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE
	for name, tt := range map[string]struct {
		s       *scripted
		account string
		want    modelv1.Outcome
		reason  string
	}{
		"whole":          {&scripted{resources: one}, inAccount, complete, ""},
		"refused":        {&scripted{gaps: []Gap{{API: "cloudfront:ListDistributions", Why: GapDenied}}}, inAccount, partial, "aws was read in part: cloudfront:ListDistributions refused: the role lacks it"},
		"in regions":     {&scripted{gaps: []Gap{{API: "a:B", Region: "r4"}, {API: "a:B", Region: "r2"}, {API: "a:B", Region: "r1"}, {API: "a:B", Region: "r3"}, {API: "a:B", Region: "r1"}}}, inAccount, partial, "aws was read in part: a:B in 4 regions (r1, r2, r3, ...) failed"},
		"in order":       {&scripted{gaps: []Gap{{API: "a:B", Detail: "why\x1b"}, {API: "c:D", Why: GapThrottled}, {API: "e:F", Why: GapDenied}, {API: "g:H", Why: GapTime}, {API: "i:J", Why: GapCut}}}, inAccount, partial, "aws was read in part: e:F refused: the role lacks it; i:J cut at our bound; g:H not reached in the job's time; c:D throttled by the provider; a:B failed (why)"},
		"not let in":     {&scripted{err: fault.New(fault.FailedPrecondition, "AWS refuses")}, inAccount, failed, "AWS refuses"},
		"away":           {&scripted{err: fault.New(fault.Unavailable, "it does not answer")}, inAccount, away, "aws could not be asked: it does not answer"},
		"nobody's cloud": {&scripted{}, "google:my-project", failed, "this platform has no scanner for accounts of google; have an operator attest the account"},
	} {
		result := run(t, tt.s, tt.account)
		if result.Outcome != tt.want || result.Reason != tt.reason {
			t.Errorf("%s: %s %q", name, result.Outcome, result.Reason)
		}
	}
	if _, err := New(&scripted{}).Scan(t.Context(), probes.Env{}, &modelv1.ScanJob{Target: &modelv1.Target{Value: "example.com"}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("no account: %v", err)
	}
}

func TestProve(t *testing.T) {
	s := &scripted{}
	p := New(s)
	if err := p.ProveRole(t.Context(), probes.Env{}, inAccount, &modelv1.CloudAccess{Role: "r", ExternalId: "x"}); err != nil || len(s.proven) != 1 || s.proven[0] != "123456789012 r" {
		t.Errorf("%v %v", err, s.proven)
	}
	for name, access := range map[string]*modelv1.CloudAccess{"none": nil, "no role": {ExternalId: "x"}, "no external id": {Role: "r"}} {
		if err := p.ProveRole(t.Context(), probes.Env{}, inAccount, access); !errors.Is(err, fault.FailedPrecondition) || len(s.proven) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Any text of a provider becomes a fact that is bounded, harmless and has a place.
func FuzzFact(f *testing.F) {
	f.Add("arn:aws:s3:::b", "name", "www.example.com", "3.5.140.2", "\x1b[31m")
	f.Fuzz(func(t *testing.T, id, name, host, address, text string) {
		s := newScan(&modelv1.ScanJob{Target: &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT, Value: inAccount}}, "aws", "123456789012")
		if err := s.take(Resource{Names: true, Dedicated: true, Fact: &modelv1.CloudFact{
			Type: "s3:bucket", Id: id, Name: name, Hostnames: []string{host}, Addresses: []string{address}, PublicReason: text,
			Tags: map[string]string{text: text}, Settings: map[string]string{text: text}, PointsTo: []string{text},
			Ingress: []*modelv1.CloudIngress{{Protocol: text, Source: text, Rule: text}},
		}}); err != nil {
			t.Fatal(err)
		}
		for _, o := range s.observations {
			c := o.GetCloud()
			for _, got := range []string{c.GetId(), c.GetName(), c.GetPublicReason(), o.GetLocation(), o.GetAssetValue(), c.GetTags()[line(text)]} {
				if probes.SafeString(got, maxID) != got || len(got) > 4*maxID {
					t.Errorf("%q", got)
				}
			}
		}
	})
}
