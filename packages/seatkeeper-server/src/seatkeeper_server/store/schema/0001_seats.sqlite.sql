-- The first schema. Moments and durations are integer microseconds (moments since 1970, UTC); ids are text; JSON is text.
-- The tenant's id leads every primary key, so that tenants can be spread over several databases later.

-- What this database is: which history it counts, and when it was last known to be served.
CREATE TABLE history (
    one          INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    database_id  TEXT    NOT NULL,               -- `iss` of every lease
    epoch        INTEGER NOT NULL CHECK (epoch >= 1),
    created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE alive (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    at       INTEGER NOT NULL,
    boot_id  TEXT    NOT NULL,
    boot_at  INTEGER NOT NULL,
    drift    INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    batch_id TEXT    NOT NULL                    -- the last transaction that was committed
) STRICT;

-- --- what is sold ---------------------------------------------------------------------------------------------------

CREATE TABLE tenant (
    tenant_id  TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    contact    TEXT,                             -- whom a refused user should ask
    created_at INTEGER NOT NULL,
    -- the tenant's own chain of facts: what concerns no single entitlement
    facts      INTEGER NOT NULL DEFAULT 0,
    head       TEXT    NOT NULL,
    holders    INTEGER NOT NULL DEFAULT 0,
    denied_since  INTEGER NOT NULL DEFAULT 0,
    denied_firsts INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Keys of a tenant, private parts sealed under a key that is not in the database.
CREATE TABLE tenant_key (
    tenant_id   TEXT    NOT NULL REFERENCES tenant,
    purpose     TEXT    NOT NULL CHECK (purpose IN ('root', 'signing', 'access-token', 'ticket', 'code')),
    kid         TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('current', 'previous', 'retired')),
    public_key  TEXT,
    sealed      BLOB    NOT NULL,
    certificate TEXT,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    PRIMARY KEY (tenant_id, purpose, kid)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_current_key ON tenant_key (tenant_id, purpose) WHERE state = 'current';

CREATE TABLE product (
    tenant_id   TEXT    NOT NULL REFERENCES tenant,
    product_id  TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, product_id),
    UNIQUE (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE edition (
    tenant_id  TEXT    NOT NULL,
    edition_id TEXT    NOT NULL,
    product_id TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, edition_id),
    UNIQUE (tenant_id, product_id, name),
    FOREIGN KEY (tenant_id, product_id) REFERENCES product
) STRICT, WITHOUT ROWID;

CREATE TABLE plan (
    tenant_id          TEXT    NOT NULL REFERENCES tenant,
    plan_id            TEXT    NOT NULL,
    name               TEXT    NOT NULL,
    license_type       TEXT    NOT NULL CHECK (license_type IN ('subscription', 'perpetual')),
    license_start_type TEXT    NOT NULL CHECK (license_start_type IN ('activation', 'entitlementCreation', 'manualActivation', 'custom')),
    duration_type      TEXT    NOT NULL CHECK (duration_type IN ('none', 'second', 'minute', 'hour', 'day', 'week', 'month', 'year')),
    duration_count     INTEGER CHECK (duration_count > 0),
    plan_type          TEXT    NOT NULL CHECK (plan_type IN ('trial', 'paid', 'notForResale', 'internal', 'beta', 'free')),
    created_at         INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, plan_id),
    UNIQUE (tenant_id, name),
    CHECK ((duration_type = 'none') = (duration_count IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE offering (
    tenant_id       TEXT    NOT NULL,
    offering_id     TEXT    NOT NULL,
    edition_id      TEXT    NOT NULL,
    plan_id         TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    sku             TEXT    NOT NULL,
    seats           INTEGER NOT NULL CHECK (seats >= 1),
    mode            TEXT    NOT NULL CHECK (mode IN ('concurrent', 'nodeLock')),
    overdraft_kind  TEXT    NOT NULL CHECK (overdraft_kind IN ('none', 'absolute', 'percentage', 'unlimited')),
    overdraft_value INTEGER NOT NULL CHECK (overdraft_value >= 0),
    features        TEXT    NOT NULL CHECK (json_valid(features)),   -- [{key, type, value, overdraft}]
    lease           INTEGER NOT NULL CHECK (lease > 0),
    linger          INTEGER NOT NULL CHECK (linger >= 0),
    grace           INTEGER NOT NULL CHECK (grace >= 0),
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, offering_id),
    UNIQUE (tenant_id, sku),
    FOREIGN KEY (tenant_id, edition_id) REFERENCES edition,
    FOREIGN KEY (tenant_id, plan_id) REFERENCES plan
) STRICT, WITHOUT ROWID;

CREATE TABLE customer (
    tenant_id      TEXT    NOT NULL REFERENCES tenant,
    customer_id    TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    account_ref_id TEXT,
    disabled_at    INTEGER,
    created_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, customer_id),
    UNIQUE (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE entitlement_group (
    tenant_id    TEXT    NOT NULL,
    group_id     TEXT    NOT NULL,
    customer_id  TEXT    NOT NULL,
    order_ref_id TEXT,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, group_id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customer
) STRICT, WITHOUT ROWID;

-- The commercial side of an entitlement; its counted side is its pool.
CREATE TABLE entitlement (
    tenant_id           TEXT    NOT NULL,
    entitlement_id      TEXT    NOT NULL,
    group_id            TEXT    NOT NULL,
    offering_id         TEXT    NOT NULL,
    activated_at        INTEGER,
    has_maintenance     INTEGER NOT NULL DEFAULT 0 CHECK (has_maintenance IN (0, 1)),
    maintenance_ends_at INTEGER,
    created_at          INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, entitlement_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES entitlement_group,
    FOREIGN KEY (tenant_id, offering_id) REFERENCES offering
) STRICT, WITHOUT ROWID;

-- Codes are looked up by an HMAC and kept sealed for those who may read them again.
CREATE TABLE activation_code (
    tenant_id  TEXT    NOT NULL,
    code_hash  TEXT    NOT NULL,
    group_id   TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    last_four  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, code_hash),
    FOREIGN KEY (tenant_id, group_id) REFERENCES entitlement_group
) STRICT, WITHOUT ROWID;
CREATE INDEX codes_of_group ON activation_code (tenant_id, group_id);

-- --- what is held ---------------------------------------------------------------------------------------------------

-- One entitlement is one pool. Everything a decision needs of it stands in this row and in pool_right.
CREATE TABLE pool (
    tenant_id      TEXT    NOT NULL,
    entitlement_id TEXT    NOT NULL,
    group_id       TEXT    NOT NULL,
    product_id     TEXT    NOT NULL,
    edition_id     TEXT    NOT NULL,
    mode           TEXT    NOT NULL CHECK (mode IN ('concurrent', 'nodeLock')),
    lease          INTEGER NOT NULL CHECK (lease > 0),
    linger         INTEGER NOT NULL CHECK (linger >= 0),
    margin         INTEGER NOT NULL CHECK (margin >= 0),
    nonce          TEXT    NOT NULL CHECK (nonce IN ('optional', 'required')),
    switch         TEXT    NOT NULL CHECK (switch IN ('on', 'created', 'disabled', 'customerDisabled', 'exported')),
    starts_at      INTEGER,
    ends_at        INTEGER,
    grace          INTEGER NOT NULL CHECK (grace >= 0),
    -- kept by the pool machine
    sequence       INTEGER NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    holders        INTEGER NOT NULL DEFAULT 0 CHECK (holders >= 0),
    excess         INTEGER NOT NULL DEFAULT 0 CHECK (excess >= 0),
    lost_after     INTEGER NOT NULL DEFAULT 0,   -- leases numbered above this, up to lost_until, were signed by
    lost_until     INTEGER NOT NULL DEFAULT 0,   -- a state of this database that was lost when it was restored
    facts          INTEGER NOT NULL DEFAULT 0 CHECK (facts >= 0),
    head           TEXT    NOT NULL,
    denied_since   INTEGER NOT NULL DEFAULT 0,
    denied_firsts  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, entitlement_id),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES entitlement
) STRICT, WITHOUT ROWID;
CREATE INDEX pools_of_group ON pool (tenant_id, group_id, product_id);

-- The counters. `key` '' is the seat itself. No counter is above its cap, but for what `above` accounts for.
CREATE TABLE pool_right (
    tenant_id       TEXT    NOT NULL,
    entitlement_id  TEXT    NOT NULL,
    key             TEXT    NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('seat', 'bool', 'elementPool', 'usageCount')),
    bought          INTEGER CHECK (bought >= 0),
    overdraft_kind  TEXT    NOT NULL CHECK (overdraft_kind IN ('none', 'absolute', 'percentage', 'unlimited')),
    overdraft_value INTEGER NOT NULL CHECK (overdraft_value >= 0),
    cap             INTEGER CHECK (cap >= 0),
    used            INTEGER NOT NULL DEFAULT 0 CHECK (used >= 0),
    above           INTEGER NOT NULL DEFAULT 0 CHECK (above >= 0),
    PRIMARY KEY (tenant_id, entitlement_id, key),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES pool,
    CHECK (cap IS NULL OR used <= cap + above),
    CHECK ((kind = 'seat') = (key = ''))
) STRICT, WITHOUT ROWID;

-- Who is who. Everything else speaks of holders by number, so that a person can be erased here and nowhere else.
-- `chain_id` is an entitlement's id, or the tenant's own for the addresses that failed to prove who they are.
CREATE TABLE holder (
    tenant_id     TEXT    NOT NULL,
    chain_id      TEXT    NOT NULL,
    number        INTEGER NOT NULL CHECK (number >= 1),
    seat_id       TEXT    NOT NULL,
    seat_name     TEXT,
    username      TEXT,
    user          TEXT,
    host          TEXT,
    process       TEXT,
    "group"       TEXT,
    project       TEXT,
    address       TEXT,
    blocked_until INTEGER,
    PRIMARY KEY (tenant_id, chain_id, number),
    UNIQUE (tenant_id, chain_id, seat_id)
) STRICT, WITHOUT ROWID;

-- Places. `past` 0 is a seat's present holding; an older copy that was taken over is kept under its own generation.
CREATE TABLE holding (
    tenant_id      TEXT    NOT NULL,
    activation_id  TEXT    NOT NULL,
    past           INTEGER NOT NULL CHECK (past >= 0),
    entitlement_id TEXT    NOT NULL,
    generation     INTEGER NOT NULL CHECK (generation >= 1),
    holder         INTEGER NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN ('held', 'lapsed', 'returned', 'takenBack', 'superseded')),
    occupies       INTEGER NOT NULL CHECK (occupies IN (0, 1)),
    rights         TEXT    NOT NULL CHECK (json_valid(rights)),
    activated_at   INTEGER NOT NULL,
    refreshed_at   INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    free_at        INTEGER,
    sequence       INTEGER NOT NULL,
    nonce          TEXT    NOT NULL,
    nonce_before   TEXT,
    nonce_answered TEXT,
    nonce_bound    INTEGER NOT NULL CHECK (nonce_bound IN (0, 1)),
    noted_at       INTEGER NOT NULL,
    floored        INTEGER NOT NULL DEFAULT 0 CHECK (floored IN (0, 1)),
    device_key     TEXT,                         -- proves, with the token, whose place a long lease's is
    PRIMARY KEY (tenant_id, activation_id, past),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES pool,
    FOREIGN KEY (tenant_id, entitlement_id, holder) REFERENCES holder (tenant_id, chain_id, number),
    CHECK ((past = 0) = (state <> 'superseded')),
    CHECK (state <> 'held' OR occupies = 1),
    CHECK (state <> 'lapsed' OR occupies = 0),
    CHECK (occupies = 1 OR free_at IS NULL)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_holding_per_holder ON holding (tenant_id, entitlement_id, holder) WHERE past = 0;
CREATE INDEX places_by_holder ON holding (tenant_id, entitlement_id, holder) WHERE past > 0;
CREATE INDEX places_by_end ON holding (tenant_id, entitlement_id, free_at) WHERE occupies = 1;
CREATE INDEX places_ended_long_ago ON holding (refreshed_at) WHERE occupies = 0;

-- Successes that may be asked for again under the same idempotency key.
CREATE TABLE keyed (
    tenant_id     TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    body          TEXT    NOT NULL,
    activation_id TEXT    NOT NULL,
    generation    INTEGER NOT NULL,
    kept_until    INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX keyed_by_end ON keyed (kept_until);

-- Refusals that are being counted rather than written down one by one. Holder 0 is a pool's flood.
CREATE TABLE refusal (
    tenant_id TEXT    NOT NULL,
    chain_id  TEXT    NOT NULL,
    holder    INTEGER NOT NULL CHECK (holder >= 0),
    denial_id TEXT    NOT NULL,
    rule      TEXT    NOT NULL,
    key       TEXT    NOT NULL,                  -- the right that was short; '' is the seat
    since     INTEGER NOT NULL,
    until     INTEGER NOT NULL,
    count     INTEGER NOT NULL CHECK (count >= 0),
    PRIMARY KEY (tenant_id, chain_id, holder)
) STRICT, WITHOUT ROWID;
CREATE INDEX refusals_by_start ON refusal (since);

-- --- what happened --------------------------------------------------------------------------------------------------

-- One table of facts; log, charts, webhooks and audit are readings of it. `hash` links each to the one before in its chain.
CREATE TABLE fact (
    tenant_id     TEXT    NOT NULL,
    chain_id      TEXT    NOT NULL,
    number        INTEGER NOT NULL CHECK (number >= 1),
    kind          TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    recorded_at   INTEGER NOT NULL,
    activation_id TEXT,
    generation    INTEGER NOT NULL,
    holder        INTEGER NOT NULL,
    denial_id     TEXT,
    data          TEXT    NOT NULL CHECK (json_valid(data)),
    hash          TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, chain_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX facts_by_time ON fact (tenant_id, recorded_at);
CREATE INDEX facts_by_holder ON fact (tenant_id, chain_id, holder) WHERE holder > 0;
CREATE INDEX facts_by_denial ON fact (tenant_id, denial_id) WHERE denial_id IS NOT NULL;

-- Where facts were pruned, what they came to: signed, so that the chain can still be checked from there.
CREATE TABLE checkpoint (
    tenant_id  TEXT    NOT NULL,
    chain_id   TEXT    NOT NULL,
    number     INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    signed     TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, chain_id, number)
) STRICT, WITHOUT ROWID;
