package sqlitedb

import (
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Primary result codes, https://www.sqlite.org/rescode.html. The library's own constants live in a
// package of 200,000 lines that says nothing more.
const (
	sqliteError      = 1
	sqlitePerm       = 3
	sqliteBusy       = 5
	sqliteLocked     = 6
	sqliteNoMem      = 7
	sqliteReadOnly   = 8
	sqliteIOErr      = 10
	sqliteCorrupt    = 11
	sqliteFull       = 13
	sqliteCantOpen   = 14
	sqliteProtocol   = 15
	sqliteSchema     = 17
	sqliteTooBig     = 18
	sqliteConstraint = 19
	sqliteMismatch   = 20
	sqliteNotADB     = 26

	// Extended codes of SQLITE_IOERR that mean damage and not a failing disk.
	sqliteIOErrCorruptFS = sqliteIOErr | 33<<8
	sqliteIOErrData      = sqliteIOErr | 32<<8
)

// What to do, in the words of the log.
const (
	adviceFull       = "free space on its volume or raise the quota; nothing acknowledged is lost and writes resume by themselves"
	adviceDamaged    = "stop the program, keep a copy of the file and restore the newest backup"
	adviceNotADB     = "it is no database or its header is damaged: restore the newest backup, or move the file away to start empty"
	adviceOpen       = "check that its folder exists, that this user may write both, and that the volume is not mounted read-only"
	adviceBusy       = "another process holds its lock: end that process or wait"
	adviceDisk       = "the disk reported a failure: check the volume and the kernel log"
	adviceMemory     = "the machine is out of memory"
	adviceFileSystem = "put it on a local file system, not on a network share"
	adviceInternal   = "this is a mistake of the program"
)

// failure is the cause behind every fault of this package: it names the file and what to do, in one
// line, and keeps the library's error out of reach.
type failure struct {
	path   string
	code   int // extended result code, or 0
	text   string
	advice string
}

func (f *failure) Error() string {
	// SQLite's report on damage has several lines, a log entry has one.
	text := strings.Join(strings.Fields(f.text), " ")
	return fmt.Sprintf("database %s: %s: %s", f.path, text, f.advice)
}

// failed translates an error of the library and remembers what it means for the connection.
func (c *Conn) failed(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqliteError, sqliteConstraint, sqliteTooBig, sqliteMismatch, sqliteSchema:
			// The statement failed and was undone, the transaction goes on.
		case sqliteFull, sqliteBusy, sqliteLocked:
			c.spoilt = true
		default:
			c.spoilt, c.broken = true, true
		}
	} else {
		c.spoilt, c.broken = true, true
	}
	return translate(c.path, err)
}

// translate makes a fault of an error of the library.
func translate(path string, err error) error {
	f := &failure{path: path, text: err.Error(), advice: adviceInternal}
	var e *sqlite.Error
	if errors.As(err, &e) {
		f.code = e.Code()
	}
	code, words := fault.Internal, "database failed"
	switch f.code & 0xff {
	case sqliteFull:
		code, words, f.advice = fault.ResourceExhausted, "storage is full", adviceFull
	case sqliteCorrupt:
		code, words, f.advice = fault.DataLoss, "storage is damaged", adviceDamaged
	case sqliteNotADB:
		code, words, f.advice = fault.DataLoss, "storage is damaged", adviceNotADB
	case sqliteCantOpen, sqlitePerm, sqliteReadOnly:
		code, words, f.advice = fault.FailedPrecondition, "storage cannot be opened for writing", adviceOpen
	case sqliteBusy, sqliteLocked, sqliteProtocol:
		code, words, f.advice = fault.Unavailable, "storage is locked", adviceBusy
	case sqliteNoMem:
		code, words, f.advice = fault.Unavailable, "storage is out of memory", adviceMemory
	case sqliteConstraint:
		code, words = fault.AlreadyExists, "row exists already"
	case sqliteIOErr:
		code, words, f.advice = fault.Unavailable, "storage failed", adviceDisk
		if f.code == sqliteIOErrCorruptFS || f.code == sqliteIOErrData {
			code, words, f.advice = fault.DataLoss, "storage is damaged", adviceDamaged
		}
	}
	return fault.Wrap(code, f, "%s", words)
}

// describe is a cause that is not the library's.
func (c *Conn) describe(err error, advice string) error {
	return &failure{path: c.path, text: err.Error(), advice: advice}
}

// damaged reports damage that the library did not notice by itself.
func damaged(path, what string) error {
	return fault.Wrap(fault.DataLoss, &failure{path: path, text: what, advice: adviceDamaged}, "storage is damaged")
}

// Damaged is the error for a row whose content is not what was stored. The words name the row and
// are for the log only.
func (c *Conn) Damaged(format string, args ...any) error {
	return damaged(c.path, fmt.Sprintf(format, args...))
}

func primaryCode(err error) int {
	var f *failure
	if errors.As(err, &f) {
		return f.code & 0xff
	}
	return 0
}

func isBusy(err error) bool {
	code := primaryCode(err)
	return code == sqliteBusy || code == sqliteLocked
}

// isNoTransaction is right only for the error of a ROLLBACK.
func isNoTransaction(err error) bool { return primaryCode(err) == sqliteError }
