package intel

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

const (
	// maxFiles bounds a directory: a copy of the CVE list as files has 330,000.
	maxFiles = 2_000_000
	// headBytes is how much of a file is looked at to tell what it is.
	headBytes = 64 << 10
	// maxImportRecords and maxImportBytes bound one call of ImportIntel: what the platform takes in one message is 4 MiB.
	maxImportRecords = 5000
	maxImportBytes   = 3 << 20
)

// File is something published by a feed that lies on disk: an archive, a catalogue, or many files with one record each.
type File struct {
	// Feed is what it was told to be: kev, epss, nvd, cve, osv.
	Feed  string
	Paths []string
}

// Find looks what feeds' files there are below paths, by what is in them. A file that is none of a feed is told to skip.
func Find(ctx context.Context, paths []string, skip func(path, why string)) ([]*File, error) {
	var out []*File
	records := map[string]*File{} // files of one record each, by feed
	n := 0
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return fault.New(fault.NotFound, "read %s: %v", path, bare(err))
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
				return filepath.SkipDir
			}
			if d.IsDir() || !d.Type().IsRegular() {
				return nil
			}
			if n++; n > maxFiles {
				return fault.New(fault.Invalid, "read %s: there are more than %d files", root, maxFiles)
			}
			feed, single, err := detect(path)
			switch {
			case err != nil:
				skip(path, fault.From(err).Public())
			case feed == "":
				// The companions of the files: lists of what changed, checksums, texts.
				if e := strings.ToLower(filepath.Ext(path)); e == ".json" || e == ".zip" || e == ".gz" || path == root {
					skip(path, "it is no file of a feed that is known")
				}
			case single && records[feed] != nil:
				records[feed].Paths = append(records[feed].Paths, path)
			default:
				f := &File{Feed: feed, Paths: []string{path}}
				out = append(out, f)
				if single {
					records[feed] = f
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return rankOf(out[i].Feed) < rankOf(out[j].Feed) })
	return out, nil
}

func rankOf(feed string) int {
	for i, name := range Names {
		if name == feed {
			return i
		}
	}
	return len(Names)
}

func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// detect tells of which feed a file is; single: it is one record.
func detect(path string) (feed string, single bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", false, fault.New(fault.FailedPrecondition, "it cannot be opened: %v", bare(err))
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, headBytes)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", false, fault.New(fault.FailedPrecondition, "it cannot be read: %v", bare(err))
	}
	head = head[:n]
	if bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		feed, err := detectArchive(f)
		return feed, false, err
	}
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		if head, err = unpackedHead(head); err != nil {
			return "", false, err
		}
	}
	feed, single = detectText(head)
	return feed, single, nil
}

func unpackedHead(head []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(head))
	if err != nil {
		return nil, fault.New(fault.Invalid, "it is no gzip file")
	}
	out := make([]byte, headBytes)
	n, err := io.ReadFull(z, out)
	if n == 0 {
		return nil, fault.Wrap(fault.Invalid, err, "it is no gzip file")
	}
	return out[:n], nil
}

// detectText tells by the fields that each format begins with.
func detectText(head []byte) (feed string, single bool) {
	head = bytes.TrimLeft(head, " \t\r\n\ufeff")
	has := func(words ...string) bool {
		for _, w := range words {
			if !bytes.Contains(head, []byte(w)) {
				return false
			}
		}
		return true
	}
	switch {
	case bytes.HasPrefix(head, []byte("#model_version")), bytes.HasPrefix(head, []byte("# model_version")):
		return feeds.FeedEPSS, false
	case !bytes.HasPrefix(head, []byte("{")):
		return "", false
	case has(`"catalogVersion"`, `"vulnerabilities"`):
		return feeds.FeedKEV, false
	case has(`"NVD_CVE"`, `"totalResults"`):
		return feeds.FeedNVD, false
	case has(`"CVE_RECORD"`):
		return feeds.FeedCVE, true
	case has(`"id"`, `"modified"`):
		return feeds.FeedOSV, true
	}
	return "", false
}

func detectArchive(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", fault.New(fault.FailedPrecondition, "it cannot be read: %v", bare(err))
	}
	a, err := feeds.OpenArchive(f, info.Size(), os.TempDir())
	if err != nil {
		return "", err
	}
	defer func() { _ = a.Close() }()
	feed, looked := "", 0
	_, err = a.Each(0, func(_ string, raw []byte) error {
		feed, _ = detectText(raw[:min(len(raw), headBytes)])
		if looked++; feed == feeds.FeedCVE || feed == feeds.FeedOSV || looked >= 16 {
			return errFull
		}
		return nil
	}, func(string, string) {})
	if err != nil && !errors.Is(err, errFull) {
		return "", err
	}
	return feed, nil
}

// Read reads the file and calls emit with requests of ImportIntel, the last of which says so, and with how much is done, from 0
// to 1.
func (f *File) Read(ctx context.Context, emit func(req *ingestv1.ImportIntelRequest, fraction float64) error) error {
	r := &fileReader{ctx: ctx, feed: f.Feed, emit: emit}
	for i, path := range f.Paths {
		r.whole, r.before = len(f.Paths), i
		if err := r.read(path); err != nil {
			return fault.Wrap(fault.CodeOf(err), err, "read %s", path)
		}
	}
	return r.end()
}

