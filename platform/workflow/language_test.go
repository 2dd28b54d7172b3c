package workflow

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func dataOf(t testing.TB, text string) any {
	t.Helper()
	v, err := decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func textOf(t testing.TB, v any) string {
	t.Helper()
	raw, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func scopeOf(data any) *scope {
	return &scope{data: data, context: func() any {
		return map[string]any{"State": map[string]any{"Name": "S"}}
	}}
}

func TestPathFinds(t *testing.T) {
	data := dataOf(t, `{"foo": 123, "bar": ["a", "b", "c"], "car": {"cdr": true}, "odd name": 1, "a.b": 2, "null": null,
		"list": [{"b": 1, "c": [1, 2]}, {"b": 2, "c": []}, {"x": 9}, 7], "empty": []}`)
	for _, c := range []struct{ path, want string }{
		{"$.foo", "123"},
		{"$.bar", `["a","b","c"]`},
		{"$.car.cdr", "true"},
		{"$['car'].cdr", "true"},
		{`$["car"]['cdr']`, "true"},
		{"$['odd name']", "1"},
		{`$.a\.b`, "2"},
		{"$.null", "null"},
		{"$.bar[0]", `"a"`},
		{"$.bar[-1]", `"c"`},
		{"$.bar[3]", "nothing"},
		{"$.bar[-4]", "nothing"},
		{"$.bar.x", "nothing"},
		{"$.foo[0]", "nothing"},
		{"$.missing", "nothing"},
		{"$.list[*].b", "[1,2]"},
		{"$.list[*].c[*]", "[1,2]"},
		{"$.list[0].*", "[1,[1,2]]"},
		{"$.empty[*]", "[]"},
		{"$.foo[*]", "[]"},
		{"$.missing[*]", "nothing"},
		{"$$.State.Name", `"S"`},
		{"$$.State.Other", "nothing"},
	} {
		p, err := parsePath(c.path)
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		got := "nothing"
		if v, ok := p.get(scopeOf(data)); ok {
			got = textOf(t, v)
		}
		if got != c.want {
			t.Errorf("%s finds %s, want %s", c.path, got, c.want)
		}
	}
	for _, bad := range []string{
		"", "foo", "$foo", "$.", "$..a", "$.a..b", "$.a b", "$.a[", "$.a[]", "$.a[x]", "$.a['b", "$.a['b'", "$.a['']", "$.a['b','c']",
		"$.a[0,1]", "$.a[0:1]", "$.a[?(@.b)]", "$.a[(@.length-1)]", "$.a[+1]", "$.a[1e3]", "$.a[99999999999]", `$.a\`, "$.@a", "$$$", "$.a.length()",
	} {
		if p, err := parsePath(bad); err == nil {
			t.Errorf("%s was accepted as %+v", bad, p)
		}
	}
}

// TestPathPutChangesNothingElse compares put with get: what was put is found there, everything off
// the path is as before, and the value that was given is not changed.
func TestPathPutChangesNothingElse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3).Draw(rt, "path")
		p, err := parsePath(strings.Join(append([]string{"$"}, names...), "."))
		if err != nil {
			rt.Fatal(err)
		}
		raw := genData(2).Draw(rt, "data")
		before := textOf(t, raw)
		after, err := p.put(raw, "new")
		if textOf(t, raw) != before {
			rt.Fatalf("%s became %s", before, textOf(t, raw))
		}
		if err != nil {
			if asFailure(err).name != ErrorResultPath {
				rt.Fatal(err)
			}
			return
		}
		if v, ok := p.get(scopeOf(after)); !ok || v != "new" {
			rt.Fatalf("%s in %s: %v", p.text, textOf(t, after), v)
		}
		for _, other := range []string{"$.a", "$.b", "$.c", "$.a.b", "$.b.c", "$.c.a"} {
			if strings.HasPrefix(p.text, other) || strings.HasPrefix(other, p.text) {
				continue
			}
			q, _ := parsePath(other)
			v, okV := q.get(scopeOf(raw))
			w, okW := q.get(scopeOf(after))
			if okV != okW || textOf(t, v) != textOf(t, w) {
				rt.Fatalf("%s changed with a put at %s", other, p.text)
			}
		}
	})
}

func genData(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(rt *rapid.T) any {
		if depth == 0 || rapid.IntRange(0, 4).Draw(rt, "leaf") == 0 {
			return rapid.SampledFrom([]any{nil, true, "x", json.Number("1")}).Draw(rt, "value")
		}
		out := map[string]any{}
		for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.ID).Draw(rt, "names") {
			out[name] = genData(depth-1).Draw(rt, name)
		}
		return out
	})
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"$", "$$.a", "$.a.b[0]", "$['a'][*].b", `$.a\.b`, "$.*", "$..a", "$[-1]"} {
		f.Add(seed)
	}
	data := dataOf(f, `{"a": {"b": [1, {"c": null}]}, "": 1}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePath(text)
		if err != nil {
			return
		}
		if _, ok := p.get(scopeOf(data)); p.many && !ok && len(p.steps) == 1 {
			t.Fatalf("%q finds nothing", text)
		}
		for _, s := range p.steps {
			if s.kind != byName {
				return
			}
		}
		if out, err := p.put(map[string]any{}, "v"); !p.context && err == nil {
			if v, ok := p.get(scopeOf(out)); !ok || len(p.steps) > 0 && v != "v" {
				t.Fatalf("%q does not find what it put: %v", text, out)
			}
		}
	})
}

func TestIntrinsics(t *testing.T) {
	data := dataOf(t, `{"s": "a{}b", "n": 2.5, "l": [1, [2]], "o": {"k": "<&>"}, "t": true, "z": null, "q": "it's"}`)
	for _, c := range []struct{ text, want string }{
		{`States.Array()`, `[]`},
		{`States.Array( 'a' , $.n,null,-1.5e3 )`, `["a",2.5,null,-1.5e3]`},
		{`States.Array('\\ \{ \} \'')`, `["\\ { } '"]`},
		{`States.Array($['s'], $$.State.Name)`, `["a{}b","S"]`},
		{`States.Format('x')`, `"x"`},
		{`States.Format('{}, {}, {} and {}', $.s, $.n, $.t, $.z)`, `"a{}b, 2.5, true and null"`},
		{`States.Format($.s, States.Format('[{}]', 1))`, `"a[1]b"`},
		{`States.Format('\{{}\}', 'a, (b)')`, `"{a, (b)}"`},
		{`States.Format('{}', $.l)`, ErrorIntrinsic},
		{`States.Format('{}')`, ErrorIntrinsic},
		{`States.Format('a', 1)`, ErrorIntrinsic},
		{`States.Format('{a}', 1)`, ErrorIntrinsic},
		{`States.Format('}', 1)`, ErrorIntrinsic},
		{`States.Format($.n)`, ErrorIntrinsic},
		{`States.Format('{}', $.missing)`, ErrorParameterPath},
		{`States.ArrayLength($.l)`, `2`},
		{`States.ArrayLength($.s)`, ErrorIntrinsic},
		{`States.StringToJson('[1, \{"a": null\}]')`, `[1,{"a":null}]`},
		{`States.StringToJson('[1')`, ErrorIntrinsic},
		{`States.StringToJson('1 2')`, ErrorIntrinsic},
		{`States.StringToJson($.n)`, ErrorIntrinsic},
		{`States.JsonToString($.o)`, `"{\"k\":\"<&>\"}"`},
		{`States.MathAdd(1, 2)`, `3`},
		{`States.MathAdd($.n, -1)`, `2`},
		{`States.MathAdd(2147483647, 1)`, ErrorIntrinsic},
		{`States.MathAdd(1e99, 1)`, ErrorIntrinsic},
		{`States.MathAdd('1', 1)`, ErrorIntrinsic},
	} {
		n, err := parseIntrinsic(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got := ""
		v, err := n.eval(scopeOf(data))
		if err != nil {
			got = asFailure(err).name
		} else {
			got = textOf(t, v)
		}
		if got != c.want {
			t.Errorf("%s is %s, want %s", c.text, got, c.want)
		}
	}
	nested := strings.Repeat("States.Array(", 11) + strings.Repeat(")", 11)
	for _, bad := range []string{
		"", "x", "States.Array", "States.Array(", "States.Array(1", "States.Array(1,)", "States.Array(,)", "States.Array(1 2)", "States.Array(1))",
		"States.Array(true)", "States.Array('a)", `States.Array('a\n')`, `States.Array('a\')`, "States.Array($.a[?x])", "States.Array([1])",
		"States.Format()", "States.ArrayLength()", "States.ArrayLength(1, 2)", "States.UUID()", "States.MathRandom(1, 2)", "Other.F(1)", nested,
	} {
		if _, err := parseIntrinsic(bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func FuzzIntrinsic(f *testing.F) {
	for _, seed := range []string{"States.Format('{} \\{', $.a)", "States.Array(1, null, States.MathAdd(1, $.b))", "States.StringToJson('x')"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseIntrinsic(text)
		if err != nil {
			return
		}
		if _, err := n.eval(scopeOf(map[string]any{"a": "x", "b": json.Number("1")})); err != nil && asFailure(err) == nil {
			t.Fatalf("%q: %v is no failure", text, err)
		}
	})
}

func TestChoiceRules(t *testing.T) {
	data := dataOf(t, `{"s": "b", "n": 2, "f": 2.0, "t": true, "at": "2016-03-14T01:59:00Z", "z": null, "l": [], "w": "zeta*.log", "big": 9007199254740993}`)
	for _, c := range []struct {
		rule string
		want string
	}{
		{`"Variable":"$.s","StringEquals":"b"`, "true"},
		{`"Variable":"$.s","StringLessThan":"c"`, "true"},
		{`"Variable":"$.s","StringGreaterThan":"b"`, "false"},
		{`"Variable":"$.s","StringGreaterThanEquals":"b"`, "true"},
		{`"Variable":"$.s","StringLessThanEqualsPath":"$.s"`, "true"},
		{`"Variable":"$.n","StringEquals":"2"`, "false"},
		{`"Variable":"$.n","NumericEquals":2.0`, "true"},
		{`"Variable":"$.n","NumericEqualsPath":"$.f"`, "true"},
		{`"Variable":"$.n","NumericLessThan":2`, "false"},
		{`"Variable":"$.n","NumericGreaterThan":1.5`, "true"},
		{`"Variable":"$.s","NumericEquals":2`, "false"},
		{`"Variable":"$.big","NumericEquals":9007199254740993`, "true"},
		{`"Variable":"$.t","BooleanEquals":true`, "true"},
		{`"Variable":"$.t","BooleanEquals":false`, "false"},
		{`"Variable":"$.s","BooleanEquals":false`, "false"},
		{`"Variable":"$.t","BooleanEqualsPath":"$.t"`, "true"},
		{`"Variable":"$.at","TimestampEquals":"2016-03-14T02:59:00+01:00"`, "true"},
		{`"Variable":"$.at","TimestampLessThan":"2016-03-14T01:59:00.001Z"`, "true"},
		{`"Variable":"$.at","TimestampGreaterThanEqualsPath":"$.at"`, "true"},
		{`"Variable":"$.at","StringEquals":"2016-03-14T01:59:00Z"`, "true"},
		{`"Variable":"$.s","TimestampEquals":"2016-03-14T01:59:00Z"`, "false"},
		{`"Variable":"$.w","StringMatches":"zeta*"`, "true"},
		{`"Variable":"$.w","StringMatches":"*.log"`, "true"},
		{`"Variable":"$.w","StringMatches":"z*a*.*g"`, "true"},
		{`"Variable":"$.w","StringMatches":"zeta\\*.log"`, "true"},
		{`"Variable":"$.w","StringMatches":"zeta.log"`, "false"},
		{`"Variable":"$.w","StringMatches":"*zeta*log*log"`, "false"},
		{`"Variable":"$.n","StringMatches":"*"`, "false"},
		{`"Variable":"$.z","IsNull":true`, "true"},
		{`"Variable":"$.s","IsNull":false`, "true"},
		{`"Variable":"$.s","IsString":true`, "true"},
		{`"Variable":"$.n","IsNumeric":true`, "true"},
		{`"Variable":"$.t","IsBoolean":false`, "false"},
		{`"Variable":"$.at","IsTimestamp":true`, "true"},
		{`"Variable":"$.s","IsTimestamp":true`, "false"},
		{`"Variable":"$.missing","IsPresent":true`, "false"},
		{`"Variable":"$.missing","IsPresent":false`, "true"},
		{`"Variable":"$.z","IsPresent":true`, "true"},
		{`"Variable":"$.l[*]","IsPresent":true`, "false"},
		{`"Variable":"$.missing","IsNull":true`, ErrorRuntime},
		{`"Variable":"$.missing","StringEquals":"a"`, ErrorRuntime},
		{`"Variable":"$.s","StringEqualsPath":"$.missing"`, ErrorRuntime},
		{`"Not":{"Variable":"$.missing","StringEquals":"a"}`, ErrorRuntime},
		{`"And":[{"Variable":"$.s","IsString":false},{"Variable":"$.missing","IsNull":true}]`, "false"},
		{`"Or":[{"Variable":"$.s","IsString":true},{"Variable":"$.missing","IsNull":true}]`, "true"},
		{`"Or":[{"Variable":"$.s","IsString":false},{"Variable":"$.n","IsString":true}]`, "false"},
	} {
		m, err := Parse([]byte(`{"StartAt":"C","States":{"C":{"Type":"Choice","Choices":[{` + c.rule + `,"Next":"S"}]},"S":{"Type":"Succeed"}}}`))
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		ok, err := m.flow.states["C"].choice.rules[0](scopeOf(data))
		got := fmt.Sprint(ok)
		if err != nil {
			got = asFailure(err).name
		}
		if got != c.want {
			t.Errorf("%s is %s, want %s", c.rule, got, c.want)
		}
	}
}

func TestErrorsAreMatched(t *testing.T) {
	missed := &failure{name: ErrorTimeout, heartbeat: true}
	for _, c := range []struct {
		match string
		f     *failure
		want  bool
	}{
		{"A", &failure{name: "A"}, true},
		{"A", &failure{name: "a"}, false},
		{ErrorAll, &failure{name: "A"}, true},
		{ErrorAll, missed, true},
		{ErrorAll, &failure{name: ErrorDataLimit}, false},
		{ErrorAll, &failure{name: ErrorRuntime}, false},
		{ErrorTaskFailed, &failure{name: "A"}, true},
		{ErrorTaskFailed, missed, false},
		{ErrorTaskFailed, &failure{name: ErrorDataLimit}, false},
		{ErrorDataLimit, &failure{name: ErrorDataLimit}, true},
		{ErrorTimeout, missed, true},
		{ErrorHeartbeatTimeout, missed, true},
		{ErrorHeartbeatTimeout, &failure{name: ErrorTimeout}, false},
	} {
		if got := (errorMatch{"x", c.match}).matches(c.f); got != c.want {
			t.Errorf("%s matches %+v: %v, want %v", c.match, c.f, got, c.want)
		}
	}
}

func TestRetryDelays(t *testing.T) {
	r := retrier{interval: 3 * time.Second, backoffRate: 2, maxDelay: 20 * time.Second}
	for n, want := range []time.Duration{3, 6, 12, 20, 20} {
		if got := r.delay(n, 0); got != want*time.Second {
			t.Errorf("delay %d is %s, want %ds", n, got, want)
		}
	}
	if got := (retrier{interval: time.Second, backoffRate: 10}).delay(math.MaxInt32, 0); got != maxRetrySeconds*time.Second {
		t.Errorf("endless delay is %s", got)
	}
	r.fullJitter = true
	if got := r.delay(1, 0.5); got != 3*time.Second {
		t.Errorf("half of 6s is %s", got)
	}
	f := &failure{name: "A"}
	full := []retrier{{match: errorMatch{ErrorAll}, interval: time.Hour, backoffRate: 1, maxAttempts: 9, fullJitter: true}}
	one, same, other := newAttempts(full), newAttempts(full), newAttempts(full)
	first, _ := one.next(f, "x")
	for got, differs := range map[time.Duration]bool{pauseOf(same.next(f, "x")): false, pauseOf(other.next(f, "y")): true, pauseOf(one.next(f, "x")): true} {
		if (got != first) != differs {
			t.Errorf("jitter is %s after %s", got, first)
		}
	}
	sum := 0.0
	for i := range 1000 {
		f := fraction(fmt.Sprint("seed", i))
		if f < 0 || f >= 1 || f != fraction(fmt.Sprint("seed", i)) {
			t.Fatalf("fraction is %f", f)
		}
		sum += f
	}
	if sum < 450 || sum > 550 {
		t.Errorf("a thousand fractions add up to %f", sum)
	}
}

func pauseOf(d time.Duration, _ bool) time.Duration { return d }

func FuzzToken(f *testing.F) {
	good := token{partition: "one/m", path: "M:0.0[1]/T:0.0", secret: make([]byte, secretBytes)}
	f.Add(good.String())
	f.Add(good.String()[:8] + "\n" + good.String()[8:])
	f.Add(base64.RawURLEncoding.EncodeToString(append([]byte{tokenVersion, 0x85, 0x00}, "one/m\x00aaaaaaaaaaaaaaaa"...)))
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parseToken(text)
		if ok && got.String() != text {
			t.Fatalf("%q is read as %+v, which is %q", text, got, got.String())
		}
	})
}

func TestLongestTokenFits(t *testing.T) {
	longest := token{
		partition: partitionOf(strings.Repeat("m", maxNameBytes), strings.Repeat("n", maxNameBytes)),
		path:      strings.Repeat("p", maxStepBytes), secret: make([]byte, secretBytes),
	}
	if n := len(longest.String()); n > MaxTokenBytes {
		t.Errorf("a token has %d bytes", n)
	}
	if got, ok := parseToken(longest.String()); !ok || got.path != longest.path {
		t.Errorf("read back as %+v, %v", got, ok)
	}
	if got := fmt.Sprint(ancestors("A:0.1[2]/B%2F:3.0[0]/C:0.0")); got != "[A:0.1 A:0.1[2]/B%2F:3.0]" {
		t.Errorf("ancestors are %s", got)
	}
}
