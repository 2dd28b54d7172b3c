package ingest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

const (
	// maxDoNotScanBytes and maxDoNotScanLines bound the operator's file.
	maxDoNotScanBytes = 4 << 20
	maxDoNotScanLines = 50000
	// doNotScanEvery is how often the file is looked at for a change.
	doNotScanEvery = 10 * time.Second
)

// doNotScanFile is the operator's list of what nobody may touch, as a file: a name, address or range on each line, # begins a
// comment. A file that cannot be read at the start stops the service; later the list that was read last counts on, so that an
// editor that saves in two steps opens no gap.
type doNotScanFile struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	list    []string
	changed time.Time
	looked  time.Time
}

func newDoNotScanFile(path string, log *slog.Logger) (*doNotScanFile, error) {
	f := &doNotScanFile{path: path, log: log}
	_, err := f.values()
	return f, err
}

// values is the list as of the last ten seconds.
func (f *doNotScanFile) values() ([]string, error) {
	if f == nil || f.path == "" {
		return nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.looked.IsZero() && time.Since(f.looked) < doNotScanEvery {
		return f.list, nil
	}
	err := f.read()
	if err != nil && f.looked.IsZero() {
		return nil, err
	}
	if err != nil {
		f.log.Error("the do-not-scan list cannot be read; the one that was read last counts", slog.Any("error", err))
	}
	f.looked = time.Now()
	return f.list, nil
}

func (f *doNotScanFile) read() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "read the do-not-scan list (RISKPROFILER_DO_NOT_SCAN)")
	}
	if info.ModTime().Equal(f.changed) {
		return nil
	}
	raw, err := os.Open(f.path)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "read the do-not-scan list (RISKPROFILER_DO_NOT_SCAN)")
	}
	defer func() { _ = raw.Close() }()
	list, err := readDoNotScan(io.LimitReader(raw, maxDoNotScanBytes+1))
	if err != nil {
		return err
	}
	f.list, f.changed = list, info.ModTime()
	return nil
}

// readDoNotScan reads a list. A line that cannot be read is an error that names it: what was meant must not be scanned.
func readDoNotScan(r io.Reader) ([]string, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read the do-not-scan list")
	}
	if len(raw) > maxDoNotScanBytes {
		return nil, fault.New(fault.Invalid, "the do-not-scan list is longer than %d bytes", maxDoNotScanBytes)
	}
	var out []string
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		value, err := doNotScanValue(text)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "do-not-scan list, line %d", n)
		}
		if out = append(out, value); len(out) > maxDoNotScanLines {
			return nil, fault.New(fault.Invalid, "the do-not-scan list has more than %d entries", maxDoNotScanLines)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read the do-not-scan list")
	}
	return out, nil
}

// doNotScanValue is the canonical spelling of an entry: as a target, but a range may be of any size.
func doNotScanValue(text string) (string, error) {
	if p, err := netip.ParsePrefix(text); err == nil && !p.Addr().Is4In6() {
		return p.Masked().String(), nil
	}
	t, err := target.Parse(text)
	if err != nil {
		return "", err
	}
	if t.Port != 0 || t.URL != "" {
		return "", fault.New(fault.Invalid, "%s: a whole name, address or range is meant, leave the port and path out", t.Value)
	}
	return t.Value, nil
}

// CreateDoNotScanEntry puts something on the list of what nobody may touch. The same entry again is the same object.
func (s *Service) CreateDoNotScanEntry(ctx context.Context, req *ingestv1.CreateDoNotScanEntryRequest) (*ingestv1.DoNotScanEntry, error) {
	_, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	value, err := doNotScanValue(req.GetEntry().GetValue())
	if err != nil {
		return nil, fault.WithField(err, "entry.value", err.Error())
	}
	id := resource.ID(assetid.Name(0, value))
	e := &ingestv1.DoNotScanEntry{
		Name: "doNotScan/" + id, Value: value, Reason: req.GetEntry().GetReason(), CreateTime: timestamppb.Now(), CreatedBy: who.Subject,
	}
	defer s.globalChanged()
	return putOnce(ctx, s.table, table.Key{Partition: globalPartition, Sort: prefixEntry + id}, e)
}

// ListDoNotScanEntries lists the entries that were made over the API.
func (s *Service) ListDoNotScanEntries(ctx context.Context, req *ingestv1.ListDoNotScanEntriesRequest) (*ingestv1.ListDoNotScanEntriesResponse, error) {
	page, err := s.table.Query(ctx, table.Query{
		Partition: globalPartition, Prefix: prefixEntry, Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	res := &ingestv1.ListDoNotScanEntriesResponse{NextPageToken: page.NextPageToken}
	res.Entries, err = decodeAll[ingestv1.DoNotScanEntry](page.Items)
	return res, err
}

// DeleteDoNotScanEntry takes an entry off the list.
func (s *Service) DeleteDoNotScanEntry(ctx context.Context, req *ingestv1.DeleteDoNotScanEntryRequest) (*emptypb.Empty, error) {
	defer s.globalChanged()
	return s.deleteNamed(ctx, table.Key{Partition: globalPartition, Sort: prefixEntry + resource.ID(req.GetName())}, req.GetName())
}
