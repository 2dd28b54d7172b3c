package probes

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
)

func TestLocation(t *testing.T) {
	tests := []struct {
		target *modelv1.Target
		want   string
	}{
		{&modelv1.Target{Host: "www.example.com", Address: "192.0.2.1", Port: 443}, "www.example.com:443/tcp"},
		{&modelv1.Target{Address: "192.0.2.1", Port: 22}, "192.0.2.1:22/tcp"},
		{&modelv1.Target{Value: "2001:db8::1", Port: 22}, "[2001:db8::1]:22/tcp"},
		{&modelv1.Target{Value: "192.0.2.1", Port: 53, Transport: modelv1.Transport_TRANSPORT_UDP}, "192.0.2.1:53/udp"},
		{&modelv1.Target{Value: "example.com"}, ""},
	}
	for _, tt := range tests {
		if got := Location(tt.target); got != tt.want {
			t.Errorf("Location(%v) = %q, want %q", tt.target, got, tt.want)
		}
	}
}

func TestNewObservation(t *testing.T) {
	job := &modelv1.ScanJob{
		ScanType: modelv1.ScanType_SCAN_TYPE_TLS,
		Target:   &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: "www.example.com"},
	}
	o := NewObservation(job, "www.example.com:443/tcp", "tls")
	if o.GetAsset() != assetid.Name(int32(modelv1.AssetKind_ASSET_KIND_HOST), "www.example.com") || o.GetAssetValue() != "www.example.com" ||
		o.GetAssetKind() != modelv1.AssetKind_ASSET_KIND_HOST || o.GetScanType() != job.GetScanType() || o.GetLocation() != "www.example.com:443/tcp" || o.GetKey() != "tls" {
		t.Errorf("%v", o)
	}
	if o.GetFirstSeen().AsTime() != o.GetLastSeen().AsTime() || o.GetFirstSeen().AsTime().IsZero() {
		t.Errorf("seen %v to %v", o.GetFirstSeen().AsTime(), o.GetLastSeen().AsTime())
	}
	zone := NewObservationOf(job, modelv1.AssetKind_ASSET_KIND_DOMAIN, "example.com", "", "dns")
	if zone.GetAsset() != AssetName(modelv1.AssetKind_ASSET_KIND_DOMAIN, "example.com") || zone.GetAssetValue() != "example.com" || zone.GetLocation() != "" {
		t.Errorf("%v", zone)
	}
}

func TestSafeText(t *testing.T) {
	tests := []struct {
		raw  string
		max  int
		want string
	}{
		{"SSH-2.0-OpenSSH_9.6\r\n", 100, "SSH-2.0-OpenSSH_9.6"},
		{"  a \t\n b  ", 100, "a b"},
		{"\x1b[2J\x07red\x1b[0m", 100, "[2J red [0m"},
		{"abc\x00\x01def", 100, "abc def"},
		{"\xff\xfe\xfdhello\xc3", 100, "hello"},
		{"pay\u202egpj.exe", 100, "pay gpj.exe"},
		{"zero\u200bwidth\ufeff", 100, "zero width"},
		{"line\u2028sep\u2029", 100, "line sep"},
		{"\ue000private\U000f0000", 100, "private"},
		{"x\ufe0fy\u00adz", 100, "x y z"},
		{"häß 日本 😀", 100, "häß 日本 😀"},
		{"\ufffd", 100, ""},
		{"abcdef", 3, "abc"},
		{"ab cd", 3, "ab"},
		{"日本語", 2, "日本"},
		{"abc", 0, ""},
		{"", 10, ""},
	}
	for _, tt := range tests {
		if got := SafeString(tt.raw, tt.max); got != tt.want {
			t.Errorf("SafeString(%q, %d) = %q, want %q", tt.raw, tt.max, got, tt.want)
		}
	}
}

func TestSafeTextIsSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOf(rapid.Byte()).Draw(t, "raw")
		if rapid.Bool().Draw(t, "text") {
			raw = []byte(rapid.String().Draw(t, "string"))
		}
		checkSafe(t, raw, rapid.IntRange(0, 64).Draw(t, "max"))
	})
}

func FuzzSafeText(f *testing.F) {
	for _, seed := range []string{"SSH-2.0-x\r\n", "\x1b]0;title\x07", "a\u202eb", "\xf0\x9f\x98\x80\xed\xa0\x80", "\u2028"} {
		f.Add([]byte(seed), 32)
	}
	f.Fuzz(func(t *testing.T, raw []byte, limit int) { checkSafe(t, raw, limit) })
}

func checkSafe(t interface{ Fatalf(string, ...any) }, raw []byte, limit int) {
	text := SafeText(raw, limit)
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > max(limit, 0) || strings.TrimSpace(text) != text || strings.Contains(text, "  ") {
		t.Fatalf("SafeText(%q, %d) = %q", raw, limit, text)
	}
	for _, r := range text {
		if r != ' ' && (unicode.IsSpace(r) || !unicode.IsGraphic(r)) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			t.Fatalf("SafeText(%q, %d) = %q holds %U", raw, limit, text, r)
		}
	}
	if again := SafeString(text, limit); again != text {
		t.Fatalf("SafeText(%q) = %q, and of that %q", raw, text, again)
	}
}

func TestBudget(t *testing.T) {
	tests := []struct {
		job  *modelv1.ScanJob
		want time.Duration
	}{
		{&modelv1.ScanJob{}, DefaultBudget},
		{&modelv1.ScanJob{Options: &modelv1.ScanOptions{Budget: durationpb.New(3 * time.Second)}}, 3 * time.Second},
		{&modelv1.ScanJob{Options: &modelv1.ScanOptions{Budget: durationpb.New(-time.Second)}}, DefaultBudget},
		{&modelv1.ScanJob{Options: &modelv1.ScanOptions{Budget: &durationpb.Duration{Seconds: 1, Nanos: -5}}}, DefaultBudget},
	}
	for _, tt := range tests {
		if got := Budget(tt.job, DefaultBudget); got != tt.want {
			t.Errorf("Budget(%v) = %v, want %v", tt.job, got, tt.want)
		}
	}
}

// drawer keeps the last evidence.
type drawer struct {
	kind string
	data []byte
	err  error
}

func (d *drawer) Put(_ context.Context, kind string, data []byte) (*modelv1.Evidence, error) {
	d.kind, d.data = kind, data
	return &modelv1.Evidence{Blob: kind + "/1"}, d.err
}

func TestEnv(t *testing.T) {
	if err := (Env{}).TakePermits(t.Context(), "192.0.2.1", 3); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (Env{}).TakePermits(ctx, "192.0.2.1", 3); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	none := errors.New("none left")
	env := Env{Permit: func(_ context.Context, host string, cost int) error {
		if host != "192.0.2.1" || cost != 3 {
			t.Errorf("permits for %s: %d", host, cost)
		}
		return none
	}}
	if err := env.TakePermits(t.Context(), "192.0.2.1", 3); !errors.Is(err, none) {
		t.Errorf("%v", err)
	}

	kept := new(drawer)
	env.Blobs = kept
	evidence, err := env.Evidence(t.Context(), "banner", []byte("a\x1bb"), true)
	if err != nil || evidence.GetBlob() != "banner/1" || evidence.GetExcerpt() != "a b" || !evidence.GetTruncated() || string(kept.data) != "a\x1bb" {
		t.Errorf("%v %v, kept %q", evidence, err, kept.data)
	}
	if evidence, err := env.Evidence(t.Context(), "banner", nil, false); evidence != nil || err != nil {
		t.Errorf("of nothing: %v %v", evidence, err)
	}
	kept.err = none
	if _, err := env.Evidence(t.Context(), "banner", []byte("x"), false); !errors.Is(err, none) {
		t.Errorf("%v", err)
	}
}
