package tls

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
)

// The fingerprint JARM 1.0: how a server answers ten hellos that no browser sends. Method and values by Salesforce
// (https://github.com/salesforce/jarm, BSD-3-Clause); fingerprints are comparable only if every byte of it is kept, its slips
// included: "spdy/3" and "h2" are one element of the list of protocols.

// jarmHello is one of the ten hellos.
type jarmHello struct {
	version          uint16 // of the record and the hello
	no13             bool   // leaves the suites of TLS 1.3 out
	order            string // of the suites
	grease, rareALPN bool
	support          string // versions in supported_versions: "1.2", "1.3" or none
	reverse          bool   // order of protocols and versions
}

var jarmHellos = []jarmHello{
	{versionTLS12, false, "forward", false, false, "1.2", true},
	{versionTLS12, false, "reverse", false, false, "1.2", false},
	{versionTLS12, false, "top", false, false, "", false},
	{versionTLS12, false, "bottom", false, true, "", false},
	{versionTLS12, false, "middle", true, true, "", true},
	{versionTLS11, false, "forward", false, false, "", false},
	{versionTLS13, false, "forward", false, false, "1.3", true},
	{versionTLS13, false, "reverse", false, false, "1.3", false},
	{versionTLS13, true, "forward", false, false, "1.3", false},
	{versionTLS13, false, "middle", true, false, "1.3", true},
}

// jarmSuites are the suites offered, in their order.
var jarmSuites = []uint16{
	0x0016, 0x0033, 0x0067, 0xc09e, 0xc0a2, 0x009e, 0x0039, 0x006b, 0xc09f, 0xc0a3, 0x009f, 0x0045, 0x00be, 0x0088, 0x00c4, 0x009a, 0xc008, 0xc009,
	0xc023, 0xc0ac, 0xc0ae, 0xc02b, 0xc00a, 0xc024, 0xc0ad, 0xc0af, 0xc02c, 0xc072, 0xc073, 0xcca9, 0x1302, 0x1301, 0xcc14, 0xc007, 0xc012, 0xc013,
	0xc027, 0xc02f, 0xc014, 0xc028, 0xc030, 0xc060, 0xc061, 0xc076, 0xc077, 0xcca8, 0x1305, 0x1304, 0x1303, 0xcc13, 0xc011, 0x000a, 0x002f, 0x003c,
	0xc09c, 0xc0a0, 0x009c, 0x0035, 0x003d, 0xc09d, 0xc0a1, 0x009d, 0x0041, 0x00ba, 0x0084, 0x00c0, 0x0007, 0x0004, 0x0005,
}

// jarmIndex is the order in which suites are numbered in the fingerprint, from 1 on.
var jarmIndex = []uint16{
	0x0004, 0x0005, 0x0007, 0x000a, 0x0016, 0x002f, 0x0033, 0x0035, 0x0039, 0x003c, 0x003d, 0x0041, 0x0045, 0x0067, 0x006b, 0x0084, 0x0088, 0x009a,
	0x009c, 0x009d, 0x009e, 0x009f, 0x00ba, 0x00be, 0x00c0, 0x00c4, 0xc007, 0xc008, 0xc009, 0xc00a, 0xc011, 0xc012, 0xc013, 0xc014, 0xc023, 0xc024,
	0xc027, 0xc028, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xc060, 0xc061, 0xc072, 0xc073, 0xc076, 0xc077, 0xc09c, 0xc09d, 0xc09e, 0xc09f, 0xc0a0, 0xc0a1,
	0xc0a2, 0xc0a3, 0xc0ac, 0xc0ad, 0xc0ae, 0xc0af, 0xcc13, 0xcc14, 0xcca8, 0xcca9, 0x1301, 0x1302, 0x1303, 0x1304, 0x1305,
}

// jarmNothing is the answer of a server that refuses.
const jarmNothing = "|||"

// maxJARM is as much of an answer as the method reads.
const maxJARM = 1484

