package fileblob_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/blob/blobtest"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// writerEnv makes this binary the process that TestKilledWriter kills.
const writerEnv = "FILEBLOB_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		writeForever(dir)
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string) *fileblob.Bucket {
	t.Helper()
	b, err := fileblob.Open(t.Context(), fileblob.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blobtest.Harness {
		dir := t.TempDir()
		return blobtest.Harness{
			Bucket: open(t, dir),
			Damage: func(key string, data []byte) {
				if err := os.WriteFile(filepath.Join(dir, key+"@"), data, 0o600); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		dir  string
		want fault.Code
	}{
		"no folder given": {"", fault.Invalid},
		"a file":          {file, fault.FailedPrecondition},
		"no parent":       {filepath.Join(dir, "a", "b"), fault.FailedPrecondition},
	} {
		b, err := fileblob.Open(t.Context(), fileblob.Options{Dir: test.dir})
		if fault.CodeOf(err) != test.want {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
		if b != nil {
			t.Errorf("%s: got a bucket", name)
		}
		if test.dir != "" && !strings.Contains(fmt.Sprint(err), test.dir) {
			t.Errorf("%s: %v does not name the folder", name, err)
		}
	}
}

func TestOpenClearsOnlyOldRemains(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	temp := filepath.Join(dir, ".tmp")
	for name, age := range map[string]time.Duration{"old": 2 * time.Hour, "new": time.Minute} {
		path := filepath.Join(temp, name)
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir)
	entries, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "new" {
		t.Errorf("after Open there are %v, want only the new file", entries)
	}
}

func TestPutLeavesNothingBeside(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	for _, data := range []string{"a", "a", "b"} {
		_ = b.Put(t.Context(), "acme/raw/a", []byte(data)) // the last one is refused
	}
	entries, err := os.ReadDir(filepath.Join(dir, ".tmp"))
	if err != nil || len(entries) != 0 {
		t.Errorf("unfinished files: %v, error %v", entries, err)
	}
	info, err := os.Stat(filepath.Join(dir, "acme/raw/a@"))
	if err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("the object's file is %v, error %v; it must not be readable by everybody", info, err)
	}
}

func TestTwoBucketsOnOneFolder(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, dir), open(t, dir)
	if err := one.Put(t.Context(), "a/b", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := two.Put(t.Context(), "a/b", []byte("2")); fault.CodeOf(err) != fault.AlreadyExists {
		t.Errorf("Put by the other bucket: %v", err)
	}
	if got, err := two.Get(t.Context(), "a/b"); err != nil || string(got) != "1" {
		t.Errorf("Get by the other bucket: %q, %v", got, err)
	}
}

// A link in the folder must lead nowhere else, and foreign files are no objects.
func TestForeignFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret@")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := open(t, dir)
	if err := b.Put(t.Context(), "a/b", []byte("1")); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"a/file@": outside, "a/dir": filepath.Dir(outside)} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a/README", "a/UPPER@", "a/.hidden@"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"a/file", "a/dir/secret"} {
		if got, err := b.Get(t.Context(), key); err == nil {
			t.Errorf("Get(%s) followed a link and returned %q", key, got)
		}
	}
	if err := b.Put(t.Context(), "a/dir/new", []byte("x")); err == nil {
		t.Error("Put wrote through a link")
	}
	objects, _, err := b.List(t.Context(), "", "", 0)
	if err != nil || len(objects) != 1 || objects[0].Key != "a/b" {
		t.Errorf("List returned %v, error %v; want only a/b", objects, err)
	}
}

func TestRemovedFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	b := open(t, dir)
	if err := b.Put(t.Context(), "a/b", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), "a/b", []byte("1")); fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("Put into a removed folder: %v", err)
	}
	if _, err := b.Get(t.Context(), "a/b"); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("Get from a removed folder: %v", err)
	}
}

// written is what the writer stores under number n. Sizes vary, so that a kill hits all stages.
func written(n uint64) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, n), 1+int(n%5000))
}

// writeForever puts objects and prints the number of each that was acknowledged.
func writeForever(dir string) {
	b, err := fileblob.Open(context.Background(), fileblob.Options{Dir: dir})
	if err != nil {
		panic(err)
	}
	out := bufio.NewWriter(os.Stdout)
	for n := uint64(0); ; n++ {
		data := written(n)
		if err := b.Put(context.Background(), blob.ContentKey("acme", fmt.Sprint("k", n%7), data), data); err != nil {
			panic(err)
		}
		fmt.Fprintln(out, n)
		if err := out.Flush(); err != nil {
			return
		}
	}
}

// What was acknowledged before a kill -9 is there, and nothing is there by half.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	next := uint64(0)
	for round := range 5 {
		command := exec.CommandContext(t.Context(), os.Args[0])
		command.Env = append(os.Environ(), writerEnv+"="+dir)
		output, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(output)
		for range 40 + 13*round {
			if _, err := lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if err := command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(lines)
		if err != nil {
			t.Fatal(err)
		}
		_ = command.Wait() // it was killed
		next = max(next, uint64(40+13*round+bytes.Count(rest, []byte("\n"))))
	}
	b := open(t, dir)
	for n := range next {
		data := written(n)
		got, err := b.Get(t.Context(), blob.ContentKey("acme", fmt.Sprint("k", n%7), data))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("object %d of %d that were acknowledged: %d bytes, %v", n, next, len(got), err)
		}
	}
	objects, _, err := b.List(t.Context(), "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if _, err := b.Get(t.Context(), o.Key); err != nil {
			t.Errorf("an object is there by half: %v", err)
		}
	}
}
