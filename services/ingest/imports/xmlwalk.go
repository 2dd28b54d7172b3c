package imports

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// guarded hands out the tokens of an XML report and refuses what a report does not need: definitions of entities and document
// types with content, depth and elements without end. Prefixes of namespaces stay as they are.
type guarded struct {
	dec *xml.Decoder
	// open are the names of the elements that have begun and not ended, outermost first.
	open []xml.Name
	// elements counts attributes too.
	elements int
	// root is the name of the outermost element.
	root string
}

// Token is the next token.
func (g *guarded) Token() (xml.Token, error) {
	t, err := g.dec.RawToken()
	if err != nil {
		if errors.Is(err, io.EOF) && len(g.open) > 0 {
			return nil, errCutOff
		}
		return t, err
	}
	switch t := t.(type) {
	case xml.Directive:
		// nmap names its document type, without content: `<!DOCTYPE nmaprun>`.
		if text := string(t); strings.ContainsAny(text, "[&%") || !strings.HasPrefix(text, "DOCTYPE") {
			return nil, errors.New("it defines a document type, which is refused")
		}
	case xml.StartElement:
		return t, g.begins(t)
	case xml.EndElement:
		return t, g.ends(t.Name)
	}
	return t, nil
}

func (g *guarded) begins(start xml.StartElement) error {
	if g.root == "" {
		g.root = start.Name.Local
	}
	g.open = append(g.open, start.Name)
	if g.elements += 1 + len(start.Attr); g.elements > MaxElements {
		return errElements
	}
	if len(g.open) > MaxDepth {
		return errDepth
	}
	return nil
}

func (g *guarded) ends(name xml.Name) error {
	last := len(g.open) - 1
	if last < 0 || g.open[last] != name {
		return fmt.Errorf("an element %s ends that did not begin there", name.Local)
	}
	g.open = g.open[:last]
	return nil
}

// resumed hands out a token that was taken, and then what follows it.
type resumed struct {
	taken xml.Token
	rest  *guarded
}

// Token is the next token.
func (r *resumed) Token() (xml.Token, error) {
	if t := r.taken; t != nil {
		r.taken = nil
		return t, nil
	}
	return r.rest.Token()
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
	values := &resumed{rest: g}
	dec := xml.NewTokenDecoder(values)
	decode := func(token xml.Token, v any) error {
		values.taken = token
		return dec.Decode(v)
	}
	for {
		at0 := g.dec.InputOffset()
		token, err := g.Token()
		if errors.Is(err, io.EOF) {
			return g.root != "", rootError(g.root, root)
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
				err = e.begin(s.line(at0), token, func(v any) error { return decode(token, v) })
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
