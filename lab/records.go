package lab

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// topLevel is the only domain that the lab knows anything of; it is nobody's (RFC 6761, section 6.2).
const topLevel = "test."

// recordTTL is the time to live of every record.
const recordTTL = 60

// records is what the DNS servers know. It is never changed once made.
type records struct {
	// byName holds the record sets by name and type.
	byName map[string]map[uint16][]dns.RR
	// names that exist, those that only have others below them included.
	names map[string]bool
	// zones by apex.
	zones map[string]bool
	// transferable zones, in the order in which they are handed out.
	transferable map[string][]dns.RR
	// keys of signed zones, by apex.
	keys map[string]zoneKey
	// own is the key of zones that say nothing else.
	own zoneKey
}

func newRecords(p *plan) (*records, error) {
	z := &records{
		byName:       map[string]map[uint16][]dns.RR{},
		names:        map[string]bool{},
		zones:        map[string]bool{topLevel: true},
		transferable: map[string][]dns.RR{},
		keys:         map[string]zoneKey{},
	}
	var err error
	if z.own, err = newZoneKey(); err != nil {
		return nil, err
	}
	if err := z.add(soaOf(topLevel, "") + "\n" + topLevel + " NS ns1.exemplary.test."); err != nil {
		return nil, err
	}
	for _, one := range p.zones {
		if err := z.addZone(p, one); err != nil {
			return nil, fmt.Errorf("zone %s: %w", one.name, err)
		}
	}
	return z, nil
}

// soaTimes are good times of a SOA record: refresh, retry, expire, minimum.
const soaTimes = "7200 3600 1209600 60"

func soaOf(apex, times string) string {
	return apex + " SOA ns1.exemplary.test. hostmaster.exemplary.test. 2026010101 " + cmp.Or(times, soaTimes)
}

// addZone adds a zone and the hosts in it.
func (z *records) addZone(p *plan, one zone) error {
	apex := dns.Fqdn(one.name)
	z.zones[apex] = true
	lines := []string{soaOf(apex, one.soa)}
	for _, ns := range one.ns {
		lines = append(lines, apex+" NS "+ns)
	}
	for _, mx := range one.mx {
		lines = append(lines, apex+" MX "+mx)
	}
	lines = append(lines, policyRecords(apex, one)...)
	if dns.IsSubDomain(apex, policyHost+".") {
		// The usual port needs privileges (RFC 9460 lets a name say another one).
		lines = append(lines, fmt.Sprintf("%s. HTTPS 1 . port=%d", policyHost, p.port(portPolicies)))
	}
	for _, record := range one.records {
		name, rest, _ := strings.Cut(record, " ")
		record, err := p.fill(relative(name, apex) + " " + rest)
		if err != nil {
			return err
		}
		lines = append(lines, record)
	}
	for _, h := range p.hosts {
		if h.name == "" || !dns.IsSubDomain(apex, dns.Fqdn(h.name)) {
			continue
		}
		if h.cname != "" {
			lines = append(lines, dns.Fqdn(h.name)+" CNAME "+dns.Fqdn(h.cname))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s A %v", dns.Fqdn(h.name), p.address(h.number)))
	}
	text := strings.Join(lines, "\n")
	if one.signed {
		if err := z.addKey(apex, one.signing); err != nil {
			return err
		}
	}
	if err := z.add(text); err != nil {
		return err
	}
	if one.signing.denial == "nsec" {
		z.addChain(apex)
	}
	if !one.transfer {
		return nil
	}
	return z.allowTransfer(apex, lines[0]+"\n"+strings.Join(lines[1:], "\n")+"\n"+lines[0])
}

// policyRecords returns what a zone says about mail and certificates.
func policyRecords(apex string, one zone) []string {
	var lines []string
	for _, spf := range one.spf {
		lines = append(lines, fmt.Sprintf("%s TXT %s", apex, quoted(spf)))
	}
	for _, dmarc := range one.dmarc {
		lines = append(lines, fmt.Sprintf("_dmarc.%s TXT %s", apex, quoted(dmarc)))
	}
	if one.mtaSTS {
		lines = append(lines, "_mta-sts."+apex+` TXT "v=STSv1; id=20260101000000"`)
		if one.name != "exemplary.test" { // which has the host itself
			lines = append(lines, "mta-sts."+apex+" CNAME "+policyHost+".")
		}
	}
	if one.tlsRPT {
		lines = append(lines, "_smtp._tls."+apex+` TXT "v=TLSRPTv1; rua=mailto:tls@`+one.name+`"`)
	}
	if one.caa {
		lines = append(lines, apex+` CAA 0 issue "ca.exemplary.test"`, apex+` CAA 0 iodef "mailto:security@`+one.name+`"`)
	}
	return lines
}

// maxString is the longest character string of a TXT record (RFC 1035, section 3.3).
const maxString = 255

// quoted cuts text into character strings.
func quoted(text string) string {
	var parts []string
	for len(text) > maxString {
		parts = append(parts, `"`+text[:maxString]+`"`)
		text = text[maxString:]
	}
	return strings.Join(append(parts, `"`+text+`"`), " ")
}

// parse reads records in zone file form.
func parse(text string) ([]dns.RR, error) {
	parser := dns.NewZoneParser(strings.NewReader(text+"\n"), "", "")
	parser.SetDefaultTTL(recordTTL)
	var all []dns.RR
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		all = append(all, rr)
	}
	return all, parser.Err()
}

