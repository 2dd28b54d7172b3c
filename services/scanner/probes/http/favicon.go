package http

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	nethttp "net/http"
	"strings"
)

// maxIcon bounds a favicon; the largest of well-known products have about 300 KiB.
const maxIcon = 512 << 10

// iconLine is the line length of the base64 text that is hashed, as MIME has it (RFC 2045 section 6.8).
const iconLine = 76

// iconHash is the number that Shodan, and search engines after it, know a favicon by: MurmurHash3 (x86, 32 bit, seed 0) of its
// base64 text in lines of 76 characters, each with a line feed. 0 for what is no icon.
func iconHash(answer *reply) int32 {
	if answer.status != nethttp.StatusOK || answer.truncated || len(answer.body) == 0 {
		return 0
	}
	if kind := nethttp.DetectContentType(answer.body); strings.HasPrefix(kind, "text/html") {
		return 0 // a page that answers for every path
	}
	text := base64.StdEncoding.EncodeToString(answer.body)
	var lines bytes.Buffer
	for len(text) > 0 {
		n := min(len(text), iconLine)
		lines.WriteString(text[:n])
		lines.WriteByte('\n')
		text = text[n:]
	}
	return int32(murmur3(lines.Bytes()))
}

// murmur3 is MurmurHash3_x86_32 with seed 0 (Austin Appleby, public domain).
func murmur3(data []byte) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	var h uint32
	rest := data
	for ; len(rest) >= 4; rest = rest[4:] {
		k := binary.LittleEndian.Uint32(rest) * c1
		h ^= bits.RotateLeft32(k, 15) * c2
		h = bits.RotateLeft32(h, 13)*5 + 0xe6546b64
	}
	var k uint32
	for i := len(rest) - 1; i >= 0; i-- {
		k = k<<8 | uint32(rest[i])
	}
	if len(rest) > 0 {
		h ^= bits.RotateLeft32(k*c1, 15) * c2
	}
	h ^= uint32(len(data))
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}
