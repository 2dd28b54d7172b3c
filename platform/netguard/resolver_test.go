package netguard_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

// The system's resolver obeys the same rules: one name, no search list, judged answers.
func TestSystemResolver(t *testing.T) {
	var strange []string
	known := records(t, "a.test. 0 IN A 8.8.8.8", "a.test. 0 IN AAAA 2a00::1", "in.test. 0 IN A 10.0.0.1",
		"meta.test. 0 IN AAAA ::ffff:169.254.169.254", `a.test. 0 IN TXT "one " "two"`)
	server := newNameServer(t, func(name string, kind uint16, n int) (int, []dns.RR) {
		if !strings.HasSuffix(name, ".test.") {
			strange = append(strange, name)
		}
		if name == "broken.test." {
			return dns.RcodeServerFailure, nil
		}
		return known(name, kind, n)
	})
	guard := netguard.OverSystem(netguard.Options{}, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.addr)
	})
	got, err := guard.LookupNetIP(t.Context(), "A.test")
	if diff := cmp.Diff([]string{"8.8.8.8", "2a00::1"}, texts(got)); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if proof, err := guard.LookupTXT(t.Context(), "a.test"); err != nil || !cmp.Equal(proof, []string{"one two"}) {
		t.Errorf("texts %q %v", proof, err)
	}
	for name, want := range map[string]fault.Code{
		"in.test": fault.PermissionDenied, "meta.test": fault.PermissionDenied, "localhost": fault.PermissionDenied,
		"none.test": fault.NotFound, "broken.test": fault.Unavailable, "127.1": fault.Invalid,
	} {
		if addrs, err := guard.LookupNetIP(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%s: %v %v, want %v", name, addrs, err, want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := guard.LookupNetIP(ended, "a.test"); !errors.Is(err, fault.Cancelled) {
		t.Errorf("cancelled: %v", err)
	}
	if strange != nil {
		t.Errorf("asked for %q: the search list was used", strange)
	}
}
