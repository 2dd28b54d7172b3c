package authn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func newKey(t testing.TB) Key {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyRoundTrip(t *testing.T) {
	form := regexp.MustCompile(`^rp_[a-z0-9]{12}_[A-Za-z0-9_-]{43}$`)
	seen := map[string]bool{}
	for range 200 {
		k := newKey(t)
		if !form.MatchString(k.Text()) {
			t.Fatalf("%s has another form", k.Text())
		}
		id, secret, err := ParseKey(k.Text())
		if err != nil || id != k.ID || secret != k.Secret {
			t.Fatalf("parse: %q, %q, %v", id, secret, err)
		}
		if !VerifySecret(k.Hash, secret) {
			t.Fatal("the secret does not verify")
		}
		if seen[k.ID] || seen[k.Secret] {
			t.Fatal("a key came twice")
		}
		seen[k.ID], seen[k.Secret] = true, true
	}
}

func TestWrongSecretsDoNotVerify(t *testing.T) {
	k := newKey(t)
	for _, wrong := range []string{"", k.Secret[:42], k.Secret + "A", strings.ToLower(k.Secret), newKey(t).Secret, k.ID, k.Text()} {
		if wrong != k.Secret && VerifySecret(k.Hash, wrong) {
			t.Errorf("%q verifies", wrong)
		}
	}
	if VerifySecret([32]byte{}, "") || VerifySecret([32]byte{}, k.Secret) {
		t.Error("the zero hash verifies something")
	}
}

func TestParseKeyRefuses(t *testing.T) {
	k := newKey(t)
	text := k.Text()
	for name, wrong := range map[string]string{
		"empty": "", "start only": "rp_", "short": text[:58], "long": text + "A", "other start": "xx_" + text[3:], "upper start": "RP_" + text[3:],
		"upper id": "rp_" + strings.ToUpper(k.ID[:1]) + text[4:], "id with sign": "rp_-" + text[4:], "no separator": text[:15] + "-" + text[16:],
		"space": " " + text[1:], "line end inside": text[:20] + "\n" + text[21:], "line end behind": text[:58] + "\n", "padding": text[:58] + "=",
		"plus": text[:20] + "+" + text[21:], "slash": text[:20] + "/" + text[21:], "NUL": text[:20] + "\x00" + text[21:], "not ASCII": text[:20] + "ü" + text[22:],
		"huge": strings.Repeat("rp_", 1<<20),
	} {
		if wrong == text {
			continue
		}
		_, _, err := ParseKey(wrong)
		if !errors.Is(err, fault.Unauthenticated) || strings.Contains(err.Error(), k.Secret[:10]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Each key has one spelling: the last character's two low bits do not count and must be zero.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, text[58])
	for i := 1; i < 4; i++ {
		if _, _, err := ParseKey(text[:58] + alphabet[last+i:last+i+1]); err == nil {
			t.Error("a second spelling of the key was accepted")
		}
	}
}

func TestKeyDoesNotPrintItsSecret(t *testing.T) {
	k := newKey(t)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("made", "key", k, "pointer", &k)
	data, err := json.Marshal(map[string]any{"k": k, "p": &k})
	if err != nil {
		t.Fatal(err)
	}
	hash := fmt.Sprint(k.Hash)
	all := log.String() + string(data) + fmt.Sprintf("%v %+v %#v %s %q %d %x", k, k, k, k, k, k, k) + fmt.Sprint(&k, []Key{k}, struct{ K Key }{k})
	if strings.Contains(all, k.Secret) || strings.Contains(all, hash) || strings.Contains(all, fmt.Sprintf("%x", k.Secret)) {
		t.Errorf("the secret is in %s", all)
	}
	if !strings.Contains(all, k.ID) {
		t.Errorf("the id is not in %s", all)
	}
}

func TestRandomIDIsFair(t *testing.T) {
	// Every byte value once: 252 of them are used, so each letter comes 7 times.
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	counts := map[rune]int{}
	source := bytes.NewReader(bytes.Repeat(all, 3))
	for range 21 {
		id, err := randomID(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range id {
			counts[c]++
		}
	}
	if len(counts) != len(keyIDAlphabet) {
		t.Errorf("letters used: %v", counts)
	}
	if _, err := randomID(bytes.NewReader(nil)); err == nil {
		t.Error("no randomness, no error")
	}
}

func TestParseKeyTakesOnlyItsOwnForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`(rp_)?[a-z0-9A-Z]{10,13}_[A-Za-z0-9_+/=-]{40,45}`).Draw(t, "text")
		id, secret, err := ParseKey(text)
		if err == nil && keyStart+id+"_"+secret != text {
			t.Fatalf("%q was read as %q and %q", text, id, secret)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	k := newKey(f)
	f.Add(k.Text())
	f.Add("rp_abcdefghijkl_" + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, text string) {
		id, secret, err := ParseKey(text)
		if err == nil && (Key{ID: id, Secret: secret}).Text() != text {
			t.Fatalf("%q was read as %q and %q", text, id, secret)
		}
	})
}

func BenchmarkVerifySecret(b *testing.B) {
	k := newKey(b)
	for b.Loop() {
		VerifySecret(k.Hash, k.Secret)
	}
}
