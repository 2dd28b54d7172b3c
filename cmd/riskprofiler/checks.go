package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
)

// maxCheckFile bounds a file with a check.
const maxCheckFile = 1 << 20

// checkFile is a check as it is written: the form of the shipped ones.
type checkFile struct {
	ID          string   `yaml:"id" json:"id"`
	Version     uint32   `yaml:"version" json:"-"`
	Title       string   `yaml:"title" json:"title"`
	Severity    string   `yaml:"severity" json:"severity"`
	Fact        string   `yaml:"fact" json:"fact"`
	Condition   string   `yaml:"condition" json:"condition"`
	Summary     string   `yaml:"summary" json:"summary"`
	Group       string   `yaml:"group" json:"group,omitempty"`
	Inferred    bool     `yaml:"inferred" json:"inferred,omitempty"`
	Description string   `yaml:"description" json:"description"`
	Remediation string   `yaml:"remediation" json:"remediation"`
	CWE         []string `yaml:"cwe" json:"cwe,omitempty"`
	References  []string `yaml:"references" json:"references,omitempty"`
	Examples    struct {
		Holds []checkExample `yaml:"holds"`
		Not   []checkExample `yaml:"not"`
	} `yaml:"examples" json:"-"`
}

type checkExample struct {
	Fact  map[string]any `yaml:"fact" json:"fact"`
	Asset map[string]any `yaml:"asset" json:"asset,omitempty"`
	// Others are the other observations of the asset, for checks that join.
	Others []map[string]any `yaml:"others" json:"others,omitempty"`
	Now    string           `yaml:"now" json:"now,omitempty"`
}

// readCheck reads a check from a file, or from standard input if it is "-".
func readCheck(path string, stdin io.Reader) (*correlatorv1.Check, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, usage(fmt.Errorf("--file: %w", err))
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxCheckFile+1))
	if err != nil {
		return nil, usage(fmt.Errorf("--file %s: %w", path, err))
	}
	if len(raw) > maxCheckFile {
		return nil, usage(fmt.Errorf("--file %s has more than %d bytes", path, maxCheckFile))
	}
	p, err := parseCheck(raw)
	if err != nil {
		return nil, usage(fmt.Errorf("--file %s: %w", path, err))
	}
	return p, nil
}

// parseCheck reads one check in YAML: alone, or as the only one of a list.
func parseCheck(raw []byte) (*correlatorv1.Check, error) {
	var list []checkFile
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&list); err != nil {
		var one checkFile
		d = yaml.NewDecoder(bytes.NewReader(raw))
		d.KnownFields(true)
		if err := d.Decode(&one); err != nil {
			return nil, fmt.Errorf("it is no check: %s", oneLine(err.Error()))
		}
		list = []checkFile{one}
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("it has %d checks; give one", len(list))
	}
	c := list[0]
	c.Severity = "SEVERITY_" + strings.ToUpper(c.Severity)
	head, err := json.Marshal(c)
	if err != nil {
		return nil, errors.New(oneLine(err.Error()))
	}
	p := &correlatorv1.Check{}
	if err := protojson.Unmarshal(head, p); err != nil {
		return nil, errors.New(oneLine(err.Error()))
	}
	if p.Holds, err = checkExamples(c.Examples.Holds); err == nil {
		p.NotHolds, err = checkExamples(c.Examples.Not)
	}
	return p, err
}

func checkExamples(list []checkExample) ([]*correlatorv1.CheckExample, error) {
	var out []*correlatorv1.CheckExample
	for i, e := range list {
		raw, err := json.Marshal(e)
		p := &correlatorv1.CheckExample{}
		if err == nil {
			err = protojson.Unmarshal(raw, p)
		}
		if err != nil {
			return nil, fmt.Errorf("example %d: %s", i+1, oneLine(err.Error()))
		}
		out = append(out, p)
	}
	return out, nil
}

// checkColumns are the columns of the list of checks.
var checkColumns = []column[*correlatorv1.Check]{
	{"check", (*correlatorv1.Check).GetId},
	{"severity", func(c *correlatorv1.Check) string { return enum(c.GetSeverity(), "SEVERITY_") }},
	{"fact", (*correlatorv1.Check).GetFact}, {"title", (*correlatorv1.Check).GetTitle},
	{"state", func(c *correlatorv1.Check) string {
		switch {
		case c.GetDisabled():
			return "off"
		case c.GetProblem() != nil:
			return "failing: " + c.GetProblem().GetMessage()
		}
		return "on"
	}},
}

