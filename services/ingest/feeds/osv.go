package feeds

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// maxLinks is the most CVEs that one OSV record may be about: the largest advisories on the Linux kernel have several hundred.
const maxLinks = 1000

// maxModifiedBytes bounds modified_id.csv; the largest ecosystem's has 60 MB.
const maxModifiedBytes = 512 << 20

// osvRecord is what is read of an OSV record: https://ossf.github.io/osv-schema/
type osvRecord struct {
	ID        string        `json:"id"`
	Modified  string        `json:"modified"`
	Published string        `json:"published"`
	Withdrawn string        `json:"withdrawn"`
	Aliases   []string      `json:"aliases"`
	Upstream  []string      `json:"upstream"`
	Summary   string        `json:"summary"`
	Details   string        `json:"details"`
	Severity  []osvSeverity `json:"severity"`
	Affected  []osvAffected `json:"affected"`
	Refs      []struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	} `json:"references"`
}

type osvSeverity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type osvAffected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Ranges []struct {
		Type   string `json:"type"`
		Events []struct {
			Introduced   string `json:"introduced"`
			Fixed        string `json:"fixed"`
			LastAffected string `json:"last_affected"`
			Limit        string `json:"limit"`
		} `json:"events"`
	} `json:"ranges"`
	Versions []string `json:"versions"`
}

// repeats are advisories of distributions that repeat, for several CVEs together, what the same export says for each of them.
var repeats = []string{"DSA-", "DLA-", "DTSA-", "USN-", "LSN-"}

// ReadOSV reads one OSV record: one record for each CVE that it is about, or one of its own if it names none, and the list of
// them. Reports of malicious packages (MAL-) and advisories that only repeat records of the same export are left out.
func ReadOSV(raw []byte, label string, out Out) error {
	var r osvRecord
	problem, err := decode(raw, &r)
	if err != nil {
		out.Skip(label, err.Error())
		return nil
	}
	modified := parseTime(r.Modified)
	if !ValidID(r.ID) || modified == nil {
		out.Skip(label, "it is no OSV record: it has no id or no date of its last change")
		return nil
	}
	if !Wanted(r.ID) {
		return nil
	}
	if problem != "" {
		out.Skip(r.ID, problem)
	}
	links := r.links(out)
	rec := r.record(out)
	rec.Modified = modified
	home := &ingestv1.IntelRecord{Id: r.ID, Feed: FeedLinks, Advisory: r.ID, Parser: ParserVersion, Modified: modified, Links: links}
	if err := out.Record(home); err != nil {
		return err
	}
	for _, advisory := range links {
		one := rec
		if len(links) > 1 {
			one = proto.CloneOf(rec)
		}
		one.Advisory = advisory
		if err := out.Record(one); err != nil {
			return err
		}
	}
	return nil
}

// Wanted says whether a record with this id is read at all: see ReadOSV.
func Wanted(id string) bool {
	return !strings.HasPrefix(id, "MAL-") && !slices.ContainsFunc(repeats, func(p string) bool { return strings.HasPrefix(id, p) })
}

// links are the advisories that the record is about: its CVEs, or itself.
func (r *osvRecord) links(out Out) []string {
	var links []string
	for _, id := range append(append([]string{r.ID}, r.Aliases...), r.Upstream...) {
		if ValidCVE(id) {
			links = appendNew(links, id, maxLinks+1)
		}
	}
	if len(links) == 0 {
		// "DEBIAN-CVE-2026-1234" names it in its own id.
		if i := strings.Index(r.ID, "CVE-"); i > 0 && ValidCVE(r.ID[i:]) {
			links = []string{r.ID[i:]}
		}
	}
	if len(links) > maxLinks {
		out.Skip(r.ID, "it is about more than 1000 CVEs")
		links = links[:maxLinks]
	}
	if len(links) == 0 {
		links = []string{r.ID}
	}
	slices.Sort(links)
	return links
}

