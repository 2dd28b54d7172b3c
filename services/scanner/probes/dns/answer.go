package dns

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"
)

// found is what the DNS says about one name and type.
type found struct {
	// rcode is NOERROR or NXDOMAIN, of the end of the alias chain.
	rcode int
	// chain are the targets of the aliases, in order.
	chain []string
	// records are those of the type asked for, at the end of the chain.
	records []mdns.RR
	// zone is the owner of the SOA that came with an empty answer, the zone in which the chain ends.
	zone string
}

// void says that there is nothing: no such name, or none of the type.
func (f found) void() bool { return len(f.records) == 0 }

// find asks for name and follows its aliases, inside the answer and beyond.
func (r *resolver) find(ctx context.Context, name string, kind uint16) (found, error) {
	out := found{}
	asked := mdns.CanonicalName(name)
	for {
		reply, err := r.ask(ctx, asked, kind)
		if err != nil {
			return out, err
		}
		out.rcode = reply.Rcode
		end, err := out.follow(reply, asked, kind)
		if err != nil {
			return out, err
		}
		for _, rr := range reply.Ns {
			if soa, ok := rr.(*mdns.SOA); ok {
				out.zone = plain(soa.Hdr.Name)
			}
		}
		if !out.void() || end == asked || reply.Rcode == mdns.RcodeNameError {
			return out, nil
		}
		asked = end // the resolver left the chain open
	}
}

// follow walks the aliases of one answer from name on and takes the records at their end.
func (f *found) follow(reply *mdns.Msg, name string, kind uint16) (string, error) {
	for kind != mdns.TypeCNAME {
		next := ""
		for _, rr := range reply.Answer {
			if alias, ok := rr.(*mdns.CNAME); ok && mdns.CanonicalName(alias.Hdr.Name) == name {
				next = mdns.CanonicalName(alias.Target)
				break // a name may have one only (RFC 1034 section 3.6.2)
			}
		}
		if next == "" {
			break
		}
		if len(f.chain) == maxChain { // a circle, too
			return "", errChain
		}
		f.chain = append(f.chain, plain(next))
		name = next
	}
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype == kind && mdns.CanonicalName(rr.Header().Name) == name {
			f.records = append(f.records, rr)
		}
	}
	return name, nil
}

// plain writes a name as the rest of the system does: lower case, no final dot.
func plain(name string) string {
	return strings.TrimSuffix(mdns.CanonicalName(name), ".")
}

// addresses asks for both kinds of address of a name.
func (r *resolver) addresses(ctx context.Context, name string) ([]netip.Addr, int, error) {
	var out []netip.Addr
	rcode := mdns.RcodeSuccess
	for _, kind := range []uint16{mdns.TypeA, mdns.TypeAAAA} {
		got, err := r.find(ctx, name, kind)
		if err != nil {
			return nil, 0, err
		}
		if rcode = got.rcode; rcode == mdns.RcodeNameError {
			return nil, rcode, nil
		}
		out = append(out, addrs(got.records)...)
	}
	return out, rcode, nil
}

func addrs(records []mdns.RR) []netip.Addr {
	var out []netip.Addr
	for _, rr := range records {
		var addr netip.Addr
		var ok bool
		switch a := rr.(type) {
		case *mdns.A:
			addr, ok = netip.AddrFromSlice(a.A.To4())
		case *mdns.AAAA:
			addr, ok = netip.AddrFromSlice(a.AAAA.To16())
		}
		if ok && !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	return out
}

// texts are the TXT records of name, each with its strings joined (RFC 7208 section 3.3).
func (r *resolver) texts(ctx context.Context, name string) ([]string, error) {
	got, err := r.find(ctx, name, mdns.TypeTXT)
	if err != nil {
		return nil, err
	}
	return textsOf(got.records), nil
}

func textsOf(records []mdns.RR) []string {
	var out []string
	for _, rr := range records {
		if txt, ok := rr.(*mdns.TXT); ok {
			out = append(out, unescape(strings.Join(txt.Txt, "")))
		}
	}
	return out
}

// unescape turns the presentation form of a TXT string, \" and \ddd, into its bytes (RFC 1035 section 5.1).
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\\' || i+1 == len(text):
			out.WriteByte(text[i])
		case i+3 < len(text) && digits(text[i+1:i+4]):
			n := int(text[i+1]-'0')*100 + int(text[i+2]-'0')*10 + int(text[i+3]-'0')
			out.WriteByte(byte(n))
			i += 3
		default:
			i++
			out.WriteByte(text[i])
		}
	}
	return out.String()
}

func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}
