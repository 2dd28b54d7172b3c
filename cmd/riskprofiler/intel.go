package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/grpc"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/services/ingest/intel"
)

// maxFeedPause bounds how long a source can make a sync wait; what is longer is left for another sync.
const maxFeedPause = 2 * time.Minute

// intelFlags are the flags of the commands about vulnerability knowledge.
type intelFlags struct {
	clientFlags

	data        string
	from, feeds []string
}

func newIntel() *cobra.Command {
	var f intelFlags
	parent := &cobra.Command{
		Use: "intel", Short: "Vulnerability knowledge: CVE records, OSV, NVD, KEV, EPSS",
		Long: "Vulnerability knowledge is read from its publishers (CVE Program, OSV, NVD, CISA, FIRST), joined, and kept as a snapshot that findings\n" +
			"are made with. Nothing is asked unless you run `intel sync`, or run the platform with RISKPROFILER_INTEL=on.\n\n" +
			"With --data the commands work on a data directory that no running platform uses; without it they talk to a running platform.",
		Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	f.add(parent)
	parent.PersistentFlags().StringVar(&f.data, "data", "", "work on this data directory instead of a running platform")
	sync := &cobra.Command{
		Use: "sync", Short: "Read the feeds and publish a snapshot",
		Long: "Reads what changed at the sources since the last sync, or everything the first time (about 1.5 GB of downloads, and 4 GB of disk for a while),\n" +
			"and publishes a snapshot. A sync that is interrupted goes on where it stopped. With --from files are read that were downloaded as they\n" +
			"are published, and nobody is asked.\n\nExit status: 0 all was read, 3 some feeds could not be read (the others were).",
		Example: "  riskprofiler intel sync --data riskprofiler-data\n" +
			"  riskprofiler intel sync --data riskprofiler-data --feeds kev,epss\n" +
			"  riskprofiler intel sync --data riskprofiler-data --from feeds",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.do(c, func(ctx context.Context, conn grpc.ClientConnInterface, p printer) error {
				return f.sync(ctx, ingestv1.NewIngestServiceClient(conn), p, c.ErrOrStderr())
			})
		},
	}
	sync.Flags().StringSliceVar(&f.from, "from", nil, "read files and directories instead of asking the sources: zip, json, csv, gz as published")
	sync.Flags().StringSliceVar(&f.feeds, "feeds", nil, "only these feeds: kev, epss, cve, osv, osv/ECOSYSTEM, nvd (default RISKPROFILER_INTEL_FEEDS)")
	status := &cobra.Command{
		Use: "status", Short: "Say what is known, how old it is, and what went wrong", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.do(c, func(ctx context.Context, conn grpc.ClientConnInterface, p printer) error {
				return intelStatus(ctx, ingestv1.NewIngestServiceClient(conn), p)
			})
		},
	}
	parent.AddCommand(sync, status)
	return parent
}

// do runs a command against a running platform, or against one in this process that only serves this command.
func (f *intelFlags) do(c *cobra.Command, do func(ctx context.Context, conn grpc.ClientConnInterface, p printer) error) error {
	if f.data == "" {
		return f.run(c, nil, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			return do(ctx, conn, p)
		})
	}
	if f.output != "table" && f.output != "json" {
		return usage(fmt.Errorf("--output %q is not known; use table or json", f.output))
	}
	flags := platformFlags{data: f.data, listen: app.ListenOff}
	host, flush, err := flags.open(c.Context(), "riskprofiler", c.ErrOrStderr(), slog.LevelError)
	if err != nil {
		return usage(err)
	}
	defer flush()
	err = do(operator(c.Context(), localTenant), conn(host, "ingest"), printer{w: c.OutOrStdout(), json: f.output == "json"})
	if closeErr := host.Close(); err == nil {
		err = closeErr
	}
	var exit *exitError
	if err != nil && !errors.As(err, &exit) {
		if c.Context().Err() != nil {
			return &exitError{exitIncomplete, errors.New("interrupted; the next sync goes on where this one stopped")}
		}
		return usage(plain(err))
	}
	return err
}

