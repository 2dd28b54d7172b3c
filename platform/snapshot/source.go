package snapshot

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// source is where the bytes of a file are. read fills p whole from off, or fails; it may be called by many at once, and
// during close.
type source interface {
	size() int64
	read(p []byte, off int64) error
	close() error
}

// memory is a file that is in memory already.
type memory []byte

func (m memory) size() int64 { return int64(len(m)) }

func (m memory) read(p []byte, off int64) error {
	if off < 0 || off > int64(len(m)) || copy(p, m[off:]) < len(p) {
		return damaged("it ends too early")
	}
	return nil
}

func (m memory) close() error { return nil }

// onDisk reads with pread: for systems where files are not mapped. The operating system keeps the file open until the last
// read is done.
type onDisk struct {
	f     *os.File
	bytes int64
}

func (d onDisk) size() int64 { return d.bytes }

func (d onDisk) read(p []byte, off int64) error {
	if off < 0 || off > d.bytes {
		return damaged("it ends too early")
	}
	if n, err := d.f.ReadAt(p, off); n < len(p) {
		return fault.Wrap(fault.DataLoss, err, "it cannot be read")
	}
	return nil
}

func (d onDisk) close() error { return d.f.Close() }

func openOnDisk(path string) (source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(codeOf(err), err, "it cannot be opened")
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close() // the error before it says more
		return nil, fault.Wrap(fault.Unavailable, err, "it cannot be read")
	}
	if !info.Mode().IsRegular() {
		_ = f.Close() // nothing was written
		return nil, fault.New(fault.Invalid, "it is no regular file")
	}
	return onDisk{f: f, bytes: info.Size()}, nil
}

func codeOf(err error) fault.Code {
	switch {
	case os.IsNotExist(err):
		return fault.NotFound
	case os.IsPermission(err):
		return fault.PermissionDenied
	}
	return fault.Unavailable
}
