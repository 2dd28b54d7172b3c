package cloud

import "sync"

// maxTail bounds what is kept of what a function prints.
const maxTail = 1 << 20

// tail keeps the end of what several processes print.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write keeps the end.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - maxTail; over > maxTail {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
