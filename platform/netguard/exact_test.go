package netguard_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

// A proof stands at its name: where an alias leads is somebody else's.
func TestLookupTXTExact(t *testing.T) {
	known := records(t, `a.test. 0 IN TXT "one " "two"`, `a.test. 0 IN TXT "three"`, "alias.test. 0 IN CNAME a.test.", `a.test. 0 IN TXT "four"`,
		"v4.test. 0 IN A 8.8.8.8")
	server := newNameServer(t, func(name string, kind uint16, n int) (int, []dns.RR) {
		switch name {
		case "broken.test.":
			return dns.RcodeServerFailure, nil
		case "alias.test.": // with what stands at the end of the alias, as recursive servers answer
			rcode, end := known("a.test.", kind, n)
			_, alias := known(name, dns.TypeCNAME, n)
			return rcode, append(alias, end...)
		}
		return known(name, kind, n)
	})
	guard := netguard.New(netguard.Options{Resolver: server.addr})
	for _, c := range []struct {
		name, alias string
		texts       []string
		code        fault.Code
	}{
		{name: "a.test", texts: []string{"one two", "three", "four"}},
		{name: "A.test.", texts: []string{"one two", "three", "four"}},
		{name: "alias.test", alias: "a.test"},
		{name: "v4.test", code: fault.NotFound},
		{name: "none.test", code: fault.NotFound},
		{name: "broken.test", code: fault.Unavailable},
		{name: "127.1", code: fault.Invalid},
	} {
		texts, alias, err := guard.LookupTXTExact(t.Context(), c.name)
		if diff := cmp.Diff(c.texts, texts); diff != "" || alias != c.alias || (err == nil) != (c.code == 0) || err != nil && !errors.Is(err, c.code) {
			t.Errorf("%s: alias %q, %v: %s", c.name, alias, err, diff)
		}
	}
}
