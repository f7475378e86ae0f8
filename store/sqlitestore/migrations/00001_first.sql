-- +goose Up
CREATE TABLE accounts (
	id            TEXT PRIMARY KEY,
	email         TEXT NOT NULL UNIQUE,
	name          TEXT NOT NULL,
	password_hash TEXT NOT NULL,
	roles         TEXT NOT NULL, -- JSON list
	verified      INTEGER,       -- all times: microseconds since 1970, UTC
	locked        INTEGER,
	created       INTEGER,
	updated       INTEGER
) STRICT, WITHOUT ROWID;

-- No foreign key: what is left of a deleted account's sessions tells the
-- verifiers that they ended.
CREATE TABLE sessions (
	id           TEXT PRIMARY KEY,
	account_id   TEXT NOT NULL,
	device       TEXT NOT NULL,
	user_agent   TEXT NOT NULL,
	client       TEXT NOT NULL,
	created      INTEGER NOT NULL,
	used         INTEGER,
	expires      INTEGER NOT NULL,
	ended        INTEGER,
	end_reason   TEXT NOT NULL,
	generation   INTEGER NOT NULL,
	current_sum  BLOB,
	previous_sum BLOB,
	rotated      INTEGER,
	successor    BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_account ON sessions (account_id, created);
CREATE INDEX sessions_ended ON sessions (ended) WHERE ended IS NOT NULL;
CREATE INDEX sessions_expires ON sessions (expires);

CREATE TABLE tickets (
	sum        BLOB PRIMARY KEY,
	kind       TEXT NOT NULL,
	account_id TEXT REFERENCES accounts (id) ON DELETE CASCADE,
	email      TEXT NOT NULL,
	roles      TEXT NOT NULL,
	created    INTEGER,
	expires    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tickets_account ON tickets (account_id, kind) WHERE account_id IS NOT NULL;
CREATE UNIQUE INDEX tickets_invitation ON tickets (kind, email) WHERE account_id IS NULL;
CREATE INDEX tickets_expires ON tickets (expires);

CREATE TABLE attempts (
	key      TEXT PRIMARY KEY,
	failures INTEGER NOT NULL,
	last     INTEGER,
	until    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_last ON attempts (last);

CREATE TABLE entries (
	seq      INTEGER PRIMARY KEY,
	at       INTEGER,
	event    BLOB NOT NULL,
	previous BLOB,
	hash     BLOB NOT NULL
) STRICT;
