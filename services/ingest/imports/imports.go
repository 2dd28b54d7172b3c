// Package imports reads reports of other tools: what they say about which asset, one record at a time.
//
// A report is hostile: it may come from a scanned system or from a tenant who wants to hurt the platform. Reading streams, and is
// bounded in bytes, depth, elements and the size of one record; entities of XML are refused. What is not understood is a problem
// with its line, never a silent gap. The package stores nothing and asks nobody: who owns an asset is for its caller to know.
package imports

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Bounds of one report, ours: a report that is larger is to be split.
const (
	// MaxBytes is the size of a whole report.
	MaxBytes = 64 << 20
	// MaxDepth is how deep its elements may be nested.
	MaxDepth = 64
	// MaxElements is the number of its elements: objects, arrays and values of JSON, elements and attributes of XML, fields of CSV.
	MaxElements = 1_000_000
	// MaxRecords is how many things it may say about assets.
	MaxRecords = 250_000
	// MaxProblems is how much of it may be not understood: a report of which this much is not is another one's.
	MaxProblems = 100_000
	// MaxRecordBytes is the size of one record of JSON, such as one server with all that was tried on it.
	MaxRecordBytes = 8 << 20
	// MaxRecordElements is how many elements one record of JSON may have. An element of a few bytes costs hundreds in memory, so
	// its size alone does not bound what a record holds.
	MaxRecordElements = 50_000
	// maxElementBytes is the size of one record of XML, such as a port with the output of its scripts. Attributes cost ten times
	// their text in memory, so it is smaller.
	maxElementBytes = 1 << 20
	// maxRowBytes is the size of one row of CSV.
	maxRowBytes = 256 << 10
	// maxText and maxLongText bound titles and descriptions, in runes.
	maxText     = 256
	maxLongText = 2048
	// maxList bounds lists of names, such as references.
	maxList = 20
)

// Format is a format of reports.
type Format string

// The formats.
const (
	Nmap    Format = "nmap"
	Nuclei  Format = "nuclei"
	SARIF   Format = "sarif"
	OCSF    Format = "ocsf"
	ASFF    Format = "asff"
	TestSSL Format = "testssl"
	SSLyze  Format = "sslyze"
	Trivy   Format = "trivy"
	Prowler Format = "prowler"
	ZAP     Format = "zap"
	CSV     Format = "csv"
)

// parsers by format. Each reads a whole report.
var parsers = map[Format]func(context.Context, *report) error{
	Nmap: parseNmap, Nuclei: parseNuclei, SARIF: parseSARIF, OCSF: parseOCSF, ASFF: parseASFF, TestSSL: parseTestSSL,
	SSLyze: parseSSLyze, Trivy: parseTrivy, Prowler: parseProwler, ZAP: parseZAP, CSV: parseCSV,
}

// Formats are the names of all formats, sorted.
func Formats() []string {
	var out []string
	for f := range parsers {
		out = append(out, string(f))
	}
	slices.Sort(out)
	return out
}

// Record is one thing that a report says about one asset.
type Record struct {
	// Line where the record begins, from 1.
	Line int
	// Asset as the report names it: a name, an address, a URL, or provider:account. Empty: the report is about something
	// that is not on a network, such as an image, and its importer has to say what asset that belongs to.
	Asset string
	// Port and Transport of the place on the asset; 0: the asset as a whole.
	Port      uint32
	Transport modelv1.Transport
	// Place is a place that is no port: a file, a resource.
	Place string
	// Seen is when the tool saw it; zero: unknown.
	Seen time.Time
	// One of these; all nil: the asset itself is what is imported.
	Service  *modelv1.ServiceFact
	Ports    *modelv1.PortsFact
	Reported *modelv1.ReportedFact
	// Criticality and Labels of an asset that is itself imported.
	Criticality int32
	Labels      map[string]string
}

// Handler takes what a report says, in its order. An error of it ends the reading.
type Handler interface {
	Record(Record) error
	// Problem is something that was not understood; the reading goes on.
	Problem(line int, text string) error
}

// Open opens the report, at its beginning. It may be called several times.
type Open func() (io.ReadCloser, error)

// Parse reads a report. Its error is a fault: Invalid for a report that cannot be read on (not the format, over a bound,
// broken in the middle), with the line; what came before has been handed over. Errors of handler and source pass unchanged.
func Parse(ctx context.Context, f Format, open Open, h Handler) error {
	parse := parsers[f]
	if parse == nil {
		return fault.New(fault.Invalid, "format %q is not known; known are %v", string(f), Formats())
	}
	r := &report{open: open, handler: h}
	defer r.close()
	if err := parse(ctx, r); err != nil {
		return r.explain(f, err)
	}
	return nil
}

// report is a report that is being read.
type report struct {
	open    Open
	handler Handler
	source  *source
	closers []io.Closer
	// records and problems are how many there were.
	records, problems int
}

// begin opens the report at its beginning, once more if need be.
func (r *report) begin(ctx context.Context) (*source, error) {
	raw, err := r.open()
	if err != nil {
		return nil, passed{err}
	}
	r.closers = append(r.closers, raw)
	r.source = newSource(ctx, raw)
	return r.source, nil
}

func (r *report) close() {
	for _, c := range r.closers {
		_ = c.Close() // it was only read
	}
}

// passed is an error that is not about the report: it goes to the caller as it is.
type passed struct{ error }

func (p passed) Unwrap() error { return p.error }

// record hands over a record. A finding without a name of its rule could not be told from others.
func (r *report) record(rec Record) error {
	if f := rec.Reported; f != nil && f.GetRule() == "" {
		return r.problem(rec.Line, "finding does not name its rule")
	}
	if r.records++; r.records > MaxRecords {
		return errRecords
	}
	if err := r.handler.Record(rec); err != nil {
		return passed{err}
	}
	return nil
}

func (r *report) problem(line int, text string) error {
	if r.problems++; r.problems > MaxProblems {
		return errProblems
	}
	if err := r.handler.Problem(line, safe(text, maxText)); err != nil {
		return passed{err}
	}
	return nil
}

// explain says where a report broke.
func (r *report) explain(f Format, err error) error {
	var p passed
	if errors.As(err, &p) {
		return p.error
	}
	line := 1
	if r.source != nil {
		line = r.source.lineAtEnd()
	}
	return fault.New(fault.Invalid, "%s report cannot be read on near line %d: %s", f, line, safe(err.Error(), maxText))
}
