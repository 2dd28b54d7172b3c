package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const (
	// uid is the user and group of the process: the number that other images without a system use as "nonroot", and no
	// user of the host.
	uid = 65532
	// dataDir is where the embedded drivers keep everything, and certsDir where certificates are mounted. They belong to
	// the user, so that an empty volume which is mounted there does too.
	dataDir  = "var/lib/riskprofiler"
	certsDir = "certs"
	caFile   = "etc/ssl/certs/ca-certificates.crt" // the first place where Go looks (crypto/x509/root_linux.go)
	// peerPort is where services talk to each other, edgePort where the edge is served.
	peerPort, edgePort = "9000", "8080"
	// probeEvery and the others are how a container's health is asked for.
	probeEvery, probeLimit, probeStart = 10 * time.Second, 5 * time.Second, 10 * time.Second
	probeRetries                       = 3
)

// elfMachines are the processors that images are made for.
var elfMachines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// options of all images.
type options struct {
	arch, version, revision, repository string
}

// build makes the image of a binary: a layer that all images share, and one with the binary.
func build(path string, o options) (v1.Image, error) {
	if err := checkStatic(path, o.arch); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	base := filepath.Base(path)
	system, err := systemFiles()
	if err != nil {
		return nil, err
	}
	var layers []v1.Layer
	for _, files := range [][]file{system, {{name: base, mode: 0o755, data: data}}} {
		layer, err := newLayer(files)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config = "linux", o.arch, configOf(base, o)
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	for i, by := range []string{"certificates, user and folders", "binary " + base} {
		config.History[i] = v1.History{Created: config.Created, CreatedBy: by}
	}
	return mutate.ConfigFile(img, config)
}

// configOf is how the container runs.
func configOf(base string, o options) v1.Config {
	c := v1.Config{
		User:       fmt.Sprintf("%d:%d", uid, uid),
		Entrypoint: []string{"/" + base},
		WorkingDir: "/",
		StopSignal: "SIGTERM",
		Env:        []string{"SSL_CERT_FILE=/" + caFile, "RISKPROFILER_DATA=/" + dataDir},
		Labels: map[string]string{
			"org.opencontainers.image.title":       o.repository + "/" + base,
			"org.opencontainers.image.description": "RiskProfiler: " + describe(base),
			"org.opencontainers.image.version":     o.version,
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.source":      "https://github.com/riskprofiler/riskprofiler",
		},
		ExposedPorts: map[string]struct{}{},
		Healthcheck: &v1.HealthConfig{
			Test: []string{"CMD", "/" + base, "health"}, Interval: probeEvery, Timeout: probeLimit, StartPeriod: probeStart, Retries: probeRetries,
		},
	}
	if o.revision != "" {
		c.Labels["org.opencontainers.image.revision"] = o.revision
	}
	if isEdge(base) {
		c.Env = append(c.Env, "RISKPROFILER_LISTEN=:"+edgePort)
		c.ExposedPorts[edgePort+"/tcp"] = struct{}{}
	}
	if base == "riskprofiler" {
		// All services are in this process, and a flag with a default would hide the setting.
		c.Cmd = []string{"up", "--listen", ":" + edgePort, "--data", "/" + dataDir}
		return c
	}
	// A service that serves others does so only with a certificate: see docs/containers.md.
	c.Env = append(c.Env, "RISKPROFILER_PEER_LISTEN=:"+peerPort)
	c.ExposedPorts[peerPort+"/tcp"] = struct{}{}
	return c
}

// file is one in a layer; a name that ends with a slash is a folder.
type file struct {
	name  string
	mode  int64
	owner int
	data  []byte
}

// systemFiles are what a process expects of a system.
func systemFiles() ([]file, error) {
	roots, err := publicRoots()
	if err != nil {
		return nil, err
	}
	return []file{
		{name: certsDir + "/", mode: 0o750, owner: uid},
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, data: fmt.Appendf(nil, "nonroot:x:%d:\n", uid)},
		{name: "etc/passwd", mode: 0o644, data: fmt.Appendf(nil, "nonroot:x:%d:%d:nonroot:/:/nologin\n", uid, uid)},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: caFile, mode: 0o644, data: roots},
		{name: "tmp/", mode: 0o1777},
		{name: "var/", mode: 0o755},
		{name: "var/lib/", mode: 0o755},
		{name: dataDir + "/", mode: 0o700, owner: uid},
	}, nil
}

// newLayer packs files in this order with nothing in them that depends on time or machine.
func newLayer(files []file) (v1.Layer, error) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, f := range files {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.data)),
			ModTime: time.Unix(0, 0).UTC(), Format: tar.FormatUSTAR,
		}
		if f.name[len(f.name)-1] == '/' {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil },
		tarball.WithCompressedCaching)
}

// checkStatic refuses a binary that would not start in an empty image.
func checkStatic(path, arch string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("no executable for Linux: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if f.Machine != elfMachines[arch] {
		return fmt.Errorf("it is for %s, not for %s; build with GOARCH=%s", f.Machine, arch, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("it is linked dynamically; build with CGO_ENABLED=0")
		}
	}
	return nil
}