type fileReader struct {
	ctx  context.Context
	feed string
	emit func(*ingestv1.ImportIntelRequest, float64) error

	records []*ingestv1.IntelRecord
	bytes   int
	counts  Batch // only what it counts: records, and what was not understood

	ecosystem     string
	whole, before int
	part          float64
	begun         bool
	catalogue     bool
}

func (r *fileReader) out() feeds.Out { return feeds.Out{Record: r.add, Skip: r.counts.Skip} }

func (r *fileReader) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.New(fault.FailedPrecondition, "it cannot be opened: %v", bare(err))
	}
	defer func() { _ = f.Close() }()
	switch r.feed {
	case feeds.FeedKEV:
		k, err := feeds.ReadKEV(f, r.counts.Skip)
		if err != nil {
			return err
		}
		p, err := kevProgress(k, "")
		return r.sendCatalogue(p, err)
	case feeds.FeedEPSS:
		rows := epssRows{}
		head, err := feeds.ReadEPSS(f, rows.add, r.counts.Skip)
		if err != nil {
			return err
		}
		p, err := rows.progress(head, "")
		return r.sendCatalogue(p, err)
	case feeds.FeedNVD:
		in, err := unzipped(f)
		if err != nil {
			return err
		}
		_, err = feeds.ReadNVD(in, r.out())
		return err
	}
	return r.readRecords(f, path)
}

// unzipped is f, unpacked if it is packed.
func unzipped(f *os.File) (io.Reader, error) {
	var magic [2]byte
	n, err := io.ReadFull(f, magic[:])
	if err != nil {
		return nil, fault.New(fault.Invalid, "it is empty")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "read it")
	}
	if n < 2 || magic != [2]byte{0x1f, 0x8b} {
		return f, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fault.New(fault.Invalid, "it is no gzip file")
	}
	return z, nil
}

func (r *fileReader) readRecords(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return fault.New(fault.FailedPrecondition, "it cannot be read: %v", bare(err))
	}
	read := feeds.ReadCVE
	if r.feed == feeds.FeedOSV {
		read = feeds.ReadOSV
	}
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil || string(magic[:]) != "PK\x03\x04" {
		if info.Size() > feeds.MaxRecordBytes {
			r.counts.Skip(filepath.Base(path), "it has more than 8 MiB")
			return nil
		}
		raw, err := io.ReadAll(io.LimitReader(f, feeds.MaxRecordBytes))
		if err != nil {
			return fault.New(fault.FailedPrecondition, "it cannot be read: %v", bare(err))
		}
		return read(raw, filepath.Base(path), r.out())
	}
	a, err := feeds.OpenArchive(f, info.Size(), os.TempDir())
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }()
	out, n := r.out(), 0
	_, err = a.Each(0, func(name string, raw []byte) error {
		n++
		r.part = float64(n) / float64(a.Len())
		return read(raw, baseName(name), out)
	}, r.counts.Skip)
	return err
}

func (r *fileReader) fraction() float64 {
	return (float64(r.before) + r.part) / float64(max(r.whole, 1))
}

func (r *fileReader) add(rec *ingestv1.IntelRecord) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.ecosystem == "" && len(rec.GetAffected()) > 0 {
		// "Debian:12/openssh" is of the feed osv/Debian.
		key, _, _ := strings.Cut(rec.GetAffected()[0].GetProduct(), "/")
		r.ecosystem, _, _ = strings.Cut(key, ":")
	}
	size := canonical.Size(rec)
	if size > maxImportBytes {
		r.counts.Skip(rec.GetId(), "what is known about it has more than 3 MiB")
		return nil
	}
	if len(r.records) >= maxImportRecords || r.bytes+size > maxImportBytes {
		if err := r.send(false); err != nil {
			return err
		}
	}
	r.records = append(r.records, rec)
	r.bytes += size + 8
	if rec.GetFeed() != feeds.FeedLinks {
		r.counts.Read++
	}
	return nil
}

func (r *fileReader) name() string {
	if r.feed != feeds.FeedOSV {
		return r.feed
	}
	return feeds.FeedOSV + "/" + or(r.ecosystem, "files")
}

func (r *fileReader) send(last bool) error {
	req := &ingestv1.ImportIntelRequest{Feed: r.name(), Records: r.records, About: r.about(), First: !r.begun, Last: last}
	r.records, r.bytes, r.begun = nil, 0, true
	return r.emit(req, r.fraction())
}

// about counts what was read and what was not understood since the last request.
func (r *fileReader) about() *modelv1.IntelFeed {
	f := &modelv1.IntelFeed{Records: r.counts.Read, Skipped: r.counts.Skipped, Examples: r.counts.Examples}
	r.counts = Batch{}
	return f
}

func (r *fileReader) sendCatalogue(p Progress, err error) error {
	if err != nil {
		return err
	}
	r.catalogue, r.part = true, 1
	about := r.about()
	about.Records = p.Catalogue.Entries
	return r.emit(&ingestv1.ImportIntelRequest{Feed: r.feed, Catalogue: p.Catalogue.File, About: about, First: true, Last: true}, r.fraction())
}

// end sends what is left.
func (r *fileReader) end() error {
	if r.catalogue {
		return nil
	}
	r.before, r.part = r.whole, 0
	return r.send(true)
}

// String names the file for people.
func (f *File) String() string {
	if len(f.Paths) == 1 {
		return fmt.Sprintf("%s from %s", f.Feed, f.Paths[0])
	}
	return fmt.Sprintf("%s from %d files", f.Feed, len(f.Paths))
}
