package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/services/reporter/render"
)

// localTenant is the tenant of assessments from the command line.
const localTenant = "local"

// maxTargets is how many targets one assessment takes: the limit of CreateAssessment.
const maxTargets = 256

// scanTypeNames are the scan types as the flags spell them.
const scanTypeNames = "dns, subdomain, port, service, tls, http, vuln, cloud, intel"

type assessFlags struct {
	platformFlags

	profile, ports     string
	scanTypes          []string
	output, outputFile string
	reportFile         string
	failOn             string
	verbose            bool
}

func newAssess() *cobra.Command {
	var f assessFlags
	c := &cobra.Command{
		Use:   "assess TARGET...",
		Short: "Assess targets once and print the ranked risks",
		Long: "Runs the whole platform in this process for one assessment of names, addresses, ranges (192.0.2.0/24), host:port or URLs.\n" +
			"Progress goes to stderr, the report to stdout. Assess only what you own or are authorised to test: by running this\n" +
			"command you state that you are, and the statement is recorded with your user name.\n\n" +
			"Third parties are asked with the keys of SHODAN_API_KEY, VT_API_KEY, SECURITYTRAILS_API_KEY and CERTSPOTTER_API_KEY, where\n" +
			"set, and for nothing but public names and addresses.\n\n" +
			"Exit status: 0 done, 1 a risk of --fail-on or worse is open, 2 wrong usage, 3 the assessment could not be completed\n" +
			"(the report says what was not covered).",
		Example: "  riskprofiler assess example.com\n" +
			"  riskprofiler assess 192.0.2.0/24 --profile quick --output json --output-file risks.json\n" +
			"  riskprofiler assess https://www.example.com --scan-types tls,http --fail-on high",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(errors.New("name at least one target, such as `riskprofiler assess example.com`"))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c.Context(), args, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.profile, "profile", "standard", "how deep: passive, quick, standard or deep")
	flags.StringSliceVar(&f.scanTypes, "scan-types", nil, "only these scan types: "+scanTypeNames+" (default all of the profile)")
	flags.StringVar(&f.ports, "ports", "", "ports to scan: top100, top1000, all, or a list such as 22,80,8000-8100 (default by profile)")
	flags.StringVar(&f.resolver, "resolver", "", "DNS server to ask, ADDRESS:PORT (default the system's)")
	flags.Float64Var(&f.resolverRate, "resolver-rate", 0, "questions a second that the DNS server takes, for guessing names (default 800)")
	flags.BoolVar(&f.allowPrivate, "allow-private", false, "permit loopback and private addresses")
	flags.StringVar(&f.output, "output", "table", "format of the report: table, json, csv, sarif or html")
	flags.StringVar(&f.outputFile, "output-file", "", "write the report to this file instead of stdout")
	flags.StringVar(&f.reportFile, "report-file", "", "also write the whole report as HTML to this file")
	flags.StringVar(&f.failOn, "fail-on", "", "exit with 1 if a risk of this severity or worse is open: low, medium, high or critical")
	flags.StringVar(&f.data, "data", "", "keep all data in this directory, so that the next run can say what changed (default a temporary one)")
	flags.BoolVar(&f.verbose, "verbose", false, "log what the services do to stderr")
	complete := func(values ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return values, cobra.ShellCompDirectiveNoFileComp
		}
	}
	_ = c.RegisterFlagCompletionFunc("profile", complete("passive", "quick", "standard", "deep"))
	_ = c.RegisterFlagCompletionFunc("scan-types", complete(strings.Split(scanTypeNames, ", ")...))
	_ = c.RegisterFlagCompletionFunc("ports", complete("top100", "top1000", "all"))
	_ = c.RegisterFlagCompletionFunc("output", complete("table", "json", "csv", "sarif", "html"))
	_ = c.RegisterFlagCompletionFunc("fail-on", complete("low", "medium", "high", "critical"))
	return c
}

// formats of the report by flag.
var formats = map[string]reporterv1.Format{
	"table": reporterv1.Format_FORMAT_UNSPECIFIED, "json": reporterv1.Format_FORMAT_JSON, "csv": reporterv1.Format_FORMAT_CSV,
	"sarif": reporterv1.Format_FORMAT_SARIF, "html": reporterv1.Format_FORMAT_HTML,
}

