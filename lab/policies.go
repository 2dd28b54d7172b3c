package lab

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"

	"github.com/miekg/dns"
)

// policyHost serves the MTA-STS policies of all zones: their own hosts are aliases of it, as is usual with mail services.
const policyHost = "mta-sts.exemplary.test"

// Where what only the DNS leads to lies. The numbers are no host's that is looked for.
const (
	numberPolicies = 57
	numberOpen     = 58
	portPolicies   = 8444
)

// supportHosts are there for the zones: no record of their own zone leads to them, and nobody looks for them.
func supportHosts() []host {
	return []host{
		{number: numberPolicies, name: policyHost, seed: seedHidden, servers: []server{
			{port: portPolicies, run: policyServer, note: "MTA-STS policies"},
		}},
	}
}

// openHosts are name servers with faults, which zones name.
func openHosts() []host {
	return []host{
		{number: numberOpen, name: "ns-open-9.exemplary.test", seed: seedHidden, servers: []server{
			{port: portDNS, udp: true, run: openServer, note: "name server that answers for everybody"},
		}},
	}
}

// policyServer serves the policy of the zone that the request names, with a certificate for all of them.
func policyServer(ctx context.Context, r *running, h host, sock sockets) error {
	policies := map[string]string{}
	form := certificate{subject: policyHost}
	for _, z := range r.plan.zones {
		name := "mta-sts." + z.name
		policies[name] = policyOf(z)
		form.names = append(form.names, name)
	}
	config, err := tlsServer{certificate: form}.config(r, h)
	if err != nil {
		return err
	}
	r.serveHTTP(ctx, tls.NewListener(admit(sock.tcp), config), http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name, _, _ := strings.Cut(req.Host, ":")
		text, ok := policies[name]
		if !ok || req.URL.Path != "/.well-known/mta-sts.txt" {
			http.NotFound(w, req)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(text))
	}))
	return nil
}

// policyOf is the policy of a zone: its own, or one that fits its exchangers.
func policyOf(z zone) string {
	if z.policy != "" {
		return z.policy
	}
	text := "version: STSv1\nmode: enforce\nmax_age: 1209600\n"
	for _, mx := range z.mx {
		if _, name, _ := strings.Cut(mx, " "); name != "." {
			text += "mx: " + strings.TrimSuffix(name, ".") + "\n"
		}
	}
	return text
}

// openServer has authority for the lab's zones and finds out everybody else's names, too.
func openServer(ctx context.Context, r *running, _ host, s sockets) error {
	zones, err := newRecords(r.plan)
	if err != nil {
		return err
	}
	return r.serveDNS(ctx, s, dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if len(q.Question) == 1 && !dns.IsSubDomain(topLevel, q.Question[0].Name) && q.Question[0].Qtype == dns.TypeA && q.RecursionDesired {
			reply := new(dns.Msg).SetReply(q)
			reply.RecursionAvailable = true
			if found, err := dns.NewRR(dns.CanonicalName(q.Question[0].Name) + " 60 IN A 192.0.2.1"); err == nil {
				reply.Answer = append(reply.Answer, found)
			}
			_ = w.WriteMsg(reply)
			return
		}
		zones.serve(w, q)
	}))
}
