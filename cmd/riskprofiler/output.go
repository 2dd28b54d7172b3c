package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// output is stdout, or a file that appears whole or not at all.
type output struct {
	io.Writer

	file *os.File
	path string
}

// openOutput opens the output before any work is done, so that a directory that cannot be written to is known at once.
// The flag is the one that names the file.
func openOutput(flag, path string, stdout io.Writer) (*output, error) {
	if path == "" || path == "-" {
		return &output{Writer: stdout}, nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("cannot write to %s: it is a directory; choose another file with %s", path, flag)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".riskprofiler-*")
	if err != nil {
		return nil, fmt.Errorf("cannot write to %s: %w; choose another file with %s", path, bare(err), flag)
	}
	return &output{Writer: f, file: f, path: path}, nil
}

// bare is the cause of a failed file operation without the name of the file: that is a temporary one nobody knows.
func bare(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// commit makes the file visible under its name.
func (o *output) commit() error {
	if o.file == nil {
		return nil
	}
	f := o.file
	o.file = nil
	err := f.Chmod(0o600)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), o.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	return nil
}

// discard removes what was not committed.
func (o *output) discard() {
	if o.file != nil {
		_ = o.file.Close()
		_ = os.Remove(o.file.Name())
	}
}