// request checks everything that can be checked before anything starts.
func (f *assessFlags) request(targets []string) (*schedulerv1.CreateAssessmentRequest, modelv1.Severity, error) {
	req := &schedulerv1.CreateAssessmentRequest{Targets: targets, Ports: f.ports}
	if len(targets) > maxTargets {
		return nil, 0, fmt.Errorf("%d targets are too many for one assessment, the limit is %d; use ranges or several runs", len(targets), maxTargets)
	}
	for _, t := range targets {
		if _, err := target.Parse(t); err != nil {
			return nil, 0, err
		}
	}
	profile, ok := modelv1.Profile_value["PROFILE_"+strings.ToUpper(f.profile)]
	if !ok || profile == 0 {
		return nil, 0, fmt.Errorf("--profile %q is not known; use passive, quick, standard or deep", f.profile)
	}
	req.Profile = modelv1.Profile(profile)
	for _, text := range f.scanTypes {
		t := modelv1.ScanType(modelv1.ScanType_value["SCAN_TYPE_"+strings.ToUpper(strings.TrimSpace(text))])
		if t == 0 {
			return nil, 0, fmt.Errorf("--scan-types %q is not known; use %s", text, scanTypeNames)
		}
		if !slices.Contains(req.ScanTypes, t) {
			req.ScanTypes = append(req.ScanTypes, t)
		}
	}
	if f.ports != "" {
		if _, err := portlist.Parse(f.ports); err != nil {
			return nil, 0, fmt.Errorf("--ports: %w; use top100, top1000, all, or a list such as 22,80,8000-8100", err)
		}
	}
	if _, ok := formats[f.output]; !ok {
		return nil, 0, fmt.Errorf("--output %q is not known; use table, json, csv, sarif or html", f.output)
	}
	failOn := modelv1.Severity(modelv1.Severity_value["SEVERITY_"+strings.ToUpper(f.failOn)])
	if f.failOn != "" && failOn < modelv1.Severity_SEVERITY_LOW {
		return nil, 0, fmt.Errorf("--fail-on %q is not known; use low, medium, high or critical", f.failOn)
	}
	return req, failOn, nil
}

func (f *assessFlags) run(ctx context.Context, targets []string, stdout, stderr io.Writer) error {
	req, failOn, err := f.request(targets)
	if err != nil {
		return usage(err)
	}
	out, err := openOutput("--output-file", f.outputFile, stdout)
	if err != nil {
		return usage(err)
	}
	defer out.discard()
	report, err := openOutput("--report-file", f.reportFile, io.Discard)
	if err != nil {
		return usage(err)
	}
	defer report.discard()
	if f.data == "" {
		dir, err := os.MkdirTemp("", "riskprofiler-")
		if err != nil {
			return &exitError{exitIncomplete, err}
		}
		defer func() { _ = os.RemoveAll(dir) }()
		f.data = dir
	}
	doc, err := f.assess(ctx, req, stderr)
	if err != nil {
		return err
	}
	if err := f.print(out, doc, stdout); err != nil {
		return &exitError{exitIncomplete, err}
	}
	if err := f.writeReport(report, doc, stderr); err != nil {
		return &exitError{exitIncomplete, err}
	}
	return verdict(doc, req.GetScanTypes(), failOn)
}

// writeReport writes the HTML report beside the output, and says where.
func (f *assessFlags) writeReport(out *output, doc *reporterv1.ReportDocument, stderr io.Writer) error {
	if f.reportFile == "" {
		return nil
	}
	raw, err := render.HTML(doc)
	if err != nil {
		return err
	}
	if _, err := out.Write(raw); err != nil {
		return err
	}
	path, err := filepath.Abs(f.reportFile)
	if err != nil {
		path = f.reportFile
	}
	if err := out.commit(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stderr, "the whole report: %s\n", path)
	return err
}

// verdict is how the command ends: by the risks first, because what was found is true also where not all was covered.
// A third party that could not be asked is a gap only for who asked for that scan type by name; the report shows it in any case.
func verdict(doc *reporterv1.ReportDocument, asked []modelv1.ScanType, failOn modelv1.Severity) error {
	if failOn != 0 {
		for _, r := range doc.GetRisks() {
			if r.GetState() == correlatorv1.Risk_STATE_OPEN && r.GetSeverity() >= failOn {
				return &exitError{exitFailOn, nil}
			}
		}
	}
	if doc.GetAssessment().GetState() != schedulerv1.Assessment_STATE_SUCCEEDED {
		return &exitError{exitIncomplete, fmt.Errorf("the assessment is not complete: %s", incomplete(doc))}
	}
	for _, c := range doc.GetCoverage() {
		if c.GetOutcome() == modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE && slices.Contains(asked, c.GetScanType()) {
			return &exitError{exitIncomplete, fmt.Errorf("the assessment is not complete: %s: %s", c.GetTarget().GetValue(), c.GetReason())}
		}
	}
	return nil
}

