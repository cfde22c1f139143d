-- What facts come to: usage by the quarter of an hour, sessions, and what was asked for in vain. Made from facts, and kept when those
-- are pruned. Amounts over time (`held`, `above`) are an amount times microseconds.

-- Up to which fact a chain was rolled up.
CREATE TABLE usage_mark (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    entitlement_id TEXT COLLATE "C" NOT NULL,
    number         BIGINT           NOT NULL CHECK (number >= 0),
    recorded_at    BIGINT,
    breaks         TEXT COLLATE "C" NOT NULL CHECK (breaks::json IS NOT NULL),
    PRIMARY KEY (tenant_id, entitlement_id)
);

-- A right in a quarter of an hour in which it moved: the most and the fewest, and how it ended.
CREATE TABLE usage_slot (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    entitlement_id TEXT COLLATE "C" NOT NULL,
    right_key      TEXT COLLATE "C" NOT NULL,
    began_at       BIGINT           NOT NULL CHECK (began_at % 900000000 = 0),
    high           BIGINT           NOT NULL,
    low            BIGINT           NOT NULL CHECK (low <= high),
    held           BIGINT           NOT NULL,
    above          BIGINT           NOT NULL CHECK (above >= 0),
    amount         BIGINT           NOT NULL CHECK (amount BETWEEN low AND high),
    bought         BIGINT,
    PRIMARY KEY (tenant_id, entitlement_id, right_key, began_at)
);

-- How often something happened in a quarter of an hour: came, denied (by a rule), used (of a feature).
CREATE TABLE usage_count (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    entitlement_id TEXT COLLATE "C" NOT NULL,
    began_at       BIGINT           NOT NULL CHECK (began_at % 900000000 = 0),
    what           TEXT COLLATE "C" NOT NULL CHECK (what IN ('came', 'denied', 'used')),
    rule           TEXT COLLATE "C" NOT NULL,
    right_key      TEXT COLLATE "C" NOT NULL,
    count          BIGINT           NOT NULL CHECK (count > 0),
    PRIMARY KEY (tenant_id, entitlement_id, began_at, what, rule, right_key)
);

-- One stay of a holder's in a pool, by the number of the fact with which it began.
CREATE TABLE usage_session (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    entitlement_id TEXT COLLATE "C" NOT NULL,
    number         BIGINT           NOT NULL,
    activation_id  TEXT COLLATE "C" NOT NULL,
    holder         BIGINT           NOT NULL,
    started_at     BIGINT           NOT NULL,
    ended_at       BIGINT           CHECK (ended_at >= started_at),
    cause          TEXT COLLATE "C",
    PRIMARY KEY (tenant_id, entitlement_id, number)
);
CREATE UNIQUE INDEX sessions_that_last ON usage_session (tenant_id, entitlement_id, activation_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_end ON usage_session (tenant_id, entitlement_id, ended_at);

-- A wish for a right that was refused, until it was granted (`met_at`) or given up.
CREATE TABLE usage_demand (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    entitlement_id TEXT COLLATE "C" NOT NULL,
    number         BIGINT           NOT NULL,
    holder         BIGINT           NOT NULL,
    right_key      TEXT COLLATE "C" NOT NULL,
    wanted         BIGINT           NOT NULL CHECK (wanted >= 1),
    began_at       BIGINT           NOT NULL,
    last_at        BIGINT           NOT NULL CHECK (last_at >= began_at),
    tries          BIGINT           NOT NULL CHECK (tries >= 1),
    met_at         BIGINT           CHECK (met_at >= began_at),
    PRIMARY KEY (tenant_id, entitlement_id, number)
);
CREATE INDEX demands_of_holder ON usage_demand (tenant_id, entitlement_id, holder, right_key, number);
CREATE INDEX demands_by_time ON usage_demand (tenant_id, entitlement_id, last_at);
