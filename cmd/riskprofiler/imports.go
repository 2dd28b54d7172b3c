package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

const (
	// importPart is how much of a report is uploaded at a time: what the contract takes.
	importPart = 1 << 20
	// followImportEvery is how often an import is looked at.
	followImportEvery = 200 * time.Millisecond
	// shownProblems is how many problems are printed when an import ends.
	shownProblems = 20
)

// importFlags are what an import is told beside its file.
type importFlags struct {
	format, asset string
	add           bool
}

func newImport() *cobra.Command {
	var f clientFlags
	var flags importFlags
	c := &cobra.Command{
		Use: "import FILE", Short: "Import a report of another tool, or a list of assets", Args: cobra.ExactArgs(1),
		Long: "Import a report of nmap (XML), nuclei (JSONL), testssl.sh, SSLyze, Trivy, Prowler, ZAP, any tool that writes SARIF, OCSF or ASFF, or a CSV list of assets.\n\n" +
			"What a report says about assets that are not yours is not taken, and what was not understood is listed by line. FILE may be - for standard input.",
		Example: "  riskprofiler import scan.xml\n" +
			"  riskprofiler import trivy.json --asset www.example.com\n" +
			"  riskprofiler import inventory.csv",
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c, args, func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
				return importFile(ctx, ingestv1.NewIngestServiceClient(conn), args[0], flags, p, c.InOrStdin(), c.ErrOrStderr())
			})
		},
	}
	f.add(c)
	c.Flags().StringVar(&flags.format, "format", "", "nmap, nuclei, sarif, ocsf, asff, testssl, sslyze, trivy, prowler, zap or csv; told from the content if left out")
	c.Flags().StringVar(&flags.asset, "asset", "", "the asset that records belong to which name none, such as the host that runs a scanned image")
	c.Flags().BoolVar(&flags.add, "add-assets", false, "add assets of the report that are unknown, as seeds that nobody has verified")
	return c
}

// importFile uploads a report and follows it until it is read.
func importFile(ctx context.Context, client ingestv1.IngestServiceClient, path string, flags importFlags, p printer, stdin io.Reader, stderr io.Writer) error {
	in, file := stdin, ""
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return usage(fmt.Errorf("cannot read %s: %w", path, bare(err)))
		}
		defer func() { _ = f.Close() }()
		in, file = f, filepath.Base(path)
	}
	asset, err := assetName(flags.asset)
	if err != nil {
		return usage(err)
	}
	i, err := client.CreateImport(ctx, &ingestv1.CreateImportRequest{Import: &ingestv1.Import{
		Format: strings.ToLower(flags.format), File: strings.ToValidUTF8(file, ""), Asset: asset, AddAssets: flags.add,
	}})
	if err != nil {
		return err
	}
	if i, err = upload(ctx, client, i.GetName(), in, stderr); err != nil {
		return err
	}
	if i, err = followImport(ctx, client, i, stderr); err != nil {
		return err
	}
	if err := showProblems(ctx, client, i, stderr); err != nil {
		return err
	}
	if err := p.message(i); err != nil {
		return err
	}
	if i.GetState() == ingestv1.Import_STATE_FAILED {
		return &exitError{exitIncomplete, fmt.Errorf("%s: %s; what came before is imported", path, i.GetError())}
	}
	return nil
}

// assetName is the resource name of an asset that is named as people do.
func assetName(text string) (string, error) {
	if text == "" || strings.HasPrefix(text, "assets/") {
		return text, nil
	}
	t, err := target.Parse(text)
	if err != nil {
		return "", err
	}
	return assetid.Name(int32(t.Kind), t.Value), nil
}

func upload(ctx context.Context, client ingestv1.IngestServiceClient, name string, in io.Reader, stderr io.Writer) (*ingestv1.Import, error) {
	buffer := make([]byte, importPart)
	for part := uint32(0); ; part++ {
		n, err := io.ReadFull(in, buffer)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, usage(fmt.Errorf("read the report: %w", bare(err)))
		}
		if n == 0 && part == 0 {
			return nil, usage(errors.New("the report is empty"))
		}
		if n == 0 {
			return client.StartImport(ctx, &ingestv1.StartImportRequest{Name: name, Parts: part})
		}
		if _, err := client.UploadImportPart(ctx, &ingestv1.UploadImportPartRequest{Name: name, Part: part, Content: buffer[:n]}); err != nil {
			return nil, err
		}
		if part > 0 {
			_, _ = fmt.Fprintf(stderr, "uploaded %d MiB\n", part+1)
		}
	}
}

