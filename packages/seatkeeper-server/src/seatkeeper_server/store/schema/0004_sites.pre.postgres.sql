-- Lending to local license servers: what a vendor's server knows of them and lends them, and what a local one knows of itself.

-- Keys by which documents are sealed to somebody, and by which a local server signs. `owner` is a tenant, or '' for this
-- server itself. Private parts are sealed.
CREATE TABLE exchange_key (
    owner      TEXT COLLATE "C" NOT NULL,
    purpose    TEXT COLLATE "C" NOT NULL CHECK (purpose IN ('sealing', 'signing')),
    kid        TEXT COLLATE "C" NOT NULL,
    public_key TEXT COLLATE "C" NOT NULL,
    sealed     BYTEA            NOT NULL,
    created_at BIGINT           NOT NULL,
    PRIMARY KEY (owner, purpose)
);

-- Documents that were applied here: each is applied once.
CREATE TABLE applied_token (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    token_id   TEXT COLLATE "C" NOT NULL,
    applied_at BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, token_id)
);

-- --- on the vendor's side -------------------------------------------------------------------------------------------

-- A local license server. Its own license is a seat of an entitlement that the vendor holds.
CREATE TABLE site (
    tenant_id      TEXT COLLATE "C" NOT NULL REFERENCES tenant,
    site_id        TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    entitlement_id TEXT COLLATE "C" NOT NULL,
    activation_id  TEXT COLLATE "C" NOT NULL,
    database_id    TEXT COLLATE "C" NOT NULL,             -- `iss` of its leases
    signing_key    TEXT COLLATE "C" NOT NULL,
    sealing_key    TEXT COLLATE "C" NOT NULL,
    state          TEXT COLLATE "C" NOT NULL CHECK (state IN ('ok', 'clock-suspect', 'restore-suspect', 'clone-suspect')),
    state_since    BIGINT,
    sent           BIGINT           NOT NULL CHECK (sent >= 0),    -- the number of the last document for it
    heard          BIGINT           NOT NULL CHECK (heard >= 0),   -- the number of the last one from it
    heard_id       TEXT COLLATE "C" NOT NULL,
    reported_at    BIGINT,
    created_at     BIGINT           NOT NULL,
    ended_at       BIGINT,
    PRIMARY KEY (tenant_id, site_id),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES pool
);

-- A share of an entitlement, lent to a site: a session, which ends when it is back. It is a holding under its id.
CREATE TABLE share (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    share_id       TEXT COLLATE "C" NOT NULL,
    entitlement_id TEXT COLLATE "C" NOT NULL,
    site_id        TEXT COLLATE "C" NOT NULL,
    holder         BIGINT           NOT NULL,
    is_whole       BIGINT           NOT NULL CHECK (is_whole IN (0, 1)),
    skew           BIGINT           NOT NULL CHECK (skew >= 0),
    snapshot       TEXT COLLATE "C" NOT NULL,             -- what the last document said of the entitlement, hashed
    lent_at        BIGINT           NOT NULL,
    token_at       BIGINT           NOT NULL,
    ended_at       BIGINT,
    -- what its server has reported: the facts up to a number, and the hash they end in
    facts          BIGINT           NOT NULL DEFAULT 0,
    head           TEXT COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, share_id),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES pool,
    FOREIGN KEY (tenant_id, site_id) REFERENCES site
);
CREATE UNIQUE INDEX one_share_per_site ON share (tenant_id, entitlement_id, site_id) WHERE ended_at IS NULL;

-- The documents of a share that may be in force.
CREATE TABLE share_grant (
    tenant_id TEXT COLLATE "C" NOT NULL,
    share_id  TEXT COLLATE "C" NOT NULL,
    number    BIGINT           NOT NULL CHECK (number >= 1),
    rights    TEXT COLLATE "C" NOT NULL ,
    until     BIGINT           NOT NULL,
    issued_at BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, share_id, number),
    FOREIGN KEY (tenant_id, share_id) REFERENCES share
);

-- What sites report of their use, by the hour.
CREATE TABLE site_use (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    share_id       TEXT COLLATE "C" NOT NULL,
    hour           BIGINT           NOT NULL,
    high           BIGINT           NOT NULL,
    low            BIGINT           NOT NULL,
    denials        BIGINT           NOT NULL,
    seat_seconds   BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, share_id, hour),
    FOREIGN KEY (tenant_id, share_id) REFERENCES share
);

-- --- on a local server ----------------------------------------------------------------------------------------------

-- This server's own license from a vendor: asked for, then given.
CREATE TABLE own_license (
    tenant_id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    site_id       TEXT COLLATE "C",
    name          TEXT COLLATE "C" NOT NULL,
    challenge     TEXT COLLATE "C" NOT NULL,              -- only who knows the code can repeat it
    root_key      TEXT COLLATE "C",
    sealing_key   TEXT COLLATE "C",
    lease_ends_at BIGINT,
    epoch         BIGINT           NOT NULL DEFAULT 0,    -- the number of the last document from the vendor
    sent          BIGINT           NOT NULL DEFAULT 0,
    state         TEXT COLLATE "C" NOT NULL CHECK (state IN ('ok', 'clock-suspect', 'restore-suspect', 'clone-suspect')),
    state_since   BIGINT,
    patience      BIGINT           NOT NULL DEFAULT 0 CHECK (patience >= 0),  -- how long it serves while it is suspect
    asked_at      BIGINT           NOT NULL,
    ended_at      BIGINT
);

-- What was lent to this server. The pool is an ordinary one; here is what it rests on.
CREATE TABLE lent (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    entitlement_id TEXT COLLATE "C" NOT NULL,
    share_id       TEXT COLLATE "C" NOT NULL,
    number         BIGINT           NOT NULL CHECK (number >= 1),
    began          BIGINT           NOT NULL,             -- the number of the document that began this share
    granted_at     BIGINT           NOT NULL,
    until          BIGINT           NOT NULL,
    ended_at       BIGINT,
    reported       BIGINT           NOT NULL DEFAULT 0,   -- facts up to this number were reported
    reported_at    BIGINT,
    base           TEXT COLLATE "C" NOT NULL DEFAULT '{}',  -- what an earlier share had used up
    reported_head  TEXT COLLATE "C" NOT NULL DEFAULT '',
    warned         BIGINT           NOT NULL DEFAULT 0,   -- of its end: after so many percent of its time
    PRIMARY KEY (tenant_id, entitlement_id),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES pool
);
