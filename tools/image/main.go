// Command image makes container images out of static binaries, without a container engine and without a base image.
//
//	image --bin ../../bin/container --out ../../out/images
//
// Each executable in --bin becomes <out>/<name>.tar, which `docker load`, `podman load`, `skopeo copy docker-archive:` and
// `crane push` take. An image holds its binary, the certificates of public authorities, a user and two folders: no shell,
// no package manager, no libraries. It runs as a user without rights and needs no writable root.
//
// The same binaries, version and revision make the same digest: nothing in an image depends on time or on the machine.
//
// It refuses binaries that are linked dynamically or are for another processor: from an empty image they would not start.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			_, _ = fmt.Fprintln(os.Stderr, "image:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	var o options
	f := flag.NewFlagSet("image", flag.ContinueOnError)
	bin := f.String("bin", "", "folder of the binaries")
	out := f.String("out", "", "folder for the images")
	f.StringVar(&o.arch, "arch", runtime.GOARCH, "processor: amd64 or arm64")
	f.StringVar(&o.version, "version", "dev", "version, the tag of the images")
	f.StringVar(&o.revision, "revision", "", "revision of the source")
	f.StringVar(&o.repository, "repository", "riskprofiler", "what the images' names begin with")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *bin == "" || *out == "" || f.NArg() > 0 {
		return errors.New("--bin and --out are needed, and nothing else; see --help")
	}
	if elfMachines[o.arch] == 0 {
		return fmt.Errorf("--arch %s: images are made for amd64 and arm64", o.arch)
	}
	return writeAll(*bin, *out, o, stdout)
}

// writeAll writes an image for each binary and the list of their digests.
func writeAll(bin, out string, o options, stdout io.Writer) error {
	entries, err := os.ReadDir(bin)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o750); err != nil {
		return err
	}
	var digests strings.Builder
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		line, err := writeOne(filepath.Join(bin, e.Name()), out, o)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		digests.WriteString(line + "\n")
		_, _ = fmt.Fprintln(stdout, line)
	}
	if digests.Len() == 0 {
		return fmt.Errorf("%s: no binary in it; build them first", bin)
	}
	roots, err := publicRoots()
	if err != nil {
		return err
	}
	// The second is for those who build with a Dockerfile.
	for base, data := range map[string][]byte{"digests.txt": []byte(digests.String()), filepath.Base(caFile): roots} {
		if err := replace(filepath.Join(out, base), func(path string) error { return os.WriteFile(path, data, 0o600) }); err != nil {
			return err
		}
	}
	return nil
}

// writeOne writes one image and returns its line: digest, name, bytes of the archive.
func writeOne(binary, out string, o options) (string, error) {
	img, err := build(binary, o)
	if err != nil {
		return "", err
	}
	base := filepath.Base(binary)
	tag, err := name.NewTag(o.repository + "/" + base + ":" + o.version)
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	path := filepath.Join(out, base+".tar")
	if err := replace(path, func(path string) error { return tarball.WriteToFile(path, tag, img) }); err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s:%s %d", digest, o.repository+"/"+base, o.version, info.Size()), nil
}

// replace makes a file appear whole under its name.
func replace(path string, write func(string) error) error {
	temp := path + ".new"
	if err := write(temp); err != nil {
		_ = os.Remove(temp) // the first error is the one to tell
		return err
	}
	return os.Rename(temp, path)
}

// services are what the images are for, for their labels.
var services = map[string]string{
	"riskprofiler": "the whole platform in one process with embedded storage",
	"ingest":       "the door for all that becomes known, and for scope",
	"scheduler":    "plans, assessments and their workflow",
	"scanner":      "scans of all types",
	"correlator":   "findings and risks out of facts",
	"reporter":     "reports and notifications",
	"gateway":      "the edge: gRPC, REST and the dashboard",
	"standins":     "makes tables, queues and buckets in servers that stand in for AWS",
}

// describe is a sentence about a binary.
func describe(base string) string {
	if d := services[base]; d != "" {
		return d
	}
	if scanType, ok := strings.CutPrefix(base, "scanner-"); ok {
		return "scans of type " + scanType
	}
	return base
}

// edges are the binaries that face callers from outside.
var edges = []string{"riskprofiler", "gateway"}

func isEdge(base string) bool { return slices.Contains(edges, base) }
