package providers

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers/providerstest"
)

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// world is one directory with a server beside it. Each client over it is a worker with stores of its own.
type world struct {
	dir     string
	bases   map[string]string
	secrets secret.Store
	log     journal
}

func newWorld(t testing.TB, s *providerstest.Server) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), bases: s.Bases(), secrets: &secret.Memory{}}
	for _, p := range All() {
		if p.Keyed() {
			w.key(t, "acme", p.Name, providerstest.Key, nil)
		}
	}
	return w
}

func (w *world) key(t testing.TB, tenant, provider, key string, limits *modelv1.ProviderLimits) {
	t.Helper()
	value, err := proto.Marshal(&modelv1.ProviderCredential{Key: key, Limits: limits})
	if err == nil {
		err = w.secrets.Put(context.Background(), tenant, provider, value)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// client is a worker.
func (w *world) client(t testing.TB, change ...func(*Options)) *Client {
	t.Helper()
	o, closers, err := w.options(context.Background(), &w.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closers() })
	for _, c := range change {
		c(&o)
	}
	return New(o)
}

func (w *world) options(ctx context.Context, log io.Writer) (Options, func() error, error) {
	db, err := sqlitetable.Open(ctx, sqlitetable.Options{Path: filepath.Join(w.dir, "tables.db")})
	if err != nil {
		return Options{}, nil, err
	}
	bucket, err := fileblob.Open(ctx, fileblob.Options{Dir: w.dir})
	if err != nil {
		return Options{}, nil, err
	}
	return Options{
		Table: table.New(db.Table("ratelimits"), table.Options{Name: "ratelimits"}), Secrets: w.secrets, Evidence: bucket,
		Guard: netguard.New(netguard.Options{AllowPrivate: true}), UserAgent: "RiskProfiler/1 (+https://example.com/contact)", Bases: w.bases,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}, db.Close, nil
}

// clean says that the key is nowhere in a text.
func clean(t testing.TB, what, text string) {
	t.Helper()
	if strings.Contains(text, providerstest.Key) {
		t.Errorf("%s shows the key: %s", what, text)
	}
}
