package drivers_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// What a list of drivers does not need is not linked by the binaries that have it.
func TestWhatTheListsLink(t *testing.T) {
	const sdk, sqlite = "github.com/aws/aws-sdk-go-v2/", "modernc.org/sqlite"
	for name, test := range map[string]struct{ tags, links, not string }{
		"embedded": {"", sqlite, sdk},
		"aws":      {"aws", sdk, sqlite},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", test.tags, ".").Output()
			if err != nil {
				t.Fatalf("list dependencies: %v", err)
			}
			all := strings.Fields(string(out))
			begins := func(prefix string) func(string) bool {
				return func(p string) bool { return strings.HasPrefix(p, prefix) }
			}
			if !slices.ContainsFunc(all, begins(test.links)) {
				t.Errorf("it does not link %s: this test looks at the wrong thing", test.links)
			}
			for _, p := range all {
				if strings.HasPrefix(p, test.not) {
					t.Errorf("it links %s", p)
				}
			}
		})
	}
}