// fingerprint takes the JARM fingerprint. A server that does not answer one of the hellos in time has none.
func (s *survey) fingerprint(ctx context.Context) {
	answers := make([]string, len(jarmHellos))
	var mu sync.Mutex
	silent := false
	var tasks []func(context.Context)
	for i, h := range jarmHellos {
		tasks = append(tasks, func(ctx context.Context) {
			said, err := s.end.jarm(ctx, h)
			mu.Lock()
			defer mu.Unlock()
			answers[i] = said
			silent = silent || timedOut(err) || ctx.Err() != nil
		})
	}
	for _, task := range tasks { // one after the other: the other questions of the survey run beside
		task(ctx)
	}
	if silent {
		return
	}
	hash := jarmHash(answers)
	s.mu.Lock()
	s.jarm = hash
	s.mu.Unlock()
}

// jarm sends one of the hellos and describes the answer.
func (e *endpoint) jarm(ctx context.Context, h jarmHello) (said string, err error) {
	said = jarmNothing
	err = e.converse(ctx, func(conn net.Conn) error {
		if _, err := conn.Write(h.record(e.asked())); err != nil {
			return err
		}
		buffer := make([]byte, maxJARM)
		n, err := readSome(conn, buffer)
		if n > 0 {
			said = jarmAnswer(buffer[:n])
			return nil
		}
		return err
	})
	return said, err
}

