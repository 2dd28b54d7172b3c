package lab

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Where the DNS servers are. Port 5353 would be mDNS's, which a desktop's own responder holds on all addresses.
const (
	portDNS   = 5300
	numberDNS = 53
)

// Bounds of the DNS servers.
const (
	dnsTimeout = 5 * time.Second
	// maxTransferRecords is how many records go into one message of a zone transfer.
	maxTransferRecords = 50
)

// nameServer serves all zones of the plan.
func nameServer(ctx context.Context, r *running, _ host, s sockets) error {
	zones, err := newRecords(r.plan)
	if err != nil {
		return err
	}
	return r.serveDNS(ctx, s, dns.HandlerFunc(zones.serve))
}

// lameServer listens and knows nothing.
func lameServer(ctx context.Context, r *running, _ host, s sockets) error {
	return r.serveDNS(ctx, s, dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
	}))
}

// serveDNS returns when both transports serve.
func (r *running) serveDNS(ctx context.Context, s sockets, h dns.Handler) error {
	idle := func() time.Duration { return dnsTimeout }
	servers := []*dns.Server{
		{PacketConn: s.udp, Handler: h, ReadTimeout: dnsTimeout, WriteTimeout: dnsTimeout},
		{Listener: admit(s.tcp), Handler: h, ReadTimeout: dnsTimeout, WriteTimeout: dnsTimeout, IdleTimeout: idle},
	}
	for _, server := range servers {
		started, failed := make(chan struct{}), make(chan error, 1)
		server.NotifyStartedFunc = func() { close(started) }
		r.group.Go(func() { failed <- server.ActivateAndServe() })
		select {
		case <-started:
		case err := <-failed:
			return fmt.Errorf("serve DNS: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
		r.onClose(func() { _ = server.Shutdown() })
	}
	return nil
}

// serve answers one query: recursively and with authority for the lab's zones, NXDOMAIN for the rest of .test, and REFUSED
// for everything else.
func (z *records) serve(w dns.ResponseWriter, q *dns.Msg) {
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeNotImplemented))
		return
	}
	question := q.Question[0]
	question.Name = dns.CanonicalName(question.Name)
	if question.Qtype == dns.TypeAXFR || question.Qtype == dns.TypeIXFR {
		z.transfer(w, q, question.Name)
		return
	}
	reply := new(dns.Msg).SetReply(q)
	z.answer(reply, question)
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		reply.SetEdns0(dns.DefaultMsgSize, opt.Do())
		size = max(size, int(opt.UDPSize()))
		if opt.Do() {
			if len(reply.Answer) == 0 && len(reply.Ns) > 0 {
				z.deny(reply, question.Name, question.Qtype)
			}
			z.sign(reply)
		}
	}
	if _, udp := w.LocalAddr().(*net.UDPAddr); udp {
		reply.Truncate(size)
	}
	_ = w.WriteMsg(reply)
}

// maxAliases bounds a chain of CNAMEs.
const maxAliases = 8

func (z *records) answer(reply *dns.Msg, question dns.Question) {
	if question.Qclass != dns.ClassINET || !dns.IsSubDomain(topLevel, question.Name) {
		reply.Rcode = dns.RcodeRefused
		return
	}
	reply.Authoritative, reply.RecursionAvailable = true, true
	name := question.Name
	for range maxAliases {
		found, exists := z.lookup(name, question.Qtype)
		reply.Answer = append(reply.Answer, found...)
		if !exists {
			reply.Rcode = dns.RcodeNameError
		}
		if len(found) == 0 {
			reply.Ns = []dns.RR{z.soa(name, question.Qtype)}
			return
		}
		alias, ok := found[0].(*dns.CNAME)
		if !ok || question.Qtype == dns.TypeCNAME {
			return
		}
		if name = dns.CanonicalName(alias.Target); !dns.IsSubDomain(topLevel, name) {
			return
		}
	}
}

// transfer hands out a zone that allows it (RFC 5936), over TCP only.
func (z *records) transfer(w dns.ResponseWriter, q *dns.Msg, name string) {
	all, ok := z.transferable[name]
	if _, tcp := w.LocalAddr().(*net.TCPAddr); !ok || !tcp {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
		return
	}
	for len(all) > 0 {
		n := min(len(all), maxTransferRecords)
		reply := new(dns.Msg).SetReply(q)
		reply.Authoritative = true
		reply.Answer, all = all[:n], all[n:]
		if w.WriteMsg(reply) != nil {
			return
		}
	}
}

// relative turns a name of a zone table into a full one.
func relative(name, zone string) string {
	if name == "@" {
		return zone
	}
	return name + "." + zone
}

// fill replaces {n} in a record by the n-th address of the network.
func (p *plan) fill(record string) (string, error) {
	before, rest, ok := strings.Cut(record, "{")
	if !ok {
		return record, nil
	}
	inner, after, ok := strings.Cut(rest, "}")
	var n int
	if _, err := fmt.Sscanf(inner, "%d", &n); err != nil || !ok {
		return "", fmt.Errorf("record %q: want {number}", record)
	}
	return before + p.address(n).String() + after, nil
}
