package reporter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"google.golang.org/protobuf/types/known/anypb"

	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/services/reporter/render"
)

// The table's partitions. ARCHITECTURE.md lists the access patterns.
//
//	T#<tenant>#R   <report id>       summaries; ids sort by time
//	T#<tenant>#S   <series hash>     the newest report of the same targets, to compare the next with
const (
	// maxDownload is how much of a report one answer holds: below the 4 MiB of a message.
	maxDownload = 3 << 20
)

func reportKey(tenant, report string) table.Key {
	return table.Key{Partition: "T#" + tenant + "#R", Sort: resource.ID(report)}
}

func seriesKey(tenant string, seeds []string) table.Key {
	sum := sha256.Sum256([]byte(seriesOf(seeds)))
	return table.Key{Partition: "T#" + tenant + "#S", Sort: hex.EncodeToString(sum[:16])}
}

// documentKey is where a report's document lies: by its assessment and content, so that making it again after a crash is no
// conflict.
func documentKey(tenant, report string, raw []byte) string {
	sum := sha256.Sum256(raw)
	return tenant + "/" + resource.ID(report) + "/" + hex.EncodeToString(sum[:])
}

// stored is a summary beside where its document lies.
type stored struct {
	report *reporterv1.Report
	blob   string
}

func (st stored) item(tenant string) (table.Item, error) {
	value, err := proto.Marshal(st.report)
	if err != nil {
		return table.Item{}, fault.Wrap(fault.Internal, err, "encode report")
	}
	return table.Item{Key: reportKey(tenant, st.report.GetName()), Value: append([]byte(st.blob+"\n"), value...)}, nil
}

func readStored(item table.Item) (stored, error) {
	key, raw, ok := strings.Cut(string(item.Value), "\n")
	st := stored{report: &reporterv1.Report{}, blob: key}
	if err := proto.Unmarshal([]byte(raw), st.report); err != nil || !ok {
		return st, fault.New(fault.DataLoss, "decode stored report")
	}
	return st, nil
}

func (s *Service) load(ctx context.Context, tenant, name string) (stored, error) {
	item, err := s.table.Get(ctx, reportKey(tenant, name))
	if errors.Is(err, fault.NotFound) {
		return stored{}, fault.New(fault.NotFound, "%s does not exist", name)
	}
	if err != nil {
		return stored{}, err
	}
	return readStored(item)
}

// CreateReport makes the report of an assessment. The document is stored before the row that names it, and the row is
// created once: whoever comes second gets the first one's report.
func (s *Service) CreateReport(ctx context.Context, req *reporterv1.CreateReportRequest) (*reporterv1.Report, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	name := "reports/" + resource.ID(req.GetAssessment())
	if st, err := s.load(ctx, tenant, name); err == nil || !errors.Is(err, fault.NotFound) {
		return st.report, err
	}
	ctx = s.self(ctx, tenant)
	doc, err := s.gather(ctx, req.GetAssessment())
	if err != nil {
		return nil, err
	}
	if doc.GetAssessment().GetEndTime() == nil {
		return nil, fault.New(fault.FailedPrecondition, "%s has not ended yet; its report is made at its end", req.GetAssessment())
	}
	before, series, err := s.previous(ctx, tenant, doc)
	if err != nil {
		return nil, err
	}
	doc.Assessment.Report = name
	doc.Report = summarise(doc)
	doc.Report.Changes = difference(before, doc)
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(doc)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "encode report")
	}
	st := stored{report: doc.GetReport(), blob: documentKey(tenant, name, raw)}
	st.report.Bytes = uint64(len(raw))
	if err := s.reports.Put(ctx, st.blob, raw); err != nil {
		return nil, err
	}
	item, err := st.item(tenant)
	if err != nil {
		return nil, err
	}
	err = s.table.Write(ctx, table.Write{Item: item}, table.Write{Item: table.Item{Key: series, Value: []byte(name)}, If: table.Any})
	if errors.Is(err, fault.Conflict) {
		st, err = s.load(ctx, tenant, name)
	}
	return st.report, err
}

