package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/services/ingest/imports"
)

// keptProblems is how many problems of one import are kept. More are counted.
const keptProblems = 10_000

// CreateImport begins to take in a report.
func (s *Service) CreateImport(ctx context.Context, req *ingestv1.CreateImportRequest) (*ingestv1.Import, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	wish := req.GetImport()
	if f := wish.GetFormat(); f != "" && !known(f) {
		err := fault.New(fault.Invalid, "format %q is not known; known are %v", f, imports.Formats())
		return nil, fault.WithField(err, "import.format", "leave it out to have it told from the content")
	}
	if wish.GetAsset() != "" {
		if _, _, err := s.loadAsset(ctx, tenant, wish.GetAsset()); err != nil {
			return nil, err
		}
	}
	i := &ingestv1.Import{
		Name: "imports/" + sortableID(time.Now()), Format: wish.GetFormat(), File: clip(wish.GetFile(), 255), Asset: wish.GetAsset(), AddAssets: wish.GetAddAssets(),
		State: ingestv1.Import_STATE_RECEIVING, CreateTime: timestamppb.Now(), CreatedBy: who.Subject,
	}
	return i, s.putImport(ctx, tenant, i, 0)
}

func known(format string) bool {
	for _, f := range imports.Formats() {
		if f == format {
			return true
		}
	}
	return false
}

// UploadImportPart stores a part under its number.
func (s *Service) UploadImportPart(ctx context.Context, req *ingestv1.UploadImportPartRequest) (*ingestv1.UploadImportPartResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	i, _, err := s.loadImport(ctx, tenant, req.GetName())
	if err != nil {
		return nil, err
	}
	if i.GetState() != ingestv1.Import_STATE_RECEIVING {
		return nil, fault.New(fault.FailedPrecondition, "%s was started; create a new import for another report", i.GetName())
	}
	err = s.reports.Put(ctx, partKey(tenant, i.GetName(), req.GetPart()), req.GetContent())
	if errors.Is(err, fault.AlreadyExists) {
		return nil, fault.New(fault.AlreadyExists, "part %d of %s was uploaded before with other content", req.GetPart(), i.GetName())
	}
	return &ingestv1.UploadImportPartResponse{}, err
}

func partKey(tenant, name string, part uint32) string {
	return fmt.Sprintf("%s/imports/%s/%05d", tenant, resource.ID(name), part)
}

// StartImport begins to read a report.
func (s *Service) StartImport(ctx context.Context, req *ingestv1.StartImportRequest) (*ingestv1.Import, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	i, revision, err := s.loadImport(ctx, tenant, req.GetName())
	if err != nil {
		return nil, err
	}
	if i.GetState() == ingestv1.Import_STATE_RECEIVING {
		bytes, err := s.countParts(ctx, tenant, i.GetName(), req.GetParts())
		if err != nil {
			return nil, err
		}
		i.State, i.Parts, i.Bytes = ingestv1.Import_STATE_RUNNING, req.GetParts(), bytes
		if err := s.putImport(ctx, tenant, i, revision); err != nil {
			return nil, err
		}
	}
	// Sent also where it was started before: a crash may have come between the two.
	return i, s.sendSlice(ctx, tenant, i)
}

// countParts returns the size of a report whose parts are all there.
func (s *Service) countParts(ctx context.Context, tenant, name string, parts uint32) (uint64, error) {
	objects, _, err := s.reports.List(ctx, tenant+"/imports/"+resource.ID(name)+"/", "", 0)
	if err != nil {
		return 0, err
	}
	var bytes uint64
	for n := range parts {
		if int(n) >= len(objects) || objects[n].Key != partKey(tenant, name, n) {
			return 0, fault.New(fault.FailedPrecondition, "part %d of %d is missing; upload it and start again", n, parts)
		}
		bytes += uint64(objects[n].Size)
	}
	if len(objects) != int(parts) {
		return 0, fault.New(fault.FailedPrecondition, "%d parts were uploaded and %d are to be read", len(objects), parts)
	}
	if bytes > imports.MaxBytes {
		return 0, fault.New(fault.Invalid, "report has %d bytes, the most is %d: split it", bytes, imports.MaxBytes)
	}
	return bytes, nil
}

// sendSlice sends what is to be done next. The same slice has the same id.
func (s *Service) sendSlice(ctx context.Context, tenant string, i *ingestv1.Import) error {
	if i.GetState() != ingestv1.Import_STATE_RUNNING {
		return nil
	}
	body, err := proto.Marshal(&ingestv1.ImportSlice{Tenant: tenant, Import: i.GetName(), From: i.GetHandled()})
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode slice of import")
	}
	// One group for each import: those of one tenant may run side by side, the slices of one do not.
	return s.slices.Send(ctx, queue.Message{
		Group: tenant + "#" + resource.ID(i.GetName()), DedupID: fmt.Sprintf("%s-%d", resource.ID(i.GetName()), i.GetHandled()), Body: body,
	})
}

// GetImport returns one import.
func (s *Service) GetImport(ctx context.Context, req *ingestv1.GetImportRequest) (*ingestv1.Import, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	i, _, err := s.loadImport(ctx, tenant, req.GetName())
	return i, err
}

// ListImports lists imports, newest first.
func (s *Service) ListImports(ctx context.Context, req *ingestv1.ListImportsRequest) (*ingestv1.ListImportsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{
		Partition: importPartition(tenant, ""), Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken(), Descending: true,
	})
	if err != nil {
		return nil, err
	}
	res := &ingestv1.ListImportsResponse{NextPageToken: page.NextPageToken}
	for _, item := range page.Items {
		i, err := protoitem.Decode(item, &ingestv1.Import{})
		if err != nil {
			return nil, err
		}
		res.Imports = append(res.Imports, i)
	}
	return res, nil
}

// ListImportProblems lists problems in the order of the report.
func (s *Service) ListImportProblems(ctx context.Context, req *ingestv1.ListImportProblemsRequest) (*ingestv1.ListImportProblemsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.loadImport(ctx, tenant, req.GetImport()); err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{
		Partition: importPartition(tenant, req.GetImport()), Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	res := &ingestv1.ListImportProblemsResponse{NextPageToken: page.NextPageToken}
	for _, item := range page.Items {
		p, err := protoitem.Decode(item, &ingestv1.ReportProblem{})
		if err != nil {
			return nil, err
		}
		res.Problems = append(res.Problems, p)
	}
	return res, nil
}

func (s *Service) loadImport(ctx context.Context, tenant, name string) (*ingestv1.Import, int64, error) {
	item, err := s.table.Get(ctx, table.Key{Partition: importPartition(tenant, ""), Sort: resource.ID(name)})
	if errors.Is(err, fault.NotFound) {
		return nil, 0, fault.New(fault.NotFound, "%s does not exist", name)
	}
	if err != nil {
		return nil, 0, err
	}
	i, err := protoitem.Decode(item, &ingestv1.Import{})
	return i, item.Revision, err
}

func (s *Service) putImport(ctx context.Context, tenant string, i *ingestv1.Import, revision int64) error {
	item, err := protoitem.New(table.Key{Partition: importPartition(tenant, ""), Sort: resource.ID(i.GetName())}, i)
	if err != nil {
		return err
	}
	return s.table.Write(ctx, table.Write{Item: item, If: table.Condition(revision)})
}
