package intel

import (
	"iter"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// stream is one sorted run of records, with its next entry at hand.
type stream struct {
	entry snapshot.Entry
	ok    bool
	next  func() (snapshot.Entry, error, bool)
	stop  func()
}

func (s *stream) advance() error {
	e, err, ok := s.next()
	s.entry, s.ok = e, ok
	return err
}

// merged calls yield with all records of a partition in the order of their keys: of each key the one that counts, and those that
// lost against it.
func merged(readers []*snapshot.Reader, partition string, yield func(key string, winner []byte, losers [][]byte) error) error {
	streams := make([]*stream, 0, len(readers))
	defer func() {
		for _, s := range streams {
			s.stop()
		}
	}()
	for _, r := range readers {
		s := &stream{}
		s.next, s.stop = iter.Pull2(r.Entries(sectionRecord, partition))
		streams = append(streams, s)
		if err := s.advance(); err != nil {
			return err
		}
	}
	for {
		key, some := "", false
		for _, s := range streams {
			if s.ok && (!some || s.entry.Key < key) {
				key, some = s.entry.Key, true
			}
		}
		if !some {
			return nil
		}
		var winner []byte
		var losers [][]byte
		for _, s := range streams {
			if !s.ok || s.entry.Key != key {
				continue
			}
			value := s.entry.Value
			if winner == nil {
				winner = value
			} else {
				best, err := newer(winner, value)
				if err != nil {
					return err
				}
				if &best[0] == &winner[0] {
					losers = append(losers, value)
				} else {
					losers = append(losers, winner)
				}
				winner = best
			}
			if err := s.advance(); err != nil {
				return err
			}
		}
		advisory, _, _ := strings.Cut(key, "\x00")
		if Partition(advisory) != partition {
			continue
		}
		if err := yield(key, winner, losers); err != nil {
			return err
		}
	}
}

// tombstones take back what an older version of an OSV record said about advisories that the newer one does not name any more:
// they lie in other partitions, so they go through the inbox.
func tombstones(winner []byte, losers [][]byte, into *Batch) error {
	w, err := decodeRecord(winner)
	if err != nil {
		return err
	}
	now := map[string]bool{}
	for _, id := range w.GetLinks() {
		now[id] = true
	}
	for _, raw := range losers {
		l, err := decodeRecord(raw)
		if err != nil {
			return err
		}
		for _, id := range l.GetLinks() {
			if now[id] {
				continue
			}
			now[id] = true
			gone := &ingestv1.IntelRecord{
				Id: w.GetId(), Feed: feeds.FeedOSV, Advisory: id, Modified: timestamppb.New(w.GetModified().AsTime()), Parser: w.GetParser(), Gone: true,
			}
			if err := into.add(gone); err != nil {
				return err
			}
		}
	}
	return nil
}
