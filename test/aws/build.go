package cloud

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"sync"
)

// buildArgs are how binaries for Lambda are built.
func buildArgs(packages ...string) []string {
	return append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", "aws,lambda.norpc,grpcnotrace", "-ldflags", "-s -w"}, packages...)
}

// top is the top of the repository.
func top() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// build builds commands for this machine into a directory, each under the last part of its path.
func build(ctx context.Context, dir string, packages ...string) error {
	args := buildArgs("-o", dir+string(filepath.Separator))
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir, cmd.Env = top(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the functions: %w\n%s", err, out)
	}
	return nil
}

// binariesSetting names a directory with binaries that were built before, for who runs a test again and again.
const binariesSetting = "RISKPROFILER_TEST_FUNCTIONS"

// built is where the binaries of this process lie.
var built struct {
	once  sync.Once
	dir   string
	given bool
	err   error
}

// Binaries builds all functions once for this process and says where they lie: [Function.binary]. Call [RemoveBinaries] at the
// end.
func Binaries(ctx context.Context) (string, error) {
	built.once.Do(func() {
		if given := os.Getenv(binariesSetting); given != "" {
			built.dir, built.given = given, true
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "riskprofiler-lambda-"); built.err != nil {
			return
		}
		var packages []string
		for _, f := range Functions() {
			packages = append(packages, f.Package)
		}
		built.err = build(ctx, built.dir, packages...)
	})
	return built.dir, built.err
}

// RemoveBinaries removes what [Binaries] built.
func RemoveBinaries() error {
	if built.dir == "" || built.given {
		return nil
	}
	return os.RemoveAll(built.dir)
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
