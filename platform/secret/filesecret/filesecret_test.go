package filesecret_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/secret/filesecret"
	"github.com/riskprofiler/riskprofiler/platform/secret/secrettest"
)

const canary = "canary-0f1e2d3c4b5a-canary"

func TestConformance(t *testing.T) {
	secrettest.Run(t, func(t *testing.T) secret.Store {
		return filesecret.New(filesecret.Options{Dir: filepath.Join(t.TempDir(), "secrets")})
	})
}

// stored makes a store with the canary as shodan's key of acme, and gives its directory.
func stored(t *testing.T) (*filesecret.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "secrets")
	s := filesecret.New(filesecret.Options{Dir: dir})
	if err := s.Put(t.Context(), "acme", "shodan", []byte(canary)); err != nil {
		t.Fatal(err)
	}
	return s, dir
}

// Nothing on the disk shows the value, and only the owner may read anything.
func TestOnDisk(t *testing.T) {
	_, dir := stored(t)
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if d.IsDir() {
			return nil
		}
		files++
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(canary)) {
			t.Errorf("%s shows the value", path)
		}
		return err
	})
	if err != nil || files != 2 {
		t.Errorf("%d files, %v", files, err)
	}
}

// A process that opens the directory later reads what was stored.
func TestReopen(t *testing.T) {
	_, dir := stored(t)
	got, err := filesecret.New(filesecret.Options{Dir: dir}).Get(t.Context(), "acme", "shodan")
	if err != nil || string(got) != canary {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The same value twice is two different files: a nonce is never used twice.
func TestNonce(t *testing.T) {
	s, dir := stored(t)
	first, _ := os.ReadFile(filepath.Join(dir, "acme", "shodan.secret"))
	if err := s.Put(t.Context(), "acme", "shodan", []byte(canary)); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(filepath.Join(dir, "acme", "shodan.secret")); bytes.Equal(first, second) {
		t.Error("the same value gave the same file")
	}
}

// A file that was put in another's place is refused: tenant and name are part of what is sealed. So is one bit that changed.
func TestMovedOrDamaged(t *testing.T) {
	s, dir := stored(t)
	from := filepath.Join(dir, "acme", "shodan.secret")
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "other"), 0o700); err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(raw)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		tenant, name string
		data         []byte
	}{
		"another tenant": {"other", "shodan", raw}, "another name": {"acme", "virustotal", raw}, "a bit": {"acme", "shodan", flipped},
		"cut": {"acme", "shodan", raw[:5]}, "empty": {"acme", "shodan", nil}, "another format": {"acme", "shodan", append([]byte("rp2"), raw[3:]...)},
	} {
		if err := os.WriteFile(filepath.Join(dir, c.tenant, c.name+".secret"), c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(t.Context(), c.tenant, c.name)
		if !errors.Is(err, fault.DataLoss) || got != nil {
			t.Errorf("%s: %d bytes, %v; want data loss", name, len(got), err)
		}
	}
}

// The master key must be private, whole and there.
func TestMasterKey(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(path string) error
		want fault.Code
		says string
	}{
		"readable by others": {func(p string) error { return os.Chmod(p, 0o644) }, fault.FailedPrecondition, "chmod 600"},
		"cut":                {func(p string) error { return os.WriteFile(p, []byte("short"), 0o600) }, fault.DataLoss, "restore it"},
		"another":            {func(p string) error { return os.WriteFile(p, make([]byte, 32), 0o600) }, fault.DataLoss, "another master key"},
		"gone":               {os.Remove, fault.DataLoss, "restore it"},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir := stored(t)
			if err := c.do(filepath.Join(dir, "master.key")); err != nil {
				t.Fatal(err)
			}
			s := filesecret.New(filesecret.Options{Dir: dir})
			_, err := s.Get(t.Context(), "acme", "shodan")
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), canary) {
				t.Errorf("get: %v", err)
			}
			if name == "gone" {
				// Another key in its place would make the loss final.
				if err := s.Put(t.Context(), "acme", "virustotal", []byte("x")); !errors.Is(err, fault.FailedPrecondition) {
					t.Errorf("put: %v", err)
				}
			}
		})
	}
}

// Of many processes that start together all get one master key: what each stored the others can read.
func TestStartTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			s := filesecret.New(filesecret.Options{Dir: dir})
			if err := s.Put(context.Background(), "acme", name, []byte(name)); err != nil {
				t.Errorf("put %s: %v", name, err)
			}
		})
	}
	all.Wait()
	s := filesecret.New(filesecret.Options{Dir: dir})
	for _, name := range names {
		if got, err := s.Get(t.Context(), "acme", name); err != nil || string(got) != name {
			t.Errorf("get %s: %q %v", name, got, err)
		}
	}
}
