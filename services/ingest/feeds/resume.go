package feeds

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// fetchOnce asks for the file, or for what is missing of it: Range with If-Range (RFC 9110, section 13.1.5), which gives the
// whole anew if it is another file by now.
func (c *Client) fetchOnce(ctx context.Context, url, etag, path string, limit int64) (*Download, error) {
	part, err := os.OpenFile(path+".part", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.ResourceExhausted, err, "write download")
	}
	defer func() { _ = part.Close() }() // what counts is synced before it gets its name
	have, err := part.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fault.Wrap(fault.ResourceExhausted, err, "write download")
	}
	tag, err := os.ReadFile(path + ".part.etag")
	if err != nil || len(tag) == 0 || strings.HasPrefix(string(tag), "W/") {
		have = 0 // what is there cannot be told from another version
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	res, err := c.do(ctx, url, func(req *http.Request) {
		switch {
		case have > 0:
			req.Header.Set("Range", "bytes="+strconv.FormatInt(have, 10)+"-")
			req.Header.Set("If-Range", string(tag))
		case etag != "":
			req.Header.Set("If-None-Match", etag)
		}
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusNotModified && etag != "":
		return &Download{ETag: etag, Unchanged: true}, nil
	case res.StatusCode == http.StatusPartialContent && startsAt(res.Header.Get("Content-Range"), have):
	case res.StatusCode == http.StatusOK:
		have = 0
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable, res.StatusCode == http.StatusPartialContent:
		c.Discard(url)
		return nil, fault.New(fault.Unavailable, "the source does not go on where the download stopped")
	default:
		return nil, statusError(res)
	}
	if err := restart(part, path, have, res.Header.Get("ETag")); err != nil {
		return nil, err
	}
	stall := time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	defer stall.Stop()
	return c.complete(ctx, res, part, path, have, limit, stall)
}

// startsAt says whether a Content-Range ("bytes 100-199/200") begins at n.
func startsAt(header string, n int64) bool {
	rest, ok := strings.CutPrefix(header, "bytes ")
	from, _, _ := strings.Cut(rest, "-")
	at, err := strconv.ParseInt(from, 10, 64)
	return ok && err == nil && at == n
}

// restart cuts the file to what counts of it and notes of which version it is.
func restart(part *os.File, path string, have int64, tag string) error {
	err := part.Truncate(have)
	if err == nil {
		_, err = part.Seek(have, io.SeekStart)
	}
	if err == nil {
		err = os.WriteFile(path+".part.etag", []byte(tag), 0o600)
	}
	return fault.Wrap(fault.ResourceExhausted, err, "write download")
}

// complete reads the answer into the file and gives it its name.
func (c *Client) complete(ctx context.Context, res *http.Response, part *os.File, path string, have, limit int64, stall *time.Timer) (*Download, error) {
	check := newSum(res.Header)
	if have > 0 {
		check = nil // the checksum is that of the whole
	}
	buf := make([]byte, 256<<10)
	size := have
	for {
		n, err := res.Body.Read(buf)
		stall.Reset(stallTimeout)
		check.write(buf[:n])
		if size += int64(n); size > limit {
			_ = os.Remove(path + ".part") // it is of no use
			return nil, refuse("it has more than %d bytes", limit)
		}
		if _, writeErr := part.Write(buf[:n]); writeErr != nil {
			return nil, fault.Wrap(fault.ResourceExhausted, writeErr, "write download")
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, netError(ctx, err)
		}
	}
	if err := check.check(); err != nil {
		_ = os.Remove(path + ".part") // going on with it would not mend it
		return nil, err
	}
	tag := res.Header.Get("ETag")
	err := part.Sync()
	if err == nil {
		err = os.Rename(path+".part", path)
	}
	if err == nil {
		_ = os.Remove(path + ".part.etag") // it belongs to the part
		err = os.WriteFile(path+".etag", []byte(tag), 0o600)
	}
	if err != nil {
		return nil, fault.Wrap(fault.ResourceExhausted, err, "keep download")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.ResourceExhausted, err, "keep download")
	}
	return &Download{File: f, Size: size, ETag: tag}, nil
}
