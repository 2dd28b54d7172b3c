// Package ranges says whose an address is: of which content delivery network, web application firewall or cloud, by the ranges
// that these publish. A dated table is compiled in; nothing is looked up. It refuses to guess: an address that is in no
// published range is nobody's, and a cloud's range says nothing about who rented the address.
package ranges

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed" // for the table
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// table is made by tools/cdnranges, which names its source: lines "first last" below "class provider", after "date YYYY-MM-DD".
//
//go:embed ranges.txt.gz
var table []byte

// maxText bounds the unpacked table; it has 320 KB.
const maxText = 8 << 20

// Owner is what the ranges say about an address. All is empty for an address that is nobody's.
type Owner struct {
	// CDN is a content delivery network that answers for somebody behind it.
	CDN string
	// WAF is a web application firewall that does the same.
	WAF string
	// Cloud is whose machine it is; a tenant of that cloud uses it.
	Cloud string
}

// Fronted says whether somebody else than the target answers there.
func (o Owner) Fronted() bool { return o.CDN != "" || o.WAF != "" }

// Front is the name of who answers for the target, empty where it does itself.
func (o Owner) Front() string {
	if o.CDN != "" {
		return o.CDN
	}
	return o.WAF
}

// Of says whose addr is.
func Of(addr netip.Addr) Owner {
	t, addr := loaded(), addr.Unmap().WithZone("")
	return Owner{CDN: t.classes["cdn"].find(addr), WAF: t.classes["waf"].find(addr), Cloud: t.classes["cloud"].find(addr)}
}

// Date is the day of the table's source, as YYYY-MM-DD.
func Date() string { return loaded().date }

// loaded reads the table at its first use.
var loaded = sync.OnceValue(func() *set {
	s, err := unpack(table)
	if err != nil {
		panic("ranges: the table that is compiled in cannot be read: " + err.Error()) // a test reads it
	}
	return s
})

// set is the whole table.
type set struct {
	date    string
	classes map[string]spans
}

// span is a range of addresses; spans are in order and do not overlap, all of IPv4 before those of IPv6.
type span struct {
	first, last netip.Addr
	provider    string
}

type spans []span

func (s spans) find(addr netip.Addr) string {
	i, exact := slices.BinarySearchFunc(s, addr, func(x span, a netip.Addr) int { return x.first.Compare(a) })
	if !exact {
		i--
	}
	if i < 0 || s[i].last.Compare(addr) < 0 || s[i].first.BitLen() != addr.BitLen() {
		return ""
	}
	return s[i].provider
}

func unpack(packed []byte) (*set, error) {
	unzip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return parse(io.LimitReader(unzip, maxText))
}

func parse(text io.Reader) (*set, error) {
	s := &set{classes: map[string]spans{}}
	class, provider := "", ""
	lines := bufio.NewScanner(text)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		left, right, ok := strings.Cut(line, " ")
		switch {
		case line == "" || line[0] == '#':
		case !ok:
			return nil, fmt.Errorf("line %d: no two words", n)
		case left == "date":
			s.date = right
		case left == "cdn" || left == "waf" || left == "cloud":
			class, provider = left, right
		case class == "":
			return nil, fmt.Errorf("line %d: a range of nobody", n)
		default:
			first, err := netip.ParseAddr(left)
			last, err2 := netip.ParseAddr(right)
			if err != nil || err2 != nil || first.BitLen() != last.BitLen() || last.Compare(first) < 0 {
				return nil, fmt.Errorf("line %d: no range", n)
			}
			s.classes[class] = append(s.classes[class], span{first, last, provider})
		}
	}
	for class, all := range s.classes {
		slices.SortFunc(all, func(a, b span) int { return a.first.Compare(b.first) })
		for i := 1; i < len(all); i++ {
			if all[i].first.Compare(all[i-1].last) <= 0 {
				return nil, fmt.Errorf("class %s: ranges from %s and %s overlap", class, all[i-1].first, all[i].first)
			}
		}
	}
	return s, lines.Err()
}