func checkCommands() *cobra.Command {
	return family("checks", "List checks, and manage your own", func(add adder) {
		var own bool
		add("list", "List the shipped checks and your own", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			res, err := correlatorv1.NewCorrelatorServiceClient(conn).ListChecks(ctx, &correlatorv1.ListChecksRequest{})
			if err != nil {
				return err
			}
			var shown []*correlatorv1.Check
			for _, c := range res.GetChecks() {
				if c.GetCustom() || !own {
					shown = append(shown, c)
				}
			}
			return list(p, shown, checkColumns...)
		}, func(c *cobra.Command) { c.Flags().BoolVar(&own, "own", false, "only your own") })
		type onName func(ctx context.Context, client correlatorv1.CorrelatorServiceClient, name string) (*correlatorv1.Check, error)
		byName := func(use, short string, do onName) {
			add(use+" CHECK", short, cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
				c, err := do(ctx, correlatorv1.NewCorrelatorServiceClient(conn), named("checks", args[0]))
				if err != nil || c == nil {
					return err
				}
				return p.message(c)
			})
		}
		byName("show", "Show a check with its examples", func(ctx context.Context, c correlatorv1.CorrelatorServiceClient, name string) (*correlatorv1.Check, error) {
			return c.GetCheck(ctx, &correlatorv1.GetCheckRequest{Name: name})
		})
		byName("disable", "Switch a check off for your tenant; its findings go", func(ctx context.Context, c correlatorv1.CorrelatorServiceClient, name string) (*correlatorv1.Check, error) {
			return c.DisableCheck(ctx, &correlatorv1.DisableCheckRequest{Name: name})
		})
		byName("enable", "Switch a check on again", func(ctx context.Context, c correlatorv1.CorrelatorServiceClient, name string) (*correlatorv1.Check, error) {
			return c.EnableCheck(ctx, &correlatorv1.EnableCheckRequest{Name: name})
		})
		byName("delete", "Remove a check of your own (custom/NAME) with its findings", func(ctx context.Context, c correlatorv1.CorrelatorServiceClient, name string) (*correlatorv1.Check, error) {
			_, err := c.DeleteCheck(ctx, &correlatorv1.DeleteCheckRequest{Name: name})
			return nil, err
		})
		addFileCommands(add)
	})
}

// addFileCommands are the commands that take a check from a file.
func addFileCommands(add adder) {
	type onCheck func(ctx context.Context, client correlatorv1.CorrelatorServiceClient, c *correlatorv1.Check, p printer) error
	fromFile := func(use, short string, do onCheck) {
		var path string
		var stdin io.Reader
		add(use, short, cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			c, err := readCheck(path, stdin)
			if err != nil {
				return err
			}
			return do(ctx, correlatorv1.NewCorrelatorServiceClient(conn), c, p)
		}, func(c *cobra.Command) {
			c.Flags().StringVarP(&path, "file", "f", "", "the check in YAML, as the shipped ones are written; - is standard input (required)")
			_ = c.MarkFlagRequired("file")
			stdin = c.InOrStdin()
		})
	}
	fromFile("create", "Add a check of your own; its examples run first", func(ctx context.Context, client correlatorv1.CorrelatorServiceClient, c *correlatorv1.Check, p printer) error {
		made, err := client.CreateCheck(ctx, &correlatorv1.CreateCheckRequest{Check: c})
		if err != nil {
			return err
		}
		return list(p, []*correlatorv1.Check{made}, checkColumns...)
	})
	fromFile("update", "Replace a check of your own", func(ctx context.Context, client correlatorv1.CorrelatorServiceClient, c *correlatorv1.Check, p printer) error {
		c.Name = "checks/custom/" + strings.TrimPrefix(c.GetId(), "custom/")
		made, err := client.UpdateCheck(ctx, &correlatorv1.UpdateCheckRequest{Check: c})
		if err != nil {
			return err
		}
		return list(p, []*correlatorv1.Check{made}, checkColumns...)
	})
	fromFile("test", "Try a check and its examples without storing it", func(ctx context.Context, client correlatorv1.CorrelatorServiceClient, c *correlatorv1.Check, p printer) error {
		res, err := client.TestCheck(ctx, &correlatorv1.TestCheckRequest{Check: c})
		if err != nil {
			return err
		}
		if p.json {
			return p.line(res)
		}
		for i, s := range res.GetSummaries() {
			_, _ = fmt.Fprintf(p.w, "example %d holds: %s\n", i+1, oneLine(s))
		}
		_, err = fmt.Fprintf(p.w, "it may cost %d of %d on a large fact\n", res.GetEstimatedCost(), res.GetMaxCost())
		return err
	})
}
