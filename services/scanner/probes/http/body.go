package http

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
)

// Bounds of decompression.
const (
	// maxRatio is the most that one byte may unfold to. Text rarely passes 20:1; gzip itself ends at 1,032:1.
	maxRatio = 100
	// ratioFrom is the size below which the ratio means nothing: a small file of zeros is no bomb.
	ratioFrom = 64 << 10
)

// readBody reads at most limit bytes of the body, unfolding one layer of compression that the server used though it was not
// asked to. More than one layer, and encodings that are not known, are kept as they came and marked as cut.
func (r *reply) readBody(body io.Reader, limit int64) {
	encodings := strings.FieldsFunc(strings.ToLower(strings.Join(r.header.Values("Content-Encoding"), ",")), func(c rune) bool {
		return c == ',' || c == ' ' || c == '\t'
	})
	encodings = withoutIdentity(encodings)
	counted := &counter{reader: io.LimitReader(body, limit)}
	if len(encodings) == 0 {
		var err error
		r.body, err = io.ReadAll(counted)
		r.truncated = err != nil || more(body, counted.count >= limit)
		return
	}
	unfolded, ok := unfold(bufio.NewReader(counted), encodings)
	if !ok {
		r.body, _ = io.ReadAll(counted)
		r.truncated, r.opaque = true, true
		r.bomb = len(encodings) > 1
		return
	}
	r.readUnfolded(unfolded, counted, limit)
}

// readUnfolded reads decompressed bytes until they end, pass limit, or pass the ratio to the compressed ones.
func (r *reply) readUnfolded(unfolded io.Reader, compressed *counter, limit int64) {
	chunk := make([]byte, 32<<10)
	for {
		n, err := unfolded.Read(chunk)
		r.body = append(r.body, chunk[:n]...)
		size := int64(len(r.body))
		if size >= ratioFrom && size > maxRatio*compressed.count {
			r.bomb, r.truncated = true, true
			return
		}
		if size >= limit {
			r.body, r.truncated = r.body[:limit], true
			return
		}
		if err != nil {
			r.truncated = err != io.EOF
			return
		}
	}
}

// unfold opens one layer of compression; false if there are more layers or the encoding is not known.
func unfold(body *bufio.Reader, encodings []string) (io.Reader, bool) {
	if len(encodings) != 1 {
		return nil, false
	}
	switch encodings[0] {
	case "gzip", "x-gzip":
		reader, err := gzip.NewReader(body)
		return reader, err == nil
	case "deflate":
		// RFC 9110 section 8.4.1.2 means zlib; some servers send the bare stream.
		if head, err := body.Peek(2); err == nil && head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
			reader, err := zlib.NewReader(body)
			return reader, err == nil
		}
		return flate.NewReader(body), true
	default:
		return nil, false
	}
}

func withoutIdentity(encodings []string) []string {
	var out []string
	for _, e := range encodings {
		if e != "identity" && e != "" {
			out = append(out, e)
		}
	}
	return out
}

// more says whether a body that reached its bound goes on.
func more(body io.Reader, full bool) bool {
	if !full {
		return false
	}
	n, _ := body.Read(make([]byte, 1))
	return n > 0
}

// counter counts the bytes read through it.
type counter struct {
	reader io.Reader
	count  int64
}

// Read counts.
func (c *counter) Read(b []byte) (int, error) {
	n, err := c.reader.Read(b)
	c.count += int64(n)
	return n, err
}
