package correlator

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
	"github.com/riskprofiler/riskprofiler/services/correlator/version"
)

// Names of the sections of a snapshot.
const (
	sectionProduct  = "product"
	sectionAdvisory = "advisory"
)

// askEvery is how long a process is content with the snapshot that it has before it asks for a newer one. The announcement reaches one
// process only; the others learn of it from the mark in the table, and of a lost one by this.
const askEvery = 5 * time.Minute

// compareIntel orders versions of intel; none is the oldest.
func compareIntel(a, b string) int { return version.Compare(version.Generic, a, b) }

// snapshotIntel is vulnerability knowledge in a snapshot.
type snapshotIntel struct {
	reader  *snapshot.Reader
	version string
}

// Version is the version of the snapshot's manifest.
func (s snapshotIntel) Version() string { return s.version }

// Product reads a record.
func (s snapshotIntel) Product(key string) (*modelv1.ProductRecord, error) {
	return readEntry(s.reader, sectionProduct, key, &modelv1.ProductRecord{})
}

// Advisory reads an advisory.
func (s snapshotIntel) Advisory(id string) (*modelv1.Advisory, error) {
	return readEntry(s.reader, sectionAdvisory, id, &modelv1.Advisory{})
}

func readEntry[M proto.Message](r *snapshot.Reader, section, key string, into M) (M, error) {
	raw, err := r.Get(section, key)
	if err != nil {
		return into, err
	}
	if err := proto.Unmarshal(raw, into); err != nil {
		return into, fault.Wrap(fault.DataLoss, err, "read snapshot: %s %q", section, key)
	}
	return into, nil
}

// edition is one opened snapshot. It is closed when a newer one took its place and nobody reads it any more.
type edition struct {
	Intel

	close   func() error
	uses    int
	retired bool
}

// library holds the newest snapshot. It opens the first one when it is first needed, so that a cold start does not pay for it.
type library struct {
	// newest says which snapshot counts now; an empty blob is none.
	newest func(ctx context.Context, tenant string) (*modelv1.IntelManifest, error)
	// open opens one.
	open func(ctx context.Context, m *modelv1.IntelManifest) (Intel, func() error, error)
	log  *slog.Logger

	// loading has room for the one that fetches a snapshot, so that it is fetched once.
	loading chan struct{}
	mu      sync.Mutex
	current *edition
	asked   time.Time
	shut    bool
}

// use returns the newest intel, nil if there is none, and what gives it back. atLeast is a version that somebody has seen: with an older
// one at hand the owner of the snapshots is asked, whose word counts, also if it is another. The asking is in the name of a tenant, as every call is.
func (l *library) use(ctx context.Context, tenant, atLeast string) (Intel, func(), error) {
	e, fresh := l.take(atLeast)
	if !fresh {
		l.giveBack(e)
		if err := l.refresh(ctx, tenant, atLeast); err != nil {
			return nil, nil, err
		}
		e, _ = l.take(atLeast)
	}
	if e == nil {
		return nil, func() {}, nil
	}
	return e, func() { l.giveBack(e) }, nil
}

// take counts a use of the current edition, nil if there is none; fresh says that it needs no asking.
func (l *library) take(atLeast string) (e *edition, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh = !l.asked.IsZero() && time.Since(l.asked) < askEvery
	if l.current == nil {
		return nil, fresh && atLeast == ""
	}
	l.current.uses++
	return l.current, fresh && compareIntel(l.current.Version(), atLeast) >= 0
}

func (l *library) giveBack(e *edition) {
	if e == nil {
		return
	}
	l.mu.Lock()
	e.uses--
	last := e.retired && e.uses == 0
	l.mu.Unlock()
	if last {
		l.closed(e)
	}
}

func (l *library) closed(e *edition) {
	if err := e.close(); err != nil {
		l.log.Warn("cannot close a snapshot of intel", slog.String("version", e.Version()), slog.Any("error", err))
	}
}

