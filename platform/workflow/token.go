package workflow

import (
	"encoding/base64"
	"encoding/binary"
)

const (
	// MaxTokenBytes is the longest task token. Step Functions allows 2,048 characters
	// (https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskHeartbeat.html).
	MaxTokenBytes = 1024
	// secretBytes of randomness cannot be guessed: 128 bits.
	secretBytes  = 16
	tokenVersion = 1
)

// token is bound to one attempt of one visit to one state of one execution, and finds its record
// without an index. To everyone else it is an opaque string.
type token struct {
	partition, path string
	secret          []byte
}

// String is base64url, at most MaxTokenBytes: names are at most 80 bytes each, the path maxStepBytes.
func (t token) String() string {
	b := []byte{tokenVersion}
	for _, s := range []string{t.partition, t.path} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return base64.RawURLEncoding.EncodeToString(append(b, t.secret...))
}

func parseToken(text string) (t token, ok bool) {
	if len(text) > MaxTokenBytes {
		return token{}, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) == 0 || b[0] != tokenVersion {
		return token{}, false
	}
	b = b[1:]
	for _, into := range []*string{&t.partition, &t.path} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return token{}, false
		}
		*into, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	t.secret = b
	// A token has one spelling: the decoder passes over ends of lines, and a length can be written in several ways.
	return t, len(b) == secretBytes && validPartition(t.partition) && t.String() == text
}
