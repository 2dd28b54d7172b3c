package intel

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// held is a source's client with the archive that it reads: the list of 330,000 entries is not read again for each batch.
type held struct {
	client *feeds.Client

	mu      sync.Mutex
	url     string
	d       *feeds.Download
	archive *feeds.Archive
}

// drop forgets an archive that was read to its end, or is of no use.
func (h *held) drop(url string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.release()
	h.client.Discard(url)
}

func (h *held) release() {
	if h.archive != nil {
		_ = errors.Join(h.archive.Close(), h.d.Close()) // they were only read
	}
	h.url, h.archive, h.d = "", nil, nil
}

// open fetches the archive, if it is not held already.
func (h *held) open(ctx context.Context, url string, limit int64) error {
	if h.archive != nil && h.url == url {
		return nil
	}
	h.release()
	d, err := h.client.Fetch(ctx, url, "", limit)
	if err != nil {
		return err
	}
	a, err := feeds.OpenArchive(d, d.Size, h.client.Dir())
	if err != nil {
		_ = d.Close() // it is removed
		h.client.Discard(url)
		return err
	}
	h.url, h.d, h.archive = url, d, a
	return nil
}

// readFunc reads one record.
type readFunc func(raw []byte, label string, out feeds.Out) error

// readArchive fetches an archive and reads it from an entry on, until the batch is full or time is up. end is below 0 while it is
// downloaded.
func (h *held) readArchive(ctx context.Context, url string, from int, limit int64, b *Batch, read readFunc, what string) (p Progress, end int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.open(ctx, url, limit); err != nil {
		p, err = downloading(ctx, err, what)
		return p, -1, err
	}
	end, err = entries(ctx, h.archive, from, b, read)
	if err != nil {
		h.release()
		h.client.Discard(url)
		return Progress{}, -1, fault.Wrap(fault.CodeOf(err), err, "read %s", what)
	}
	f := 1.0
	if n := h.archive.Len(); n > 0 {
		f = float64(end) / float64(n)
	}
	return Progress{Fraction: f, Text: fmt.Sprintf("%s: %d of %d records", what, end, h.archive.Len())}, end, nil
}

// entries reads records from a position on.
func entries(ctx context.Context, a *feeds.Archive, from int, b *Batch, read readFunc) (int, error) {
	out := b.Out()
	end, err := a.Each(from, func(name string, raw []byte) error {
		if b.Full() || errors.Is(context.Cause(ctx), errBudget) {
			return errFull
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return read(raw, baseName(name), out)
	}, b.Skip)
	if errors.Is(err, errFull) {
		err = nil
	}
	return end, err
}

// downloading turns a download that ran out of time into progress: it goes on where it stopped.
func downloading(ctx context.Context, err error, what string) (Progress, error) {
	if errors.Is(context.Cause(ctx), errBudget) {
		return Progress{Fraction: -1, Text: "downloading " + what}, nil
	}
	return Progress{}, fault.Wrap(fault.CodeOf(err), err, "fetch %s", what)
}
