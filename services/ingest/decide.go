package ingest

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

// inheritedLife is how long an asset belongs to the seed below which it was found, after it was found there: an assessment looks
// at names first and at what they lead to within the day (its workflow ends after 24 h). An address that a name has left is
// nobody's by tomorrow. One hour more, because the time is kept by the hour.
const inheritedLife = 25 * time.Hour

// scope is what decides: as of one moment, what nobody may touch, what is stopped, and the tenant's exclusions and seeds.
type scope struct {
	banned     *matcher
	stops      []*ingestv1.Stop
	stopped    *matcher
	exclusions []string
	excluded   *matcher
	seeds      []*modelv1.Asset
	owned      *matcher
	// unconfirmed says of seeds, by name, why their proof could not be looked at again.
	unconfirmed map[string]string
	now         time.Time
}

type named struct {
	kind  modelv1.AssetKind
	value string
}

// names are all things a target touches: its asset, the host it presents, the address it connects to.
func names(t *modelv1.Target) []named {
	out := []named{{t.GetKind(), t.GetValue()}}
	add := func(n named) {
		for _, o := range out {
			if o.value == n.value {
				return
			}
		}
		out = append(out, n)
	}
	if a := t.GetAddress(); a != "" {
		add(named{modelv1.AssetKind_ASSET_KIND_IP, a})
	}
	if h := t.GetHost(); h != "" {
		add(named{modelv1.AssetKind_ASSET_KIND_HOST, h})
	}
	return out
}

// decide judges one target: all it touches must be permitted for what is to be done to it. found are the stored assets of these
// names. What nobody may touch is judged before everything, then stops, then exclusions, then ownership.
func (sc *scope) decide(t *modelv1.Target, needed modelv1.Clearance, found []*modelv1.Asset) *ingestv1.ScopeDecision {
	d := &ingestv1.ScopeDecision{Target: t, Needed: needed, Granted: modelv1.Clearance_CLEARANCE_INTRUSIVE}
	reasons := make([]string, 0, 2)
	for _, n := range names(t) {
		reason := sc.forbidden(n.value, found)
		granted := modelv1.Clearance_CLEARANCE_UNSPECIFIED
		if reason == "" {
			granted, reason = sc.grant(n, t, found)
		}
		d.Granted = min(d.GetGranted(), granted)
		if granted < needed {
			d.Reason = reason
			return d
		}
		reasons = append(reasons, reason)
	}
	d.Allowed, d.Reason = true, strings.Join(reasons, "; ")
	return d
}

// forbidden says why a value must not be touched by anybody, or by this tenant, or now; "" if nothing is against it. A range is
// judged as such: what is excluded inside it is judged address by address.
func (sc *scope) forbidden(value string, found []*modelv1.Asset) string {
	if !canonical(value) {
		return fmt.Sprintf("%q is not in its canonical spelling and is not scanned; name it as an asset to see how it is written", clip(value, 300))
	}
	for _, v := range spellings(value) {
		if len(sc.banned.over(v)) > 0 {
			return value + " is on the operator's do-not-scan list"
		}
		if at := sc.stopped.over(v); len(at) > 0 {
			return stopReason(sc.stops[at[0]])
		}
		if at := sc.excluded.over(v); len(at) > 0 {
			return fmt.Sprintf("%s is excluded by %s", value, sc.exclusions[at[0]])
		}
	}
	return sc.stoppedOnTheWay(value, found)
}

// stoppedOnTheWay says whether a stop covers the whole tenant, or what led to a value: who stops a name means the addresses behind
// it too.
func (sc *scope) stoppedOnTheWay(value string, found []*modelv1.Asset) string {
	for _, s := range sc.stops {
		if s.GetTarget() == "" {
			return stopReason(s)
		}
	}
	for _, a := range found {
		for _, step := range a.GetPath() {
			if at := sc.stopped.over(step.GetFrom()); a.GetValue() == value && len(at) > 0 {
				return stopReason(sc.stops[at[0]])
			}
		}
	}
	return ""
}

// canonical says whether a value is spelt as this platform spells it. A name that comes in capitals, with a final dot or in
// Unicode is another text than the one that an exclusion names, and the same name to a resolver.
func canonical(value string) bool {
	t, err := target.Parse(value)
	return err == nil && t.Value == value && t.Port == 0 && t.URL == ""
}

// nat64 is the prefix under which IPv4 addresses are reached by translation (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// spellings are a value and, where it is an IPv6 address that stands for an IPv4 one, that one.
func spellings(value string) []string {
	out := []string{value}
	if a, err := netip.ParseAddr(value); err == nil && nat64.Contains(a) {
		b := a.As16()
		out = append(out, netip.AddrFrom4([4]byte(b[12:])).String())
	}
	return out
}

// grant is how much may be done to a name by what the tenant has proven, and the rule that says so or what is missing.
func (sc *scope) grant(n named, t *modelv1.Target, found []*modelv1.Asset) (granted modelv1.Clearance, reason string) {
	reason = fmt.Sprintf("%s lies below no seed of this tenant; add it as an asset and prove ownership", n.value)
	better := func(c modelv1.Clearance, why string) {
		if c > granted {
			granted, reason = c, why
		}
	}
	for _, at := range sc.owned.over(n.value) {
		better(sc.bySeed(sc.seeds[at], n.value))
	}
	for _, a := range found {
		if a.GetValue() == n.value {
			better(sc.byDiscovery(a, n, t))
		}
	}
	return granted, reason
}

