package ingest

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

const (
	passive   = modelv1.Clearance_CLEARANCE_PASSIVE
	light     = modelv1.Clearance_CLEARANCE_LIGHT
	standard  = modelv1.Clearance_CLEARANCE_STANDARD
	intrusive = modelv1.Clearance_CLEARANCE_INTRUSIVE
	dnsScan   = modelv1.ScanType_SCAN_TYPE_DNS
	portScan  = modelv1.ScanType_SCAN_TYPE_PORT
	httpScan  = modelv1.ScanType_SCAN_TYPE_HTTP
)

// seedOf is a seed with an ownership: method and state by word.
func seedOf(value, method string, now time.Time, change func(*modelv1.Ownership)) *modelv1.Asset {
	t, err := target.Parse(value)
	if err != nil {
		panic(err) // the table is wrong
	}
	a := &modelv1.Asset{Name: assetid.Name(int32(t.Kind), t.Value), Kind: modelv1.AssetKind(t.Kind), Value: t.Value, Seed: true, Ownership: &modelv1.Ownership{
		State: modelv1.Ownership_STATE_VERIFIED, Method: method, Clearance: standard, VerifiedAt: timestamppb.New(now), CheckedAt: timestamppb.New(now),
		ExpiresAt: timestamppb.New(now.Add(proofLife)),
	}}
	if method == "" {
		a.Ownership = &modelv1.Ownership{State: modelv1.Ownership_STATE_UNVERIFIED}
	}
	if change != nil {
		change(a.Ownership)
	}
	return a
}

// foundAt is an asset that was found below a seed some time ago.
func foundAt(value string, seed *modelv1.Asset, at time.Time, from ...string) *modelv1.Asset {
	a := seedOf(value, "", at, nil)
	a.Seed, a.Ownership = false, &modelv1.Ownership{State: modelv1.Ownership_STATE_INHERITED, InheritedFrom: seed.GetName(), VerifiedAt: timestamppb.New(at)}
	for _, f := range from {
		a.Path = append(a.Path, &modelv1.Discovery{From: f})
	}
	return a
}

func at(value string) *modelv1.Target { return place(value, "") }

// place is a target by its value and, for a name, the address to reach.
func place(value, address string) *modelv1.Target {
	t := &modelv1.Target{Value: value, Address: address}
	if _, err := prefix(value); err == nil {
		t.Kind, t.Address = modelv1.AssetKind_ASSET_KIND_IP, value
	} else {
		t.Kind, t.Host = modelv1.AssetKind_ASSET_KIND_HOST, value
	}
	return t
}

