// Package secrettest has the suite that every driver of package secret passes.
package secrettest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/secret"
)

// Run runs the suite. open makes a store that nobody else uses.
func Run(t *testing.T, open func(t *testing.T) secret.Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, secret.Store){
		"round trip":         roundTrip,
		"replace and delete": replaceAndDelete,
		"tenants are apart":  tenantsAreApart,
		"list":               list,
		"names and values":   refusals,
		"many at a time":     manyAtATime,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func put(t *testing.T, s secret.Store, tenant, name, value string) {
	t.Helper()
	if err := s.Put(t.Context(), tenant, name, []byte(value)); err != nil {
		t.Fatalf("put %s of %s: %v", name, tenant, err)
	}
}

func want(t *testing.T, s secret.Store, tenant, name, value string) {
	t.Helper()
	got, err := s.Get(t.Context(), tenant, name)
	if value == "" {
		if !errors.Is(err, fault.NotFound) || got != nil {
			t.Fatalf("get %s of %s: %d bytes, %v; want not found", name, tenant, len(got), err)
		}
		return
	}
	if err != nil || string(got) != value {
		t.Fatalf("get %s of %s: %d bytes, %v", name, tenant, len(got), err)
	}
}

func roundTrip(t *testing.T, s secret.Store) {
	want(t, s, "acme", "shodan", "")
	binary := string([]byte{0, 1, 0xff, '\n', 0x80})
	put(t, s, "acme", "shodan", binary)
	want(t, s, "acme", "shodan", binary)
	large := strings.Repeat("x", secret.MaxValueBytes)
	put(t, s, "acme", "large", large)
	want(t, s, "acme", "large", large)
	want(t, s, "acme", "shodan", binary)
	given := []byte("mine")
	if err := s.Put(t.Context(), "acme", "given", given); err != nil {
		t.Fatal(err)
	}
	copy(given, "your")
	want(t, s, "acme", "given", "mine")
}

func replaceAndDelete(t *testing.T, s secret.Store) {
	put(t, s, "acme", "shodan", "one-longer-than-the-next")
	put(t, s, "acme", "shodan", "two")
	want(t, s, "acme", "shodan", "two")
	for range 2 { // again is no error
		if err := s.Delete(t.Context(), "acme", "shodan"); err != nil {
			t.Fatal(err)
		}
		want(t, s, "acme", "shodan", "")
	}
	put(t, s, "acme", "shodan", "three") // a name is free again at once
	want(t, s, "acme", "shodan", "three")
}

func tenantsAreApart(t *testing.T, s secret.Store) {
	put(t, s, "acme", "shodan", "a")
	put(t, s, "acme-2", "shodan", "b")
	want(t, s, "acme", "shodan", "a")
	want(t, s, "acme-2", "shodan", "b")
	want(t, s, "acm", "shodan", "")
	if err := s.Delete(t.Context(), "acme", "shodan"); err != nil {
		t.Fatal(err)
	}
	want(t, s, "acme-2", "shodan", "b")
}

func list(t *testing.T, s secret.Store) {
	for _, tenant := range []string{"acme", "acme-2"} {
		names, err := s.List(t.Context(), tenant)
		if err != nil || len(names) != 0 {
			t.Fatalf("list of nothing: %q %v", names, err)
		}
	}
	for _, name := range []string{"virustotal", "a_b", "a-b", "shodan"} {
		put(t, s, "acme", name, "x")
	}
	put(t, s, "acme-2", "other", "x")
	names, err := s.List(t.Context(), "acme")
	if err != nil || !slices.Equal(names, []string{"a-b", "a_b", "shodan", "virustotal"}) {
		t.Fatalf("list: %q %v", names, err)
	}
	if err := s.Delete(t.Context(), "acme", "shodan"); err != nil {
		t.Fatal(err)
	}
	if names, err = s.List(t.Context(), "acme"); err != nil || !slices.Equal(names, []string{"a-b", "a_b", "virustotal"}) {
		t.Fatalf("list after delete: %q %v", names, err)
	}
}

func refusals(t *testing.T, s secret.Store) {
	for _, place := range [][2]string{
		{"", "a"}, {"a", ""}, {"..", "a"}, {"a", ".."}, {"a/b", "c"}, {"a", "b/c"}, {"A", "b"}, {"a", "b c"}, {"-a", "b"}, {"a", "_b"},
		{"a", "b\x00"}, {strings.Repeat("a", secret.MaxTenantBytes+1), "b"}, {"a", strings.Repeat("b", secret.MaxNameBytes+1)}, {"é", "b"},
	} {
		_, get := s.Get(t.Context(), place[0], place[1])
		for _, err := range []error{get, s.Put(t.Context(), place[0], place[1], []byte("x")), s.Delete(t.Context(), place[0], place[1])} {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("%q: %v, want invalid", place, err)
			}
		}
	}
	if _, err := s.List(t.Context(), "a/b"); !errors.Is(err, fault.Invalid) {
		t.Errorf("list: %v", err)
	}
	for _, n := range []int{0, secret.MaxValueBytes + 1} {
		if err := s.Put(t.Context(), "acme", "a", bytes.Repeat([]byte("x"), n)); !errors.Is(err, fault.Invalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	want(t, s, "acme", "a", "")
}

// manyAtATime: whoever reads sees one of the values whole.
func manyAtATime(t *testing.T, s secret.Store) {
	values := []string{strings.Repeat("a", 100), strings.Repeat("b", 2000), strings.Repeat("c", 10)}
	put(t, s, "acme", "shodan", values[0])
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 5 {
				if i%2 == 0 {
					if err := s.Put(context.Background(), "acme", "shodan", []byte(values[(i+n)%len(values)])); err != nil {
						t.Errorf("put: %v", err)
					}
					continue
				}
				got, err := s.Get(context.Background(), "acme", "shodan")
				if err != nil || !slices.Contains(values, string(got)) {
					t.Errorf("get: %d bytes, %v", len(got), err)
				}
			}
		})
	}
	all.Wait()
}
