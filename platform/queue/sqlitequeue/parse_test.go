package sqlitequeue

import "testing"

// Receipts, ids and page tokens come back from outside: whatever they are, they are either what was
// given out or refused.
func FuzzParse(f *testing.F) {
	q := queueID{id: 1, salt: "0123456789ab"}
	for _, seed := range []string{"", "1.2.3", "1.2", "-1.2.3", "1.2.3.4", "zz.zz.zz", "0123456789ab-z", "0123456789ab--1", "MQ", "!", "....", "1.2.+3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if lane, seq, fence, ok := parseReceipt(s); ok {
			again := receipt(lane, seq, fence)
			if l, m, n, ok := parseReceipt(again); !ok || l != lane || m != seq || n != fence {
				t.Errorf("receipt %q is read as %q", s, again)
			}
		}
		if seq, ok := parseMessageID(q, s); ok {
			if again, ok := parseMessageID(q, messageID(q, seq)); !ok || again != seq {
				t.Errorf("message id %q is read as %d", s, seq)
			}
		}
		if seq, err := parseToken(s); err == nil && s != "" {
			if again, err := parseToken(formatToken(seq)); err != nil || again != seq {
				t.Errorf("page token %q is read as %d", s, seq)
			}
		}
	})
}
