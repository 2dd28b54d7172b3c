package stacks

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/assertions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/jsii-runtime-go"

	"github.com/riskprofiler/riskprofiler/deploy/archive"
	"github.com/riskprofiler/riskprofiler/deploy/plan"
)

// full and plain are two deployments: with everything that can be chosen, and with nothing.
var full, plain deployment

// deployment is a synthesised app.
type deployment struct {
	config    Config
	services  []plan.Service
	templates map[string]template
	faults    []string
	manifest  map[string]any
}

// template is one stack's CloudFormation.
type template struct {
	Resources  map[string]resource
	Parameters map[string]any
}

type resource struct {
	Type         string
	Properties   map[string]any
	Metadata     map[string]any
	DependsOn    any
	UpdatePolicy string
	// DeletionPolicy is Retain or Delete.
	DeletionPolicy string
}

func TestMain(m *testing.M) {
	code := 1
	if err := synthesize(); err != nil {
		fmt.Fprintln(os.Stderr, "synthesise:", err)
	} else {
		code = m.Run()
	}
	jsii.Close()
	os.Exit(code)
}

func synthesize() error {
	services, err := plan.Services()
	if err != nil {
		return err
	}
	assets, err := archive.Placeholders(services)
	if err != nil {
		return err
	}
	defer os.RemoveAll(assets)
	for into, given := range map[*deployment]map[string]string{
		&full: {
			"prefix": "rp-test", "issuer": "https://issuer.example/pool", "audience": "console", "tenantClaim": "tenant", "provisioned": "2", "edgeConcurrency": "50", "arch": "amd64",
			"scanConcurrency": "300", "rate": "70", "burst": "90", "logDays": "14",
		},
		&plain: {},
	} {
		given["assets"] = assets
		c, err := Read(func(name string) string { return given[name] })
		if err != nil {
			return err
		}
		if *into, err = synthesizeOne(c, services); err != nil {
			return err
		}
	}
	return nil
}

func synthesizeOne(c Config, services []plan.Service) (deployment, error) {
	d := deployment{config: c, services: services, templates: map[string]template{}}
	dir, err := os.MkdirTemp("", "riskprofiler-synth-")
	if err != nil {
		return d, err
	}
	defer os.RemoveAll(dir)
	app := awscdk.NewApp(&awscdk.AppProps{AnalyticsReporting: jsii.Bool(false), Outdir: jsii.String(dir)})
	list := Add(app, c, services)
	app.Synth(nil)
	for _, s := range list {
		var t template
		if err := readJSON(filepath.Join(dir, *s.TemplateFile()), &t); err != nil {
			return d, err
		}
		d.templates[strings.TrimPrefix(*s.StackName(), c.Prefix+"-")] = t
		d.faults = append(d.faults, faultsOf(s)...)
	}
	return d, readJSON(filepath.Join(dir, "manifest.json"), &d.manifest)
}

func faultsOf(s awscdk.Stack) []string {
	var out []string
	for _, e := range *assertions.Annotations_FromStack(s).FindWarning(jsii.String("*"), assertions.Match_AnyValue()) {
		out = append(out, fmt.Sprint(*e.Id, ": ", e.Entry.Data)) //nolint:staticcheck // SA1019: its new home has no Go module
	}
	return append(out, Faults(s)...)
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// of are the resources of a type in a stack, by logical id.
func (t template) of(kind string) map[string]resource {
	out := map[string]resource{}
	for id, r := range t.Resources {
		if r.Type == kind {
			out[id] = r
		}
	}
	return out
}

// at walks through properties by names and numbers; nil where there is nothing.
func at(v any, path ...any) any {
	for _, p := range path {
		switch key := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[key]
		case int:
			list, _ := v.([]any)
			if key >= len(list) {
				return nil
			}
			v = list[key]
		}
	}
	return v
}

func both(t *testing.T, check func(t *testing.T, d deployment)) {
	t.Helper()
	t.Run("full", func(t *testing.T) { check(t, full) })
	t.Run("plain", func(t *testing.T) { check(t, plain) })
}

// Every stack passes the rules of cdk-nag, and no construct warns.
func TestNagFindsNothing(t *testing.T) {
	both(t, func(t *testing.T, d deployment) {
		for _, fault := range d.faults {
			t.Error(fault)
		}
	})
}

// The rules are awake: a stack with a naked queue is found.
func TestNagFindsSomething(t *testing.T) {
	app := awscdk.NewApp(&awscdk.AppProps{AnalyticsReporting: jsii.Bool(false), Outdir: jsii.String(t.TempDir())})
	stack := awscdk.NewStack(app, jsii.String("naked"), nil)
	awssqs.NewQueue(stack, jsii.String("queue"), nil)
	judge(app)
	app.Synth(nil)
	found := strings.Join(faultsOf(stack), "\n")
	for _, rule := range []string{"AwsSolutions-SQS3", "AwsSolutions-SQS4"} {
		if !strings.Contains(found, rule) {
			t.Errorf("%s was not reported", rule)
		}
	}
}

// Every reason for an exception says something.
func TestSuppressionsHaveReasons(t *testing.T) {
	seen := 0
	for stack, tpl := range full.templates {
		for id, r := range tpl.Resources {
			rules, _ := at(r.Metadata, "cdk_nag", "rules_to_suppress").([]any)
			for _, rule := range rules {
				seen++
				if why, _ := at(rule, "reason").(string); len(why) < 40 {
					t.Errorf("%s %s: %v is suppressed because %q", stack, id, at(rule, "id"), why)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no suppression was seen: does this test look in the right place?")
	}
}

// One stack for each service and the shared one; no stack waits for another or imports from it.
func TestStacksStandAlone(t *testing.T) {
	want := map[string]bool{"shared": true}
	for _, s := range full.services {
		want[s.Name] = true
	}
	for name := range full.templates {
		if !want[name] {
			t.Errorf("stack %s belongs to no service", name)
		}
	}
	if len(full.templates) != len(want) {
		t.Errorf("%d stacks, want %d", len(full.templates), len(want))
	}
	for name, tpl := range full.templates {
		data, err := json.Marshal(tpl)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "Fn::ImportValue") {
			t.Errorf("stack %s imports from another", name)
		}
		if len(data) > 1<<20 {
			t.Errorf("stack %s has %d bytes, more than CloudFormation takes", name, len(data))
		}
		if n := len(tpl.Resources); n > 500 {
			t.Errorf("stack %s has %d resources, more than CloudFormation takes", name, n)
		}
	}
	artifacts, _ := full.manifest["artifacts"].(map[string]any)
	for name, a := range artifacts {
		if at(a, "type") != "aws:cloudformation:stack" {
			continue
		}
		deps, _ := at(a, "dependencies").([]any)
		for _, dep := range deps {
			if !strings.HasSuffix(fmt.Sprint(dep), ".assets") {
				t.Errorf("stack %s waits for %v", name, dep)
			}
		}
	}
}