// previous is the document of the newest report of the same targets.
func (s *Service) previous(ctx context.Context, tenant string, doc *reporterv1.ReportDocument) (*reporterv1.ReportDocument, table.Key, error) {
	key := seriesKey(tenant, doc.GetAssessment().GetSeeds())
	item, err := s.table.Get(ctx, key)
	if errors.Is(err, fault.NotFound) {
		return nil, key, nil
	}
	if err != nil {
		return nil, key, err
	}
	st, err := s.load(ctx, tenant, string(item.Value))
	if err != nil {
		return nil, key, err
	}
	before, err := s.document(ctx, st)
	return before, key, err
}

func (s *Service) document(ctx context.Context, st stored) (*reporterv1.ReportDocument, error) {
	raw, err := s.reports.Get(ctx, st.blob)
	if err != nil {
		return nil, err
	}
	doc := &reporterv1.ReportDocument{}
	if err := proto.Unmarshal(raw, doc); err != nil {
		return nil, fault.Wrap(fault.DataLoss, err, "decode stored report")
	}
	doc.Report = st.report
	return doc, nil
}

// GetReport returns the summary of one report.
func (s *Service) GetReport(ctx context.Context, req *reporterv1.GetReportRequest) (*reporterv1.Report, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	st, err := s.load(ctx, tenant, req.GetName())
	return st.report, err
}

// ListReports lists reports, newest first: their ids sort by time.
func (s *Service) ListReports(ctx context.Context, req *reporterv1.ListReportsRequest) (*reporterv1.ListReportsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	limit := int(req.GetPageSize())
	if limit == 0 {
		limit = 50
	}
	p, err := s.table.Query(ctx, table.Query{Partition: reportKey(tenant, "").Partition, Descending: true, Limit: limit, PageToken: req.GetPageToken()})
	if err != nil {
		return nil, err
	}
	res := &reporterv1.ListReportsResponse{NextPageToken: p.NextPageToken}
	for _, item := range p.Items {
		st, err := readStored(item)
		if err != nil {
			return nil, err
		}
		res.Reports = append(res.Reports, st.report)
	}
	return res, nil
}

// DownloadReport renders a report. A large one comes in parts: the extension says how large the whole is, and the caller asks
// again with the offset where the part ended. Rendering is deterministic, so parts fit together.
func (s *Service) DownloadReport(ctx context.Context, req *reporterv1.DownloadReportRequest) (*httpbody.HttpBody, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	st, err := s.load(ctx, tenant, req.GetName())
	if err != nil {
		return nil, err
	}
	doc, err := s.document(ctx, st)
	if err != nil {
		return nil, err
	}
	raw, contentType, err := render.Render(doc, req.GetFormat())
	if err != nil {
		return nil, err
	}
	if req.GetOffset() > uint64(len(raw)) {
		return nil, fault.WithField(fault.New(fault.Invalid, "offset %d lies behind the end, the report has %d bytes", req.GetOffset(), len(raw)), "offset", "start at 0")
	}
	total, err := anypb.New(structpb.NewNumberValue(float64(len(raw))))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "encode size")
	}
	part := raw[req.GetOffset():]
	return &httpbody.HttpBody{ContentType: contentType, Data: part[:min(len(part), maxDownload)], Extensions: []*anypb.Any{total}}, nil
}

// Notify tells what changed. Today it writes one line to the service's log; the changes themselves stand in the report.
func (s *Service) Notify(ctx context.Context, req *reporterv1.NotifyRequest) (*reporterv1.NotifyResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	st, err := s.load(ctx, tenant, "reports/"+resource.ID(req.GetAssessment()))
	if err != nil {
		return nil, err
	}
	c := st.report.GetChanges()
	s.log.InfoContext(ctx, "report made", slog.String("report", st.report.GetName()), slog.String("changes",
		fmt.Sprintf("%d opened, %d reopened, %d resolved", len(c.GetOpened()), len(c.GetReopened()), len(c.GetResolved()))))
	return &reporterv1.NotifyResponse{Changes: c}, nil
}
