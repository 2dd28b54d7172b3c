package feeds

import (
	"slices"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// collector gathers the ranges of one record. Single versions of one product become one range, equal ranges one.
type collector struct {
	record string
	out    Out
	list   []*ingestv1.IntelAffected
	at     map[rangeKey]int
	full   bool
}

// rangeKey is what makes two ranges the same, sources and single versions aside.
type rangeKey struct {
	product, scheme, introduced, fixed, last, target, part string
	excluded, single                                       bool
}

func (c *collector) skip(why string) { c.out.Skip(c.record, why) }

func (c *collector) add(product string, r *modelv1.Affected) {
	k := rangeKey{
		product, r.GetScheme(), r.GetIntroduced(), r.GetFixed(), r.GetLastAffected(), r.GetTargetSoftware(), r.GetPart(),
		r.GetIntroducedExcluded(), len(r.GetVersions()) > 0,
	}
	if c.at == nil {
		c.at = map[rangeKey]int{}
	}
	if i, ok := c.at[k]; ok {
		have := c.list[i].GetRange()
		for _, s := range r.GetSources() {
			have.Sources = appendNew(have.Sources, s, 8)
		}
		for _, v := range r.GetVersions() {
			if len(have.Versions) >= maxVersions {
				c.skip("more than 2000 single versions of " + product)
				return
			}
			if !slices.Contains(have.Versions, v) {
				have.Versions = append(have.Versions, v)
			}
		}
		return
	}
	if len(c.list) >= maxAffected {
		if !c.full {
			c.skip("more than 5000 ranges")
		}
		c.full = true
		return
	}
	c.at[k] = len(c.list)
	c.list = append(c.list, &ingestv1.IntelAffected{Product: product, Range: r})
}
