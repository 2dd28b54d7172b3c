package intel

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// splitYear is the first year of which CVE ids have five digits: from it on, a partition is the ids of a year whose number begins
// with the same digit, before it a whole year. The largest then has 11,000 ids, and what a day changes lies in few.
const splitYear = "2017"

// Partition is the range of advisories that an id belongs to. Ranges are told by what their ids begin with, and are disjoint in
// the order of the ids.
func Partition(id string) string {
	switch {
	case feeds.ValidCVE(id) && id[4:8] < splitYear:
		return id[:8]
	case feeds.ValidCVE(id):
		return id[:10]
	case strings.HasPrefix(id, "GHSA"):
		return id[:min(len(id), 6)]
	}
	return id[:min(len(id), 4)]
}

// digester makes one digest for each partition of what is put in, which comes in an order that is always the same.
type digester map[string]hash.Hash

func (d digester) add(id string, value []byte) {
	p := Partition(id)
	h := d[p]
	if h == nil {
		h = sha256.New()
		d[p] = h
	}
	_, _ = fmt.Fprintf(h, "%d %s %d ", len(id), id, len(value)) // a hash takes everything
	_, _ = h.Write(value)                                       // a hash takes everything
}

func (d digester) sums() map[string]string {
	out := make(map[string]string, len(d))
	for p, h := range d {
		out[p] = hex.EncodeToString(h.Sum(nil)[:12])
	}
	return out
}
