package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/services/ingest/imports"
)

// sliceEvents is how many records and problems one message handles. Reading up to them again is cheap beside storing them, so a
// slice that ends in the middle of a crash, or of a function's time, costs little.
const sliceEvents = 5000

// errSliceFull ends the reading of a slice.
var errSliceFull = errors.New("slice is full")

// handleImport takes one slice of an import: it reads the report up to where the slice begins, stores what the slice says, saves
// how far it got and sends the next. Doing a slice again changes nothing, because facts are joined and not counted.
func (s *Service) handleImport(ctx context.Context, m queue.Message) error {
	slice := &ingestv1.ImportSlice{}
	if err := proto.Unmarshal(m.Body, slice); err != nil {
		return queue.Permanent(fault.Wrap(fault.Invalid, err, "read slice of import"))
	}
	ctx = s.self(ctx, slice.GetTenant())
	i, revision, err := s.loadImport(ctx, slice.GetTenant(), slice.GetImport())
	if errors.Is(err, fault.NotFound) {
		return queue.Permanent(err)
	}
	if err != nil {
		return err
	}
	if i.GetState() == ingestv1.Import_STATE_RUNNING && i.GetHandled() <= slice.GetFrom() {
		if err := s.runSlice(ctx, slice.GetTenant(), i, revision); err != nil {
			return err
		}
	}
	if i.GetState() == ingestv1.Import_STATE_RUNNING {
		return s.sendSlice(ctx, slice.GetTenant(), i)
	}
	return s.deleteParts(ctx, slice.GetTenant(), i)
}

// runSlice does one slice and saves what it changed in i.
func (s *Service) runSlice(ctx context.Context, tenant string, i *ingestv1.Import, revision int64) error {
	open := func() (io.ReadCloser, error) { return &partReader{ctx: ctx, s: s, tenant: tenant, i: i}, nil }
	if i.GetFormat() == "" {
		format, err := s.detect(open)
		if err != nil && !errors.Is(err, fault.Invalid) {
			return err
		}
		if err != nil {
			return s.endImport(ctx, tenant, i, revision, err.Error())
		}
		i.Format = string(format)
	}
	run, err := newImportRun(ctx, s, tenant, i)
	if err != nil {
		return err
	}
	parsed := imports.Parse(ctx, imports.Format(i.GetFormat()), open, run)
	if parsed != nil && !errors.Is(parsed, errSliceFull) && !errors.Is(parsed, fault.Invalid) {
		return parsed
	}
	if err := run.store(ctx); err != nil {
		return err
	}
	i.Handled += run.handled
	i.Facts += run.facts
	i.AssetsAdded += run.added
	i.Problems += uint64(len(run.problems))
	switch {
	case parsed == nil:
		return s.endImport(ctx, tenant, i, revision, "")
	case errors.Is(parsed, errSliceFull):
		return s.putImport(ctx, tenant, i, revision)
	}
	return s.endImport(ctx, tenant, i, revision, parsed.Error())
}

func (s *Service) detect(open imports.Open) (imports.Format, error) {
	in, err := open()
	if err != nil {
		return "", err
	}
	return imports.Detect(in)
}

// endImport saves the end, with what went wrong if anything did.
func (s *Service) endImport(ctx context.Context, tenant string, i *ingestv1.Import, revision int64, problem string) error {
	i.State, i.EndTime = ingestv1.Import_STATE_DONE, timestamppb.Now()
	if problem != "" {
		i.State, i.Error = ingestv1.Import_STATE_FAILED, clip(problem, 1024)
	}
	return s.putImport(ctx, tenant, i, revision)
}

// deleteParts forgets the report once it was read: what it said is stored.
func (s *Service) deleteParts(ctx context.Context, tenant string, i *ingestv1.Import) error {
	for n := range i.GetParts() {
		if err := s.reports.Delete(ctx, partKey(tenant, i.GetName(), n)); err != nil {
			return err
		}
	}
	return nil
}

// parkedImport ends an import that cannot be done.
func (s *Service) parkedImport(ctx context.Context, m queue.Message, cause error) error {
	slice := &ingestv1.ImportSlice{}
	if err := proto.Unmarshal(m.Body, slice); err != nil {
		return nil //nolint:nilerr // nobody waits for what cannot be read
	}
	ctx = s.self(ctx, slice.GetTenant())
	i, revision, err := s.loadImport(ctx, slice.GetTenant(), slice.GetImport())
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil || i.GetState() != ingestv1.Import_STATE_RUNNING {
		return err
	}
	s.log.WarnContext(ctx, "gave up an import", slog.String("import", i.GetName()), slog.Any("error", cause))
	return s.endImport(ctx, slice.GetTenant(), i, revision, "given up after repeated failures: "+cause.Error())
}

// partReader reads a report part by part.
type partReader struct {
	ctx    context.Context
	s      *Service
	tenant string
	i      *ingestv1.Import
	next   uint32
	rest   []byte
}

// Read hands out the bytes of the parts in their order.
func (p *partReader) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.next >= p.i.GetParts() {
			return 0, io.EOF
		}
		part, err := p.s.reports.Get(p.ctx, partKey(p.tenant, p.i.GetName(), p.next))
		if err != nil {
			return 0, fmt.Errorf("read part %d of report: %w", p.next, err)
		}
		p.rest, p.next = part, p.next+1
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// Close has nothing to close.
func (*partReader) Close() error { return nil }

// problemWrites are the kept problems of a slice. Their keys are their order, so writing them again changes nothing.
func problemWrites(tenant string, i *ingestv1.Import, problems []*ingestv1.ReportProblem) ([]table.Write, error) {
	var out []table.Write
	for n, p := range problems {
		at := i.GetProblems() + uint64(n)
		if at >= keptProblems {
			break
		}
		item, err := protoitem.New(table.Key{Partition: importPartition(tenant, i.GetName()), Sort: fmt.Sprintf("%08d", at)}, p)
		if err != nil {
			return nil, err
		}
		out = append(out, table.Write{Item: item, If: table.Any})
	}
	return out, nil
}

// importPartition holds the imports of a tenant, or the problems of one.
func importPartition(tenant, name string) string {
	if name == "" {
		return "T#" + tenant + "#M"
	}
	return "T#" + tenant + "#M#" + resource.ID(name)
}
