//go:build !aws || awstest

package drivers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqlitequeue"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/secret/filesecret"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// Embedded keeps everything in one directory of this machine, the setting RISKPROFILER_DATA: items and queues in SQLite,
// blobs in files. Several processes may share the directory.
func Embedded(ctx context.Context, settings map[string]string) (app.Backends, error) {
	dir, err := app.DataPath(settings)
	if err != nil {
		return nil, err
	}
	if err := writable(dir); err != nil {
		return nil, err
	}
	instance := settings["RISKPROFILER_INSTANCE"]
	if instance == "" {
		instance = alone
	}
	e := &embedded{dir: dir}
	if e.lock, err = lock(dir, instance); err != nil {
		return nil, err
	}
	if err := e.open(ctx, instance); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// open opens the stores. What an earlier process of this instance had in flight comes again at once: the lock says that it
// is gone.
func (e *embedded) open(ctx context.Context, instance string) (err error) {
	if e.tables, err = sqlitetable.Open(ctx, sqlitetable.Options{Path: filepath.Join(e.dir, "tables.db")}); err != nil {
		return err
	}
	e.queues, err = sqlitequeue.Open(ctx, sqlitequeue.Options{
		Path:     filepath.Join(e.dir, "queues.db"),
		Consumer: instance, ReleaseOnOpen: true, Exclusive: instance == alone,
	})
	return err
}

// lock makes sure that one process of an instance uses the directory. The kernel releases it when the process ends,
// however it ends.
func lock(dir, instance string) (*os.File, error) {
	path := filepath.Join(dir, "lock."+filepath.Base(instance))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "lock data directory %s", dir)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fault.New(fault.FailedPrecondition, "use data directory %s: another riskprofiler process uses it; stop that one, or give another directory with --data", dir)
	}
	return f, nil
}

// alone is the instance of a process that has the directory to itself; others name theirs in RISKPROFILER_INSTANCE.
const alone = "riskprofiler"

// writable makes the directory and says in one line what is wrong if it cannot be written to.
func writable(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".write-test-*"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if err != nil {
		var path *os.PathError
		why := err
		if errors.As(err, &path) {
			why = path.Err
		}
		return fault.New(fault.FailedPrecondition, "use data directory %s: %v; choose a directory you may write to with --data or RISKPROFILER_DATA", dir, why)
	}
	return nil
}

type embedded struct {
	dir    string
	lock   *os.File
	tables *sqlitetable.DB
	queues *sqlitequeue.DB

	once   sync.Once
	closed error
}

// Table is one of the tables of the file tables.db.
func (e *embedded) Table(_ context.Context, name string, _ []string) (table.Driver, error) {
	return e.tables.Table(name), nil
}

// Queue is one of the queues of the file queues.db.
func (e *embedded) Queue(_ context.Context, name string, _ bool) (queue.Driver, error) {
	return e.queues.Queue(name), nil
}

// Bucket is a directory below blobs.
func (e *embedded) Bucket(ctx context.Context, name string) (blob.Bucket, error) {
	dir := filepath.Join(e.dir, "blobs", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "make bucket directory %s", dir)
	}
	return fileblob.Open(ctx, fileblob.Options{Dir: dir})
}

// Keys are files in the directory keys.
func (e *embedded) Keys() authn.KeyStore { return authn.FileKeys(filepath.Join(e.dir, "keys")) }

// Secrets are files in the directory secrets, encrypted.
func (e *embedded) Secrets() secret.Store {
	return filesecret.New(filesecret.Options{Dir: filepath.Join(e.dir, "secrets")})
}

// Workflow runs the machines in this process over the table "workflow"; a process without machines starts and completes
// executions through the same table.
func (e *embedded) Workflow(_ context.Context, r app.WorkflowRequest) (workflow.Engine, func(context.Context) error, error) {
	return tableWorkflow(table.New(e.tables.Table(workflowTable), table.Options{Name: workflowTable}), r, 0)
}

// Close closes the stores and releases the directory.
func (e *embedded) Close() error {
	e.once.Do(func() {
		var errs []error
		if e.queues != nil {
			errs = append(errs, e.queues.Close())
		}
		if e.tables != nil {
			errs = append(errs, e.tables.Close())
		}
		e.closed = errors.Join(append(errs, e.lock.Close())...)
	})
	return e.closed
}
