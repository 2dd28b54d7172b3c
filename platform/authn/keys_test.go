package authn

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func TestLoadKeysMakesOneKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "keys")
	keys := make([]ed25519.PrivateKey, 16)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = LoadKeys(dir, "scheduler"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if !k.Equal(keys[0]) {
			t.Fatal("two processes got two keys")
		}
	}
	info, err := os.Stat(filepath.Join(dir, "scheduler.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
	public, ok := keys[0].Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no public key")
	}
	got, service, found := OpenKeyRing(dir).Find(KeyID("scheduler", public))
	if !found || service != "scheduler" || !got.Equal(public) {
		t.Errorf("the ring has %v, %q, %v", got, service, found)
	}
}

func TestChangedKeyLeavesTheOldOneGood(t *testing.T) {
	dir := t.TempDir()
	var tokens []string
	for range 3 {
		key, err := LoadKeys(dir, "scheduler")
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, mint(t, "scheduler", key, Principal{Tenant: "t1", Subject: "user:a"}))
		if err := os.Remove(filepath.Join(dir, "scheduler.key")); err != nil {
			t.Fatal(err)
		}
	}
	v := NewVerifier(VerifierOptions{Keys: OpenKeyRing(dir)})
	for i, want := range []bool{false, true, true} {
		if _, err := v.Verify(t.Context(), tokens[i]); (err == nil) != want {
			t.Errorf("token of key %d: %v", i, err)
		}
	}
}

func TestLoadKeysRefuses(t *testing.T) {
	good := t.TempDir()
	if _, err := LoadKeys(good, "gateway"); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(good, "gateway.key"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(filepath.Join(good, "gateway.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		mode fs.FileMode
		want string
	}{
		"others may read": {pem, 0o640, "chmod 600"}, "all may write": {pem, 0o602, "chmod 600"}, "empty": {nil, 0o600, "PEM"},
		"garbage": {[]byte("hunter2"), 0o600, "PEM"}, "public key": {public, 0o600, "PEM"}, "two keys": {append(pem, pem...), 0o600, "PEM"},
		"cut": {pem[:60], 0o600, "PEM"}, "wrong contents": {[]byte("-----BEGIN PRIVATE KEY-----\naGk=\n-----END PRIVATE KEY-----\n"), 0o600, "PKCS"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "gateway.key")
		if err := errors.Join(os.WriteFile(path, c.data, 0o600), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKeys(dir, "gateway")
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(c.data) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	for _, service := range []string{"", "..", "../x", "a/b", "A", "a.b", "a b", "1a", "-a", strings.Repeat("a", 64), "a\x00", "ü"} {
		if _, err := LoadKeys(t.TempDir(), service); !errors.Is(err, fault.Invalid) {
			t.Errorf("service %q: %v", service, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeys(file, "gateway"); !errors.Is(err, fault.FailedPrecondition) {
		t.Errorf("a file for a directory: %v", err)
	}
}

// writeRing publishes a fresh key of each service and gives the private keys.
func writeRing(t testing.TB, dir string, services ...string) map[string]ed25519.PrivateKey {
	t.Helper()
	out := map[string]ed25519.PrivateKey{}
	for _, s := range services {
		key, err := LoadKeys(dir, s)
		if err != nil {
			t.Fatal(err)
		}
		out[s] = key
	}
	return out
}

func TestKeyRingLooksAgainAtMostOnceASecond(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := OpenKeyRing(filepath.Join(dir, "keys[1]*"))
		if _, _, ok := r.Find("gateway.0000000000000000"); ok {
			t.Error("found a key in a directory that does not exist")
		}
		keys := writeRing(t, r.dir, "gateway")
		public, ok := keys["gateway"].Public().(ed25519.PublicKey)
		if !ok {
			t.Fatal("no public key")
		}
		kid := KeyID("gateway", public)
		for _, c := range []struct {
			after time.Duration
			want  bool
		}{{0, false}, {999 * time.Millisecond, false}, {time.Millisecond, true}} {
			time.Sleep(c.after)
			if _, _, ok := r.Find(kid); ok != c.want {
				t.Errorf("after %s more: found %v", c.after, ok)
			}
		}
		// A known key costs no look at the directory, and one that is gone is forgotten when
		// something else makes the ring look.
		if err := os.Remove(filepath.Join(r.dir, "gateway.pub")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, _, ok := r.Find(kid); !ok {
			t.Error("a known key was looked for again")
		}
		r.Find("scanner.0000000000000000")
		if _, _, ok := r.Find(kid); ok {
			t.Error("a key that is gone is still known")
		}
	})
}

func TestKeyRingSkipsWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	keys := writeRing(t, dir, "gateway", "scanner")
	for name, data := range map[string]string{"empty.pub": "", "bad.pub": "hunter2", "Odd Name.pub": "x", "note.txt": "x", "scanner.pub": "garbage"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.pub"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := OpenKeyRing(dir)
	for service, want := range map[string]bool{"gateway": true, "scanner": false} {
		public, ok := keys[service].Public().(ed25519.PublicKey)
		if !ok {
			t.Fatal("no public key")
		}
		if _, _, found := r.Find(KeyID(service, public)); found != want {
			t.Errorf("%s: found %v", service, found)
		}
	}
}

func TestKeyRingIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range maxKeyFiles + 10 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err == nil {
			err = publish(dir, fmt.Sprintf("s%03d", i), public)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r := OpenKeyRing(dir)
	r.Find("x")
	if len(r.keys) != maxKeyFiles {
		t.Errorf("%d keys", len(r.keys))
	}
}

func TestStaticKeys(t *testing.T) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := StaticKeys{"gateway": {public}}
	if k, service, ok := s.Find(KeyID("gateway", public)); !ok || service != "gateway" || !k.Equal(public) {
		t.Errorf("got %v, %q, %v", k, service, ok)
	}
	for _, kid := range []string{"", "gateway", KeyID("scanner", public)} {
		if _, _, ok := s.Find(kid); ok {
			t.Errorf("%q: found", kid)
		}
	}
}
