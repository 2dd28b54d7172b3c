package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"

	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
)

// followEvery is how often an assessment is looked at.
const followEvery = 100 * time.Millisecond

// follow shows the events of an assessment until it has ended.
func follow(ctx context.Context, client schedulerv1.SchedulerServiceClient, name string, p progress) error {
	defer p.end()
	for token := ""; ; {
		res, err := client.ListAssessmentEvents(ctx, &schedulerv1.ListAssessmentEventsRequest{Name: name, PageSize: 500, PageToken: token})
		if err != nil {
			return err
		}
		for _, e := range res.GetEvents() {
			p.event(e)
		}
		if token = res.GetNextPageToken(); token == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followEvery):
		}
	}
}

// fetchDocument downloads a report part by part.
func fetchDocument(ctx context.Context, client reporterv1.ReporterServiceClient, name string) (*reporterv1.ReportDocument, error) {
	raw, err := download(ctx, client, name, reporterv1.Format_FORMAT_JSON)
	if err != nil {
		return nil, plain(err)
	}
	doc := &reporterv1.ReportDocument{}
	if err := protojson.Unmarshal(raw, doc); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return doc, nil
}

func download(ctx context.Context, client reporterv1.ReporterServiceClient, name string, f reporterv1.Format) ([]byte, error) {
	var raw []byte
	for {
		part, err := client.DownloadReport(ctx, &reporterv1.DownloadReportRequest{Name: name, Format: f, Offset: uint64(len(raw))})
		if err != nil {
			return nil, err
		}
		if len(part.GetData()) == 0 {
			return raw, nil
		}
		raw = append(raw, part.GetData()...)
	}
}

// progress shows how an assessment goes.
type progress interface {
	begin(*schedulerv1.Assessment)
	event(*schedulerv1.AssessmentEvent)
	end()
}

// newProgress is a live display on a terminal and plain lines elsewhere.
func newProgress(w io.Writer) progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &bar{w: w, file: f, started: time.Now()}
	}
	return &lines{w: w}
}

type lines struct{ w io.Writer }

func (l *lines) begin(a *schedulerv1.Assessment) {
	_, _ = fmt.Fprintf(l.w, "assessing %s\n", oneLine(strings.Join(a.GetSeeds(), ", ")))
}

func (l *lines) event(e *schedulerv1.AssessmentEvent) {
	_, _ = fmt.Fprintf(l.w, "[%d/%d] %s\n", e.GetProgress().GetJobsDone(), e.GetProgress().GetJobsPlanned(), oneLine(e.GetMessage()))
}

func (l *lines) end() {}

// bar is one line that is drawn again with every event.
type bar struct {
	w       io.Writer
	file    *os.File
	started time.Time
}

const (
	clearLine = "\r\x1b[2K"
	barCells  = 24
)

func (b *bar) begin(a *schedulerv1.Assessment) {
	_, _ = fmt.Fprintf(b.w, "assessing %s\n", oneLine(strings.Join(a.GetSeeds(), ", ")))
}

func (b *bar) event(e *schedulerv1.AssessmentEvent) {
	done, planned := e.GetProgress().GetJobsDone(), max(e.GetProgress().GetJobsPlanned(), 1)
	full := min(int(done)*barCells/int(planned), barCells)
	line := fmt.Sprintf("%s%s %d/%d jobs %s  %s", strings.Repeat("█", full), strings.Repeat("░", barCells-full), done, planned,
		time.Since(b.started).Round(time.Second), oneLine(e.GetMessage()))
	width := 80
	if w, _, err := term.GetSize(int(b.file.Fd())); err == nil && w > 20 {
		width = w
	}
	if r := []rune(line); len(r) >= width {
		line = string(r[:width-1])
	}
	_, _ = fmt.Fprint(b.w, clearLine+line)
}

func (b *bar) end() { _, _ = fmt.Fprint(b.w, clearLine) }
