package table

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"unicode/utf8"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	tokenVersion = 1
	// digestBytes of SHA-256 bind a token to its query. It guards against mistakes, not against
	// forgery: a forged token reaches no partition but the one that the query names anyway.
	digestBytes = 8
	// maxTokenBytes is a token of the longest keys in base64, with room for the rest.
	maxTokenBytes = (2*(MaxPartitionKeyBytes+MaxSortKeyBytes) + 64) * 4 / 3
)

// rangeOf validates a query and resolves prefix, bounds and page token.
func (t *Table) rangeOf(q Query) (Range, error) {
	if err := q.validate(); err != nil {
		return Range{}, err
	}
	r := Range{
		Index: q.Index, Partition: q.Partition, Descending: q.Descending,
		Limit: q.Limit, KeysOnly: q.KeysOnly,
		From: q.Prefix, Until: prefixEnd(q.Prefix),
	}
	if r.Limit == 0 {
		r.Limit = MaxPageItems
	}
	if q.After != "" {
		// The smallest string above After: no key contains U+0000, so nothing lies in between.
		r.From = max(r.From, q.After+"\x00")
	}
	if q.Before != "" && (r.Until == "" || q.Before < r.Until) {
		r.Until = q.Before
	}
	if q.PageToken == "" {
		return r, nil
	}
	start, err := t.parseToken(q)
	if err != nil {
		return Range{}, err
	}
	r.Start = &start
	return r, nil
}

func (q Query) validate() error {
	if q.Index != "" {
		if err := validateIndexName(q.Index); err != nil {
			return err
		}
	}
	if err := (Key{Partition: q.Partition}).validate(); err != nil {
		return err
	}
	for _, bound := range []struct{ name, value string }{
		{"prefix", q.Prefix}, {"after", q.After}, {"before", q.Before},
	} {
		if len(bound.value) > MaxSortKeyBytes || !isText(bound.value) {
			return fault.New(fault.Invalid, "%s is not UTF-8 without U+0000 of at most %d bytes",
				bound.name, MaxSortKeyBytes)
		}
	}
	if q.Limit < 0 || q.Limit > MaxPageItems {
		return fault.New(fault.Invalid, "limit is %d, 0 to %d are allowed", q.Limit, MaxPageItems)
	}
	return nil
}

// prefixEnd is the smallest valid string above all that begin with prefix, or "" if there is none.
// UTF-8 sorts by bytes as its code points do, so the last code point is counted up.
func prefixEnd(prefix string) string {
	for prefix != "" {
		last, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch last {
		case utf8.MaxRune:
			continue // nothing above: carry into the code point before
		case 0xD7FF:
			return prefix + "\uE000" // the surrogates between are no text
		default:
			return prefix + string(last+1)
		}
	}
	return ""
}

// pageToken is version, digest of the query, and the position; all strings with their lengths.
func (t *Table) pageToken(q Query, p Position) string {
	b := append([]byte{tokenVersion}, t.digest(q)...)
	for _, s := range []string{p.Place.Sort, p.Key.Partition, p.Key.Sort} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (t *Table) parseToken(q Query) (Position, error) {
	bad := fault.New(fault.Invalid, "page token is not one of this query")
	if len(q.PageToken) > maxTokenBytes {
		return Position{}, bad
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(q.PageToken)
	if err != nil || len(b) < 1+digestBytes || b[0] != tokenVersion ||
		string(b[1:1+digestBytes]) != string(t.digest(q)) {
		return Position{}, bad
	}
	b = b[1+digestBytes:]
	var parts [3]string
	for i := range parts {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return Position{}, bad
		}
		parts[i], b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	p := Position{
		Place: Key{Partition: q.Partition, Sort: parts[0]},
		Key:   Key{Partition: parts[1], Sort: parts[2]},
	}
	if len(b) != 0 || p.Place.validate() != nil || p.Key.validate() != nil {
		return Position{}, bad
	}
	return p, nil
}

// digest covers everything that makes a query another one.
func (t *Table) digest(q Query) []byte {
	h := sha256.New()
	parts := []string{t.name, q.Index, q.Partition, q.Prefix, q.After, q.Before, strconv.FormatBool(q.Descending)}
	for _, s := range parts {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	return h.Sum(nil)[:digestBytes]
}