func (r *osvRecord) record(out Out) *ingestv1.IntelRecord {
	rec := &ingestv1.IntelRecord{
		Id: r.ID, Feed: FeedOSV, Parser: ParserVersion, Withdrawn: r.Withdrawn != "", Published: parseTime(r.Published),
		Title: clean(r.Summary, maxTitle),
	}
	if rec.GetTitle() == "" {
		rec.Title = clean(r.Details, maxTitle)
	}
	for _, alias := range append([]string{r.ID}, r.Aliases...) {
		if ValidID(alias) {
			rec.Aliases = appendNew(rec.Aliases, alias, maxIDs)
		}
	}
	c := &collector{record: r.ID, out: out}
	for _, s := range r.Severity {
		if !strings.HasPrefix(s.Type, "CVSS_") {
			continue // "Ubuntu" and others are words of their own, no scores
		}
		if v, ok := score(s.Score, "osv"); ok {
			rec.Cvss = appendScore(rec.Cvss, v)
		} else {
			c.skip("CVSS vector " + clean(s.Score, 80))
		}
	}
	var refs []*ingestv1.IntelReference
	for _, ref := range r.Refs {
		refs = append(refs, reference(ref.URL, rank([]string{ref.Type})))
	}
	rec.References = references(refs)
	if !rec.GetWithdrawn() {
		for _, a := range r.Affected {
			a.into(c)
		}
		rec.Affected = c.list
	}
	return rec
}

// ecosystem is how versions of an ecosystem compare: https://ossf.github.io/osv-schema/#defined-ecosystems
func ecosystemScheme(ecosystem string) string {
	family, _, _ := strings.Cut(ecosystem, ":")
	switch family {
	case "Debian", "Ubuntu", "Echo":
		return "deb"
	case "Alpine", "Wolfi", "Chainguard", "Alpaquita", "MinimOS":
		return "apk"
	case "Red Hat", "AlmaLinux", "Rocky Linux", "SUSE", "openSUSE", "openEuler", "Mageia", "Azure Linux":
		return "rpm"
	case "npm", "Go", "crates.io", "Hex", "Pub", "SwiftURL", "NuGet":
		return "semver"
	}
	return "generic"
}

// into adds the ranges of one package. An ecosystem's single versions repeat its ranges and count only where there are none.
func (a *osvAffected) into(c *collector) {
	ecosystem, pkg := clean(a.Package.Ecosystem, 80), clean(a.Package.Name, 200)
	if ecosystem == "" || pkg == "" || strings.Contains(ecosystem, "/") {
		if len(a.Ranges) > 0 && a.Ranges[0].Type != "GIT" {
			c.skip("an affected package without a name")
		}
		return
	}
	key, scheme := ecosystem+"/"+pkg, ecosystemScheme(ecosystem)
	ranged := false
	for _, r := range a.Ranges {
		if r.Type == "GIT" {
			continue
		}
		s := scheme
		if r.Type == "SEMVER" {
			s = "semver"
		}
		var open *modelv1.Affected
		for _, e := range r.Events {
			v, ok := cleanVersion(e.Introduced + e.Fixed + e.LastAffected + e.Limit)
			if !ok {
				c.skip("a version of " + key)
				continue
			}
			switch {
			case e.Introduced != "":
				if open != nil {
					c.add(key, open)
				}
				if v == "0" {
					v = ""
				}
				open = &modelv1.Affected{Scheme: s, Introduced: v, Sources: []string{"osv"}}
			case open == nil:
				c.skip("an end without a beginning of " + key)
			case e.Fixed != "" || e.Limit != "":
				open.Fixed = v
				c.add(key, open)
				open, ranged = nil, true
			case e.LastAffected != "":
				open.LastAffected = v
				c.add(key, open)
				open, ranged = nil, true
			}
		}
		if open != nil {
			c.add(key, open)
			ranged = true
		}
	}
	if ranged {
		return
	}
	for _, text := range a.Versions {
		if v, ok := cleanVersion(text); ok {
			c.add(key, &modelv1.Affected{Scheme: scheme, Versions: []string{v}, Sources: []string{"osv"}})
		} else {
			c.skip("a version of " + key)
		}
	}
}

// ReadModified reads modified_id.csv: a line is the time at which a record changed and its id, newest first. What is no such line
// is passed over, unless all are.
func ReadModified(r io.Reader, yield func(id string, modified time.Time) error) error {
	lines := &lineReader{r: bufio.NewReaderSize(r, 64<<10), limit: maxModifiedBytes}
	good, bad := 0, 0
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		text, id, _ := strings.Cut(line, ",")
		// The list of all ecosystems has the ecosystem before the id.
		id = strings.TrimSpace(id[strings.LastIndexByte(id, '/')+1:])
		modified := parseTime(strings.TrimSpace(text))
		if modified == nil || !ValidID(id) {
			bad++
			continue
		}
		good++
		if err := yield(id, modified.AsTime()); err != nil {
			return err
		}
	}
	if good == 0 || bad > good {
		return refuse("it is no list of times and ids: %d lines are, %d are not", good, bad)
	}
	return nil
}
