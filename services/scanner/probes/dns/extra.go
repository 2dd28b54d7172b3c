package dns

import (
	"context"
	_ "embed"
	"encoding/json"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

//go:embed services.json
var servicesFile []byte

// service is one entry of services.json.
type service struct {
	Name      string `json:"name"`
	Directory bool   `json:"directory"`
}

// commonServices reads the list when the first domain asks for it.
var commonServices = sync.OnceValue(func() []service {
	var file struct {
		Services []service `json:"services"`
	}
	_ = json.Unmarshal(servicesFile, &file) // compiled in, and tested
	return file.Services
})

// Bounds of what else is read of a name.
const (
	// maxReverse is how many addresses of a name are asked for their names.
	maxReverse = 8
	// maxBindings bounds HTTPS, SVCB and NAPTR records in a fact, each.
	maxBindings = 20
	// maxParameter bounds the text of one parameter of a service binding.
	maxParameter = 255
)

// services asks where the domain says that common services are.
func (s *scan) services(ctx context.Context) {
	var mu sync.Mutex
	var targets []string
	var tasks []func()
	var unanswered patience
	for _, one := range commonServices() {
		tasks = append(tasks, func() {
			if unanswered.over() {
				return
			}
			got, err := s.resolver.find(ctx, one.Name+"."+s.name, mdns.TypeSRV)
			if err != nil {
				s.miss("SRV", err)
				unanswered.lost()
				return
			}
			mu.Lock()
			defer mu.Unlock()
			offered := false
			for _, rr := range got.records[:min(len(got.records), maxValues)] {
				srv, ok := rr.(*mdns.SRV)
				if !ok {
					continue
				}
				target := srv.Target
				if target != "." {
					target, offered = plain(srv.Target), true
					targets = append(targets, target)
				}
				s.fact.Srv = append(s.fact.Srv, &modelv1.Srv{
					Service: one.Name, Priority: uint32(srv.Priority), Weight: uint32(srv.Weight), Port: uint32(srv.Port), Target: safe(target),
				})
			}
			if offered && one.Directory {
				s.fact.DirectoryServices = append(s.fact.DirectoryServices, one.Name)
			}
		})
	}
	parallel(perResolver, tasks...)
	slices.SortFunc(s.fact.GetSrv(), func(a, b *modelv1.Srv) int { return strings.Compare(a.String(), b.String()) })
	s.fact.Srv = s.fact.GetSrv()[:min(len(s.fact.GetSrv()), maxValues)]
	slices.Sort(s.fact.GetDirectoryServices())
	slices.Sort(targets)
	targets = slices.Compact(targets)
	s.otherTargets(ctx, "SRV", targets[:min(len(targets), maxServers)])
}

// bindings asks for HTTPS and SVCB records (RFC 9460) and the aliases that they are.
func (s *scan) bindings(ctx context.Context) {
	var aliases []string
	for _, kind := range []uint16{mdns.TypeHTTPS, mdns.TypeSVCB} {
		got, err := s.resolver.find(ctx, s.name, kind)
		if err != nil {
			s.miss(mdns.TypeToString[kind], err)
			return
		}
		for _, rr := range got.records[:min(len(got.records), maxBindings)] {
			binding := bindingOf(rr)
			if binding == nil {
				continue
			}
			s.fact.Bindings = append(s.fact.Bindings, binding)
			if target := binding.GetTarget(); target != "" && target != s.name {
				aliases = append(aliases, target)
			}
		}
	}
	slices.SortFunc(s.fact.GetBindings(), func(a, b *modelv1.ServiceBinding) int {
		return strings.Compare(a.GetType()+a.GetTarget(), b.GetType()+b.GetTarget())
	})
	slices.Sort(aliases)
	s.otherTargets(ctx, "HTTPS", slices.Compact(aliases))
}

// bindingOf reads one record of either type, nil for any other.
func bindingOf(rr mdns.RR) *modelv1.ServiceBinding {
	var svcb *mdns.SVCB
	out := &modelv1.ServiceBinding{}
	switch one := rr.(type) {
	case *mdns.HTTPS:
		svcb, out.Type = &one.SVCB, "HTTPS"
	case *mdns.SVCB:
		svcb, out.Type = one, "SVCB"
	default:
		return nil
	}
	out.Priority = uint32(svcb.Priority)
	if svcb.Target != "." {
		out.Target = safe(plain(svcb.Target))
	}
	for _, value := range svcb.Value {
		if out.Parameters == nil {
			out.Parameters = map[string]string{}
		}
		if len(out.GetParameters()) < maxBindings {
			out.Parameters[safe(value.Key().String())] = probes.SafeString(value.String(), maxParameter)
		}
	}
	return out
}

// pointers asks for NAPTR records. Nothing is judged by them, so that a server that does not know the type spoils no scan.
func (s *scan) pointers(ctx context.Context) {
	got, err := s.resolver.find(ctx, s.name, mdns.TypeNAPTR)
	if err != nil {
		return
	}
	for _, rr := range got.records[:min(len(got.records), maxBindings)] {
		if naptr, ok := rr.(*mdns.NAPTR); ok {
			s.fact.Naptr = append(s.fact.Naptr, &modelv1.Naptr{
				Order: uint32(naptr.Order), Preference: uint32(naptr.Preference), Flags: safe(unescape(naptr.Flags)),
				Service: safe(unescape(naptr.Service)), Pattern: safe(unescape(naptr.Regexp)), Replacement: safe(plain(naptr.Replacement)),
			})
		}
	}
	slices.SortFunc(s.fact.GetNaptr(), func(a, b *modelv1.Naptr) int {
		return int(a.GetOrder()*65536+a.GetPreference()) - int(b.GetOrder()*65536+b.GetPreference())
	})
}

// reverse asks what the addresses are called. The reverse zone is somebody else's, so that its silence spoils no scan, and private
// addresses mean nothing to it.
func (s *scan) reverse(ctx context.Context) {
	for _, text := range slices.Concat(s.fact.GetA(), s.fact.GetAaaa()) {
		addr, err := netip.ParseAddr(text)
		if err != nil || private(addr) || len(s.fact.GetReverse()) == maxReverse {
			continue
		}
		at, err := mdns.ReverseAddr(text)
		if err != nil {
			continue
		}
		got, err := s.resolver.find(ctx, at, mdns.TypePTR)
		if err != nil {
			continue
		}
		out := &modelv1.ReverseName{Address: text}
		for _, rr := range got.records[:min(len(got.records), maxReverse)] {
			if ptr, ok := rr.(*mdns.PTR); ok {
				out.Names = append(out.Names, safe(plain(ptr.Ptr)))
			}
		}
		slices.Sort(out.GetNames())
		for _, name := range out.GetNames() {
			if list, _, err := s.resolver.addresses(ctx, name); err == nil && slices.Contains(list, addr) {
				out.Confirmed = true
				break
			}
		}
		s.fact.Reverse = append(s.fact.Reverse, out)
	}
}

// caaTags are the property tags that certification authorities know: the IANA registry of CAA properties (RFC 8659 section 7,
// RFC 9495, the CA/Browser Forum's contacts, and issuevmc of the BIMI group), as of 2026-11-23.
var caaTags = []string{"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone", "auth", "path", "policy"}

// critical is the flag that forbids an authority to issue if it does not know the tag (RFC 8659 section 4.1).
const critical = 128

// judgeCAA finds what makes CAA records say something else than was meant.
func judgeCAA(records []*modelv1.Caa) (unknownCritical []string, problem string) {
	for _, record := range records {
		known := slices.Contains(caaTags, record.GetTag())
		if !known && record.GetFlags()&critical != 0 {
			unknownCritical = append(unknownCritical, record.GetTag())
		}
		if one := caaProblem(record); one != "" && problem == "" {
			problem = one
		}
	}
	slices.Sort(unknownCritical)
	return slices.Compact(unknownCritical), problem
}

// caaProblem says what is wrong with one record (RFC 8659 sections 4.2 to 4.4).
func caaProblem(record *modelv1.Caa) string {
	value := strings.TrimSpace(record.GetValue())
	switch record.GetTag() {
	case "issue", "issuewild", "issuemail", "issuevmc":
		issuer, _, _ := strings.Cut(value, ";")
		issuer = strings.TrimSpace(issuer)
		if issuer != "" && (!plausible(issuer) || !strings.Contains(issuer, ".")) {
			return record.GetTag() + " " + clip(issuer) + " is no domain name of an authority"
		}
	case "iodef":
		at, err := url.Parse(value)
		mail := err == nil && at.Scheme == "mailto" && strings.Contains(at.Opaque, "@")
		web := err == nil && (at.Scheme == "https" || at.Scheme == "http") && at.Host != ""
		if !mail && !web {
			return "iodef " + clip(value) + " is no address for reports"
		}
	}
	return ""
}