func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	domain := seedOf("acme.com", methodDNS, now, nil)
	byFile := seedOf("file.org", methodFile, now, nil)
	deep := seedOf("deep.net", methodOperator, now, func(o *modelv1.Ownership) { o.Clearance = intrusive })
	lax := seedOf("lax.net", methodOperator, now, func(o *modelv1.Ownership) { o.Clearance = passive })
	fresh := seedOf("fresh.io", "", now, nil)
	old := seedOf("old.io", methodDNS, now.Add(-proofLife), nil)
	lost := seedOf("lost.io", methodDNS, now, func(o *modelv1.Ownership) {
		o.State, o.Reason = modelv1.Ownership_STATE_EXPIRED, "there is no TXT record"
	})
	network := seedOf("198.51.100.0/24", methodOperator, now, nil)
	account := seedOf("aws:123456789012", methodCloud, now, nil)
	legacy := seedOf("legacy.dev", methodOperator, now, func(o *modelv1.Ownership) { o.Clearance = 0 })
	sc := &scope{
		now: now, seeds: []*modelv1.Asset{domain, byFile, deep, lax, fresh, old, lost, network, account, legacy},
		banned:     newMatcher([]string{"hospital.acme.com", "198.51.100.128/25", "203.0.113.66"}),
		exclusions: []string{"secret.acme.com", "198.51.100.7"},
		stops:      []*ingestv1.Stop{{Target: "halted.acme.com", Reason: "incident", CreateTime: timestamppb.New(now)}},
	}
	sc.index()
	found := []*modelv1.Asset{
		foundAt("203.0.113.1", domain, now), foundAt("203.0.113.2", domain, now.Add(-26*time.Hour)), foundAt("203.0.113.3", fresh, now),
		foundAt("203.0.113.4", account, now), foundAt("203.0.113.5", domain, now, "halted.acme.com"), foundAt("203.0.113.6", deep, now),
		foundAt("203.0.113.66", domain, now), foundAt("203.0.113.7", old, now),
		foundAt("victim.com", account, now), foundAt("x.elb.amazonaws.com", account, now), foundAt("x.amazonaws.com.evil.org", account, now),
		foundAt("victim.org", domain, now), foundAt("other.file.org", byFile, now), foundAt("mx.acme.com", seedOf("www.acme.com", methodDNS, now, nil), now),
		foundAt("203.0.113.8", byFile, now), {Name: "assets/x", Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: "203.0.113.9", Ownership: &modelv1.Ownership{State: modelv1.Ownership_STATE_UNVERIFIED}},
	}
	for _, c := range []struct {
		name    string
		target  *modelv1.Target
		needed  modelv1.Clearance
		allowed bool
		says    string
	}{
		{"a verified domain", at("acme.com"), standard, true, "cleared for standard"},
		{"what lies below it", at("a.b.acme.com"), standard, true, "verified seed acme.com"},
		{"a name that only ends alike", at("evilacme.com"), passive, false, "no seed"},
		{"the parent of a seed", at("com"), passive, false, "no seed"},
		{"intrusive is not standard", at("acme.com"), intrusive, false, "cleared for standard"},
		{"intrusive that was granted", at("www.deep.net"), intrusive, true, "intrusive"},
		{"but not on an address alone", at("203.0.113.6"), intrusive, false, "found below"},
		{"on an address by its name", place("www.deep.net", "203.0.113.6"), intrusive, true, ""},
		{"less that was granted", at("lax.net"), light, false, "cleared for passive"},
		{"not proven", at("fresh.io"), light, false, "not proven"},
		{"not proven, passive", at("www.fresh.io"), passive, true, ""},
		{"proven too long ago", at("old.io"), light, false, "too long ago"},
		{"withdrawn", at("lost.io"), standard, false, "there is no TXT record"},
		{"an asset of before clearances", at("legacy.dev"), standard, true, "standard"},
		{"a file proves its host", at("file.org"), standard, true, ""},
		{"and no other", at("www.file.org"), light, false, "prove it by DNS"},
		{"nor one that was found from it", at("other.file.org"), light, false, ""},
		{"but the address of it", at("203.0.113.8"), standard, true, ""},
		{"an address of a range", at("198.51.100.5"), standard, true, ""},
		{"the range", at("198.51.100.0/24"), standard, true, ""},
		{"an excluded address in it", at("198.51.100.7"), passive, false, "excluded by 198.51.100.7"},
		{"a range that nobody may touch in it", at("198.51.100.200"), passive, false, "do-not-scan"},
		{"such a range as a whole", at("198.51.100.128/26"), passive, false, "do-not-scan"},
		{"an address that translates to it", at("64:ff9b::c633:64c8"), passive, false, "do-not-scan"},
		{"an address found today", at("203.0.113.1"), standard, true, "found below verified seed acme.com"},
		{"an address that was left", at("203.0.113.2"), light, false, "nothing leads to 203.0.113.2"},
		{"an address below what is not proven", at("203.0.113.3"), light, false, "not proven now"},
		{"third parties may be asked about it", at("203.0.113.3"), passive, true, ""},
		{"an address below what was proven", at("203.0.113.7"), light, false, "not proven now"},
		{"found below nothing", at("203.0.113.9"), light, false, "no verified seed"},
		{"never found", at("203.0.113.200"), passive, false, "no seed"},
		{"what an account says is its own", at("203.0.113.4"), standard, true, ""},
		{"a name that the provider gave out", at("x.elb.amazonaws.com"), standard, true, ""},
		{"a name that somebody wrote into a zone", at("victim.com"), light, false, ""},
		{"a name that looks like the provider's", at("x.amazonaws.com.evil.org"), light, false, ""},
		{"a name of another site in a record", at("victim.org"), light, false, ""},
		{"the name and an address that was left", place("acme.com", "203.0.113.2"), standard, false, "203.0.113.2"},
		{"the name and a stranger's address", place("acme.com", "203.0.113.200"), standard, false, "203.0.113.200"},
		{"a host that another asset presents", &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: "acme.com", Host: "victim.com"}, standard, false, "victim.com"},
		{"excluded", at("www.secret.acme.com"), passive, false, "excluded by secret.acme.com"},
		{"excluded, in capitals", at("SECRET.acme.com"), passive, false, "canonical"},
		{"excluded, with a final dot", at("secret.acme.com."), passive, false, "canonical"},
		{"excluded, in another width", at("ｓecret.acme.com"), passive, false, "canonical"},
		{"an address spelt otherwise", at("::ffff:198.51.100.7"), passive, false, "canonical"},
		{"an address with a zone", at("fe80::1%eth0"), passive, false, "canonical"},
		{"nobody may touch it though it is proven", at("hospital.acme.com"), passive, false, "do-not-scan"},
		{"nor its address", at("203.0.113.66"), passive, false, "do-not-scan"},
		{"stopped", at("www.halted.acme.com"), passive, false, "stopped at 2026-11-23T12:00:00Z: incident"},
		{"what a stopped name led to", at("203.0.113.5"), passive, false, "halted.acme.com"},
		{"an account", &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT, Value: "aws:123456789012"}, light, true, ""},
		{"another account", &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT, Value: "aws:123456789013"}, passive, false, "no seed"},
		{"nothing", &modelv1.Target{}, passive, false, "canonical"},
	} {
		d := sc.decide(c.target, c.needed, found)
		if d.GetAllowed() != c.allowed || !strings.Contains(d.GetReason(), c.says) || d.GetReason() == "" || strings.ContainsAny(d.GetReason(), "\n\x1b") {
			t.Errorf("%s: allowed %v because %q, want %v and %q", c.name, d.GetAllowed(), d.GetReason(), c.allowed, c.says)
		}
		if d.GetAllowed() != (d.GetGranted() >= c.needed) {
			t.Errorf("%s: allowed %v with %s granted and %s needed", c.name, d.GetAllowed(), d.GetGranted(), c.needed)
		}
	}
	sc.stops = append(sc.stops, &ingestv1.Stop{CreateTime: timestamppb.New(now)})
	sc.index()
	if d := sc.decide(at("acme.com"), passive, nil); d.GetAllowed() || !strings.Contains(d.GetReason(), "everything") {
		t.Errorf("with everything stopped: %v", d)
	}
	sc.stops, sc.unconfirmed = nil, map[string]string{domain.GetName(): "no answer"}
	sc.index()
	if d := sc.decide(at("acme.com"), light, nil); d.GetAllowed() || !strings.Contains(d.GetReason(), "try again later") {
		t.Errorf("with a proof that could not be looked at: %v", d)
	}
	if d := sc.decide(at("203.0.113.1"), light, found); d.GetAllowed() {
		t.Errorf("what was found below it: %v", d)
	}
}

