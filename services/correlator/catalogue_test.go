package correlator

import (
	"regexp"
	"strings"
	"testing"
)

func catalogue(t testing.TB) *Catalogue {
	t.Helper()
	c, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// prefixes of check ids by the fact they read.
var prefixes = map[string]string{
	"dns": "dns-", "dangling": "dns-", "mail": "mail-", "ports": "port-", "service": "service-", "tls": "tls-", "http": "http-", "exposure": "http-",
	matchFact: "cve-", "vulnerability": "vuln-", "intel": "intel-", "names": "names-", "cloud": "cloud-", reportedFact: "reported-",
}

func TestCatalogueIsWellFormed(t *testing.T) {
	c := catalogue(t)
	if len(c.checks) < 60 {
		t.Errorf("%d checks, want at least 60", len(c.checks))
	}
	used := map[string]bool{}
	id := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`)
	for _, k := range c.checks {
		used[k.Group] = true
		if !id.MatchString(k.ID) || !strings.HasPrefix(k.ID, prefixes[k.Fact]) {
			t.Errorf("%s: the id does not follow its fact %s", k.ID, k.Fact)
		}
		if len(k.References) == 0 {
			t.Errorf("%s: no reference", k.ID)
		}
		for _, r := range k.References {
			if !strings.HasPrefix(r, "https://") {
				t.Errorf("%s: reference %s", k.ID, r)
			}
		}
		if len(k.Examples.Holds) < 2 || len(k.Examples.Not) < 2 {
			t.Errorf("%s: needs two examples that hold and two that do not", k.ID)
		}
	}
	for g := range c.groups {
		if !used[g] {
			t.Errorf("group %s is used by no check", g)
		}
	}
}

func TestExamples(t *testing.T) {
	for _, k := range catalogue(t).checks {
		t.Run(k.ID, func(t *testing.T) {
			for i, e := range k.Examples.Holds {
				if held, summary := judge(t, k, e); !held || summary == "" || summary == k.Title {
					t.Errorf("example %d: holds %v with summary %q, want it to hold and fill in its summary", i, held, summary)
				}
			}
			for i, e := range k.Examples.Not {
				if held, _ := judge(t, k, e); held {
					t.Errorf("counter-example %d holds", i)
				}
			}
		})
	}
}

func judge(t *testing.T, k *check, e example) (bool, string) {
	t.Helper()
	held, summary, err := k.try(e)
	if err != nil {
		t.Fatal(err)
	}
	return held, summary
}
