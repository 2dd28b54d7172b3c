package portlist

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func TestParse(t *testing.T) {
	tests := []struct {
		text string
		want []uint16
	}{
		{"22", []uint16{22}},
		{"80,22", []uint16{22, 80}},
		{" 22 , 80 - 82,\t81", []uint16{22, 80, 81, 82}},
		{"65535", []uint16{65535}},
		{"65534-65535,1", []uint16{1, 65534, 65535}},
		{"0022", []uint16{22}},
		{"5-5", []uint16{5}},
		{"63-65", []uint16{63, 64, 65}},
	}
	for _, tt := range tests {
		set, err := Parse(tt.text)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.text, err)
			continue
		}
		if diff := cmp.Diff(tt.want, set.Ports()); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestParseNames(t *testing.T) {
	tests := []struct {
		text string
		size int
		back string
	}{
		{"top100", 100, "top100"},
		{"Top1000", 1000, "top1000"},
		{"ALL", 65535, "all"},
		{"top100,top1000", 1000, "top1000"},
		{"1-65535", 65535, "all"},
		{"top100,65001-65003", 103, ""},
	}
	for _, tt := range tests {
		set, err := Parse(tt.text)
		if err != nil {
			t.Fatalf("Parse(%q): %v", tt.text, err)
		}
		if set.Len() != tt.size || len(set.Ports()) != tt.size {
			t.Errorf("Parse(%q) has %d ports, %d listed, want %d", tt.text, set.Len(), len(set.Ports()), tt.size)
		}
		if tt.back != "" && set.String() != tt.back {
			t.Errorf("Parse(%q).String() = %q, want %q", tt.text, set.String(), tt.back)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "empty"},
		{"  ", "empty"},
		{",", "missing beside a comma"},
		{"80,,81", "missing beside a comma"},
		{"0", "port 0"},
		{"0-10", "port 0"},
		{"65536", "more than 65535"},
		{"99999999999999999999999999", "more than 65535"},
		{"ssh", `"ssh" is not a port`},
		{"-80", "a range needs two ports"},
		{"80-", "a range needs two ports"},
		{"+80", "is not a port"},
		{"1-2-3", `"2-3" is not a port`},
		{"90-80", "ends before it begins"},
		{"top10", `"top10" is not a port`},
		{"80;81", "is not a port"},
		{"８０", "is not a port"},
		{strings.Repeat("x", 100), "..."},
		{strings.Repeat("1,", 4000), "longer than 6000"},
		{"\x1b[2J", `"\x1b[2j" is not a port`},
	}
	for _, tt := range tests {
		_, err := Parse(tt.text)
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("Parse(%.20q): %v, want fault.Invalid", tt.text, err)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("Parse(%.20q): %q, want one line with %q", tt.text, err, tt.want)
		}
	}
}

func TestLikelyList(t *testing.T) {
	ports := likely()
	if len(ports) != 1000 {
		t.Fatalf("the list has %d ports, want 1000", len(ports))
	}
	if Top1000().Len() != 1000 || Top100().Len() != 100 {
		t.Errorf("top1000 has %d different ports and top100 %d", Top1000().Len(), Top100().Len())
	}
	for _, port := range []uint16{21, 22, 23, 25, 53, 80, 110, 143, 443, 445, 2375, 3306, 3389, 5432, 6379, 8080, 9200, 11211, 27017} {
		if !Top100().Contains(port) {
			t.Errorf("top100 lacks %d", port)
		}
	}
	for line := range strings.Lines(likelyText) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		if fields := strings.Fields(line); len(fields) != 0 {
			if _, err := Parse(fields[0]); err != nil || len(fields) != 2 {
				t.Errorf("line %q: %v", line, err)
			}
		}
	}
}

func TestByLikelihood(t *testing.T) {
	set, err := Parse("1-100,443,65000")
	if err != nil {
		t.Fatal(err)
	}
	ports := set.ByLikelihood()
	if diff := cmp.Diff([]uint16{80, 443, 22, 21, 25}, ports[:5]); diff != "" {
		t.Errorf("first ports (-want +got):\n%s", diff)
	}
	if !slices.Contains(ports, 65000) || len(ports) != set.Len() || !Of(ports...).Equal(set) {
		t.Errorf("the order lost ports: %d of %d", len(ports), set.Len())
	}
	if got := len(All().ByLikelihood()); got != MaxPort {
		t.Errorf("all in order: %d ports", got)
	}
}

func TestEmptySet(t *testing.T) {
	var set Set
	if set.Len() != 0 || set.Contains(80) || len(set.Ports()) != 0 || len(set.ByLikelihood()) != 0 || set.String() != "" || !set.Equal(Of(0)) {
		t.Errorf("the zero set is not empty: %v", set)
	}
}

func TestTextAndSetAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ports := rapid.SliceOfN(rapid.Uint16Range(1, MaxPort), 1, 400).Draw(t, "ports")
		set := Of(ports...)
		back, err := Parse(set.String())
		if err != nil {
			t.Fatalf("Parse(%q): %v", set, err)
		}
		if !back.Equal(set) {
			t.Fatalf("%q read back as %q", set, back)
		}
		slices.Sort(ports)
		if diff := cmp.Diff(slices.Compact(ports), set.Ports()); diff != "" {
			t.Fatalf("ports (-want +got):\n%s", diff)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"top100", "all", "22,80,8000-8100", "1-", "-", "0", "65536", "top1000,1-3", "\x00", "9-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := Parse(text)
		if err != nil {
			if !errors.Is(err, fault.Invalid) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Fatalf("Parse(%q): %q", text, err)
			}
			return
		}
		if set.Len() == 0 || set.Contains(0) {
			t.Fatalf("Parse(%q) gave %d ports, port 0: %v", text, set.Len(), set.Contains(0))
		}
		if len(set.String()) > MaxTextBytes {
			return // thousands of single ports: more than Parse reads
		}
		if back, err := Parse(set.String()); err != nil || !back.Equal(set) {
			t.Fatalf("%q reads back as %q: %v", set, back, err)
		}
	})
}
