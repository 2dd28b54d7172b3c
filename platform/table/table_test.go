package table

import (
	"context"
	"encoding/base64"
	"errors"
	"sort"
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func text() *rapid.Generator[string] {
	return rapid.Custom(func(rt *rapid.T) string {
		r := rapid.OneOf(rapid.SampledFrom([]rune{1, 'a', 'b', 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF}),
			rapid.Rune().Filter(func(r rune) bool { return r != 0 && utf8.ValidRune(r) }))
		return string(rapid.SliceOfN(r, 0, 5).Draw(rt, "runes"))
	})
}

// TestPrefixIsARange: a text has the prefix if and only if it lies between the prefix and its end.
func TestPrefixIsARange(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		prefix, s := text().Draw(rt, "prefix"), text().Draw(rt, "text")
		if rapid.Bool().Draw(rt, "longer") {
			s = prefix + s
		}
		end := prefixEnd(prefix)
		if !utf8.ValidString(end) || strings.Contains(end, "\x00") {
			rt.Fatalf("end of %q is %q, which is no key", prefix, end)
		}
		if inside := s >= prefix && (end == "" || s < end); inside != strings.HasPrefix(s, prefix) {
			rt.Fatalf("prefix %q ends at %q: %q is inside: %v", prefix, end, s, inside)
		}
	})
}

// TestBoundsAreARange: the range of a query holds exactly the texts that the query asks for.
func TestBoundsAreARange(t *testing.T) {
	tab := New(nil, Options{Name: "t"})
	rapid.Check(t, func(rt *rapid.T) {
		q := Query{Partition: "p", Prefix: text().Draw(rt, "prefix"), After: text().Draw(rt, "after"), Before: text().Draw(rt, "before")}
		s := text().Draw(rt, "text")
		r, err := tab.rangeOf(q)
		if err != nil {
			rt.Fatal(err)
		}
		want := strings.HasPrefix(s, q.Prefix) && (q.After == "" || s > q.After) && (q.Before == "" || s < q.Before)
		if got := s >= r.From && (r.Until == "" || s < r.Until); got != want || (want && r.empty()) {
			rt.Fatalf("%q in %+v: %v, want %v", s, r, got, want)
		}
	})
}

func TestTokensComeBack(t *testing.T) {
	tab := New(nil, Options{Name: "t"})
	rapid.Check(t, func(rt *rapid.T) {
		partition := text().Filter(func(s string) bool { return s != "" })
		q := Query{Partition: partition.Draw(rt, "partition"), Index: rapid.SampledFrom([]string{"", "i"}).Draw(rt, "index"),
			Prefix: text().Draw(rt, "prefix"), Descending: rapid.Bool().Draw(rt, "descending")}
		want := Position{
			Place: Key{q.Partition, text().Draw(rt, "place")},
			Key:   Key{partition.Draw(rt, "item partition"), text().Draw(rt, "item sort")},
		}
		q.PageToken = tab.pageToken(q, want)
		r, err := tab.rangeOf(q)
		if err != nil || *r.Start != want {
			rt.Fatalf("got %+v, %v, want %+v", r.Start, err, want)
		}
	})
}

func TestLongestTokenIsRead(t *testing.T) {
	tab := New(nil, Options{Name: "t"})
	q := Query{Partition: "p"}
	want := Position{
		Place: Key{"p", strings.Repeat("s", MaxSortKeyBytes)},
		Key:   Key{strings.Repeat("p", MaxPartitionKeyBytes), strings.Repeat("s", MaxSortKeyBytes)},
	}
	q.PageToken = tab.pageToken(q, want)
	if got, err := tab.parseToken(q); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
}

// FuzzToken feeds tokens that nobody made, with the right digest in front as an attacker would: they
// are refused or name a valid place in the partition of the query.
func FuzzToken(f *testing.F) {
	tab := New(nil, Options{Name: "t"})
	q := Query{Partition: "p", Index: "i"}
	good, err := base64.RawURLEncoding.DecodeString(tab.pageToken(q, Position{Place: Key{"p", "s"}, Key: Key{"q", "r"}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[1+digestBytes:])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, position []byte) {
		q := q
		q.PageToken = base64.RawURLEncoding.EncodeToString(append(good[:1+digestBytes:1+digestBytes], position...))
		p, err := tab.parseToken(q)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		if p.Place.Partition != "p" || p.Place.validate() != nil || p.Key.validate() != nil {
			t.Fatalf("token names %+v", p)
		}
	})
}

// answering is a driver that answers everything with one error.
type answering struct{ err error }

