package render_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	"github.com/riskprofiler/riskprofiler/services/reporter/render"
)

// TestHostileTextIsDeadEverywhere puts every payload in every string field of a document, in turn, and looks whether any
// format does more with it than show it.
func TestHostileTextIsDeadEverywhere(t *testing.T) {
	all := payloads()
	if len(all) < 500 {
		t.Fatalf("%d payloads, want at least 500", len(all))
	}
	for i := range all {
		if testing.Short() && i%17 != 0 {
			continue // one goroutine renders: the race detector, which asks for the short run, learns nothing from every payload
		}
		keeps := map[string]func(protoreflect.FieldDescriptor) bool{"linked": links}
		if i%len(wrappers) == 0 {
			keeps["loose"] = func(protoreflect.FieldDescriptor) bool { return false }
		}
		for name, keep := range keeps {
			doc := richDocument()
			fields := poison(doc.ProtoReflect(), func() string { return all[i] }, keep)
			if fields < 200 {
				t.Fatalf("%d fields were poisoned, want at least 200", fields)
			}
			for sink, check := range sinks {
				if err := check(doc); err != nil {
					t.Errorf("%s, payload %q, %s: %v", sink, all[i], name, err)
				}
			}
		}
	}
}

var sinks = map[string]func(*reporterv1.ReportDocument) error{"JSON": deadJSON, "CSV": deadCSV, "SARIF": deadSARIF, "HTML": deadHTML, "terminal": deadTable}

// unseen are the characters that may be in no output: they steer what shows it.
func unseen(raw []byte, allowed string) error {
	for _, r := range string(raw) {
		if strings.ContainsRune(allowed, r) {
			continue
		}
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp, unicode.Variation_Selector) || r == '\u3164' || r == '\u115f' || r == '\u2800' {
			return fmt.Errorf("holds %U", r)
		}
	}
	return nil
}

func deadJSON(doc *reporterv1.ReportDocument) error {
	raw, err := render.JSON(doc)
	if err != nil {
		return err
	}
	if bytes.ContainsAny(raw, "<>&") {
		return fmt.Errorf("holds markup")
	}
	back := &reporterv1.ReportDocument{}
	if err := protojson.Unmarshal(raw, back); err != nil {
		return err
	}
	if !proto.Equal(doc, back) {
		return fmt.Errorf("reads back as another document")
	}
	return unseen(raw, "\n")
}

func deadCSV(doc *reporterv1.ReportDocument) error {
	raw, err := render.CSV(doc)
	if err != nil {
		return err
	}
	if lines := bytes.Count(raw, []byte("\n")); lines != len(doc.GetFindings())+1 {
		return fmt.Errorf("%d lines for %d findings", lines, len(doc.GetFindings()))
	}
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		return err
	}
	for _, row := range rows {
		for _, text := range row {
			for _, cell := range strings.Split(text, ";") {
				seen := strings.TrimLeft(cell, " \u00a0\"\u3000")
				if seen != "" && strings.ContainsAny(seen[:1], "=+-@|%") || slices.ContainsFunc([]string{"＝", "＋", "－", "＠"}, func(p string) bool { return strings.HasPrefix(seen, p) }) {
					return fmt.Errorf("cell %q begins a formula", cell)
				}
			}
		}
	}
	return unseen(raw, "\r\n")
}

func deadSARIF(doc *reporterv1.ReportDocument) error {
	raw, err := render.SARIF(doc)
	if err != nil {
		return err
	}
	if bytes.ContainsAny(raw, "<>&") {
		return fmt.Errorf("holds markup")
	}
	if err := validSARIF(raw); err != nil {
		return err
	}
	return unseen(raw, "\n")
}

func deadTable(doc *reporterv1.ReportDocument) error {
	var plain, colored bytes.Buffer
	if err := render.Table(&plain, doc, render.TableOptions{Width: 80}); err != nil {
		return err
	}
	if err := render.Table(&colored, doc, render.TableOptions{Width: 80, Color: true}); err != nil {
		return err
	}
	text := colored.String()
	for _, sgr := range []string{"0", "1", "2", "1;35", "31", "33", "36"} { // ours
		text = strings.ReplaceAll(text, "\x1b["+sgr+"m", "")
	}
	if text != plain.String() {
		return fmt.Errorf("colours change the text")
	}
	return unseen(plain.Bytes(), "\n")
}

// allowed are the elements of the page with their attributes.
var allowed = map[string]string{
	"html": "lang", "head": "", "meta": "charset http-equiv content name", "title": "", "style": "", "body": "", "a": "class href rel", "header": "class", "div": "class tabindex role aria-label", "p": "class",
	"svg": "viewbox viewBox width height aria-hidden aria-label class preserveAspectRatio role", "path": "d", "rect": "class x y width height", "span": "class", "h1": "", "h2": "id", "h3": "", "h4": "",
	"ul": "class aria-label", "ol": "class", "li": "class", "bdi": "", "dl": "class", "dt": "", "dd": "class", "strong": "class", "nav": "class aria-label", "main": "class", "aside": "class aria-label",
	"section": "id class aria-labelledby", "b": "", "article": "class id", "table": "class", "caption": "", "thead": "class", "tbody": "", "tr": "id", "th": "scope class", "td": "class",
	"details": "class", "summary": "", "figure": "class", "figcaption": "", "pre": "", "footer": "class",
}