// bySeed is what a seed grants for itself and what lies below it.
func (sc *scope) bySeed(seed *modelv1.Asset, value string) (modelv1.Clearance, string) {
	o := asOf(seed.GetOwnership(), sc.now)
	problem := sc.unconfirmed[seed.GetName()]
	switch {
	case problem != "":
		return modelv1.Clearance_CLEARANCE_PASSIVE, fmt.Sprintf("the proof of %s could not be looked at again: %s; try again later", seed.GetValue(), problem)
	case o.GetState() != modelv1.Ownership_STATE_VERIFIED:
		return modelv1.Clearance_CLEARANCE_PASSIVE, fmt.Sprintf(
			"ownership of %s is %s; prove it with a DNS record or a file, or have an operator attest it; until then only the passive profile runs",
			seed.GetValue(), stateText(o))
	case o.GetMethod() == methodFile && value != seed.GetValue():
		return modelv1.Clearance_CLEARANCE_PASSIVE, fmt.Sprintf("%s is proven by a file, which proves that host and not %s below it; prove it by DNS", seed.GetValue(), value)
	}
	c := clearanceOf(o)
	return c, fmt.Sprintf("%s lies in verified seed %s, cleared for %s", value, seed.GetValue(), clearanceText(c))
}

// byDiscovery is what is granted for an asset because of where it was found. Third parties may be asked about whatever was found.
// What is done to an address alone, which others may share, is never intrusive.
func (sc *scope) byDiscovery(a *modelv1.Asset, n named, t *modelv1.Target) (modelv1.Clearance, string) {
	o := a.GetOwnership()
	none := fmt.Sprintf("%s was found below no verified seed; add it as an asset and prove ownership", n.value)
	if o.GetState() != modelv1.Ownership_STATE_INHERITED {
		return modelv1.Clearance_CLEARANCE_PASSIVE, none
	}
	if sc.now.After(o.GetVerifiedAt().AsTime().Add(inheritedLife)) {
		return modelv1.Clearance_CLEARANCE_PASSIVE, fmt.Sprintf("nothing leads to %s any more (it was last found on %s); assess what it was found by", n.value, o.GetVerifiedAt().AsTime().Format(time.DateOnly))
	}
	for _, seed := range sc.seeds {
		if seed.GetName() != o.GetInheritedFrom() || !vouches(seed, n.value) {
			continue
		}
		c := clearanceOf(asOf(seed.GetOwnership(), sc.now))
		if sc.unconfirmed[seed.GetName()] != "" {
			c = modelv1.Clearance_CLEARANCE_PASSIVE
		}
		if c == modelv1.Clearance_CLEARANCE_PASSIVE {
			return c, fmt.Sprintf("%s was found below %s, whose ownership is not proven now", n.value, seed.GetValue())
		}
		if t.GetHost() == "" {
			c = min(c, modelv1.Clearance_CLEARANCE_STANDARD)
		}
		return c, fmt.Sprintf("%s was found below verified seed %s", n.value, seed.GetValue())
	}
	return modelv1.Clearance_CLEARANCE_PASSIVE, none
}

// vouches says whether control of a seed speaks for what was found from it. For an address it does. For a name only within the
// seed's own site, because anybody may write anybody's name into a record or a certificate; what a cloud account says about
// names counts for those that the provider gives out. A file proves one host and no other name.
func vouches(seed *modelv1.Asset, value string) bool {
	if _, err := prefix(value); err == nil {
		return true
	}
	if provider, _, ok := target.CloudParts(seed.GetValue()); ok {
		return givenOut(provider, value)
	}
	return seed.GetOwnership().GetMethod() != methodFile && sameSite(seed.GetValue(), value)
}

func sameSite(a, b string) bool {
	site, err := publicsuffix.EffectiveTLDPlusOne(a)
	other, err2 := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && err2 == nil && site == other
}

// givenOut are the suffixes of names that a cloud provider gives to resources of its customers, and nobody chooses freely. Sources:
// docs.aws.amazon.com/general/latest/gr/rande.html, learn.microsoft.com/azure/dns/private-dns (public zones),
// cloud.google.com/run/docs/triggering/https-request.
func givenOut(provider, name string) bool {
	for _, suffix := range map[string][]string{
		target.AWS:    {"amazonaws.com", "cloudfront.net", "on.aws", "awsapprunner.com", "amplifyapp.com", "awsglobalaccelerator.com", "elasticbeanstalk.com", "amazonaws.com.cn"},
		target.Azure:  {"azurewebsites.net", "cloudapp.azure.com", "cloudapp.net", "azurefd.net", "azureedge.net", "trafficmanager.net", "windows.net", "azure-api.net", "azurecontainerapps.io", "azurestaticapps.net", "azure.net", "azurecr.io"},
		target.Google: {"run.app", "appspot.com", "cloudfunctions.net", "web.app", "firebaseapp.com", "googleapis.com", "pkg.dev", "cloud.goog", "googleusercontent.com"},
	}[provider] {
		if strings.HasSuffix(name, "."+suffix) {
			return true
		}
	}
	return false
}

func stateText(o *modelv1.Ownership) string {
	switch o.GetState() {
	case modelv1.Ownership_STATE_EXPIRED:
		if o.GetReason() != "" {
			return "no longer proven (" + o.GetReason() + ")"
		}
		return "proven too long ago"
	case modelv1.Ownership_STATE_VERIFIED:
		return "proven"
	}
	return "not proven"
}

// asOf is ownership as it stands at a moment: a proof counts until its time is over.
func asOf(o *modelv1.Ownership, now time.Time) *modelv1.Ownership {
	if o.GetState() == modelv1.Ownership_STATE_VERIFIED && !o.GetExpiresAt().AsTime().After(now) {
		o = proto.CloneOf(o)
		o.State = modelv1.Ownership_STATE_EXPIRED
	}
	return o
}