// sync reads the feeds or the files, compiles, and says what came of it.
func (f *intelFlags) sync(ctx context.Context, client ingestv1.IngestServiceClient, p printer, stderr io.Writer) error {
	show := newSteps(stderr)
	defer show.end()
	req := &ingestv1.SyncIntelRequest{Feeds: f.feeds}
	if len(f.from) > 0 {
		if len(f.feeds) > 0 {
			return usage(errors.New("--from and --feeds do not go together: what files are is seen from what is in them"))
		}
		if err := f.files(ctx, client, show); err != nil {
			return err
		}
		req.CompileOnly = true
	}
	var problems []string
	var published *modelv1.IntelManifest
	for {
		res, err := client.SyncIntel(ctx, req)
		if err != nil {
			return err
		}
		if res.GetProblem() != "" {
			problems = append(problems, res.GetFeed()+": "+oneLine(res.GetProblem()))
		}
		if res.GetPublished() != nil {
			published = res.GetPublished()
		}
		show.step(res)
		if res.GetDone() {
			break
		}
		req = &ingestv1.SyncIntelRequest{Continuation: res.GetContinuation()}
		if err := pause(ctx, time.Duration(res.GetWaitMs())*time.Millisecond); err != nil {
			return err
		}
	}
	show.end()
	if err := printPublished(p, published); err != nil {
		return err
	}
	if len(problems) > 0 {
		return &exitError{exitIncomplete, fmt.Errorf("not everything could be read: %s", strings.Join(problems, "; "))}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(d, maxFeedPause)):
		return nil
	}
}