// structural elements hold no text of their own.
var structural = strings.Fields("html head body header main section article nav div aside svg ul ol dl table thead tbody tr details figure footer")

func deadHTML(doc *reporterv1.ReportDocument) error {
	raw, err := render.HTML(doc)
	if err != nil {
		return err
	}
	root, err := html.Parse(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	for n := range root.Descendants() {
		if n.Type == html.CommentNode {
			return fmt.Errorf("holds a comment %q", n.Data)
		}
		if n.Type == html.TextNode && strings.TrimSpace(n.Data) != "" && slices.Contains(structural, n.Parent.Data) {
			return fmt.Errorf("element %s holds text %q", n.Parent.Data, n.Data)
		}
		if n.Type != html.ElementNode {
			continue
		}
		attributes, known := allowed[n.Data]
		if !known {
			return fmt.Errorf("holds element %s", n.Data)
		}
		for _, a := range n.Attr {
			if !slices.Contains(strings.Fields(attributes), a.Key) {
				return fmt.Errorf("element %s has attribute %s", n.Data, a.Key)
			}
			if err := deadAttribute(n.Data, a); err != nil {
				return err
			}
		}
		if n.Data == "style" && (n.FirstChild.Data != n.LastChild.Data || !bytes.Contains(raw, []byte(styleHash(n.FirstChild.Data)))) {
			return fmt.Errorf("the style sheet is not the one its policy permits")
		}
	}
	return unseen(raw, "\n")
}

func styleHash(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "style-src 'sha256-" + html.EscapeString(base64.StdEncoding.EncodeToString(sum[:])) + "'"
}

func deadAttribute(element string, a html.Attribute) error {
	if a.Key == "class" && strings.Trim(a.Val, "abcdefghijklmnopqrstuvwxyz ") != "" {
		return fmt.Errorf("element %s has class %q", element, a.Val)
	}
	if a.Key != "href" || strings.HasPrefix(a.Val, "#") {
		return nil
	}
	u, err := url.Parse(a.Val)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(a.Val, "<>\"'` \\") {
		return fmt.Errorf("element %s links to %q", element, a.Val)
	}
	return nil
}

// validSARIF checks what the schema of SARIF 2.1.0 demands of the parts that are written.
func validSARIF(raw []byte) error {
	var log struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct {
						ID         string
						HelpURI    string
						Properties struct {
							Tags     []string
							Severity string `json:"security-severity"`
						}
					}
				}
			}
			Results []struct {
				RuleID       string
				RuleIndex    int
				Level        string
				Message      struct{ Text string }
				Baseline     string `json:"baselineState"`
				Suppressions []struct{ Kind string }
				Locations    []struct {
					PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
				}
			}
		}
	}
	if err := json.Unmarshal(raw, &log); err != nil {
		return err
	}
	if log.Version != "2.1.0" || len(log.Runs) != 1 || log.Runs[0].Tool.Driver.Name == "" {
		return fmt.Errorf("no run of SARIF 2.1.0")
	}
	rules := log.Runs[0].Tool.Driver.Rules
	for _, r := range rules {
		tags := slices.Compact(slices.Sorted(slices.Values(r.Properties.Tags)))
		if len(tags) != len(r.Properties.Tags) || r.Properties.Severity == "" {
			return fmt.Errorf("rule %q has tags %q twice, or no severity", r.ID, r.Properties.Tags)
		}
		if u, err := url.Parse(r.HelpURI); err != nil || r.HelpURI != "" && !u.IsAbs() {
			return fmt.Errorf("rule %q helps at %q", r.ID, r.HelpURI)
		}
	}
	for _, r := range log.Runs[0].Results {
		if r.RuleIndex < 0 || r.RuleIndex >= len(rules) || rules[r.RuleIndex].ID != r.RuleID {
			return fmt.Errorf("result of rule %q points to another", r.RuleID)
		}
		if !slices.Contains([]string{"error", "warning", "note"}, r.Level) || r.Message.Text == "" || !slices.Contains([]string{"", "new", "unchanged"}, r.Baseline) || len(r.Locations) != 1 {
			return fmt.Errorf("result of rule %q: level %q, message %q, baseline %q", r.RuleID, r.Level, r.Message.Text, r.Baseline)
		}
		at := r.Locations[0].PhysicalLocation.ArtifactLocation.URI
		if u, err := url.Parse(at); err != nil || u.IsAbs() || u.Host != "" || strings.ContainsAny(at, " \"<>\\^`{|}") {
			return fmt.Errorf("result of rule %q lies at %q", r.RuleID, at)
		}
	}
	return nil
}
