// Package portlist reads and writes sets of TCP ports as text: "top100", "top1000", "all", or numbers and ranges such as
// "22,80,8000-8100". It knows in which order ports are worth a look, and nothing about scanning them.
package portlist

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// MaxPort is the highest TCP port (RFC 9293 section 3.1: 16 bits). Port 0 is reserved (RFC 6335 section 6) and never in a set.
const MaxPort = 65535

// MaxTextBytes bounds the text that Parse reads: as much as 500 ranges.
const MaxTextBytes = 6000

// words is the size of the bitmap of a set.
const words = (MaxPort + 1) / 64

// Set is a set of ports. The zero value is empty. A Set is a value: nothing changes it once it is made.
type Set struct {
	bits *[words]uint64 // nil for the empty set
	size int
}

// Top100 returns the 100 ports most worth a look: those of the quick profile.
func Top100() Set { return Of(likely()[:100]...) }

// Top1000 returns the 1,000 ports most worth a look: those of the standard profile.
func Top1000() Set { return Of(likely()...) }

// All returns the ports 1 to 65,535.
func All() Set {
	var set Set
	set.add(1, MaxPort)
	return set
}

// Of returns the set of the given ports; port 0 and repeats do not count.
func Of(ports ...uint16) Set {
	var set Set
	for _, port := range ports {
		if port != 0 {
			set.add(int(port), int(port))
		}
	}
	return set
}

// Parse reads a comma-separated list of "top100", "top1000", "all", ports and ranges "first-last"; spaces around an element
// do not count, nor does upper or lower case, and elements may overlap. The error is fault.Invalid and one clear line.
func Parse(text string) (Set, error) {
	if len(text) > MaxTextBytes {
		return Set{}, fault.New(fault.Invalid, "parse ports: text of %d bytes is longer than %d", len(text), MaxTextBytes)
	}
	if strings.TrimSpace(text) == "" {
		return Set{}, fault.New(fault.Invalid, `parse ports: empty; say "top100", "top1000", "all" or numbers such as "22,80,8000-8100"`)
	}
	var set Set
	for element := range strings.SplitSeq(text, ",") {
		if err := set.parseElement(strings.ToLower(strings.TrimSpace(element))); err != nil {
			return Set{}, err
		}
	}
	return set, nil
}

func (s *Set) parseElement(element string) error {
	switch element {
	case "":
		return fault.New(fault.Invalid, "parse ports: a port is missing beside a comma")
	case "top100":
		s.addEach(likely()[:100])
		return nil
	case "top1000":
		s.addEach(likely())
		return nil
	case "all":
		s.add(1, MaxPort)
		return nil
	}
	low, high, isRange := strings.Cut(element, "-")
	first, err := parsePort(low)
	if err != nil {
		return err
	}
	last := first
	if isRange {
		if last, err = parsePort(high); err != nil {
			return err
		}
	}
	if last < first {
		return fault.New(fault.Invalid, "parse ports: range %d-%d ends before it begins", first, last)
	}
	s.add(first, last)
	return nil
}

// parsePort reads one port in plain decimal digits. strconv alone would take signs, and says nothing to an operator.
func parsePort(text string) (int, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, fault.New(fault.Invalid, `parse ports: a range needs two ports, such as "8000-8100"`)
	}
	port := 0
	for _, digit := range []byte(text) {
		if digit < '0' || digit > '9' {
			return 0, fault.New(fault.Invalid, "parse ports: %s is not a port", quote(text))
		}
		if port = port*10 + int(digit-'0'); port > MaxPort {
			return 0, fault.New(fault.Invalid, "parse ports: %s is more than %d", quote(text), MaxPort)
		}
	}
	if port == 0 {
		return 0, fault.New(fault.Invalid, "parse ports: port 0 cannot be scanned")
	}
	return port, nil
}

// quote keeps an operator's slip readable and a hostile text short.
func quote(text string) string {
	if len(text) > 32 {
		text = text[:32] + "..."
	}
	return strconv.QuoteToASCII(text)
}

func (s *Set) addEach(ports []uint16) {
	for _, port := range ports {
		s.add(int(port), int(port))
	}
}

func (s *Set) add(first, last int) {
	if s.bits == nil {
		s.bits = new([words]uint64)
	}
	for port := first; port <= last; port++ {
		if mask := uint64(1) << (port % 64); s.bits[port/64]&mask == 0 {
			s.bits[port/64] |= mask
			s.size++
		}
	}
}

// Len is the number of ports.
func (s Set) Len() int { return s.size }

// Contains says whether port is in the set.
func (s Set) Contains(port uint16) bool {
	return s.bits != nil && s.bits[port/64]&(1<<(port%64)) != 0
}

// Equal says whether both sets hold the same ports.
func (s Set) Equal(other Set) bool {
	if s.size != other.size || s.size == 0 {
		return s.size == other.size
	}
	return *s.bits == *other.bits
}

// Ports lists the ports, lowest first.
func (s Set) Ports() []uint16 {
	ports := make([]uint16, 0, s.size)
	if s.bits == nil {
		return ports
	}
	for i, word := range s.bits {
		for ; word != 0; word &= word - 1 {
			ports = append(ports, uint16(i*64+bits.TrailingZeros64(word)))
		}
	}
	return ports
}

// ByLikelihood lists the ports in the order in which a scan should look at them: those of top1000 in its order, then the
// rest, lowest first. A scan that has to stop early has then seen what matters most.
func (s Set) ByLikelihood() []uint16 {
	ports := make([]uint16, 0, s.size)
	rest := s.copy()
	for _, port := range likely() {
		if s.Contains(port) {
			ports = append(ports, port)
			rest.remove(port)
		}
	}
	return append(ports, rest.Ports()...)
}

func (s Set) copy() Set {
	if s.bits == nil {
		return Set{}
	}
	duplicate := *s.bits
	return Set{bits: &duplicate, size: s.size}
}

func (s *Set) remove(port uint16) {
	s.bits[port/64] &^= 1 << (port % 64)
	s.size--
}

// String writes the set so that Parse reads it back: by its name where it has one, else as ranges, lowest first.
func (s Set) String() string {
	switch {
	case s.size == MaxPort:
		return "all"
	case s.size == len(likely()) && s.Equal(Top1000()):
		return "top1000"
	case s.size == 100 && s.Equal(Top100()):
		return "top100"
	}
	return s.ranges()
}

func (s Set) ranges() string {
	var text strings.Builder
	ports := s.Ports()
	for i := 0; i < len(ports); {
		last := i
		for last+1 < len(ports) && ports[last+1] == ports[last]+1 {
			last++
		}
		if text.Len() > 0 {
			text.WriteByte(',')
		}
		text.WriteString(strconv.Itoa(int(ports[i])))
		if last > i {
			text.WriteByte('-')
			text.WriteString(strconv.Itoa(int(ports[last])))
		}
		i = last + 1
	}
	return text.String()
}