func (d answering) Get(context.Context, Key) (Item, error)            { return Item{}, d.err }
func (d answering) GetAll(context.Context, []Key) ([]Item, error)     { return nil, d.err }
func (d answering) Query(context.Context, Range) (RangeResult, error) { return RangeResult{}, d.err }
func (d answering) Write(context.Context, []Write) error              { return d.err }
func (d answering) Close() error                                      { return d.err }

func TestErrorsNameOperationAndTable(t *testing.T) {
	ctx := context.Background()
	tab := New(answering{fault.Wrap(fault.Unavailable, errors.New("cause"), "storage failed")}, Options{Name: "jobs"})
	_, get := tab.Get(ctx, Key{Partition: "p"})
	_, getAll := tab.GetAll(ctx, []Key{{Partition: "p"}})
	_, query := tab.Query(ctx, Query{Partition: "p"})
	for verb, err := range map[string]error{
		"get": get, "get all": getAll, "query": query,
		"write": tab.Write(ctx, Write{Item: Item{Key: Key{Partition: "p"}}}), "close": tab.Close(),
	} {
		if want := verb + " table jobs: storage failed: cause"; !errors.Is(err, fault.Unavailable) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := New(answering{}, Options{}).Close(); err != nil || tab.Name() != "jobs" {
		t.Errorf("got %v, %s", err, tab.Name())
	}
}

func TestSpans(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	const secret = "tenant-4711"
	calls := func(ctx context.Context, err error) {
		tab := New(answering{err}, Options{Name: "jobs"})
		_, _ = tab.Get(ctx, Key{Partition: secret})
		_, _ = tab.GetAll(ctx, []Key{{Partition: secret}})
		_, _ = tab.Query(ctx, Query{Partition: secret})
		_ = tab.Write(ctx, Write{Item: Item{Key: Key{Partition: secret}}})
	}
	calls(context.Background(), nil) // no parent, no spans
	ctx, parent := provider.Tracer("test").Start(context.Background(), "parent")
	calls(ctx, nil)
	calls(ctx, fault.New(fault.NotFound, secret))
	calls(ctx, fault.New(fault.Unavailable, secret))
	parent.End()

	var names []string
	failed := 0
	for _, s := range recorder.Ended() {
		if s.Name() == "parent" {
			continue
		}
		names = append(names, s.Name())
		if s.Parent().SpanID() != parent.SpanContext().SpanID() {
			t.Errorf("%s is no child", s.Name())
		}
		if s.Status().Code == codes.Error {
			failed++
		}
		attributes := attribute.NewSet(s.Attributes()...)
		if v, _ := attributes.Value("db.collection.name"); v.AsString() != "jobs" ||
			strings.Contains(attributes.Encoded(attribute.DefaultEncoder())+s.Status().Description, secret) {
			t.Errorf("%s has attributes %v", s.Name(), s.Attributes())
		}
	}
	sort.Strings(names)
	if got := strings.Join(names, ","); got != strings.Repeat("get jobs,", 3)+strings.Repeat("get_all jobs,", 3)+
		strings.Repeat("query jobs,", 3)+strings.TrimSuffix(strings.Repeat("write jobs,", 3), ",") {
		t.Errorf("spans: %s", got)
	}
	if failed != 4 {
		t.Errorf("%d spans failed, want the 4 of the unavailable store", failed)
	}
}

func TestUndeclaredIndexesAreRefused(t *testing.T) {
	ctx := context.Background()
	in := func(index string) Write {
		return Write{Item: Item{Key: Key{Partition: "p"}, Indexes: map[string]Key{index: {Partition: "p"}}}}
	}
	for name, c := range map[string]struct {
		declared []string
		index    string
		refused  bool
	}{
		"no list":    {nil, "other", false},
		"empty list": {[]string{}, "other", true},
		"listed":     {[]string{"due", "open"}, "open", false},
		"not listed": {[]string{"due", "open"}, "other", true},
	} {
		t.Run(name, func(t *testing.T) {
			tab := New(answering{}, Options{Name: "jobs", Indexes: c.declared})
			_, query := tab.Query(ctx, Query{Index: c.index, Partition: "p"})
			for what, err := range map[string]error{"query": query, "write": tab.Write(ctx, in(c.index)), "writes": tab.Write(ctx, Write{Item: Item{Key: Key{Partition: "q"}}}, in(c.index))} {
				if c.refused != errors.Is(err, fault.Internal) || c.refused && !strings.Contains(err.Error(), "use index other: it is not declared") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if _, err := tab.Query(ctx, Query{Partition: "p"}); err != nil {
				t.Error(err)
			}
		})
	}
}
