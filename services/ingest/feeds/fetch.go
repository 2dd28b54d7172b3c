package feeds

import (
	"context"
	"crypto/md5" //nolint:gosec // the checksum that Google's storage gives; it guards against damage, not against people
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// maxRedirects is enough for GitHub's one.
	maxRedirects = 5
	// answerTimeout is how long a source may think before it answers.
	answerTimeout = 60 * time.Second
	// stallTimeout is how long a download may stand still.
	stallTimeout = 60 * time.Second
	// maxRetryAfter bounds how long a source can make us wait.
	maxRetryAfter = 6 * time.Hour
	// resumes is how often an interrupted download is gone on with in one call.
	resumes = 3
)

// Client fetches what the feeds publish. It asks nobody but the addresses it is given and where those redirect to.
type Client struct {
	http  *http.Client
	agent string
	dir   string
}

// NewClient makes a client that names itself agent and keeps downloads in dir until they are read.
func NewClient(agent, dir string) *Client {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		transport = &http.Transport{}
	}
	transport = transport.Clone()
	transport.ResponseHeaderTimeout = answerTimeout
	return &Client{agent: agent, dir: dir, http: &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errors.New("too many redirects")
		}
		if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
			return errors.New("a redirect from https to " + req.URL.Scheme)
		}
		return nil
	}}}
}

// Dir is where downloads are kept.
func (c *Client) Dir() string { return c.dir }

// Response is an answer whose body is bounded and must be closed.
type Response struct {
	io.ReadCloser

	// ETag is what to give to the next Get; it may be empty.
	ETag string
	// Unchanged: nothing was sent, because what the ETag named is still so.
	Unchanged bool
}

// Get asks for url. With an etag the answer may be Unchanged. The body has at most limit bytes; a longer one, one that ends too
// early and one with another checksum than its headers say end in an error instead of io.EOF. 404 is fault.NotFound; 429 and
// 503 are fault.ResourceExhausted with the delay that the source asks for.
func (c *Client) Get(ctx context.Context, url, etag string, limit int64, headers map[string]string) (*Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	res, err := c.do(ctx, url, func(req *http.Request) {
		if etag != "" {
			req.Header.Set("If-None-Match", etag)
		}
		for k, v := range headers {
			req.Header.Set(k, v)
		}
	})
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if res.StatusCode == http.StatusNotModified && etag != "" {
		_ = res.Body.Close() // it has no body
		cancel(nil)
		return &Response{ReadCloser: http.NoBody, ETag: etag, Unchanged: true}, nil
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close() // the status says what there is to say
		cancel(nil)
		return nil, statusError(res)
	}
	body := &body{ReadCloser: res.Body, left: limit, limit: limit, cancel: cancel, sum: newSum(res.Header)}
	body.stall = time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	return &Response{ReadCloser: body, ETag: res.Header.Get("ETag")}, nil
}

var errStalled = errors.New("the download stood still for a minute")

func (c *Client) do(ctx context.Context, url string, prepare func(*http.Request)) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the address %q cannot be asked", clean(url, 200))
	}
	req.Header.Set("User-Agent", c.agent)
	// What is packed is packed by the source, and checksums are those of the bytes that travel.
	req.Header.Set("Accept-Encoding", "identity")
	prepare(req)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, netError(ctx, err)
	}
	return res, nil
}

func netError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errStalled) {
		return fault.Wrap(fault.CodeOf(cause), cause, "the download was stopped")
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		return fault.New(fault.Unavailable, "%v", errStalled)
	}
	return fault.New(fault.Unavailable, "the source cannot be reached: %s", clean(err.Error(), 200))
}

func statusError(res *http.Response) error {
	switch res.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		return fault.New(fault.NotFound, "the source has no %s", clean(res.Request.URL.Path, 200))
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return fault.RetryAfter(fault.New(fault.ResourceExhausted, "the source answers %s", clean(res.Status, 60)), retryAfter(res.Header.Get("Retry-After")))
	case http.StatusForbidden, http.StatusUnauthorized:
		return fault.New(fault.Unavailable, "the source answers %s: it may be over its limit, or want a key", clean(res.Status, 60))
	}
	return fault.New(fault.Unavailable, "the source answers %s", clean(res.Status, 60))
}

