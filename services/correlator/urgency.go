package correlator

import (
	"cmp"
	_ "embed" // data files
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// The classes of vulnerabilities, most urgent first. Each vulnerability is in exactly one: known exploitation is evidence and comes
// before probability, which comes before severity (https://www.first.org/epss/faq: evidence of exploitation supersedes EPSS).
const (
	classKnown  = "known-exploited"
	classLikely = "likely-exploited"
	classSevere = "severe"
	classOther  = "other"
)

const (
	// likelyEPSS is the probability from which exploitation is called likely: the threshold of FIRST's own worked example, which covers
	// 63 % of what is exploited with 2.7 % of the work (https://www.first.org/epss/model, EPSS v3).
	likelyEPSS = 0.1
	// severeCVSS is where the rating High begins (CVSS v3.1 section 5, v4.0 section 6).
	severeCVSS = 7.0
)

var classRank = map[string]int{classKnown: 0, classLikely: 1, classSevere: 2, classOther: 3}

// classOf is the class of a vulnerability.
func classOf(m *correlatorv1.VulnerabilityMatch) string {
	switch {
	case m.GetKev() != nil:
		return classKnown
	case m.GetEpss().GetProbability() >= likelyEPSS || m.GetSsvc().GetExploitation() == "active":
		return classLikely
	case m.GetCvss().GetScore() >= severeCVSS:
		return classSevere
	}
	return classOther
}

// compareMatches orders vulnerabilities worst first: class, then what was proven, then probability, then severity; newer ones first.
func compareMatches(a, b *correlatorv1.VulnerabilityMatch) int {
	return cmp.Or(
		cmp.Compare(classRank[a.GetClass()], classRank[b.GetClass()]),
		cmp.Compare(b.GetConfidence(), a.GetConfidence()),
		cmp.Compare(b2i(b.GetKev().GetRansomware()), b2i(a.GetKev().GetRansomware())),
		cmp.Compare(b.GetEpss().GetProbability(), a.GetEpss().GetProbability()),
		cmp.Compare(b.GetCvss().GetScore(), a.GetCvss().GetScore()),
		strings.Compare(b.GetCve(), a.GetCve()),
	)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

//go:embed data/bod-26-04.csv
var directiveFile string

// directiveRow is the condition of a row of the directive's table.
type directiveRow struct {
	automatable, total, exposed, kev bool
}

// directiveDays is what a row asks for: days, 0 with the next upgrade.
type directiveDays struct {
	days      uint32
	forensics bool
}

// directive is the table of CISA's Binding Operational Directive 26-04 of 10 June 2026, from CERTCC/SSVC
// data/csv/cisa/cisa_bod_26_04_1_0_0.csv, read on 2026-11-23.
var directive = sync.OnceValues(func() (map[directiveRow]directiveDays, error) {
	rows, err := csv.NewReader(strings.NewReader(directiveFile)).ReadAll()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "read data/bod-26-04.csv")
	}
	out := map[directiveRow]directiveDays{}
	for _, r := range rows[1:] {
		days, err := strconv.ParseUint(r[4], 10, 32)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, err, "read data/bod-26-04.csv")
		}
		out[directiveRow{r[0] == "yes", r[1] == "total", r[2] == "yes", r[3] == "yes"}] = directiveDays{uint32(days), r[5] == "yes"}
	}
	return out, nil
})

// upgradeDays are the days that "with the next upgrade" is taken as: the directive names none.
const upgradeDays = 180

// setDue fills in when a vulnerability should be mended: the directive's days from the day on which it was there and known.
func setDue(m *correlatorv1.VulnerabilityMatch, a *modelv1.Advisory, seen *timestamppb.Timestamp, exposed bool) error {
	table, err := directive()
	if err != nil {
		return err
	}
	automatable, total, source := decisionPoints(m)
	row := directiveRow{automatable, total, exposed, m.GetKev() != nil}
	asked := table[row]
	m.DueDays = asked.days
	days := "with the next upgrade"
	if asked.days > 0 {
		days = fmt.Sprintf("%d days", asked.days)
	}
	if asked.forensics {
		days += " and a look for traces of an intrusion"
	}
	m.DueRule = fmt.Sprintf("CISA BOD 26-04: automatable %s, impact %s, %s, %s: %s (%s)", word(automatable, "yes", "no"), word(total, "total", "partial"),
		word(exposed, "publicly exposed", "not exposed"), word(row.kev, "in KEV", "not in KEV"), days, source)
	m.Since = later(seen, a.GetPublished())
	if row.kev {
		m.Since = later(seen, m.GetKev().GetDateAdded())
	}
	return nil
}

func word(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func later(a, b *timestamppb.Timestamp) *timestamppb.Timestamp {
	if b.AsTime().After(a.AsTime()) {
		return b
	}
	return a
}

// decisionPoints are the two points of SSVC that the directive asks for. Where CISA published none they are read from the CVSS vector:
// what needs no privileges, no user and no luck over the network can be automated, and loss of all three properties is total.
func decisionPoints(m *correlatorv1.VulnerabilityMatch) (automatable, total bool, source string) {
	if s := m.GetSsvc(); s.GetAutomatable() != "" && s.GetTechnicalImpact() != "" {
		return s.GetAutomatable() == "yes", s.GetTechnicalImpact() == "total", "points by SSVC"
	}
	vector := map[string]string{}
	for part := range strings.SplitSeq(m.GetCvss().GetVector(), "/") {
		if metric, value, ok := strings.Cut(part, ":"); ok && len(vector) < 64 {
			vector[metric] = value
		}
	}
	if vector["AV"] == "" {
		return false, false, "no points are published"
	}
	easy := func(metric string, ok ...string) bool {
		v, named := vector[metric]
		for _, want := range ok {
			if v == want {
				return true
			}
		}
		return !named
	}
	automatable = vector["AV"] == "N" && vector["AC"] == "L" && easy("PR", "N") && easy("UI", "N") && easy("Au", "N") && easy("AT", "N")
	total = vector["C"] == "H" && vector["I"] == "H" && vector["A"] == "H" || vector["VC"] == "H" && vector["VI"] == "H" && vector["VA"] == "H" ||
		vector["C"] == "C" && vector["I"] == "C" && vector["A"] == "C"
	return automatable, total, "points read from the CVSS vector"
}

// dueOf is when a match is due.
func dueOf(m *correlatorv1.VulnerabilityMatch) time.Time {
	days := m.GetDueDays()
	if days == 0 {
		days = upgradeDays
	}
	return m.GetSince().AsTime().Add(time.Duration(days) * 24 * time.Hour)
}
