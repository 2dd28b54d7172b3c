package feeds

import (
	"fmt"
	"strings"
	"testing"
)

// text writes ranges as mathematicians do: [ and ] include, ( and ) do not.
func text(spans []span) string {
	var out []string
	for _, s := range spans {
		switch {
		case len(s.versions) > 0:
			out = append(out, "{"+strings.Join(s.versions, " ")+"}")
		default:
			open, end := "[", ")"
			if s.excluded {
				open = "("
			}
			if s.last != "" {
				end = "]"
			}
			out = append(out, open+s.introduced+","+s.fixed+s.last+end)
		}
	}
	return strings.Join(out, " ")
}

// TestFreeText: what records write where a version is expected.
func TestFreeText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"1.2.3", "{1.2.3}"}, {"v2.0-rc.1", "{v2.0-rc.1}"}, {"= 1.0", "{1.0}"}, {"8u381", "{8u381}"},
		{"< 2.4.9", "[,2.4.9)"}, {"<2.4.9", "[,2.4.9)"}, {"<= 5.2", "[,5.2]"}, {">= 3.0.0, < 3.0.2", "[3.0.0,3.0.2)"},
		{">=3.0.0 <3.0.2", "[3.0.0,3.0.2)"}, {"> 1, <= 2", "(1,2]"}, {">= 2.0", "[2.0,)"}, {"> 2.0", "(2.0,)"},
		{"before 2.4.50", "[,2.4.50)"}, {"prior to 7.2", "[,7.2)"}, {"versions prior to 7.2", "[,7.2)"}, {"Versions before 3.1", "[,3.1)"},
		{"2.4.48 and earlier", "[,2.4.48]"}, {"through 4.5", "[,4.5]"}, {"1.0 to 1.5", "[1.0,1.5]"}, {"1.0 - 1.5", "[1.0,1.5]"}, {"from 1.0 through 1.5", "[1.0,1.5]"},
		{"1.0 before 1.5", "[1.0,1.5)"}, {"7.x", "[7,8)"}, {"5.10.*", "[5.10,5.11)"}, {"9", "{9}"},
		{"*", "[,)"}, {"all versions", "[,)"}, {"0", "[,)"}, {"n/a", ""}, {"unspecified", ""}, {"", ""}, {"-", ""},
		{"see the advisory", "?"}, {"1.0, 1.1 and 1.2", "?"}, {"<script>", "?"}, {"x.*", "?"}, {strings.Repeat("1", 300), "?"},
	} {
		spans, ok := freeText(c.in, "generic")
		got := text(spans)
		if !ok {
			got = "?"
		}
		if got != c.want {
			t.Errorf("%q is read as %s, want %s", c.in, got, c.want)
		}
	}
}