// followImport says how far it is until it has ended.
func followImport(ctx context.Context, client ingestv1.IngestServiceClient, i *ingestv1.Import, stderr io.Writer) (*ingestv1.Import, error) {
	told := uint64(0)
	for i.GetState() == ingestv1.Import_STATE_RUNNING {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(followImportEvery):
		}
		var err error
		if i, err = client.GetImport(ctx, &ingestv1.GetImportRequest{Name: i.GetName()}); err != nil {
			return nil, err
		}
		if i.GetHandled() != told {
			told = i.GetHandled()
			_, _ = fmt.Fprintf(stderr, "%d records read, %d facts stored, %d problems\n", told, i.GetFacts(), i.GetProblems())
		}
	}
	return i, nil
}

func showProblems(ctx context.Context, client ingestv1.IngestServiceClient, i *ingestv1.Import, stderr io.Writer) error {
	if i.GetProblems() == 0 {
		return nil
	}
	res, err := client.ListImportProblems(ctx, &ingestv1.ListImportProblemsRequest{Import: i.GetName(), PageSize: shownProblems})
	if err != nil {
		return err
	}
	for _, problem := range res.GetProblems() {
		_, _ = fmt.Fprintf(stderr, "line %d: %s\n", problem.GetLine(), oneLine(problem.GetProblem()))
	}
	if more := i.GetProblems() - uint64(len(res.GetProblems())); more > 0 {
		_, _ = fmt.Fprintf(stderr, "and %d more: riskprofiler imports problems %s\n", more, i.GetName())
	}
	return nil
}

func importCommands() *cobra.Command {
	return family("imports", "List imports and their problems", func(add adder) {
		add("list", "List imports, newest first", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			found, err := all(func(token string) ([]*ingestv1.Import, string, error) {
				res, err := ingestv1.NewIngestServiceClient(conn).ListImports(ctx, &ingestv1.ListImportsRequest{PageSize: pageSize, PageToken: token})
				return res.GetImports(), res.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return list(p, found,
				column[*ingestv1.Import]{"import", (*ingestv1.Import).GetName}, column[*ingestv1.Import]{"file", (*ingestv1.Import).GetFile},
				column[*ingestv1.Import]{"format", (*ingestv1.Import).GetFormat},
				column[*ingestv1.Import]{"state", func(i *ingestv1.Import) string { return enum(i.GetState(), "STATE_") }},
				column[*ingestv1.Import]{"facts", func(i *ingestv1.Import) string { return fmt.Sprint(i.GetFacts()) }},
				column[*ingestv1.Import]{"problems", func(i *ingestv1.Import) string { return fmt.Sprint(i.GetProblems()) }},
				column[*ingestv1.Import]{"created", func(i *ingestv1.Import) string { return when(i.GetCreateTime()) }},
			)
		})
		add("get IMPORT", "Show one import with its progress", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			i, err := ingestv1.NewIngestServiceClient(conn).GetImport(ctx, &ingestv1.GetImportRequest{Name: args[0]})
			if err != nil {
				return err
			}
			return p.message(i)
		})
		add("problems IMPORT", "List what was not understood or not taken, by line", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			found, err := all(func(token string) ([]*ingestv1.ReportProblem, string, error) {
				res, err := ingestv1.NewIngestServiceClient(conn).ListImportProblems(ctx, &ingestv1.ListImportProblemsRequest{Import: args[0], PageSize: pageSize, PageToken: token})
				return res.GetProblems(), res.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return list(p, found,
				column[*ingestv1.ReportProblem]{"line", func(r *ingestv1.ReportProblem) string { return fmt.Sprint(r.GetLine()) }},
				column[*ingestv1.ReportProblem]{"problem", (*ingestv1.ReportProblem).GetProblem},
			)
		})
	})
}