// refresh asks which snapshot counts and opens it, unless another call just did. What is there goes on being used if asking fails.
func (l *library) refresh(ctx context.Context, tenant, atLeast string) error {
	select {
	case l.loading <- struct{}{}:
		defer func() { <-l.loading }()
	case <-ctx.Done():
		return fault.Wrap(fault.DeadlineExceeded, context.Cause(ctx), "wait for intel to be opened")
	}
	e, fresh := l.take(atLeast)
	l.giveBack(e)
	if fresh {
		return nil
	}
	m, err := l.newest(ctx, tenant)
	if err == nil {
		err = l.renew(ctx, m)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.current != nil && compareIntel(l.current.Version(), atLeast) >= 0 {
		l.log.WarnContext(ctx, "cannot look for newer intel; the version at hand goes on", slog.String("version", l.current.Version()), slog.Any("error", err))
		err = nil
	}
	if err == nil {
		l.asked = time.Now()
	}
	return err
}

// renew opens a snapshot and puts it into the place of the current one, if it is newer.
func (l *library) renew(ctx context.Context, m *modelv1.IntelManifest) error {
	l.mu.Lock()
	known := l.current != nil && compareIntel(l.current.Version(), m.GetVersion()) >= 0
	l.mu.Unlock()
	if known || m.GetBlob() == "" {
		return nil
	}
	intel, closer, err := l.open(ctx, m)
	if err != nil {
		return err
	}
	l.replace(&edition{Intel: intel, close: closer})
	return nil
}

// replace makes e the current edition; nil is none.
func (l *library) replace(e *edition) {
	l.mu.Lock()
	old := l.current
	if l.shut && e != nil {
		old, e = e, nil
	}
	l.current = e
	last := old != nil && old.uses == 0
	if old != nil {
		old.retired = true
	}
	l.mu.Unlock()
	if last {
		l.closed(old)
	}
}

// stop closes what is open.
func (l *library) stop() {
	l.mu.Lock()
	l.shut = true
	l.mu.Unlock()
	l.replace(nil)
}

// bucketLibrary reads snapshots from a bucket and keeps their files in a directory that dir makes when it is first needed.
func bucketLibrary(b blob.Bucket, ingest ingestv1.IngestServiceClient, self func(context.Context, string) context.Context, dir func() (string, error), log *slog.Logger) *library {
	return &library{
		log: log, loading: make(chan struct{}, 1),
		newest: func(ctx context.Context, tenant string) (*modelv1.IntelManifest, error) {
			status, err := ingest.GetIntelStatus(self(ctx, tenant), &ingestv1.GetIntelStatusRequest{})
			if errors.Is(err, fault.Unimplemented) {
				return nil, nil // an ingest of an older version: there is no intel
			}
			return status.GetManifest(), err
		},
		open: func(ctx context.Context, m *modelv1.IntelManifest) (Intel, func() error, error) {
			path, err := dir()
			if err != nil {
				return nil, nil, err
			}
			r, err := snapshot.Load(ctx, b, m.GetBlob(), path)
			if err != nil {
				return nil, nil, err
			}
			return snapshotIntel{r, m.GetVersion()}, r.Close, nil
		},
	}
}

// cacheDirectory is where the files of snapshots are kept: below the data directory where there is one, else in a directory of this
// process alone, which the returned function removes. A directory with a known name that everybody may write to is not used.
func cacheDirectory(set, data string) (dir func() (string, error), remove func() error) {
	var own string
	dir = sync.OnceValues(func() (string, error) {
		if set != "" {
			return set, nil
		}
		if info, err := os.Stat(data); err == nil && info.IsDir() {
			return filepath.Join(data, "cache", "intel"), nil
		}
		var err error
		own, err = os.MkdirTemp("", "riskprofiler-intel-")
		if err != nil {
			return "", fault.Wrap(fault.FailedPrecondition, err, "make a directory for intel; set RISKPROFILER_INTEL_CACHE")
		}
		return own, nil
	})
	return dir, func() error {
		if own == "" {
			return nil
		}
		return os.RemoveAll(own)
	}
}