func (z *records) add(text string) error {
	all, err := parse(text)
	if err != nil {
		return err
	}
	for _, rr := range all {
		z.addRecord(rr)
	}
	return nil
}

func (z *records) addRecord(rr dns.RR) {
	name := dns.CanonicalName(rr.Header().Name)
	if z.byName[name] == nil {
		z.byName[name] = map[uint16][]dns.RR{}
	}
	kind := rr.Header().Rrtype
	z.byName[name][kind] = append(z.byName[name][kind], rr)
	for _, start := range dns.Split(name) {
		z.names[name[start:]] = true
	}
}

func (z *records) allowTransfer(apex, text string) error {
	all, err := parse(text)
	z.transferable[apex] = all
	return err
}

// lookup returns the record set of a name, or its CNAME. The name may exist without it.
func (z *records) lookup(name string, kind uint16) (found []dns.RR, exists bool) {
	source := name
	if !z.names[name] {
		// A name below the closest one that exists may have a wildcard (RFC 4592).
		for _, start := range dns.Split(name)[1:] {
			if encloser := name[start:]; z.names[encloser] {
				source = "*." + encloser
				break
			}
		}
	}
	sets, ok := z.byName[source]
	if !ok {
		return nil, z.names[name]
	}
	set := sets[kind]
	if set == nil && kind != dns.TypeDS {
		set = sets[dns.TypeCNAME]
	}
	if source == name {
		return set, true
	}
	for _, rr := range set {
		own := dns.Copy(rr)
		own.Header().Name = name
		found = append(found, own)
	}
	return found, true
}

// zoneOf returns the apex of the zone that answers for a name; a DS record belongs to the zone above.
func (z *records) zoneOf(name string, kind uint16) string {
	for _, start := range dns.Split(name) {
		apex := name[start:]
		if _, ok := z.zones[apex]; ok && (kind != dns.TypeDS || apex != name) {
			return apex
		}
	}
	return topLevel
}

func (z *records) soa(name string, kind uint16) dns.RR {
	return z.byName[z.zoneOf(name, kind)][dns.TypeSOA][0]
}

// recordSets cuts a section into runs of one name and type.
func recordSets(section []dns.RR) [][]dns.RR {
	var sets [][]dns.RR
	for _, rr := range section {
		if n := len(sets); n > 0 && sets[n-1][0].Header().Name == rr.Header().Name && sets[n-1][0].Header().Rrtype == rr.Header().Rrtype {
			sets[n-1] = append(sets[n-1], rr)
			continue
		}
		sets = append(sets, []dns.RR{rr})
	}
	return sets
}
