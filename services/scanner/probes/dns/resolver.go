package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
	// maxQuestions bounds the questions of one scan. A domain with mail, a deep SPF record and all selectors needs about 300.
	maxQuestions = 700
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
	pause  time.Duration // after a failure
	// slots are the questions that may be under way at once, whoever of the scan asks them.
	slots chan struct{}

	mu    sync.Mutex
	asked map[questionKey]*question
	// log is what was answered, for the evidence.
	log strings.Builder
}

// questionKey is what is asked once only: a question, and whether the signatures come along.
type questionKey struct {
	mdns.Question
	signatures bool
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
	return &resolver{
		server: server, try: p.limits.try, pause: p.limits.failure, slots: make(chan struct{}, perResolver), asked: make(map[questionKey]*question),
	}, nil
}

func netJoin(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

// ask asks once for each question, whoever asks first.
func (r *resolver) ask(ctx context.Context, name string, kind uint16) (*mdns.Msg, error) {
	return r.askOnce(ctx, questionKey{Question: mdns.Question{Name: mdns.CanonicalName(name), Qtype: kind, Qclass: mdns.ClassINET}})
}

// askSigned is ask with the signatures (RRSIG) and the proofs of absence (NSEC, NSEC3) of the answer.
func (r *resolver) askSigned(ctx context.Context, name string, kind uint16) (*mdns.Msg, error) {
	key := mdns.Question{Name: mdns.CanonicalName(name), Qtype: kind, Qclass: mdns.ClassINET}
	return r.askOnce(ctx, questionKey{Question: key, signatures: true})
}

// again asks anew what was asked before, as before an accusation; its answer is not remembered.
func (r *resolver) again(ctx context.Context, name string, kind uint16) (*mdns.Msg, error) {
	return r.send(ctx, questionKey{Question: mdns.Question{Name: mdns.CanonicalName(name), Qtype: kind, Qclass: mdns.ClassINET}})
}

func (r *resolver) askOnce(ctx context.Context, key questionKey) (*mdns.Msg, error) {
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
func (r *resolver) send(ctx context.Context, key questionKey) (*mdns.Msg, error) {
	var reply *mdns.Msg
	var err error
	for try := range tries {
		reply, err = r.over(ctx, "udp", key)
		failed := err == nil && reply.Rcode == mdns.RcodeServerFailure
		if err == nil && !failed || ctx.Err() != nil || try == tries-1 {
			break
		}
		// SERVFAIL is often a resolver that had no time to ask further; the second time it knows, once it has forgotten the failure.
		if failed && wait(ctx, r.pause) != nil {
			break
		}
	}
	if err == nil && reply.Truncated {
		if reply, err = r.over(ctx, "tcp", key); err == nil && reply.Truncated {
			err = errCut
		}
	}
	if err != nil {
		return nil, err
	}
	if reply.Rcode != mdns.RcodeSuccess && reply.Rcode != mdns.RcodeNameError {
		return nil, rcodeError(reply.Rcode)
	}
	for _, section := range []*[]mdns.RR{&reply.Answer, &reply.Ns, &reply.Extra} {
		*section = (*section)[:min(len(*section), maxAnswer)]
	}
	return reply, nil
}

// over asks once over one transport. Each question has a port of its own.
func (r *resolver) over(ctx context.Context, network string, key questionKey) (*mdns.Msg, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	dialer := net.Dialer{Timeout: r.try}
	socket, err := dialer.DialContext(ctx, network, r.server.String())
	if err != nil {
		return nil, ended(ctx, err)
	}
	defer func() { _ = socket.Close() }()
	return talk(ctx, socket, key, true, r.try)
}

// newQuery makes a question. A recursive one asks the resolver not to check signatures (CD, RFC 4035 section 3.2.2): else a zone
// whose signatures are broken would look like one that cannot be reached. We check them ourselves.
func newQuery(key questionKey, recurse bool) *mdns.Msg {
	m := new(mdns.Msg)
	m.Id = mdns.Id()
	m.RecursionDesired, m.CheckingDisabled = recurse, recurse
	m.Question = []mdns.Question{key.Question}
	m.SetEdns0(udpSize, key.signatures)
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
func (r *resolver) note(key questionKey, q *question) {
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
		if r.log.Len() > maxLog {
			return
		}
		r.log.WriteString(rr.String() + "\n")
	}
}

func (r *resolver) evidence() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return []byte(r.log.String())
}
