package scheduler

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// pageOfCoverage is how many records are read at a time when jobs are counted.
const pageOfCoverage = 500

// progress counts the jobs of an assessment: those claimed by a wave, and those with coverage.
func (s *Service) progress(ctx context.Context, tenant string, a *schedulerv1.Assessment) (*schedulerv1.Progress, error) {
	p := &schedulerv1.Progress{}
	planned, err := s.planned(ctx, tenant, a.GetName())
	if err != nil {
		return nil, err
	}
	p.JobsPlanned = planned
	for token := ""; ; {
		res, err := s.ingest.ListCoverage(ctx, &ingestv1.ListCoverageRequest{Assessment: a.GetName(), PageSize: pageOfCoverage, PageToken: token})
		if err != nil {
			return nil, err
		}
		for _, c := range res.GetCoverage() {
			count(p, c, a.GetProfile())
		}
		if token = res.GetNextPageToken(); res.GetAtEnd() {
			return p, nil
		}
	}
}

func count(p *schedulerv1.Progress, c *modelv1.Coverage, profile modelv1.Profile) {
	p.JobsDone++
	if fellShort(c, profile) {
		p.JobsFailed++
	}
}

// fellShort says whether a job did not cover what was asked for. The quick profile asks of a web application one page only,
// so its coverage is partial, which closes no finding, and yet all that was wanted. The same is true of an address where
// nothing answers at all: most of the addresses of a range are such.
func fellShort(c *modelv1.Coverage, profile modelv1.Profile) bool {
	quickly := profile == modelv1.Profile_PROFILE_QUICK && c.GetScanType() == modelv1.ScanType_SCAN_TYPE_HTTP
	silent := c.GetScanType() == modelv1.ScanType_SCAN_TYPE_PORT && c.GetObservationCount() == 0
	if (quickly || silent || askOthers[c.GetScanType()]) && c.GetOutcome() == modelv1.Outcome_OUTCOME_PARTIAL {
		return false
	}
	if askOthers[c.GetScanType()] && c.GetOutcome() == modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE {
		return false
	}
	return c.GetOutcome() != modelv1.Outcome_OUTCOME_COMPLETE
}

// askOthers are the scan types that live by third parties. One that has no key here, is out of quota or down is told in the
// coverage; it does not make the look at the targets incomplete.
var askOthers = setOf(modelv1.ScanType_SCAN_TYPE_SUBDOMAIN, modelv1.ScanType_SCAN_TYPE_INTEL)

func (s *Service) planned(ctx context.Context, tenant, assessment string) (uint32, error) {
	n := 0
	for token := ""; ; {
		page, err := s.table.Query(ctx, table.Query{Partition: claimPartition(tenant, assessment), KeysOnly: true, PageToken: token})
		if err != nil {
			return 0, err
		}
		n += len(page.Items)
		if token = page.NextPageToken; token == "" {
			return uint32(n), nil
		}
	}
}

// cursor is where a follower of an assessment stands: the coverage it has seen, counted.
type cursor struct {
	coverage     string
	done, failed uint32
}

func (c cursor) String() string {
	return strconv.Itoa(int(c.done)) + "." + strconv.Itoa(int(c.failed)) + "." + c.coverage
}

func parseCursor(text string) (cursor, error) {
	if text == "" {
		return cursor{}, nil
	}
	done, rest, _ := strings.Cut(text, ".")
	failed, coverage, ok := strings.Cut(rest, ".")
	d, err1 := strconv.ParseUint(done, 10, 32)
	f, err2 := strconv.ParseUint(failed, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return cursor{}, fault.WithField(fault.New(fault.Invalid, "page_token is none that this method gave out"), "page_token", "use the token of the page before")
	}
	return cursor{coverage, uint32(d), uint32(f)}, nil
}

// ListAssessmentEvents returns what happened after a page token. The state is read before the coverage, so an answer that
// says the end is the end.
func (s *Service) ListAssessmentEvents(ctx context.Context, req *schedulerv1.ListAssessmentEventsRequest) (*schedulerv1.ListAssessmentEventsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	at, err := parseCursor(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	a, _, err := s.load(ctx, tenant, req.GetName())
	if err != nil {
		return nil, err
	}
	planned, err := s.planned(ctx, tenant, a.GetName())
	if err != nil {
		return nil, err
	}
	page, err := s.ingest.ListCoverage(ctx, &ingestv1.ListCoverageRequest{Assessment: a.GetName(), PageSize: int32(resource.PageSize(req.GetPageSize())), PageToken: at.coverage})
	if err != nil {
		return nil, err
	}
	res := &schedulerv1.ListAssessmentEventsResponse{}
	for _, c := range page.GetCoverage() {
		at.done++
		if fellShort(c, a.GetProfile()) {
			at.failed++
		}
		res.Events = append(res.Events, jobEvent(c, a.GetState(), &schedulerv1.Progress{JobsPlanned: max(planned, at.done), JobsDone: at.done, JobsFailed: at.failed}))
	}
	at.coverage = page.GetNextPageToken()
	if a.GetClosed() && page.GetAtEnd() {
		res.Events = append(res.Events, endEvent(a))
		return res, nil
	}
	res.NextPageToken = at.String()
	return res, nil
}

func jobEvent(c *modelv1.Coverage, state schedulerv1.Assessment_State, p *schedulerv1.Progress) *schedulerv1.AssessmentEvent {
	where := c.GetTarget().GetValue()
	if port := c.GetTarget().GetPort(); port != 0 {
		where += ":" + strconv.Itoa(int(port))
	}
	text := fmt.Sprintf("%s %s: %s, %d facts", scanTypeText(c.GetScanType()), where, outcomeText(c.GetOutcome()), c.GetObservationCount())
	if c.GetReason() != "" {
		text += " (" + c.GetReason() + ")"
	}
	return &schedulerv1.AssessmentEvent{Time: c.GetCompletedAt(), Message: text, Coverage: c, State: state, Progress: p}
}

func endEvent(a *schedulerv1.Assessment) *schedulerv1.AssessmentEvent {
	text := "assessment " + strings.ToLower(strings.TrimPrefix(a.GetState().String(), "STATE_"))
	if a.GetReason() != "" {
		text += ": " + a.GetReason()
	}
	at := a.GetEndTime()
	if at == nil {
		at = timestamppb.Now()
	}
	return &schedulerv1.AssessmentEvent{Time: at, Message: text, State: a.GetState(), Progress: a.GetProgress()}
}

func scanTypeText(t modelv1.ScanType) string {
	return strings.ToLower(strings.TrimPrefix(t.String(), "SCAN_TYPE_"))
}

func outcomeText(o modelv1.Outcome) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(o.String(), "OUTCOME_")), "_", " ")
}
