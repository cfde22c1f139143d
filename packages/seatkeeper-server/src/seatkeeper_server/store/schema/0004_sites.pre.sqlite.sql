-- Lending to local license servers: what a vendor's server knows of them and lends them, and what a local one knows of itself.

-- Keys by which documents are sealed to somebody, and by which a local server signs. `owner` is a tenant, or '' for this
-- server itself. Private parts are sealed.
CREATE TABLE exchange_key (
    owner      TEXT    NOT NULL,
    purpose    TEXT    NOT NULL CHECK (purpose IN ('sealing', 'signing')),
    kid        TEXT    NOT NULL,
    public_key TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (owner, purpose)
) STRICT, WITHOUT ROWID;

-- Documents that were applied here: each is applied once.
CREATE TABLE applied_token (
    tenant_id  TEXT    NOT NULL,
    token_id   TEXT    NOT NULL,
    applied_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, token_id)
) STRICT, WITHOUT ROWID;

-- --- on the vendor's side -------------------------------------------------------------------------------------------

-- A local license server. Its own license is a seat of an entitlement that the vendor holds.
CREATE TABLE site (
    tenant_id      TEXT    NOT NULL REFERENCES tenant,
    site_id        TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    entitlement_id TEXT    NOT NULL,
    activation_id  TEXT    NOT NULL,
    database_id    TEXT    NOT NULL,             -- `iss` of its leases
    signing_key    TEXT    NOT NULL,
    sealing_key    TEXT    NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN ('ok', 'clock-suspect', 'restore-suspect', 'clone-suspect')),
    state_since    INTEGER,
    sent           INTEGER NOT NULL CHECK (sent >= 0),    -- the number of the last document for it
    heard          INTEGER NOT NULL CHECK (heard >= 0),   -- the number of the last one from it
    heard_id       TEXT    NOT NULL,
    reported_at    INTEGER,
    created_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    PRIMARY KEY (tenant_id, site_id),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES pool
) STRICT, WITHOUT ROWID;

-- A share of an entitlement, lent to a site: a session, which ends when it is back. It is a holding under its id.
CREATE TABLE share (
    tenant_id      TEXT    NOT NULL,
    share_id       TEXT    NOT NULL,
    entitlement_id TEXT    NOT NULL,
    site_id        TEXT    NOT NULL,
    holder         INTEGER NOT NULL,
    is_whole       INTEGER NOT NULL CHECK (is_whole IN (0, 1)),
    skew           INTEGER NOT NULL CHECK (skew >= 0),
    snapshot       TEXT    NOT NULL,             -- what the last document said of the entitlement, hashed
    lent_at        INTEGER NOT NULL,
    token_at       INTEGER NOT NULL,
    ended_at       INTEGER,
    -- what its server has reported: the facts up to a number, and the hash they end in
    facts          INTEGER NOT NULL DEFAULT 0,
    head           TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, share_id),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES pool,
    FOREIGN KEY (tenant_id, site_id) REFERENCES site
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_share_per_site ON share (tenant_id, entitlement_id, site_id) WHERE ended_at IS NULL;

-- The documents of a share that may be in force.
CREATE TABLE share_grant (
    tenant_id TEXT    NOT NULL,
    share_id  TEXT    NOT NULL,
    number    INTEGER NOT NULL CHECK (number >= 1),
    rights    TEXT    NOT NULL CHECK (json_valid(rights)),
    until     INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, share_id, number),
    FOREIGN KEY (tenant_id, share_id) REFERENCES share
) STRICT, WITHOUT ROWID;

-- What sites report of their use, by the hour.
CREATE TABLE site_use (
    tenant_id      TEXT    NOT NULL,
    share_id       TEXT    NOT NULL,
    hour           INTEGER NOT NULL,
    high           INTEGER NOT NULL,
    low            INTEGER NOT NULL,
    denials        INTEGER NOT NULL,
    seat_seconds   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, share_id, hour),
    FOREIGN KEY (tenant_id, share_id) REFERENCES share
) STRICT, WITHOUT ROWID;

-- --- on a local server ----------------------------------------------------------------------------------------------

-- This server's own license from a vendor: asked for, then given.
CREATE TABLE own_license (
    tenant_id     TEXT    NOT NULL PRIMARY KEY,
    site_id       TEXT,
    name          TEXT    NOT NULL,
    challenge     TEXT    NOT NULL,              -- only who knows the code can repeat it
    root_key      TEXT,
    sealing_key   TEXT,
    lease_ends_at INTEGER,
    epoch         INTEGER NOT NULL DEFAULT 0,    -- the number of the last document from the vendor
    sent          INTEGER NOT NULL DEFAULT 0,
    state         TEXT    NOT NULL CHECK (state IN ('ok', 'clock-suspect', 'restore-suspect', 'clone-suspect')),
    state_since   INTEGER,
    patience      INTEGER NOT NULL DEFAULT 0 CHECK (patience >= 0),  -- how long it serves while it is suspect
    asked_at      INTEGER NOT NULL,
    ended_at      INTEGER
) STRICT, WITHOUT ROWID;

-- What was lent to this server. The pool is an ordinary one; here is what it rests on.
CREATE TABLE lent (
    tenant_id      TEXT    NOT NULL,
    entitlement_id TEXT    NOT NULL,
    share_id       TEXT    NOT NULL,
    number         INTEGER NOT NULL CHECK (number >= 1),
    began          INTEGER NOT NULL,             -- the number of the document that began this share
    granted_at     INTEGER NOT NULL,
    until          INTEGER NOT NULL,
    ended_at       INTEGER,
    reported       INTEGER NOT NULL DEFAULT 0,   -- facts up to this number were reported
    reported_at    INTEGER,
    base           TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(base)),  -- what an earlier share had used up
    reported_head  TEXT    NOT NULL DEFAULT '',
    warned         INTEGER NOT NULL DEFAULT 0,   -- of its end: after so many percent of its time
    PRIMARY KEY (tenant_id, entitlement_id),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES pool
) STRICT, WITHOUT ROWID;
