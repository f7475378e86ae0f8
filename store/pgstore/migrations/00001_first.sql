-- +goose Up
CREATE TABLE accounts (
	id            text COLLATE "C" PRIMARY KEY,
	email         text COLLATE "C" NOT NULL UNIQUE,
	name          text COLLATE "C" NOT NULL,
	password_hash text COLLATE "C" NOT NULL,
	roles         text COLLATE "C" NOT NULL, -- JSON list
	verified      bigint,       -- all times: microseconds since 1970, UTC
	locked        bigint,
	created       bigint,
	updated       bigint
);

-- No foreign key: what is left of a deleted account's sessions tells the
-- verifiers that they ended.
CREATE TABLE sessions (
	id           text COLLATE "C" PRIMARY KEY,
	account_id   text COLLATE "C" NOT NULL,
	device       text COLLATE "C" NOT NULL,
	user_agent   text COLLATE "C" NOT NULL,
	client       text COLLATE "C" NOT NULL,
	created      bigint NOT NULL,
	used         bigint,
	expires      bigint NOT NULL,
	ended        bigint,
	end_reason   text COLLATE "C" NOT NULL,
	generation   bigint NOT NULL,
	current_sum  bytea,
	previous_sum bytea,
	rotated      bigint,
	successor    bytea
);
CREATE INDEX sessions_account ON sessions (account_id, created);
CREATE INDEX sessions_ended ON sessions (ended) WHERE ended IS NOT NULL;
CREATE INDEX sessions_expires ON sessions (expires);

CREATE TABLE tickets (
	sum        bytea PRIMARY KEY,
	kind       text COLLATE "C" NOT NULL,
	account_id text COLLATE "C" REFERENCES accounts (id) ON DELETE CASCADE,
	email      text COLLATE "C" NOT NULL,
	roles      text COLLATE "C" NOT NULL,
	created    bigint,
	expires    bigint NOT NULL
);
CREATE UNIQUE INDEX tickets_account ON tickets (account_id, kind) WHERE account_id IS NOT NULL;
CREATE UNIQUE INDEX tickets_invitation ON tickets (kind, email) WHERE account_id IS NULL;
CREATE INDEX tickets_expires ON tickets (expires);

CREATE TABLE attempts (
	key      text COLLATE "C" PRIMARY KEY,
	failures bigint NOT NULL,
	last     bigint,
	until    bigint
);
CREATE INDEX attempts_last ON attempts (last);

CREATE TABLE entries (
	seq      bigint PRIMARY KEY,
	at       bigint,
	event    bytea NOT NULL,
	previous bytea,
	hash     bytea NOT NULL
);
