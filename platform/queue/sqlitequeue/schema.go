package sqlitequeue

// applicationID marks the file as one of this package: "rpq1".
const applicationID = 0x72707131

// schema is one entry per version. A lane is a group with messages in it; its first message is the
// only one that can be in flight, so everything that changes while a message lives is kept in the
// lane: messages, which may be large, are written once and deleted once.
var schema = []string{`
CREATE TABLE queue (
	id    INTEGER PRIMARY KEY,
	name  TEXT NOT NULL UNIQUE,
	salt  TEXT NOT NULL                    -- first half of its message ids
);
CREATE TABLE lane (
	id       INTEGER PRIMARY KEY,
	queue    INTEGER NOT NULL,
	name     TEXT NOT NULL,                -- the group
	count    INTEGER NOT NULL,             -- its messages
	state    INTEGER NOT NULL,             -- 0 ready, 1 delayed, 2 its first message is in flight
	turn     INTEGER NOT NULL,             -- order of the ready ones, smallest first
	until    INTEGER NOT NULL DEFAULT 0,   -- end of delay or visibility, Unix milliseconds
	head     INTEGER NOT NULL DEFAULT 0,   -- the message that was handed out last
	fence    INTEGER NOT NULL DEFAULT 0,   -- how often anything was handed out
	failures INTEGER NOT NULL DEFAULT 0,   -- of the first message, like all that follow
	lost     INTEGER NOT NULL DEFAULT 0,
	consumer TEXT NOT NULL DEFAULT '',     -- who has it in flight
	error    TEXT NOT NULL DEFAULT '',
	trace    TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX lane_by_name ON lane (queue, name);
CREATE INDEX lane_ready ON lane (queue, turn) WHERE state = 0;
CREATE INDEX lane_hidden ON lane (queue, until) WHERE state <> 0;
CREATE TABLE message (
	seq        INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: receipts and ids name it
	lane       INTEGER NOT NULL,
	dedup      TEXT NOT NULL,
	body       BLOB,
	attributes BLOB,                       -- JSON object, or NULL for none
	sent       INTEGER NOT NULL,           -- Unix milliseconds
	sum        INTEGER NOT NULL            -- CRC-32C of group, dedup, body and attributes
);
CREATE INDEX message_by_lane ON message (lane, seq);
CREATE TABLE parked (
	seq        INTEGER PRIMARY KEY,        -- the message's
	queue      INTEGER NOT NULL,
	name       TEXT NOT NULL,
	dedup      TEXT NOT NULL,
	body       BLOB,
	attributes BLOB,
	sent       INTEGER NOT NULL,
	sum        INTEGER NOT NULL,
	failures   INTEGER NOT NULL,
	error      TEXT NOT NULL,
	trace      TEXT NOT NULL,
	parked     INTEGER NOT NULL            -- Unix milliseconds
);
CREATE INDEX parked_by_queue ON parked (queue, seq);
CREATE TABLE dedup (
	minute INTEGER NOT NULL,               -- of sending: old rows lie together
	id     BLOB NOT NULL,                  -- hash of queue, group and dedup id
	sent   INTEGER NOT NULL,               -- Unix milliseconds
	PRIMARY KEY (minute, id)
) WITHOUT ROWID;
`}
