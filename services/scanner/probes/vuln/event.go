package vuln

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// event is what is read of one line of nuclei's JSONL (pkg/output/output.go of nuclei v3.11.1, ResultEvent).
type event struct {
	TemplateID string   `json:"template-id"`
	Info       info     `json:"info"`
	Matcher    string   `json:"matcher-name"`
	Extractor  string   `json:"extractor-name"`
	Type       string   `json:"type"`
	MatchedAt  string   `json:"matched-at"`
	Extracted  listed   `json:"extracted-results"`
	Status     *bool    `json:"matcher-status"`
	Error      string   `json:"error"`
	raw        []byte   // the line
	at         *url.URL // MatchedAt
}

// info is the template's account of itself.
type info struct {
	Name           string `json:"name"`
	Description    string `json:"description"`
	Severity       string `json:"severity"`
	Tags           listed `json:"tags"`
	Reference      listed `json:"reference"`
	Classification struct {
		CVE listed `json:"cve-id"`
		CWE listed `json:"cwe-id"`
	} `json:"classification"`
}

// listed is a list of texts that may be written as one text, or null.
type listed []string

// maxListed bounds a list; a template has a handful of each.
const maxListed = 64

// UnmarshalJSON reads a list, a text with commas, or null.
func (l *listed) UnmarshalJSON(text []byte) error {
	var one string
	switch {
	case string(text) == "null":
		return nil
	case len(text) > 0 && text[0] == '"':
		if err := json.Unmarshal(text, &one); err != nil {
			return err
		}
		for _, part := range strings.Split(one, ",") {
			if part = strings.TrimSpace(part); part != "" && len(*l) < maxListed {
				*l = append(*l, part)
			}
		}
		return nil
	}
	var many []string
	if err := json.Unmarshal(text, &many); err != nil {
		return err
	}
	*l = many[:min(len(many), maxListed)]
	return nil
}

var (
	// templateForm is what ids of templates look like (nuclei: "^([a-zA-Z0-9]+[-_])*[a-zA-Z0-9]+$"), and a little more.
	templateForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`) })
	cveForm      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?i:CVE)-[0-9]{4}-[0-9]{4,7}$`) })
	cweForm      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?i:CWE)-[0-9]{1,5}$`) })
)

// errNoResult is a line that is well formed and reports nothing.
var errNoResult = errors.New("no result")

// parseEvent reads one line strictly: what is no result of a template about at is an error, and errNoResult what reports nothing.
func parseEvent(line []byte, at place) (*event, error) {
	if !utf8.Valid(line) {
		return nil, errors.New("not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	e := &event{}
	if err := decoder.Decode(e); err != nil {
		return nil, fmt.Errorf("no JSON object: %w", err)
	}
	if decoder.More() {
		return nil, errors.New("more than one value in a line")
	}
	if !templateForm().MatchString(e.TemplateID) {
		return nil, errors.New("no template id")
	}
	if e.Error != "" || e.Status != nil && !*e.Status {
		return nil, errNoResult
	}
	if e.Type != "http" {
		return nil, errors.New("of another protocol than http")
	}
	if severityOf(e.Info.Severity) == 0 {
		return nil, errors.New("no severity")
	}
	var err error
	if e.at, err = at.holds(e.MatchedAt); err != nil {
		return nil, err
	}
	e.raw = bytes.Clone(line)
	return e, nil
}

// holds reads where something was matched, which must be at the place: nothing is reported about somebody else.
func (p place) holds(matched string) (*url.URL, error) {
	if len(matched) > 8<<10 {
		return nil, errors.New("matched at a place that is too long")
	}
	if !strings.Contains(matched, "://") {
		matched = "//" + matched
	}
	at, err := url.Parse(matched)
	if err != nil || at.Hostname() == "" {
		return nil, errors.New("matched at no place")
	}
	host := strings.ToLower(strings.TrimSuffix(at.Hostname(), "."))
	if addr, err := netip.ParseAddr(host); err == nil && addr.Unmap() == p.addr {
		return at, nil
	}
	if host != strings.ToLower(p.host) && net.ParseIP(host).String() != p.host {
		return nil, errors.New("matched at another host")
	}
	return at, nil
}

// output takes what the engine writes, line by line, within its bounds. It is the engine's standard output.
type output struct {
	limits limits
	place  place
	// stop ends the engine.
	stop func()

	events []*event
	seen   map[string]bool
	bad    int
	full   string // which bound was reached
	bytes  int64
	lines  int
	part   []byte // a line that has not ended
	skip   bool   // the line is too long
}

// Write never fails before a bound is reached.
func (o *output) Write(b []byte) (int, error) {
	if o.full != "" {
		return 0, errors.New(o.full)
	}
	n := len(b)
	if o.bytes += int64(n); o.bytes > o.limits.outputBytes {
		return 0, o.reached(fmt.Sprintf("nuclei wrote more than %d MiB and was ended", o.limits.outputBytes>>20))
	}
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if b = rest; len(o.part)+len(line) > o.limits.lineBytes {
			o.part, o.skip = nil, true
		}
		if !o.skip {
			o.part = append(o.part, line...)
		}
		if whole {
			o.line()
		}
		if o.full != "" {
			return 0, errors.New(o.full)
		}
	}
	return n, nil
}

// end takes the last line, where nothing ended it.
func (o *output) end() {
	if len(o.part) > 0 || o.skip {
		o.line()
	}
}

func (o *output) reached(bound string) error {
	o.full = bound
	if o.stop != nil {
		o.stop()
	}
	return errors.New(bound)
}

// line takes a whole line.
func (o *output) line() {
	line := bytes.TrimSpace(o.part)
	skipped := o.skip
	o.part, o.skip = o.part[:0], false
	if o.lines++; o.lines > o.limits.lines {
		_ = o.reached(fmt.Sprintf("nuclei wrote more than %d lines and was ended", o.limits.lines))
		return
	}
	if skipped {
		o.bad++
		return
	}
	if len(line) == 0 {
		return
	}
	e, err := parseEvent(line, o.place)
	switch {
	case errors.Is(err, errNoResult):
	case err != nil:
		o.bad++
	case o.seen[e.key()]:
	case len(o.events) >= o.limits.events:
		_ = o.reached(fmt.Sprintf("nuclei found more than %d weaknesses at one place, which is a trap or a fault, and was ended", o.limits.events))
	default:
		if o.seen == nil {
			o.seen = map[string]bool{}
		}
		o.seen[e.key()] = true
		o.events = append(o.events, e)
	}
}
