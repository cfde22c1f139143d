-- The first schema, of the same shape as SQLite's. Moments and durations are integer microseconds (moments since 1970, UTC);
-- ids are text, compared byte by byte whatever the database's language is; JSON is text; truths are 0 and 1.
-- The tenant's id leads every primary key, so that tenants can be spread over several databases later.

-- What this database is: which history it counts, and when it was last known to be served.
CREATE TABLE history (
    one          BIGINT           NOT NULL PRIMARY KEY CHECK (one = 1),
    database_id  TEXT COLLATE "C" NOT NULL,               -- `iss` of every lease
    epoch        BIGINT           NOT NULL CHECK (epoch >= 1),
    created_at   BIGINT           NOT NULL
);

-- Marked by whoever serves first in a second, not by every transaction (docs/decisions/0010).
CREATE TABLE alive (
    one      BIGINT           NOT NULL PRIMARY KEY CHECK (one = 1),
    at       BIGINT           NOT NULL,
    boot_id  TEXT COLLATE "C" NOT NULL,
    boot_at  BIGINT           NOT NULL,
    drift    BIGINT           NOT NULL,
    "offset" BIGINT           NOT NULL,
    given    BIGINT           NOT NULL           -- how many times lost time was given back: one server does it for all
) WITH (fillfactor = 50);

-- The transactions of the last minutes, so that one whose commit got lost can be looked up. Whoever asks writes the id down
-- too, if it isn't there: what had not happened by then never will.
CREATE TABLE batch (
    batch_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at       BIGINT           NOT NULL,
    happened BIGINT           NOT NULL CHECK (happened IN (0, 1))
);
CREATE INDEX batches_by_time ON batch (at);

-- --- what is sold ---------------------------------------------------------------------------------------------------

CREATE TABLE tenant (
    tenant_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL UNIQUE,
    contact    TEXT COLLATE "C",                             -- whom a refused user should ask
    created_at BIGINT           NOT NULL,
    -- the tenant's own chain of facts: what concerns no single entitlement
    facts      BIGINT           NOT NULL DEFAULT 0,
    head       TEXT COLLATE "C" NOT NULL,
    holders    BIGINT           NOT NULL DEFAULT 0,
    denied_since  BIGINT        NOT NULL DEFAULT 0,
    denied_firsts BIGINT        NOT NULL DEFAULT 0
);

-- Keys of a tenant, private parts sealed under a key that is not in the database.
CREATE TABLE tenant_key (
    tenant_id   TEXT COLLATE "C" NOT NULL REFERENCES tenant,
    purpose     TEXT COLLATE "C" NOT NULL CHECK (purpose IN ('root', 'signing', 'access-token', 'ticket', 'code')),
    kid         TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('current', 'previous', 'retired')),
    public_key  TEXT COLLATE "C",
    sealed      BYTEA            NOT NULL,
    certificate TEXT COLLATE "C",
    created_at  BIGINT           NOT NULL,
    expires_at  BIGINT,
    PRIMARY KEY (tenant_id, purpose, kid)
);
CREATE UNIQUE INDEX one_current_key ON tenant_key (tenant_id, purpose) WHERE state = 'current';

CREATE TABLE product (
    tenant_id   TEXT COLLATE "C" NOT NULL REFERENCES tenant,
    product_id  TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, product_id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE edition (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    edition_id TEXT COLLATE "C" NOT NULL,
    product_id TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, edition_id),
    UNIQUE (tenant_id, product_id, name),
    FOREIGN KEY (tenant_id, product_id) REFERENCES product
);

CREATE TABLE plan (
    tenant_id          TEXT COLLATE "C" NOT NULL REFERENCES tenant,
    plan_id            TEXT COLLATE "C" NOT NULL,
    name               TEXT COLLATE "C" NOT NULL,
    license_type       TEXT COLLATE "C" NOT NULL CHECK (license_type IN ('subscription', 'perpetual')),
    license_start_type TEXT COLLATE "C" NOT NULL CHECK (license_start_type IN ('activation', 'entitlementCreation', 'manualActivation', 'custom')),
    duration_type      TEXT COLLATE "C" NOT NULL CHECK (duration_type IN ('none', 'second', 'minute', 'hour', 'day', 'week', 'month', 'year')),
    duration_count     BIGINT           CHECK (duration_count > 0),
    plan_type          TEXT COLLATE "C" NOT NULL CHECK (plan_type IN ('trial', 'paid', 'notForResale', 'internal', 'beta', 'free')),
    created_at         BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, plan_id),
    UNIQUE (tenant_id, name),
    CHECK ((duration_type = 'none') = (duration_count IS NULL))
);

