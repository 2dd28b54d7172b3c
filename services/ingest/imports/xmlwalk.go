package imports

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// guarded hands out the tokens of an XML report and refuses what a report does not need: definitions of entities and document
// types with content, depth and elements without end.
type guarded struct {
	dec      *xml.Decoder
	depth    int
	elements int
	// root is the name of the outermost element.
	root string
}

// Token is the next token.
func (g *guarded) Token() (xml.Token, error) {
	t, err := g.dec.Token()
	if err != nil {
		return t, err
	}
	switch t := t.(type) {
	case xml.Directive:
		// nmap names its document type, without content: `<!DOCTYPE nmaprun>`.
		if text := string(t); strings.ContainsAny(text, "[&%") || !strings.HasPrefix(text, "DOCTYPE") {
			return nil, errors.New("it defines a document type, which is refused")
		}
	case xml.StartElement:
		if g.root == "" {
			g.root = t.Name.Local
		}
		g.depth++
		g.elements++
	case xml.EndElement:
		g.depth--
	}
	if g.depth > MaxDepth {
		return nil, errDepth
	}
	if g.elements > MaxElements {
		return nil, errElements
	}
	return t, nil
}

// element is what is done with an element of one name: at its begin, and at its end unless begin has decoded it.
type element struct {
	begin func(line int, start xml.StartElement, decode func(any) error) error
	end   func() error
}

// attribute is an attribute of an element, or "".
func attribute(start xml.StartElement, name string) string {
	for _, a := range start.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// elements reads an XML report with this root: every element whose name is in at is handed over, at whatever depth it stands
// outside of one that was decoded. whole is false if the report ends before its root does.
func (r *report) elements(ctx context.Context, root string, at map[string]element) (whole bool, err error) {
	s, err := r.begin(ctx)
	if err != nil {
		return false, err
	}
	s.records(maxElementBytes)
	g := &guarded{dec: xml.NewDecoder(s)}
	g.dec.Strict = true
	dec := xml.NewTokenDecoder(g)
	for {
		at0 := g.dec.InputOffset()
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return g.root != "" && g.depth == 0, rootError(g.root, root)
		}
		if err != nil {
			return false, xmlError(err)
		}
		s.finished(g.dec.InputOffset())
		if err := rootError(g.root, root); g.root != "" && err != nil {
			return false, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if e := at[token.Name.Local]; e.begin != nil {
				err = e.begin(s.line(at0), token, func(v any) error { return dec.DecodeElement(v, &token) })
			}
		case xml.EndElement:
			if e := at[token.Name.Local]; e.end != nil {
				err = e.end()
			}
		}
		if err != nil {
			return false, xmlError(err)
		}
	}
}

func rootError(got, want string) error {
	if got != want {
		return errNotFormat
	}
	return nil
}

// xmlError: a report that is cut off is told from one that is broken.
func xmlError(err error) error {
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) && strings.Contains(syntax.Msg, "unexpected EOF") {
		return errCutOff
	}
	return cutOff(err)
}
