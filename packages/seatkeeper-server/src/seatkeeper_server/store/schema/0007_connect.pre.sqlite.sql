-- A local server that is connected to its vendor's: where he is found, how it stands, and what he has not answered yet.
CREATE TABLE connection (
    tenant_id    TEXT    NOT NULL PRIMARY KEY,
    url          TEXT    NOT NULL,
    ca_file      TEXT,
    is_plain     INTEGER NOT NULL CHECK (is_plain IN (0, 1)),   -- plain http beyond this machine was asked for
    connected_at INTEGER NOT NULL,
    next_at      INTEGER NOT NULL,
    tried_at     INTEGER,
    succeeded_at INTEGER,
    failures     INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    error        TEXT
) STRICT, WITHOUT ROWID;

-- Documents for the vendor that he has not answered yet, by their number.
CREATE TABLE unanswered (
    tenant_id TEXT    NOT NULL,
    number    INTEGER NOT NULL CHECK (number >= 1),
    token     TEXT    NOT NULL,
    made_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, number)
) STRICT, WITHOUT ROWID;

-- When the last document that was heard from a site was made there.
ALTER TABLE site ADD COLUMN heard_made_at INTEGER;