CREATE TABLE offering (
    tenant_id       TEXT COLLATE "C" NOT NULL,
    offering_id     TEXT COLLATE "C" NOT NULL,
    edition_id      TEXT COLLATE "C" NOT NULL,
    plan_id         TEXT COLLATE "C" NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    sku             TEXT COLLATE "C" NOT NULL,
    seats           BIGINT           NOT NULL CHECK (seats >= 1),
    mode            TEXT COLLATE "C" NOT NULL CHECK (mode IN ('concurrent', 'nodeLock')),
    overdraft_kind  TEXT COLLATE "C" NOT NULL CHECK (overdraft_kind IN ('none', 'absolute', 'percentage', 'unlimited')),
    overdraft_value BIGINT           NOT NULL CHECK (overdraft_value >= 0),
    features        TEXT COLLATE "C" NOT NULL CHECK (features::json IS NOT NULL),   -- [{key, type, value, overdraft}]
    lease           BIGINT           NOT NULL CHECK (lease > 0),
    linger          BIGINT           NOT NULL CHECK (linger >= 0),
    grace           BIGINT           NOT NULL CHECK (grace >= 0),
    created_at      BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, offering_id),
    UNIQUE (tenant_id, sku),
    FOREIGN KEY (tenant_id, edition_id) REFERENCES edition,
    FOREIGN KEY (tenant_id, plan_id) REFERENCES plan
);

CREATE TABLE customer (
    tenant_id      TEXT COLLATE "C" NOT NULL REFERENCES tenant,
    customer_id    TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    account_ref_id TEXT COLLATE "C",
    disabled_at    BIGINT,
    created_at     BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, customer_id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE entitlement_group (
    tenant_id    TEXT COLLATE "C" NOT NULL,
    group_id     TEXT COLLATE "C" NOT NULL,
    customer_id  TEXT COLLATE "C" NOT NULL,
    order_ref_id TEXT COLLATE "C",
    created_at   BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, group_id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customer
);

-- The commercial side of an entitlement; its counted side is its pool.
CREATE TABLE entitlement (
    tenant_id           TEXT COLLATE "C" NOT NULL,
    entitlement_id      TEXT COLLATE "C" NOT NULL,
    group_id            TEXT COLLATE "C" NOT NULL,
    offering_id         TEXT COLLATE "C" NOT NULL,
    activated_at        BIGINT,
    has_maintenance     BIGINT           NOT NULL DEFAULT 0 CHECK (has_maintenance IN (0, 1)),
    maintenance_ends_at BIGINT,
    created_at          BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, entitlement_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES entitlement_group,
    FOREIGN KEY (tenant_id, offering_id) REFERENCES offering
);

-- Codes are looked up by an HMAC and kept sealed for those who may read them again.
CREATE TABLE activation_code (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    code_hash  TEXT COLLATE "C" NOT NULL,
    group_id   TEXT COLLATE "C" NOT NULL,
    sealed     BYTEA            NOT NULL,
    last_four  TEXT COLLATE "C" NOT NULL,
    created_at BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, code_hash),
    FOREIGN KEY (tenant_id, group_id) REFERENCES entitlement_group
);
CREATE INDEX codes_of_group ON activation_code (tenant_id, group_id);

-- --- what is held ---------------------------------------------------------------------------------------------------