// incomplete says why, by the first reason of a job that is not about third parties.
func incomplete(doc *reporterv1.ReportDocument) string {
	for _, c := range doc.GetCoverage() {
		if c.GetOutcome() != modelv1.Outcome_OUTCOME_COMPLETE && c.GetOutcome() != modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE && c.GetReason() != "" {
			return fmt.Sprintf("%s; first: %s: %s", doc.GetAssessment().GetReason(), c.GetTarget().GetValue(), advise(c.GetReason()))
		}
	}
	return doc.GetAssessment().GetReason()
}

// advise says with which flag what the guard refused would be permitted: its words are about the operator's settings.
func advise(reason string) string {
	if refused, _, ok := strings.Cut(reason, "the operator's AllowPrivate"); ok {
		return refused + "permit loopback and private addresses with --allow-private"
	}
	return reason
}

// assess runs the platform for one assessment and returns its report.
func (f *assessFlags) assess(ctx context.Context, req *schedulerv1.CreateAssessmentRequest, stderr io.Writer) (*reporterv1.ReportDocument, error) {
	f.listen = app.ListenOff
	var err error
	if f.secrets, err = environmentSecrets(ctx, app.Environment()); err != nil {
		return nil, usage(err)
	}
	level, logTo := slog.LevelError, stderr
	if f.verbose {
		level = slog.LevelInfo
	}
	host, flush, err := f.open(ctx, "riskprofiler", logTo, level)
	if err != nil {
		return nil, usage(err)
	}
	defer flush()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- host.Run(running) }()
	doc, err := f.drive(operator(running, localTenant), host, req, newProgress(stderr))
	stop()
	err = errors.Join(err, <-ended, host.Close())
	if err != nil && doc == nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		var exit *exitError
		if errors.As(err, &exit) {
			return nil, exit
		}
		return nil, &exitError{exitIncomplete, err}
	}
	return doc, nil
}

func (f *assessFlags) drive(ctx context.Context, host *app.Host, req *schedulerv1.CreateAssessmentRequest, p progress) (*reporterv1.ReportDocument, error) {
	if err := authorise(ctx, ingestv1.NewIngestServiceClient(conn(host, "ingest")), req.GetTargets()); err != nil {
		return nil, err
	}
	scheduler := schedulerv1.NewSchedulerServiceClient(conn(host, "scheduler"))
	a, err := scheduler.CreateAssessment(ctx, req)
	if err != nil {
		return nil, usage(plain(err))
	}
	p.begin(a)
	if err := follow(ctx, scheduler, a.GetName(), p); err != nil {
		return nil, plain(err)
	}
	a, err = scheduler.GetAssessment(ctx, &schedulerv1.GetAssessmentRequest{Name: a.GetName()})
	if err != nil {
		return nil, plain(err)
	}
	if a.GetReport() == "" {
		return nil, fmt.Errorf("no report could be made: %s", a.GetReason())
	}
	return fetchDocument(ctx, reporterv1.NewReporterServiceClient(conn(host, "reporter")), a.GetReport())
}

// authorise adds the targets as seeds and records who states that they may be assessed.
func authorise(ctx context.Context, client ingestv1.IngestServiceClient, targets []string) error {
	res, err := client.BatchImportAssets(ctx, &ingestv1.BatchImportAssetsRequest{Targets: targets})
	if err != nil {
		return plain(err)
	}
	if len(res.GetProblems()) > 0 {
		return usage(errors.New(res.GetProblems()[0].GetProblem()))
	}
	for _, a := range res.GetAssets() {
		if _, err := client.AttestAsset(ctx, &ingestv1.AttestAssetRequest{Name: a.GetName(), Reason: "stated on the command line"}); err != nil {
			return plain(err)
		}
	}
	return nil
}

// print writes the report in the format that was asked for.
func (f *assessFlags) print(out *output, doc *reporterv1.ReportDocument, stdout io.Writer) error {
	if f.output == "table" {
		width, color := 100, false
		if file, ok := stdout.(*os.File); ok && f.outputFile == "" && term.IsTerminal(int(file.Fd())) {
			color = os.Getenv("NO_COLOR") == ""
			if w, _, err := term.GetSize(int(file.Fd())); err == nil && w >= 60 {
				width = w
			}
		}
		if err := render.Table(out, doc, render.TableOptions{Width: width, Color: color}); err != nil {
			return err
		}
		return out.commit()
	}
	raw, _, err := render.Render(doc, formats[f.output])
	if err != nil {
		return err
	}
	if _, err := out.Write(raw); err != nil {
		return err
	}
	return out.commit()
}
