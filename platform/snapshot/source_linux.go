package snapshot

import (
	"runtime"
	"runtime/debug"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// mapped is a file in the address space of the process: no descriptor stays open and processes share its pages.
type mapped struct {
	mu    sync.RWMutex
	data  []byte
	bytes int64
}

// openSource maps the file. One that cannot be mapped (some file systems) is read instead.
func openSource(path string) (source, error) {
	s, err := openOnDisk(path)
	if err != nil {
		return nil, err
	}
	file, ok := s.(onDisk)
	if !ok || file.bytes == 0 || file.bytes != int64(int(file.bytes)) {
		return s, nil
	}
	data, err := unix.Mmap(int(file.f.Fd()), 0, int(file.bytes), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return s, nil //nolint:nilerr // it can still be read
	}
	_ = unix.Madvise(data, unix.MADV_RANDOM) // only a hint
	_ = file.close()                         // it was only read, and the mapping stays
	return &mapped{data: data, bytes: file.bytes}, nil
}

func (m *mapped) size() int64 { return m.bytes }

// read copies out of the mapping, so that nothing of it is in use when it is unmapped. A file that another process cuts
// short or a disk that fails makes the copy fault: that is an error here and not the end of the process.
func (m *mapped) read(p []byte, off int64) (err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.data == nil {
		return errClosed()
	}
	if off < 0 || off > m.bytes || int64(len(p)) > m.bytes-off {
		return damaged("it ends too early")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(runtime.Error); !ok {
				panic(r)
			}
			err = damaged("it was cut short or cannot be read while it was open")
		}
	}()
	copy(p, m.data[off:])
	return nil
}

func (m *mapped) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.data == nil {
		return nil
	}
	err := unix.Munmap(m.data)
	m.data = nil
	return fault.Wrap(fault.Internal, err, "close snapshot")
}
