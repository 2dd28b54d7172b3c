package correlator

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// files are the shipped checks, one file for each family, and groups.yaml: the decisions that findings are grouped into.
//
//go:embed checks/*.yaml
var files embed.FS

const groupsFile = "checks/groups.yaml"

// check is one entry of the catalogue as it is written.
type check struct {
	ID          string   `yaml:"id"`
	Version     uint32   `yaml:"version"`
	Title       string   `yaml:"title"`
	Severity    string   `yaml:"severity"`
	Fact        string   `yaml:"fact"`
	Condition   string   `yaml:"condition"`
	Summary     string   `yaml:"summary"`
	Group       string   `yaml:"group"`
	Inferred    bool     `yaml:"inferred"`
	Description string   `yaml:"description"`
	Remediation string   `yaml:"remediation"`
	CWE         []string `yaml:"cwe"`
	// CVE are the known vulnerabilities that the check tests for: reports of other tools about them are evidence of its finding.
	CVE        []string `yaml:"cve"`
	References []string `yaml:"references"`
	Examples   examples `yaml:"examples"`

	severity modelv1.Severity
	compiled func() (*program, error)
	// custom: made by a tenant; what it may cost is limited.
	custom bool
}

// examples are facts on which the check holds and does not hold. They run as tests.
type examples struct {
	Holds []example `yaml:"holds"`
	Not   []example `yaml:"not"`
}

// example is a fact in protobuf's JSON form, with what lies around it where that matters.
type example struct {
	Fact  map[string]any `yaml:"fact"`
	Asset map[string]any `yaml:"asset"`
	// Others are the other observations of the asset, for checks that join.
	Others []map[string]any `yaml:"others"`
	// Observation and Intel, for checks over known vulnerabilities: an observation with its fact, and what intel knows.
	Observation map[string]any `yaml:"observation"`
	Intel       *exampleIntel  `yaml:"intel"`
	// Now is when the example is judged; 2026-11-01T00:00:00Z if unset.
	Now string `yaml:"now"`
}

// exampleIntel is vulnerability knowledge in protobuf's JSON form.
type exampleIntel struct {
	Products   []map[string]any `yaml:"products"`
	Advisories []map[string]any `yaml:"advisories"`
}

// group is a decision for a person.
type group struct {
	ID     string `yaml:"id"`
	Title  string `yaml:"title"`
	Action string `yaml:"action"`
	// Each is "rule" where findings of other tools are a decision for each rule of a tool.
	Each string `yaml:"each"`
}

// eachRule is the value of group.Each.
const eachRule = "rule"

// Catalogue is a set of checks.
type Catalogue struct {
	checks []*check
	byFact map[string][]*check
	byID   map[string]*check
	groups map[string]*group
	// off are the checks that a tenant switched off, unread those of its own that are not understood any more.
	off, unread map[string]bool
	// Version changes with every change of a check.
	Version string
}

// shipped is the catalogue in the binary; it is read when it is first needed, so that a cold start does not pay for it.
var shipped = sync.OnceValues(func() (*Catalogue, error) { return readCatalogue(files) })

// readCatalogue reads the checks below fsys and refuses what is wrong with the file and the check's id.
func readCatalogue(fsys fs.FS) (*Catalogue, error) {
	names, err := fs.Glob(fsys, "checks/*.yaml")
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "list checks")
	}
	c := newCatalogue()
	var groups []*group
	if err := readYAML(fsys, groupsFile, &groups); err != nil {
		return nil, err
	}
	for _, g := range groups {
		if c.groups[g.ID] != nil || g.ID == "" || g.Title == "" || g.Action == "" {
			return nil, fault.New(fault.Invalid, "read %s: group %q is named twice or lacks title or action", groupsFile, g.ID)
		}
		c.groups[g.ID] = g
	}
	for _, name := range names {
		if name == groupsFile {
			continue
		}
		var list []*check
		if err := readYAML(fsys, name, &list); err != nil {
			return nil, err
		}
		for _, k := range list {
			if err := c.add(k); err != nil {
				return nil, fault.Wrap(fault.Invalid, err, "read %s: check %q", name, k.ID)
			}
		}
	}
	slices.SortFunc(c.checks, func(a, b *check) int { return strings.Compare(a.ID, b.ID) })
	c.Version = versionOf(c.checks)
	return c, nil
}

func readYAML(fsys fs.FS, name string, into any) error {
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "read %s", name)
	}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		return fault.Wrap(fault.Invalid, err, "read %s", name)
	}
	return nil
}

func newCatalogue() *Catalogue {
	return &Catalogue{byFact: map[string][]*check{}, byID: map[string]*check{}, groups: map[string]*group{}, off: map[string]bool{}, unread: map[string]bool{}}
}

func (c *Catalogue) add(k *check) error {
	k.severity = modelv1.Severity(modelv1.Severity_value["SEVERITY_"+strings.ToUpper(k.Severity)])
	switch {
	case k.ID == "" || c.byID[k.ID] != nil:
		return fault.New(fault.Invalid, "the id is empty or used twice")
	case k.Version == 0:
		return fault.New(fault.Invalid, "version starts at 1")
	case k.severity == modelv1.Severity_SEVERITY_UNSPECIFIED:
		return fault.New(fault.Invalid, "severity %q is none of info, low, medium, high, critical", k.Severity)
	case facts[k.Fact] == nil:
		return fault.New(fault.Invalid, "fact %q is none of %s", k.Fact, strings.Join(slices.Sorted(maps.Keys(facts)), ", "))
	case c.groups[k.Group] == nil:
		return fault.New(fault.Invalid, "group %q is not in groups.yaml", k.Group)
	case k.Title == "" || k.Remediation == "" || k.Description == "" || k.Summary == "":
		return fault.New(fault.Invalid, "title, summary, description and remediation are needed")
	}
	c.byID[k.ID] = k
	k.compiled = sync.OnceValues(func() (*program, error) { return compile(k) })
	c.checks = append(c.checks, k)
	c.byFact[k.Fact] = append(c.byFact[k.Fact], k)
	return nil
}

func versionOf(checks []*check) string {
	var b strings.Builder
	for _, k := range checks {
		fmt.Fprintf(&b, "%s@%d;%s;%s;%s;", k.ID, k.Version, k.Severity, k.Condition, k.Group)
	}
	return hash(b.String())
}

// switchedOff says whether a check's findings go: the tenant switched it off, or removed a check of its own. A shipped check that left
// the catalogue is another thing: its findings stay as they are.
func (c *Catalogue) switchedOff(id string) bool {
	return c.off[id] || strings.HasPrefix(id, customPrefix) && c.byID[id] == nil && !c.unread[id]
}

// proto is the check as the contract shows it.
func (k *check) proto() *correlatorv1.Check {
	return &correlatorv1.Check{
		Id: k.ID, Version: k.Version, Title: k.Title, Severity: k.severity, Cwe: k.CWE, References: k.References,
		Name: checkName(k.ID), Summary: k.Summary, Custom: k.custom, Remediation: k.Remediation, Fact: k.Fact, Condition: k.Condition, Group: k.Group, Inferred: k.Inferred, Description: k.Description,
	}
}

// program is a compiled check.
type program struct {
	screen  screen
	holds   cel.Program
	summary cel.Program
	// joined are the scan types that the condition reads beside its fact's own.
	joined []modelv1.ScanType
}

// joined are the scan types that a check's condition reads beside its fact's own; none for a condition that does not compile.
func (k *check) joined() []modelv1.ScanType {
	p, err := k.compiled()
	if err != nil {
		return nil
	}
	return p.joined
}
