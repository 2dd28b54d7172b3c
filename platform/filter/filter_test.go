package filter

import (
	"errors"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

type thing struct {
	color int32
	name  string
	size  float64
	seed  bool
}

var fields = Fields[thing]{
	"color": Enum("COLOR_", map[string]int32{"COLOR_UNSPECIFIED": 0, "COLOR_RED": 1, "COLOR_BLUE": 2}, func(t thing) int32 { return t.color }),
	"name":  Text(func(t thing) string { return t.name }),
	"size":  Number(func(t thing) float64 { return t.size }),
	"seed":  Bool(func(t thing) bool { return t.seed }),
}

func TestParse(t *testing.T) {
	v := thing{color: 2, name: "www.example.com", size: 3.5, seed: true}
	for text, want := range map[string]bool{
		"": true, "color = BLUE": true, "color=blue": true, "color >= COLOR_RED": true, "color < BLUE": false,
		`name = "www.example.com"`: true, "name = www.*": true, "name != www.*": false, "size > 3 AND size <= 3.5": true,
		"seed = true and color = RED": false, "seed = false": false, `name = "AND"`: false,
	} {
		match, err := Parse(fields, text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if got := match(v); got != want {
			t.Errorf("%q matches: %v, want %v", text, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"color", "color =", "color = GREEN", "colour = RED", "size = big", "seed = maybe", "name < x", "color = RED OR size = 1",
		`name = "x`, "color = RED color = RED", "= = =", "seed > true",
		"size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1 AND size=1",
	} {
		if _, err := Parse(fields, text); !errors.Is(err, fault.Invalid) {
			t.Errorf("Parse(%q) = %v, want invalid", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`color = RED AND name = "x*"`)
	f.Fuzz(func(_ *testing.T, text string) {
		if match, err := Parse(fields, text); err == nil {
			match(thing{})
		}
	})
}
