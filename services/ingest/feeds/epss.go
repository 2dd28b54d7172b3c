package feeds

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Limits of an EPSS file: 340,000 lines and 10 MB in 2026.
const (
	maxEPSSBytes = 256 << 20
	maxEPSSRows  = 3_000_000
)

// EPSS is the head of a file of scores.
type EPSS struct {
	Model string
	Date  *timestamppb.Timestamp
	Rows  int
}

// ReadEPSS reads epss_scores-*.csv.gz, or the same unpacked. score is called for each row, in their order. A file that ends too
// early is refused, whatever was read of it: the caller must drop that.
// https://www.first.org/epss/data_stats
func ReadEPSS(r io.Reader, score func(cve string, e *modelv1.Epss) error, skip func(record, why string)) (*EPSS, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	if magic, err := buffered.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, refuse("it is no gzip file")
		}
		buffered = bufio.NewReaderSize(z, 64<<10)
	}
	lines := &lineReader{r: buffered, limit: maxEPSSBytes}
	head, err := readEPSSHead(lines)
	if err != nil {
		return nil, err
	}
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if head.Rows++; head.Rows > maxEPSSRows {
			return nil, refuse("it has more than %d rows", maxEPSSRows)
		}
		id, e, why := epssRow(line)
		if why != "" {
			skip(clean(line, 40), why)
			continue
		}
		e.Model, e.Date = head.Model, head.Date
		if err := score(id, e); err != nil {
			return nil, err
		}
	}
	if head.Rows == 0 {
		return nil, refuse("it has no rows")
	}
	return head, nil
}

// readEPSSHead reads the comment and the names of the columns: "#model_version:v2025.03.14,score_date:2026-11-22T00:00:00+0000".
func readEPSSHead(lines *lineReader) (*EPSS, error) {
	first, err := lines.next()
	if err != nil {
		return nil, noEOF(err)
	}
	comment, ok := strings.CutPrefix(first, "#")
	head := &EPSS{}
	for field := range strings.SplitSeq(comment, ",") {
		key, value, _ := strings.Cut(field, ":")
		switch strings.TrimSpace(key) {
		case "model_version":
			head.Model = clean(value, 40)
		case "score_date":
			head.Date = parseTime(strings.TrimSpace(value))
		}
	}
	if !ok || head.Model == "" || head.Date == nil {
		return nil, refuse("its first line does not name model_version and score_date")
	}
	columns, err := lines.next()
	if err != nil {
		return nil, noEOF(err)
	}
	if columns != "cve,epss,percentile" {
		return nil, refuse("its columns are %q, not cve,epss,percentile", clean(columns, 60))
	}
	return head, nil
}

func epssRow(line string) (string, *modelv1.Epss, string) {
	id, rest, _ := strings.Cut(line, ",")
	p, q, ok := strings.Cut(rest, ",")
	if !ok || !ValidCVE(id) {
		return "", nil, "it is no row of cve, epss and percentile"
	}
	probability, okP := share(p)
	percentile, okQ := share(q)
	if !okP || !okQ {
		return "", nil, "its numbers are not from 0 to 1"
	}
	return id, &modelv1.Epss{Probability: probability, Percentile: percentile}, ""
}

func share(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsNaN(f) && f >= 0 && f <= 1
}

// lineReader reads lines below 4 KiB and not more than limit bytes.
type lineReader struct {
	r     *bufio.Reader
	limit int64
	read  int64
}

func (l *lineReader) next() (string, error) {
	line, err := l.r.ReadSlice('\n')
	l.read += int64(len(line))
	switch {
	case l.read > l.limit:
		return "", refuse("it has more than %d bytes", l.limit)
	case len(line) > 4096 || errors.Is(err, bufio.ErrBufferFull):
		return "", refuse("a line has more than 4096 bytes")
	case errors.Is(err, io.EOF) && len(line) > 0, err == nil:
		return strings.TrimRight(string(line), "\r\n"), nil
	case errors.Is(err, io.EOF):
		return "", io.EOF
	}
	return "", refuse("it cannot be read: %s", clean(fmt.Sprint(err), 80))
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return refuse("it is empty")
	}
	return err
}