// TestVersionLists: https://github.com/CVEProject/cve-schema/blob/main/schema/docs/versions.md
func TestVersionLists(t *testing.T) {
	entry := func(version, status, lessThan, lessThanOrEqual, kind string) cveVersion {
		return cveVersion{Version: version, Status: status, LessThan: lessThan, LessThanOrEqual: lessThanOrEqual, Type: kind}
	}
	changing := entry("3.0", "affected", "*", "", "custom")
	for _, at := range [][2]string{{"3.0.4", "unaffected"}, {"3.1", "affected"}, {"3.1.5", "unaffected"}} {
		changing.Changes = append(changing.Changes, struct {
			At     string `json:"at"`
			Status string `json:"status"`
		}{at[0], at[1]})
	}
	for _, c := range []struct {
		name, standard, want string
		versions             []cveVersion
	}{
		{"none", "", "", nil},
		{"none, all affected", "affected", "[,)", nil},
		{"below", "unaffected", "[1.0,1.2)", []cveVersion{entry("1.0", "affected", "1.2", "", "semver")}},
		{"from the beginning", "unaffected", "[,1.2)", []cveVersion{entry("0", "affected", "1.2", "", "semver")}},
		{"up to", "", "[1.0,1.2]", []cveVersion{entry("1.0", "affected", "", "1.2", "semver")}},
		{"up to the end of a branch", "", "[5.10,5.11)", []cveVersion{entry("5.10", "affected", "", "5.10.*", "semver")}},
		{"no end", "", "[2.0,)", []cveVersion{entry("2.0", "affected", "*", "", "custom")}},
		{"changes", "unaffected", "[3.0,3.0.4) [3.1,3.1.5)", []cveVersion{changing}},
		{"two fixed branches", "affected", "[,1.4.2) [2.0,2.3.1)", []cveVersion{
			entry("1.4.2", "unaffected", "2.0", "", "semver"), entry("2.3.1", "unaffected", "*", "", "semver"),
		}},
		{"a fixed package of Red Hat", "affected", "[,0:1.2-3.el9)", []cveVersion{entry("0:1.2-3.el9", "unaffected", "*", "", "rpm")}},
		{"a fix alone claims nothing after it", "affected", "[,1.2.4)", []cveVersion{entry("1.2.4", "unaffected", "", "", "")}},
		{"ten comes after nine", "affected", "[,9.1) [9.2,10.1)", []cveVersion{
			entry("10.1", "unaffected", "*", "", ""), entry("9.1", "unaffected", "9.2", "", ""),
		}},
		{"commits", "affected", "", []cveVersion{entry("1da177e4", "affected", "deadbeef", "", "git")}},
		{"unknown", "unknown", "", []cveVersion{entry("1.0", "unknown", "", "", "")}},
		{"hostile bound", "", "", []cveVersion{entry("1.0", "affected", "2 OR 1=1", "", "")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := cveAffected{DefaultStatus: c.standard, Versions: c.versions}
			got := text(a.ranges(&collector{out: Out{Skip: func(string, string) {}}}))
			if got != c.want {
				t.Errorf("is read as %s, want %s", got, c.want)
			}
		})
	}
}

func TestParseCPE(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"cpe:2.3:a:apache:http_server:2.4.1:*:*:*:*:*:*:*", "a apache:http_server 2.4.1 * "},
		{`cpe:2.3:a:pureftpd:pure-ftpd:1.0:rc1:*:*:*:Linux:*:*`, "a pureftpd:pure-ftpd 1.0 rc1 linux"},
		{`cpe:2.3:a:x:notepad\+\+:-:*:*:*:*:*:*:*`, "a x:notepad++ - * "},
		{`cpe:2.3:a:x:a\:b:1:*:*:*:*:*:*:*`, "a x:a_b 1 * "},
		{"cpe:2.3:a:x:y:1:*:*:*:*:*:*", ""}, {"cpe:/a:x:y", ""}, {"cpe:2.3:z:x:y:1:*:*:*:*:*:*:*", ""}, {"cpe:2.3:a:*:y:1:*:*:*:*:*:*:*", ""},
		{"cpe:2.3:" + strings.Repeat("a:", 2000), ""}, {"", ""},
	} {
		n, ok := parseCPE(c.in)
		got := ""
		if ok {
			got = fmt.Sprintf("%s %s %s %s %s", n.part, n.product, n.version, n.update, n.targetSoftware)
		}
		if got != c.want {
			t.Errorf("%s is read as %q, want %q", c.in, got, c.want)
		}
	}
}

// TestLimits: what is beyond a limit is said and left out.
func TestLimits(t *testing.T) {
	l := &log{}
	c := &collector{record: "X", out: l.out()}
	a := cveAffected{Vendor: "v", Product: "p"}
	for i := range maxVersions + 5 {
		a.Versions = append(a.Versions, cveVersion{Version: fmt.Sprint("1.", i), Status: "affected"})
	}
	a.into(c, "cna")
	if n := len(c.list[0].GetRange().GetVersions()); n != maxVersions || len(l.skipped) == 0 {
		t.Errorf("%d versions are kept, %d skips", n, len(l.skipped))
	}
	l, c = &log{}, nil
	c = &collector{record: "X", out: l.out()}
	for i := range maxAffected + 5 {
		c.match(cpeMatch{Vulnerable: true, Criteria: "cpe:2.3:a:v:p:*:*:*:*:*:*:*:*", VersionEndExcluding: fmt.Sprint("1.", i)}, "nvd")
	}
	if len(c.list) != maxAffected || len(l.skipped) != 1 {
		t.Errorf("%d ranges are kept, %d skips", len(c.list), len(l.skipped))
	}
}