-- One entitlement is one pool. Everything a decision needs of it stands in this row and in pool_right; whoever decides has this
-- row locked. Room is left in the pages, so that a counter that changes all the time stays in its own.
CREATE TABLE pool (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    entitlement_id TEXT COLLATE "C" NOT NULL,
    group_id       TEXT COLLATE "C" NOT NULL,
    product_id     TEXT COLLATE "C" NOT NULL,
    edition_id     TEXT COLLATE "C" NOT NULL,
    mode           TEXT COLLATE "C" NOT NULL CHECK (mode IN ('concurrent', 'nodeLock')),
    lease          BIGINT           NOT NULL CHECK (lease > 0),
    linger         BIGINT           NOT NULL CHECK (linger >= 0),
    margin         BIGINT           NOT NULL CHECK (margin >= 0),
    nonce          TEXT COLLATE "C" NOT NULL CHECK (nonce IN ('optional', 'required')),
    switch         TEXT COLLATE "C" NOT NULL CHECK (switch IN ('on', 'created', 'disabled', 'customerDisabled', 'exported')),
    starts_at      BIGINT,
    ends_at        BIGINT,
    grace          BIGINT           NOT NULL CHECK (grace >= 0),
    -- kept by the pool machine
    sequence       BIGINT           NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    holders        BIGINT           NOT NULL DEFAULT 0 CHECK (holders >= 0),
    excess         BIGINT           NOT NULL DEFAULT 0 CHECK (excess >= 0),
    lost_after     BIGINT           NOT NULL DEFAULT 0,   -- leases numbered above this, up to lost_until, were signed by
    lost_until     BIGINT           NOT NULL DEFAULT 0,   -- a state of this database that was lost when it was restored
    facts          BIGINT           NOT NULL DEFAULT 0 CHECK (facts >= 0),
    head           TEXT COLLATE "C" NOT NULL,
    denied_since   BIGINT           NOT NULL DEFAULT 0,
    denied_firsts  BIGINT           NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, entitlement_id),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES entitlement
) WITH (fillfactor = 50);
CREATE INDEX pools_of_group ON pool (tenant_id, group_id, product_id);

-- The counters. `key` '' is the seat itself. No counter is above its cap, but for what `above` accounts for.
CREATE TABLE pool_right (
    tenant_id       TEXT COLLATE "C" NOT NULL,
    entitlement_id  TEXT COLLATE "C" NOT NULL,
    key             TEXT COLLATE "C" NOT NULL,
    kind            TEXT COLLATE "C" NOT NULL CHECK (kind IN ('seat', 'bool', 'elementPool', 'usageCount')),
    bought          BIGINT           CHECK (bought >= 0),
    overdraft_kind  TEXT COLLATE "C" NOT NULL CHECK (overdraft_kind IN ('none', 'absolute', 'percentage', 'unlimited')),
    overdraft_value BIGINT           NOT NULL CHECK (overdraft_value >= 0),
    cap             BIGINT           CHECK (cap >= 0),
    used            BIGINT           NOT NULL DEFAULT 0 CHECK (used >= 0),
    above           BIGINT           NOT NULL DEFAULT 0 CHECK (above >= 0),
    PRIMARY KEY (tenant_id, entitlement_id, key),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES pool,
    CHECK (cap IS NULL OR used <= cap + above),
    CHECK ((kind = 'seat') = (key = ''))
) WITH (fillfactor = 50);

-- Who is who. Everything else speaks of holders by number, so that a person can be erased here and nowhere else.
-- `chain_id` is an entitlement's id, or the tenant's own for the addresses that failed to prove who they are.
CREATE TABLE holder (
    tenant_id     TEXT COLLATE "C" NOT NULL,
    chain_id      TEXT COLLATE "C" NOT NULL,
    number        BIGINT           NOT NULL CHECK (number >= 1),
    seat_id       TEXT COLLATE "C" NOT NULL,
    seat_name     TEXT COLLATE "C",
    username      TEXT COLLATE "C",
    "user"        TEXT COLLATE "C",
    host          TEXT COLLATE "C",
    process       TEXT COLLATE "C",
    "group"       TEXT COLLATE "C",
    project       TEXT COLLATE "C",
    address       TEXT COLLATE "C",
    blocked_until BIGINT,
    PRIMARY KEY (tenant_id, chain_id, number),
    UNIQUE (tenant_id, chain_id, seat_id)
);

