package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// MaxDataBytes is the largest input, output or result of a state, in bytes of compact JSON: the
// payload quota of https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
const MaxDataBytes = 256 << 10

// Values are what encoding/json decodes into any, with json.Number so that no digit is lost. They
// are shared between states and iterations and never changed.

// decode reads one JSON text.
func decode(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON text")
	}
	return v, nil
}

// encode writes compact JSON. Keys are sorted, so equal values are equal texts; '<', '>' and '&'
// stay as they are, as AWS counts and sends them.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// limited encodes a value of the data flow and reports States.DataLimitExceeded if it is too large.
func limited(v any, what string) (json.RawMessage, error) {
	raw, err := encode(v)
	if err != nil {
		return nil, failed(ErrorRuntime, "encode %s: %v", what, err)
	}
	if len(raw) > MaxDataBytes {
		return nil, failed(ErrorDataLimit, "%s has %d bytes, at most %d are allowed", what, len(raw), MaxDataBytes)
	}
	return raw, nil
}

// fields reads a JSON object and refuses a name that comes twice, of which encoding/json would
// silently take the last.
func fields(raw []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("must be an object")
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, errors.New("must be an object")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		if _, again := out[name]; again {
			return nil, errors.New("has the field " + name + " twice")
		}
		out[name] = value
	}
	return out, nil
}

// clip cuts s to at most limit bytes of valid UTF-8.
func clip(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "")
}