// readSome reads until the first record is complete or the buffer full.
func readSome(conn net.Conn, buffer []byte) (int, error) {
	n := 0
	for n < len(buffer) {
		more, err := conn.Read(buffer[n:])
		n += more
		if n >= 5 && n >= 5+int(buffer[3])<<8+int(buffer[4]) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (h jarmHello) record(host string) []byte {
	legacy := min(h.version, versionTLS12)
	body := []byte{byte(legacy >> 8), byte(legacy)}
	body = append(body, random(32)...)
	body = append(append(body, 32), random(32)...)
	body = appendNumbers16(body, h.suites())
	body = append(body, 1, 0)
	body = append(body, appendBlock16(nil, h.extensions(host))...)
	message := append([]byte{typeClientHello, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	outer := h.version
	if h.version == versionTLS13 {
		outer = versionTLS10
	}
	return appendBlock16([]byte{recordHandshake, byte(outer >> 8), byte(outer)}, message)
}

func (h jarmHello) suites() []uint16 {
	list := slices.Clone(jarmSuites)
	if h.no13 {
		list = slices.DeleteFunc(list, func(id uint16) bool { return id>>8 == 0x13 })
	}
	list = jarmOrder(list, h.order)
	if h.grease {
		list = append([]uint16{grease}, list...)
	}
	return list
}

// jarmOrder puts a list into one of the orders of the method.
func jarmOrder[T any](list []T, order string) []T {
	size, middle := len(list), len(list)/2
	var out []T
	switch order {
	case "reverse":
		out = slices.Clone(list)
		slices.Reverse(out)
	case "bottom":
		out = list[middle+size%2:]
	case "top":
		if size%2 == 1 {
			out = append(out, list[middle])
		}
		out = append(out, jarmOrder(jarmOrder(list, "reverse"), "bottom")...)
	case "middle":
		if size%2 == 1 {
			out = append(out, list[middle])
			for i := 1; i <= middle; i++ {
				out = append(out, list[middle+i], list[middle-i])
			}
			break
		}
		for i := 1; i <= middle; i++ {
			out = append(out, list[middle-1+i], list[middle-i])
		}
	default:
		out = list
	}
	return out
}

func (h jarmHello) extensions(host string) []byte {
	var out []byte
	if h.grease {
		out = appendExtension(out, grease, nil)
	}
	name := appendBlock16([]byte{0}, []byte(host))
	out = appendExtension(out, extServerName, appendBlock16(nil, name))
	out = appendExtension(out, extExtendedMaster, nil)
	out = appendExtension(out, 1, []byte{1}) // max_fragment_length
	out = appendExtension(out, extRenegotiation, []byte{0})
	out = appendExtension(out, extSupportedGroups, appendNumbers16(nil, []uint16{0x001d, 0x0017, 0x0018, 0x0019}))
	out = appendExtension(out, extPointFormats, []byte{1, 0})
	out = appendExtension(out, extSessionTicket, nil)
	out = appendExtension(out, extALPN, appendBlock16(nil, []byte(strings.Join(h.protocols(), ""))))
	out = appendExtension(out, extSignatureAlgs, appendNumbers16(nil, []uint16{
		0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201,
	}))
	var share []byte
	if h.grease {
		share = append(share, byte(grease>>8), byte(grease&0xff), 0, 1, 0)
	}
	share = append(append(share, 0, 0x1d, 0, 32), random(32)...)
	out = appendExtension(out, extKeyShare, appendBlock16(nil, share))
	out = appendExtension(out, extPSKModes, []byte{1, 1})
	if h.version == versionTLS13 || h.support == "1.2" {
		out = appendExtension(out, extSupportedVersions, h.supported())
	}
	return out
}

func (h jarmHello) protocols() []string {
	list := []string{"\x08http/0.9", "\x08http/1.0", "\x08http/1.1", "\x06spdy/1", "\x06spdy/2", "\x06spdy/3\x02h2", "\x03h2c", "\x02hq"}
	if h.rareALPN {
		list = []string{"\x08http/0.9", "\x08http/1.0", "\x06spdy/1", "\x06spdy/2", "\x06spdy/3", "\x03h2c", "\x02hq"}
	}
	if h.reverse {
		return jarmOrder(list, "reverse")
	}
	return list
}

func (h jarmHello) supported() []byte {
	list := []uint16{versionTLS10, versionTLS11, versionTLS12}
	if h.support == "1.3" {
		list = append(list, versionTLS13)
	}
	if h.reverse {
		slices.Reverse(list)
	}
	if h.grease {
		list = append([]uint16{grease}, list...)
	}
	return append([]byte{byte(2 * len(list))}, appendNumbers16(nil, list)[2:]...)
}

// jarmAnswer describes an answer: suite, version, protocol and extensions.
func jarmAnswer(data []byte) string {
	if len(data) < 44 || data[0] != recordHandshake || data[5] != typeServerHello {
		return jarmNothing
	}
	session := int(data[43])
	if len(data) < session+46 {
		return jarmNothing
	}
	return fmt.Sprintf("%x|%x|%s", data[session+44:session+46], data[9:11], jarmExtensions(data, session))
}

// jarmExtensions is "protocol|types", with the bounds and the exceptions of the method.
func jarmExtensions(data []byte, session int) string {
	at := func(i int) byte {
		if i < len(data) {
			return data[i]
		}
		return 0
	}
	if session+49 > len(data) || at(session+47) == 11 ||
		(at(session+50) == 0x0e && at(session+51) == 0xac && at(session+52) == 0x0b) || (at(82) == 0x0f && at(83) == 0xf0 && at(84) == 0x0b) {
		return jarmNothing
	}
	count, length := session+49, int(at(session+47))<<8|int(at(session+48))
	end := length + count - 1
	var types []string
	protocol := ""
	for count < end && len(types) < 64 {
		if count+4 > len(data) {
			return jarmNothing
		}
		kind := hex.EncodeToString(data[count : count+2])
		size := int(data[count+2])<<8 | int(data[count+3])
		value := data[min(count+4, len(data)):min(count+4+size, len(data))]
		if kind == "0010" && len(value) > 3 && protocol == "" {
			protocol = string(value[3:])
		}
		types = append(types, kind)
		count += 4 + size
	}
	return protocol + "|" + strings.Join(types, "-")
}

// jarmHash makes the fingerprint of ten answers: suite and version of each, and half a SHA-256 of the rest.
func jarmHash(answers []string) string {
	if !slices.ContainsFunc(answers, func(a string) bool { return a != jarmNothing }) {
		return strings.Repeat("0", 62)
	}
	var front, rest strings.Builder
	for _, answer := range answers {
		parts := strings.Split(answer, "|")
		for len(parts) < 4 {
			parts = append(parts, "")
		}
		front.WriteString(jarmSuite(parts[0]))
		front.WriteString(jarmVersion(parts[1]))
		rest.WriteString(parts[2] + parts[3])
	}
	sum := sha256.Sum256([]byte(rest.String()))
	return front.String() + hex.EncodeToString(sum[:16])
}

func jarmSuite(text string) string {
	if text == "" {
		return "00"
	}
	for i, id := range jarmIndex {
		if fmt.Sprintf("%04x", id) == text {
			return fmt.Sprintf("%02x", i+1)
		}
	}
	return fmt.Sprintf("%02x", len(jarmIndex)+1)
}

func jarmVersion(text string) string {
	if len(text) < 4 || text[3] < '0' || text[3] > '5' {
		return "0"
	}
	return string("abcdef"[text[3]-'0'])
}