// Every scan type has its row, with a reason; whatever sends packets needs a proof.
func TestNeeds(t *testing.T) {
	for n := range modelv1.ScanType_name {
		scanType := modelv1.ScanType(n)
		if n == 0 || scanType == modelv1.ScanType_SCAN_TYPE_IMPORT { // no scans
			if needed(scanType, modelv1.Profile_PROFILE_PASSIVE) != standard {
				t.Error("what is not named needs less than standard")
			}
			continue
		}
		row, ok := needs[scanType]
		if !ok || row.why == "" || row.passive > row.active {
			t.Errorf("%s: %+v", scanType, row)
		}
	}
	for _, scanType := range []modelv1.ScanType{portScan, httpScan, modelv1.ScanType_SCAN_TYPE_SERVICE, modelv1.ScanType_SCAN_TYPE_TLS, modelv1.ScanType_SCAN_TYPE_VULN} {
		if needed(scanType, modelv1.Profile_PROFILE_PASSIVE) < standard {
			t.Errorf("%s needs less in the passive profile, and connects all the same", scanType)
		}
	}
}

// The matcher agrees with the plain rule, for names, addresses and ranges.
func TestMatcherAgrees(t *testing.T) {
	plain := func(value, base string) bool {
		a, errA := prefix(value)
		b, errB := prefix(base)
		switch {
		case errA == nil && errB == nil:
			return b.Bits() <= a.Bits() && b.Masked().Contains(a.Addr())
		case errA == nil || errB == nil:
			return false
		}
		return value == base || strings.HasSuffix(value, "."+base)
	}
	text := rapid.OneOf(
		rapid.StringMatching(`([ab]{1,2}\.){0,3}(com|test)`), rapid.StringMatching(`10\.0\.[01]\.[0-3]`), rapid.StringMatching(`10\.0\.[0-3]\.0/2[2-6]`),
		rapid.StringMatching(`2001:db8::[0-3]`), rapid.SampledFrom([]string{"2001:db8::/64", "::/0", "0.0.0.0/0", "aws:123456789012", ""}),
	)
	rapid.Check(t, func(t *rapid.T) {
		bases, value := rapid.SliceOfN(text, 0, 8).Draw(t, "bases"), text.Draw(t, "value")
		hits := map[int]bool{}
		for _, n := range newMatcher(bases).over(value) {
			hits[n] = true
		}
		for i, base := range bases {
			if hits[i] != plain(value, base) {
				t.Fatalf("%q below %q: %v", value, base, hits[i])
			}
		}
	})
}