-- Places. `past` 0 is a seat's present holding; an older copy that was taken over is kept under its own generation.
CREATE TABLE holding (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    activation_id  TEXT COLLATE "C" NOT NULL,
    past           BIGINT           NOT NULL CHECK (past >= 0),
    entitlement_id TEXT COLLATE "C" NOT NULL,
    generation     BIGINT           NOT NULL CHECK (generation >= 1),
    holder         BIGINT           NOT NULL,
    state          TEXT COLLATE "C" NOT NULL CHECK (state IN ('held', 'lapsed', 'returned', 'takenBack', 'superseded')),
    occupies       BIGINT           NOT NULL CHECK (occupies IN (0, 1)),
    rights         TEXT COLLATE "C" NOT NULL CHECK (rights::json IS NOT NULL),
    activated_at   BIGINT           NOT NULL,
    refreshed_at   BIGINT           NOT NULL,
    expires_at     BIGINT           NOT NULL,
    free_at        BIGINT,
    sequence       BIGINT           NOT NULL,
    nonce          TEXT COLLATE "C" NOT NULL,
    nonce_before   TEXT COLLATE "C",
    nonce_answered TEXT COLLATE "C",
    nonce_bound    BIGINT           NOT NULL CHECK (nonce_bound IN (0, 1)),
    noted_at       BIGINT           NOT NULL,
    floored        BIGINT           NOT NULL DEFAULT 0 CHECK (floored IN (0, 1)),
    device_key     TEXT COLLATE "C",                         -- proves, with the token, whose place a long lease's is
    PRIMARY KEY (tenant_id, activation_id, past),
    FOREIGN KEY (tenant_id, entitlement_id) REFERENCES pool,
    FOREIGN KEY (tenant_id, entitlement_id, holder) REFERENCES holder (tenant_id, chain_id, number),
    CHECK ((past = 0) = (state <> 'superseded')),
    CHECK (state <> 'held' OR occupies = 1),
    CHECK (state <> 'lapsed' OR occupies = 0),
    CHECK (occupies = 1 OR free_at IS NULL)
);
CREATE UNIQUE INDEX one_holding_per_holder ON holding (tenant_id, entitlement_id, holder) WHERE past = 0;
CREATE INDEX places_by_holder ON holding (tenant_id, entitlement_id, holder) WHERE past > 0;
CREATE INDEX places_by_end ON holding (tenant_id, entitlement_id, free_at) WHERE occupies = 1;
CREATE INDEX places_ended_long_ago ON holding (refreshed_at) WHERE occupies = 0;

-- Successes that may be asked for again under the same idempotency key.
CREATE TABLE keyed (
    tenant_id     TEXT COLLATE "C" NOT NULL,
    scope         TEXT COLLATE "C" NOT NULL,
    key           TEXT COLLATE "C" NOT NULL,
    body          TEXT COLLATE "C" NOT NULL,
    activation_id TEXT COLLATE "C" NOT NULL,
    generation    BIGINT           NOT NULL,
    kept_until    BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, scope, key)
);
CREATE INDEX keyed_by_end ON keyed (kept_until);

-- Refusals that are being counted rather than written down one by one. Holder 0 is a pool's flood.
CREATE TABLE refusal (
    tenant_id TEXT COLLATE "C" NOT NULL,
    chain_id  TEXT COLLATE "C" NOT NULL,
    holder    BIGINT           NOT NULL CHECK (holder >= 0),
    denial_id TEXT COLLATE "C" NOT NULL,
    rule      TEXT COLLATE "C" NOT NULL,
    key       TEXT COLLATE "C" NOT NULL,                  -- the right that was short; '' is the seat
    since     BIGINT           NOT NULL,
    until     BIGINT           NOT NULL,
    count     BIGINT           NOT NULL CHECK (count >= 0),
    PRIMARY KEY (tenant_id, chain_id, holder)
);
CREATE INDEX refusals_by_start ON refusal (since);

-- --- what happened --------------------------------------------------------------------------------------------------

-- One table of facts; log, charts, webhooks and audit are readings of it. `hash` links each to the one before in its chain.
CREATE TABLE fact (
    tenant_id     TEXT COLLATE "C" NOT NULL,
    chain_id      TEXT COLLATE "C" NOT NULL,
    number        BIGINT           NOT NULL CHECK (number >= 1),
    kind          TEXT COLLATE "C" NOT NULL,
    at            BIGINT           NOT NULL,
    recorded_at   BIGINT           NOT NULL,
    activation_id TEXT COLLATE "C",
    generation    BIGINT           NOT NULL,
    holder        BIGINT           NOT NULL,
    denial_id     TEXT COLLATE "C",
    data          TEXT COLLATE "C" NOT NULL CHECK (data::json IS NOT NULL),
    hash          TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, chain_id, number)
);
CREATE INDEX facts_by_time ON fact (tenant_id, recorded_at);
CREATE INDEX facts_by_holder ON fact (tenant_id, chain_id, holder) WHERE holder > 0;
CREATE INDEX facts_by_denial ON fact (tenant_id, denial_id) WHERE denial_id IS NOT NULL;

-- Where facts were pruned, what they came to: signed, so that the chain can still be checked from there.
CREATE TABLE checkpoint (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    chain_id   TEXT COLLATE "C" NOT NULL,
    number     BIGINT           NOT NULL,
    at         BIGINT           NOT NULL,
    signed     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, chain_id, number)
);
