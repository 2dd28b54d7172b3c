package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// compile makes a static binary of Go source or of a package of this repository.
func compile(t testing.TB, out string, env []string, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-buildvcs=false", "-ldflags", "-s -w", "-o", out}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %v: %v\n%s", args, err, text)
	}
}

// small makes a binary that says hello, for a processor.
func small(t testing.TB, name, arch, text string) string {
	t.Helper()
	dir := t.TempDir()
	source := "package main\n\nfunc main() { println(" + fmt.Sprintf("%q", text) + ") }\n"
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600), os.Mkdir(filepath.Join(dir, "bin"), 0o750)); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "bin", name)
	compile(t, out, []string{"GOWORK=off", "GOARCH=" + arch}, dir, "-trimpath", "main.go")
	return out
}

func mustRun(t testing.TB, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(args, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// read gives an image of an archive back.
func read(t testing.TB, path string) (v1.Image, *v1.ConfigFile) {
	t.Helper()
	img, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return img, config
}

// content are the files of an image as its container sees them.
func content(t testing.TB, img v1.Image) map[string]*tar.Header {
	t.Helper()
	out := map[string]*tar.Header{}
	r := mutate.Extract(img)
	defer func() { _ = r.Close() }()
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = h
	}
}

// TestImage reads an archive back: who runs what, with which files, and that there is nothing else in it.
func TestImage(t *testing.T) {
	out := t.TempDir()
	binary := small(t, "gateway", runtime.GOARCH, "hello")
	mustRun(t, "--bin", filepath.Dir(binary), "--out", out, "--version", "1.2.3", "--revision", "abc")
	img, config := read(t, filepath.Join(out, "gateway.tar"))
	c := config.Config
	for what, ok := range map[string]bool{
		"a user without rights, as a number": c.User == "65532:65532",
		"the binary is what runs":            slices.Equal(c.Entrypoint, []string{"/gateway"}) && len(c.Cmd) == 0,
		"its own probe":                      slices.Equal(c.Healthcheck.Test, []string{"CMD", "/gateway", "health"}),
		"it is told with SIGTERM":            c.StopSignal == "SIGTERM",
		"its ports":                          len(c.ExposedPorts) == 2,
		"labels":                             c.Labels["org.opencontainers.image.version"] == "1.2.3" && c.Labels["org.opencontainers.image.revision"] == "abc" && c.Labels["org.opencontainers.image.licenses"] == "Apache-2.0",
		"processor":                          config.OS == "linux" && config.Architecture == runtime.GOARCH,
		"no secret and no address":           slices.Equal(c.Env, []string{"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "RISKPROFILER_DATA=/var/lib/riskprofiler", "RISKPROFILER_LISTEN=:8080", "RISKPROFILER_PEER_LISTEN=:9000"}),
	} {
		if !ok {
			t.Errorf("%s: %+v", what, c)
		}
	}
	var got []string
	for name, h := range content(t, img) {
		got = append(got, fmt.Sprintf("%s %04o %d", name, h.Mode, h.Uid))
		if h.Uid != h.Gid || h.Mode&0o022 != 0 && name != "tmp" || h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeReg || !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%s: %+v", name, h)
		}
	}
	slices.Sort(got)
	want := []string{
		"certs 0750 65532", "etc 0755 0", "etc/group 0644 0", "etc/passwd 0644 0", "etc/ssl 0755 0", "etc/ssl/certs 0755 0",
		"etc/ssl/certs/ca-certificates.crt 0644 0", "gateway 0755 0", "tmp 1777 0", "var 0755 0", "var/lib 0755 0", "var/lib/riskprofiler 0700 65532",
	}
	if !slices.Equal(got, want) {
		t.Errorf("files:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	archive, err := os.Stat(filepath.Join(out, "gateway.tar"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if archive.Size() > plain.Size()+512<<10 {
		t.Errorf("%d bytes around a binary of %d", archive.Size(), plain.Size())
	}
}

// TestPublicRoots: the certificates are those of well-known authorities, and Go reads the file.
func TestPublicRoots(t *testing.T) {
	data, err := publicRoots()
	if err != nil {
		t.Fatal(err)
	}
	if pool := x509.NewCertPool(); !pool.AppendCertsFromPEM(data) {
		t.Fatal("Go reads no certificate")
	}
	if n := bytes.Count(data, []byte("BEGIN CERTIFICATE")); n < 100 {
		t.Errorf("%d authorities", n)
	}
}

// TestSameInputSameDigest: an image depends on its input only, and on all of it.
func TestSameInputSameDigest(t *testing.T) {
	line := func(binary string, args ...string) string {
		digest, _, _ := strings.Cut(mustRun(t, append([]string{"--bin", filepath.Dir(binary), "--out", t.TempDir()}, args...)...), " ")
		return digest
	}
	binary := small(t, "ingest", runtime.GOARCH, "hello")
	first := line(binary)
	if err := os.Chtimes(binary, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if again := line(small(t, "ingest", runtime.GOARCH, "hello")); again != first || line(binary) != first {
		t.Errorf("%s, then %s", first, again)
	}
	for name, other := range map[string]string{
		"another binary": line(small(t, "ingest", runtime.GOARCH, "hullo")), "another name": line(small(t, "reporter", runtime.GOARCH, "hello")),
		"another version": line(binary, "--version", "2"),
	} {
		if other == first {
			t.Errorf("%s makes the same image", name)
		}
	}
}

// TestRefuses: what would not start in an empty image is not put into one.
func TestRefuses(t *testing.T) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	text := filepath.Join(t.TempDir(), "bin")
	if err := errors.Join(os.Mkdir(text, 0o750), os.WriteFile(filepath.Join(text, "ingest"), []byte("#!/bin/sh\n"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		say  string
	}{
		"another processor": {[]string{"--bin", filepath.Dir(small(t, "ingest", other, "x"))}, "build with GOARCH=" + runtime.GOARCH},
		"a script":          {[]string{"--bin", text}, "no executable for Linux"},
		"no binary":         {[]string{"--bin", t.TempDir()}, "build them first"},
		"no such processor": {[]string{"--bin", text, "--arch", "mips"}, "amd64 and arm64"},
		"no folder":         {nil, "--bin and --out are needed"},
		"more":              {[]string{"--bin", text, "x"}, "nothing else"},
	} {
		err := run(append([]string{"--out", t.TempDir()}, c.args...), io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkStatic(dynamic(t), runtime.GOARCH); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("a dynamic binary: %v", err)
	}
}

// dynamic is an executable that needs libraries: one of the system's.
func dynamic(t testing.TB) string {
	t.Helper()
	path, err := filepath.EvalSymlinks("/bin/ls")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRuns unpacks the image of the whole platform into an empty folder and runs it there as its own root, as its own user:
// it starts, serves, finds itself healthy, and ends when it is told to.
func TestRuns(t *testing.T) {
	bin, out, root := t.TempDir(), t.TempDir(), rootDir(t)
	compile(t, filepath.Join(bin, "riskprofiler"), []string{"GOWORK=", "GOFLAGS="}, "../..", "./cmd/riskprofiler")
	mustRun(t, "--bin", bin, "--out", out)
	img, config := read(t, filepath.Join(out, "riskprofiler.tar"))
	unpack(t, img, root)

	listen := freeAddress(t)
	start := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), config.Config.Entrypoint[0], args...)
		cmd.Env = append(slices.Clone(config.Config.Env), "RISKPROFILER_LISTEN="+listen)
		cmd.Dir = "/"
		confine(cmd, root)
		return cmd
	}
	if text, err := start("version").CombinedOutput(); err != nil || !strings.HasPrefix(string(text), "riskprofiler 0.") {
		t.Fatalf("version: %v: %s", err, text)
	}
	if text, err := start("health").CombinedOutput(); err == nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("health of what does not run: %v: %s", err, text)
	}
	log := said(filepath.Join(out, "log"))
	up := start("up", "--listen", listen, "--data", "/"+dataDir)
	file, err := os.Create(string(log))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	up.Stdout, up.Stderr = file, file
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- up.Wait() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		text, err := start("health").CombinedOutput()
		if err == nil {
			if string(text) != "riskprofiler: serving\n" {
				t.Errorf("health says %q", text)
			}
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, log.String())
		case <-ctx.Done():
			t.Fatalf("it does not serve: %s\n%s", text, log.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	_, key, _ := strings.Cut(log.String(), "API key (shown this once): ")
	key, _, _ = strings.Cut(key, "\n")
	for _, args := range [][]string{
		{"assets", "add", "192.0.2.1"},
		{"plans", "create", "192.0.2.1", "--profile", "passive", "--cron", "0 3 * * *", "--time-zone", "Pacific/Chatham"}, // and the system knows no time zone
	} {
		c := start(append(args, "--server", listen)...)
		c.Env = append(c.Env, "RISKPROFILER_API_KEY="+key)
		if text, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v: %v: %s", args, err, text)
		}
	}
	if err := up.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v\n%s", err, log.String())
	}
}

// said is the file that a process writes its log to.
type said string

func (s said) String() string {
	text, err := os.ReadFile(string(s))
	return string(text) + map[bool]string{true: fmt.Sprint(err)}[err != nil]
}

// rootDir is an empty folder that others may enter, as a container's root is.
func rootDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "image-root-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// confine makes a command see the image only and run as its user. That takes root; without, only the user of this test and
// the folder differ, and the binary still has nothing but itself.
func confine(cmd *exec.Cmd, root string) {
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		return
	}
	cmd.Path = filepath.Join(root, cmd.Path)
	for i, arg := range cmd.Args {
		if arg == "/"+dataDir {
			cmd.Args[i] = filepath.Join(root, arg)
		}
	}
}

func unpack(t testing.TB, img v1.Image, root string) {
	t.Helper()
	r := mutate.Extract(img)
	defer func() { _ = r.Close() }()
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o750)
		} else {
			var data []byte
			if data, err = io.ReadAll(files); err == nil {
				err = os.WriteFile(path, data, 0o600)
			}
		}
		err = errors.Join(err, os.Chmod(path, h.FileInfo().Mode()))
		if os.Geteuid() == 0 {
			err = errors.Join(err, os.Lchown(path, h.Uid, h.Gid))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
