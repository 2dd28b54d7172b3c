package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Bounds of the questions of one scan.
const (
	// tries is how often a question is sent by UDP before it counts as unanswered; a datagram may get lost.
	tries = 2
	// maxQuestions bounds the questions of one scan. A domain with a deep SPF record needs about 120.
	maxQuestions = 400
	// maxChain is how many aliases (CNAME) are followed; real chains rarely pass 4.
	maxChain = 8
	// maxAnswer is how many records of one answer are looked at. A message holds at most 64 KiB.
	maxAnswer = 512
	// udpSize is what we offer to take in one datagram: the value of DNS flag day 2020, which no path fragments.
	udpSize = 1232
	// resolvConf is where the system names its resolvers.
	resolvConf = "/etc/resolv.conf"
)

// resolver asks one recursive DNS server, and remembers its answers for the length of one scan.
type resolver struct {
	server netip.AddrPort
	try    time.Duration

	mu    sync.Mutex
	asked map[mdns.Question]*question
	// log is what was answered, for the evidence.
	log strings.Builder
}

// question is one question and, once done is closed, its answer.
type question struct {
	done  chan struct{}
	reply *mdns.Msg
	err   error
}

// rcodeError is an answer that says that there is none: SERVFAIL, REFUSED and their like.
type rcodeError int

// Error names the response code.
func (e rcodeError) Error() string { return "the resolver answers " + rcodeName(int(e)) }

func rcodeName(rcode int) string {
	if name, ok := mdns.RcodeToString[rcode]; ok {
		return name
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

var (
	errTooMany  = fmt.Errorf("more than %d questions", maxQuestions)
	errChain    = fmt.Errorf("a chain of more than %d aliases", maxChain)
	errNoServer = errors.New("no DNS server is configured")
	errStranger = errors.New("the answer is not to our question")
)

// newResolver finds the server to ask: the probe's option, the guard's setting, the system's.
func newResolver(env probes.Env, p *Probe) (*resolver, error) {
	address := p.options.Resolver
	if address == "" {
		address = env.Guard.Resolver()
	}
	if address == "" {
		config, err := mdns.ClientConfigFromFile(resolvConf)
		if err != nil || len(config.Servers) == 0 {
			return nil, errNoServer
		}
		address = netJoin(config.Servers[0], config.Port)
	}
	server, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("read resolver: %w", err)
	}
	return &resolver{server: server, try: p.limits.try, asked: make(map[mdns.Question]*question)}, nil
}

func netJoin(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

// ask asks once for each question, whoever asks first.
func (r *resolver) ask(ctx context.Context, name string, kind uint16) (*mdns.Msg, error) {
	key := mdns.Question{Name: mdns.CanonicalName(name), Qtype: kind, Qclass: mdns.ClassINET}
	r.mu.Lock()
	q := r.asked[key]
	if q == nil && len(r.asked) == maxQuestions {
		r.mu.Unlock()
		return nil, errTooMany
	}
	if q != nil {
		r.mu.Unlock()
		select {
		case <-q.done:
			return q.reply, q.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	q = &question{done: make(chan struct{}), err: errors.New("the question was not finished")}
	r.asked[key] = q
	r.mu.Unlock()
	defer close(q.done)
	q.reply, q.err = r.send(ctx, key)
	r.note(key, q)
	return q.reply, q.err
}

// send asks by UDP, again if nothing or SERVFAIL comes, and by TCP if the answer is cut.
func (r *resolver) send(ctx context.Context, key mdns.Question) (*mdns.Msg, error) {
	client := &mdns.Client{Net: "udp", Timeout: r.try, UDPSize: udpSize}
	var reply *mdns.Msg
	var err error
	for range tries {
		reply, _, err = client.ExchangeContext(ctx, newQuery(key, true), r.server.String())
		if err == nil && !answers(reply, key) {
			err = errStranger
		}
		// SERVFAIL is often a resolver that had no time to ask further; the second time it knows.
		if (err == nil && reply.Rcode != mdns.RcodeServerFailure) || ctx.Err() != nil {
			break
		}
	}
	if err == nil && reply.Truncated {
		client.Net = "tcp"
		reply, _, err = client.ExchangeContext(ctx, newQuery(key, true), r.server.String())
		if err == nil && !answers(reply, key) {
			err = errStranger
		}
	}
	if err != nil {
		return nil, err
	}
	if reply.Rcode != mdns.RcodeSuccess && reply.Rcode != mdns.RcodeNameError {
		return nil, rcodeError(reply.Rcode)
	}
	reply.Answer = reply.Answer[:min(len(reply.Answer), maxAnswer)]
	return reply, nil
}

func newQuery(key mdns.Question, recurse bool) *mdns.Msg {
	m := new(mdns.Msg)
	m.Id = mdns.Id()
	m.RecursionDesired = recurse
	m.Question = []mdns.Question{key}
	m.SetEdns0(udpSize, false)
	return m
}

// answers says whether reply repeats the question, which a forged or broken answer need not.
func answers(reply *mdns.Msg, key mdns.Question) bool {
	return reply.Response && len(reply.Question) == 1 && reply.Question[0].Qtype == key.Qtype &&
		mdns.CanonicalName(reply.Question[0].Name) == key.Name
}

// maxLog bounds the evidence of one scan.
const maxLog = 256 << 10

// note writes an answer into the evidence.
func (r *resolver) note(key mdns.Question, q *question) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.log.Len() > maxLog {
		return
	}
	fmt.Fprintf(&r.log, "; %s %s: ", key.Name, mdns.TypeToString[key.Qtype])
	if q.err != nil {
		fmt.Fprintf(&r.log, "%v\n", q.err)
		return
	}
	r.log.WriteString(rcodeName(q.reply.Rcode) + "\n")
	for _, rr := range q.reply.Answer {
		r.log.WriteString(rr.String() + "\n")
	}
}

func (r *resolver) evidence() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return []byte(r.log.String())
}

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
