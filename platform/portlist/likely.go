package portlist

import (
	_ "embed" // for the list
	"strconv"
	"strings"
	"sync"
)

// likelyText is the list with its account of where it comes from: one port or range a line, then what is expected there.
//
//go:embed likely.txt
var likelyText string

// likely returns the 1,000 ports most worth a look, in that order. The list is read when it is first needed, not at start.
var likely = sync.OnceValue(func() []uint16 {
	ports := make([]uint16, 0, 1000)
	for line := range strings.Lines(likelyText) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		low, high, isRange := strings.Cut(fields[0], "-")
		if !isRange {
			high = low
		}
		// A test reads every line: the numbers are right.
		first, _ := strconv.ParseUint(low, 10, 16)
		last, _ := strconv.ParseUint(high, 10, 16)
		for port := first; port <= last; port++ {
			ports = append(ports, uint16(port))
		}
	}
	return ports
})
