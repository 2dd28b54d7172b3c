package cloud

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"sync"
)

// awsTags are those that binaries are built with by `make lambda` and `make container-binaries`.
const awsTags = "aws,lambda.norpc,grpcnotrace"

// top is the top of the repository.
func top() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// build builds commands for this machine into a directory, each under the last part of its path. Paths stay in them: without them
// everything would be compiled once more than for the tests.
func build(ctx context.Context, dir string, packages ...string) error {
	args := []string{"build", "-buildvcs=false", "-tags", awsTags, "-ldflags", "-s -w", "-o", dir + string(filepath.Separator)}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir, cmd.Env = top(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	return nil
}

// binaries are built once for a process.
type binaries struct {
	// setting names a directory with binaries that were built before, for who runs a test again and again.
	setting  string
	packages func() []string

	once  sync.Once
	dir   string
	given bool
	err   error
}

var (
	functionBinaries = &binaries{setting: "RISKPROFILER_TEST_FUNCTIONS", packages: func() []string {
		var packages []string
		for _, f := range Functions() {
			packages = append(packages, f.Package)
		}
		return packages
	}}
	containerBinaries = &binaries{setting: "RISKPROFILER_TEST_CONTAINERS", packages: containerPackages}
)

// in builds what is not built yet and says where it lies.
func (b *binaries) in(ctx context.Context) (string, error) {
	b.once.Do(func() {
		if given := os.Getenv(b.setting); given != "" {
			b.dir, b.given = given, true
			return
		}
		if b.dir, b.err = os.MkdirTemp("", "riskprofiler-aws-"); b.err == nil {
			b.err = build(ctx, b.dir, b.packages()...)
		}
	})
	return b.dir, b.err
}

func (b *binaries) remove() error {
	if b.dir == "" || b.given {
		return nil
	}
	return os.RemoveAll(b.dir)
}

// Binaries builds all functions once for this process and says where they lie: [Function.binary]. Call [RemoveBinaries] at the
// end.
func Binaries(ctx context.Context) (string, error) { return functionBinaries.in(ctx) }

// ContainerBinaries builds what containers run, likewise: a service's binary has its name.
func ContainerBinaries(ctx context.Context) (string, error) { return containerBinaries.in(ctx) }

// RemoveBinaries removes what [Binaries] and [ContainerBinaries] built.
func RemoveBinaries() error {
	return errors.Join(functionBinaries.remove(), containerBinaries.remove())
}

// binary is the function's file in the directory of [Binaries].
func (f Function) binary(dir string) string { return filepath.Join(dir, path.Base(f.Package)) }

// zipSize is how large a binary is in a zip as it is uploaded.
func zipSize(file string) (int64, error) {
	in, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }()
	var size counter
	z := zip.NewWriter(&size)
	w, err := z.Create("bootstrap")
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(w, in); err != nil {
		return 0, err
	}
	err = z.Close()
	return int64(size), err
}

// counter counts what is written.
type counter int64

// Write counts.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