func printPublished(p printer, m *modelv1.IntelManifest) error {
	if p.json {
		if m == nil {
			m = &modelv1.IntelManifest{}
		}
		return p.line(m)
	}
	if m == nil {
		_, err := fmt.Fprintln(p.w, "nothing changed")
		return err
	}
	_, err := fmt.Fprintf(p.w, "snapshot %s: %d advisories, %d of them known to be exploited, %d products, %s\n",
		m.GetVersion(), m.GetAdvisories(), m.GetKev(), m.GetProducts(), mebibytes(m.GetBytes()))
	return err
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// files reads what --from names and hands it in.
func (f *intelFlags) files(ctx context.Context, client ingestv1.IngestServiceClient, show *steps) error {
	found, err := intel.Find(ctx, f.from, func(path, why string) { show.line(fmt.Sprintf("left out %s: %s", path, why)) })
	if err != nil {
		return usage(plain(err))
	}
	if len(found) == 0 {
		return usage(fmt.Errorf("there is no file of a feed in %s", strings.Join(f.from, ", ")))
	}
	for _, file := range found {
		records, skipped := 0, uint64(0)
		err := file.Read(ctx, func(req *ingestv1.ImportIntelRequest, fraction float64) error {
			records += int(req.GetAbout().GetRecords())
			skipped += req.GetAbout().GetSkipped()
			_, err := client.ImportIntel(ctx, req)
			show.show(req.GetFeed(), fmt.Sprintf("%d records read, %d things not understood", records, skipped), fraction)
			return err
		})
		if err != nil {
			return usage(plain(err))
		}
		show.line(fmt.Sprintf("read %s: %d records, %d things not understood", file, records, skipped))
	}
	return nil
}

func intelStatus(ctx context.Context, client ingestv1.IngestServiceClient, p printer) error {
	s, err := client.GetIntelStatus(ctx, &ingestv1.GetIntelStatusRequest{})
	if err != nil {
		return err
	}
	if p.json {
		return p.line(s)
	}
	if m := s.GetManifest(); m == nil {
		_, err = fmt.Fprintln(p.w, "no snapshot: run `riskprofiler intel sync`")
	} else {
		_, err = fmt.Fprintf(p.w, "snapshot %s of %s (%s ago): %d advisories, %d of them known to be exploited, %d products, %s\n", m.GetVersion(), when(m.GetCreated()),
			age(m.GetCreated().AsTime()), m.GetAdvisories(), m.GetKev(), m.GetProducts(), mebibytes(m.GetBytes()))
	}
	if err != nil {
		return err
	}
	if s.GetPending() > 0 {
		_, _ = fmt.Fprintf(p.w, "%d records were read and are not in it yet: `riskprofiler intel sync` goes on\n", s.GetPending())
	}
	schedule := "off: the feeds are read only by `riskprofiler intel sync` (RISKPROFILER_INTEL=on reads them on a schedule)"
	if s.GetEnabled() {
		schedule = "on"
	}
	_, _ = fmt.Fprintf(p.w, "schedule %s\n\n", schedule)
	if err := intelFeeds(p, s.GetFeeds()); err != nil {
		return err
	}
	if slices.ContainsFunc(s.GetFeeds(), func(f *modelv1.IntelFeed) bool { return f.GetName() == "nvd" && f.GetSynced() != nil }) {
		_, err = fmt.Fprintf(p.w, "\n%s\n", nvdNotice)
	}
	return err
}

// nvdNotice is what NVD asks programs to show: https://nvd.nist.gov/developers/terms-of-use
const nvdNotice = "This product uses the NVD API but is not endorsed or certified by the NVD."

func intelFeeds(p printer, feeds []*modelv1.IntelFeed) error {
	return list(p, feeds, column[*modelv1.IntelFeed]{"feed", (*modelv1.IntelFeed).GetName},
		column[*modelv1.IntelFeed]{"read", func(f *modelv1.IntelFeed) string {
			if f.GetSynced() == nil {
				return "never"
			}
			return age(f.GetSynced().AsTime()) + " ago"
		}},
		column[*modelv1.IntelFeed]{"its date", func(f *modelv1.IntelFeed) string {
			if f.GetDate() == nil {
				return "-"
			}
			return f.GetDate().AsTime().Format(time.DateOnly)
		}},
		column[*modelv1.IntelFeed]{"version", func(f *modelv1.IntelFeed) string { return dash(f.GetVersion()) }},
		column[*modelv1.IntelFeed]{"records", func(f *modelv1.IntelFeed) string { return fmt.Sprint(f.GetRecords()) }},
		column[*modelv1.IntelFeed]{"not understood", func(f *modelv1.IntelFeed) string { return fmt.Sprint(f.GetSkipped()) }},
		column[*modelv1.IntelFeed]{"problem", func(f *modelv1.IntelFeed) string { return dash(f.GetProblem()) }})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// age is how long ago t was, in the two largest units.
func age(t time.Time) string {
	d := max(time.Since(t), 0)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.Round(time.Second).String()
}

// steps shows how a sync goes: one line that is drawn again on a terminal, a line for each thing that is done elsewhere.
type steps struct {
	w     io.Writer
	file  *os.File
	drawn bool
	last  string
}

func newSteps(w io.Writer) *steps {
	s := &steps{w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.file = f
	}
	return s
}

func (s *steps) step(res *ingestv1.SyncIntelResponse) {
	if res.GetProblem() != "" {
		s.line(fmt.Sprintf("%s: %s", res.GetFeed(), oneLine(res.GetProblem())))
		return
	}
	what := res.GetFeed()
	if what == "" {
		what = "snapshot"
	}
	s.show(what, oneLine(res.GetStep()), res.GetFraction())
}

func (s *steps) show(what, text string, fraction float64) {
	line := what + ": " + text
	if fraction >= 0 {
		line = fmt.Sprintf("%s (%d %%)", line, int(fraction*100))
	}
	if s.file == nil {
		if line != s.last {
			_, _ = fmt.Fprintln(s.w, line)
		}
		s.last = line
		return
	}
	width := 80
	if w, _, err := term.GetSize(int(s.file.Fd())); err == nil && w > 20 {
		width = w
	}
	_, _ = fmt.Fprint(s.w, clearLine, cut(line, width-1))
	s.drawn = true
}

// line writes a line that stays.
func (s *steps) line(text string) {
	s.end()
	_, _ = fmt.Fprintln(s.w, oneLine(text))
}

// end clears what is drawn.
func (s *steps) end() {
	if s.drawn {
		_, _ = fmt.Fprint(s.w, clearLine)
	}
	s.drawn = false
}
