package dns

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// maxExchangers is how many mail exchangers of a domain are looked at one by one.
const maxExchangers = 10

// mailFacts reads what the domain says about mail. The fact is left out if a question was not answered whose missing answer would
// be an accusation; parts that stand for themselves are left out alone.
func (s *scan) mailFacts(ctx context.Context) {
	mail := &modelv1.MailFact{Domain: s.name}
	fatal := make([]bool, 3)
	parallel(perResolver,
		func() { fatal[0] = !s.mailHosts(ctx, mail) },
		func() { fatal[1] = !s.senders(ctx, mail) },
		func() { fatal[2] = !s.dmarc(ctx, mail) },
		func() { mail.Bimi = s.bimi(ctx) },
		func() { mail.Reports = s.tlsReports(ctx) },
	)
	// The policy of MTA-STS is compared with the exchangers, so it comes after them.
	mail.Sts = s.mtaSTS(ctx, mail)
	if slices.Contains(fatal, true) || mail.GetReports() == nil || mail.GetSts() == nil {
		return
	}
	mail.MtaSts = mail.GetSts().GetRecords() == 1 && mail.GetSts().GetError() == ""
	mail.TlsRpt = mail.GetReports().GetRecords() == 1 && mail.GetReports().GetError() == ""
	s.mail = mail
}

// mailHosts reads the mail exchangers and where they lead.
func (s *scan) mailHosts(ctx context.Context, mail *modelv1.MailFact) bool {
	got, err := s.resolver.find(ctx, s.name, mdns.TypeMX)
	if err != nil {
		s.miss("MX", err)
		return false
	}
	for _, rr := range got.records[:min(len(got.records), maxValues)] {
		mx, ok := rr.(*mdns.MX)
		if !ok {
			continue
		}
		if mx.Mx == "." {
			mail.NullMx = true // RFC 7505
			continue
		}
		mail.HasMx = true
		mail.Exchangers = append(mail.Exchangers, &modelv1.MxHost{Host: safe(plain(mx.Mx)), Preference: uint32(mx.Preference)})
	}
	slices.SortFunc(mail.GetExchangers(), func(a, b *modelv1.MxHost) int {
		if a.GetPreference() != b.GetPreference() {
			return int(a.GetPreference()) - int(b.GetPreference())
		}
		return strings.Compare(a.GetHost(), b.GetHost())
	})
	mail.Exchangers = mail.GetExchangers()[:min(len(mail.GetExchangers()), maxExchangers)]
	var tasks []func()
	for _, host := range mail.GetExchangers() {
		tasks = append(tasks, func() { s.mailHost(ctx, host) })
	}
	parallel(perHost, tasks...)
	return true
}

// mailHost looks at one exchanger.
func (s *scan) mailHost(ctx context.Context, out *modelv1.MxHost) {
	if _, err := netip.ParseAddr(out.GetHost()); err == nil {
		out.Literal = true
		return
	}
	if !plausible(out.GetHost()) {
		return
	}
	got, err := s.resolver.find(ctx, out.GetHost(), mdns.TypeA)
	if err != nil {
		s.miss("mail exchanger "+out.GetHost(), err)
		return
	}
	out.Alias = len(got.chain) > 0
	list, rcode, err := s.resolver.addresses(ctx, out.GetHost())
	if err != nil {
		s.miss("mail exchanger "+out.GetHost(), err)
		return
	}
	out.Rcode = rcodeName(rcode)
	for _, addr := range list[:min(len(list), maxServerAddresses)] {
		out.Addresses = append(out.Addresses, addr.String())
	}
	slices.Sort(out.GetAddresses())
}

// pinned reads what is pinned for the exchangers, and compares it with what they show.
func (s *scan) pinned(ctx context.Context) {
	var tasks []func()
	for _, host := range s.mail.GetExchangers() {
		if host.GetRcode() == "" || host.GetLiteral() {
			continue
		}
		var list []netip.Addr
		for _, text := range host.GetAddresses() {
			if addr, err := netip.ParseAddr(text); err == nil {
				list = append(list, addr)
			}
		}
		tasks = append(tasks, func() { host.Dane = s.dane(ctx, host.GetHost(), list) })
	}
	parallel(perHost, tasks...)
}

// senders reads who may send mail.
func (s *scan) senders(ctx context.Context, mail *modelv1.MailFact) bool {
	texts, err := s.resolver.texts(ctx, s.name)
	if err != nil {
		s.miss("TXT", err)
		return false
	}
	walk := &spfWalk{resolver: s.resolver}
	mail.Spf = walk.fact(ctx, s.name, texts)
	if walk.missed != nil {
		s.miss("SPF", walk.missed) // the counts are lower bounds then, and accuse nobody falsely
	}
	s.registrableOnly(ctx, "SPF", walk.absent)
	return true
}

// dmarc reads what receivers shall do with mail that only pretends to be the domain's, and where reports go.
func (s *scan) dmarc(ctx context.Context, mail *modelv1.MailFact) bool {
	var err error
	if mail.Dmarc, err = dmarcFact(ctx, s.resolver, s.name); err != nil {
		s.miss("DMARC", err)
		return false
	}
	// A domain that anybody can register agrees to nothing, and that is the smaller of the two.
	destinations := reportDomains(mail.GetDmarc().GetRua())
	gone := s.registrableOnly(ctx, "DMARC", destinations)
	destinations = slices.DeleteFunc(destinations, func(domain string) bool { return slices.Contains(gone, domain) })
	if mail.Dmarc.UnauthorisedReports, err = s.unauthorised(ctx, mail.GetDmarc().GetFoundAt(), destinations); err != nil {
		s.miss("DMARC reports", err)
	}
	return true
}

// versioned are the TXT records of name that begin with a version, and all that follows it.
func (s *scan) versioned(ctx context.Context, name, version string) ([]string, error) {
	texts, err := s.resolver.texts(ctx, name)
	if err != nil {
		return nil, err
	}
	return withVersion(texts, version), nil
}

// withVersion keeps the texts whose first field is the version, followed by a semicolon or the end.
func withVersion(texts []string, version string) []string {
	var out []string
	for _, text := range texts {
		first, _, _ := strings.Cut(text, ";")
		if strings.TrimSpace(first) == version {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out
}

// fieldsOf reads "name=value; name=value" after the version. What is no pair is the problem; a name that occurs twice is one, too.
func fieldsOf(text string) (fields map[string]string, problem string) {
	fields = make(map[string]string)
	for i, part := range strings.Split(text, ";") {
		part = strings.TrimSpace(part)
		if i == 0 || part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		switch _, twice := fields[name]; {
		case !ok || name == "":
			problem = firstOf(problem, clip(part)+" is no field")
		case twice:
			problem = firstOf(problem, clip(name)+" occurs twice")
		case len(fields) < maxFields:
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fields, problem
}

// maxFields bounds the fields of one record.
const maxFields = 50

// firstOf is the first text that is not empty.
func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
