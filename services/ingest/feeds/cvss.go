package feeds

import (
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// maxVector is more than the longest vector with all metrics of CVSS 4.0 has.
const maxVector = 512

// score reads a CVSS vector. The number is what the specification makes of the vector, whatever the feed says it is: one that
// cannot be computed is no score.
func score(vector, source string) (*modelv1.Cvss, bool) {
	vector = strings.TrimSpace(vector)
	if len(vector) > maxVector {
		return nil, false
	}
	c := &modelv1.Cvss{Vector: vector, Source: source}
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		v, err := gocvss40.ParseVector(vector)
		if err != nil {
			return nil, false
		}
		c.Version, c.Score = "4.0", v.Score()
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		v, err := gocvss31.ParseVector(vector)
		if err != nil {
			return nil, false
		}
		c.Version, c.Score = "3.1", v.BaseScore()
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		v, err := gocvss30.ParseVector(vector)
		if err != nil {
			return nil, false
		}
		c.Version, c.Score = "3.0", v.BaseScore()
	default:
		v, err := gocvss20.ParseVector(strings.Trim(vector, "()"))
		if err != nil {
			return nil, false
		}
		c.Version, c.Score = "2.0", v.BaseScore()
	}
	return c, true
}

// appendScore adds a score that is not there yet.
func appendScore(list []*modelv1.Cvss, c *modelv1.Cvss) []*modelv1.Cvss {
	for _, have := range list {
		if have.GetVector() == c.GetVector() && have.GetSource() == c.GetSource() {
			return list
		}
	}
	if len(list) >= 12 {
		return list
	}
	return append(list, c)
}

// cweOf is the CWE id that a text begins with or is: "CWE-79", "CWE-79 Cross-site scripting"; "" if there is none.
func cweOf(s string) string {
	rest, ok := strings.CutPrefix(strings.TrimSpace(s), "CWE-")
	if !ok {
		return ""
	}
	n := 0
	for n < len(rest) && n < 6 && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	if n == 0 {
		return ""
	}
	return "CWE-" + rest[:n]
}