// retryAfter reads seconds or a date; a minute where neither is said.
func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(s); err == nil {
		return min(max(time.Until(t), 0), maxRetryAfter)
	}
	return time.Minute
}

// body bounds a body in bytes and in the time it may stand still, and compares it with its checksum.
type body struct {
	io.ReadCloser

	left, limit int64
	stall       *time.Timer
	cancel      context.CancelCauseFunc
	sum         *sum
}

// Read reads on.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.stall.Reset(stallTimeout)
	b.sum.write(p[:n])
	if b.left -= int64(n); b.left < 0 {
		return n, refuse("it has more than %d bytes", b.limit)
	}
	switch {
	case errors.Is(err, io.EOF):
		if sumErr := b.sum.check(); sumErr != nil {
			return n, sumErr
		}
		return n, io.EOF
	case err != nil:
		return n, fault.New(fault.Unavailable, "the download was cut off: %s", clean(err.Error(), 120))
	}
	return n, nil
}

// Close ends the download.
func (b *body) Close() error {
	b.stall.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// sum compares bytes with the checksum of Google's storage: X-Goog-Hash: crc32c=..., md5=...
// https://cloud.google.com/storage/docs/xml-api/reference-headers#xgooghash
type sum struct {
	hash hash.Hash
	want []byte
}

func newSum(h http.Header) *sum {
	for _, line := range h.Values("X-Goog-Hash") {
		for field := range strings.SplitSeq(line, ",") {
			kind, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			want, err := base64.StdEncoding.DecodeString(value)
			switch {
			case err != nil:
			case kind == "md5" && len(want) == md5.Size:
				return &sum{md5.New(), want} //nolint:gosec // against damage only
			case kind == "crc32c" && len(want) == crc32.Size:
				return &sum{crc32.New(crc32.MakeTable(crc32.Castagnoli)), want}
			}
		}
	}
	return nil
}

func (s *sum) write(p []byte) {
	if s != nil {
		_, _ = s.hash.Write(p) // a hash takes everything
	}
}

func (s *sum) check() error {
	if s != nil && string(s.hash.Sum(nil)) != string(s.want) {
		return fault.New(fault.Unavailable, "its checksum is not the one that the source gave: it was damaged on the way")
	}
	return nil
}

// Download is a file that was fetched whole.
type Download struct {
	*os.File

	Size      int64
	ETag      string
	Unchanged bool
}

// Fetch puts what url names into a file. A download that was interrupted, also by the end of the process, goes on where it
// stopped if the source still has the same. An etag works as in Get. Discard removes the file when it was read.
func (c *Client) Fetch(ctx context.Context, url, etag string, limit int64) (*Download, error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "make directory for downloads")
	}
	path := c.pathOf(url)
	if d, err := c.finished(path, etag); d != nil || err != nil {
		return d, err
	}
	var err error
	for range resumes {
		var d *Download
		if d, err = c.fetchOnce(ctx, url, etag, path, limit); err == nil {
			return d, nil
		}
		if fault.CodeOf(err) != fault.Unavailable || ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

func (c *Client) pathOf(url string) string {
	h := sha256.Sum256([]byte(url))
	return filepath.Join(c.dir, "feed-"+hex.EncodeToString(h[:12]))
}

// finished opens a download that is complete and was not read to its end yet.
func (c *Client) finished(path, etag string) (*Download, error) {
	have, err := os.ReadFile(path + ".etag")
	if err != nil || etag != "" && string(have) == etag {
		return nil, nil //nolint:nilnil,nilerr // absence is an answer here
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil //nolint:nilnil,nilerr // absence is an answer here
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Download{File: f, Size: info.Size(), ETag: string(have)}, nil
}

// Discard removes the file of url.
func (c *Client) Discard(url string) {
	path := c.pathOf(url)
	for _, end := range []string{"", ".etag", ".part", ".part.etag"} {
		_ = os.Remove(path + end) // what stays is written over
	}
}
