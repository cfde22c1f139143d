-- What facts come to: usage by the quarter of an hour, sessions, and what was asked for in vain. Made from facts, and kept when those
-- are pruned. Amounts over time (`held`, `above`) are an amount times microseconds.

-- Up to which fact a chain was rolled up.
CREATE TABLE usage_mark (
    tenant_id      TEXT    NOT NULL,
    entitlement_id TEXT    NOT NULL,
    number         INTEGER NOT NULL CHECK (number >= 0),
    recorded_at    INTEGER,
    breaks         TEXT    NOT NULL CHECK (json_valid(breaks)),
    PRIMARY KEY (tenant_id, entitlement_id)
) STRICT, WITHOUT ROWID;

-- A right in a quarter of an hour in which it moved: the most and the fewest, and how it ended.
CREATE TABLE usage_slot (
    tenant_id      TEXT    NOT NULL,
    entitlement_id TEXT    NOT NULL,
    right_key      TEXT    NOT NULL,
    began_at       INTEGER NOT NULL CHECK (began_at % 900000000 = 0),
    high           INTEGER NOT NULL,
    low            INTEGER NOT NULL CHECK (low <= high),
    held           INTEGER NOT NULL,
    above          INTEGER NOT NULL CHECK (above >= 0),
    amount         INTEGER NOT NULL CHECK (amount BETWEEN low AND high),
    bought         INTEGER,
    PRIMARY KEY (tenant_id, entitlement_id, right_key, began_at)
) STRICT, WITHOUT ROWID;

-- How often something happened in a quarter of an hour: came, denied (by a rule), used (of a feature).
CREATE TABLE usage_count (
    tenant_id      TEXT    NOT NULL,
    entitlement_id TEXT    NOT NULL,
    began_at       INTEGER NOT NULL CHECK (began_at % 900000000 = 0),
    what           TEXT    NOT NULL CHECK (what IN ('came', 'denied', 'used')),
    rule           TEXT    NOT NULL,
    right_key      TEXT    NOT NULL,
    count          INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (tenant_id, entitlement_id, began_at, what, rule, right_key)
) STRICT, WITHOUT ROWID;

-- One stay of a holder's in a pool, by the number of the fact with which it began.
CREATE TABLE usage_session (
    tenant_id      TEXT    NOT NULL,
    entitlement_id TEXT    NOT NULL,
    number         INTEGER NOT NULL,
    activation_id  TEXT    NOT NULL,
    holder         INTEGER NOT NULL,
    started_at     INTEGER NOT NULL,
    ended_at       INTEGER CHECK (ended_at >= started_at),
    cause          TEXT,
    PRIMARY KEY (tenant_id, entitlement_id, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sessions_that_last ON usage_session (tenant_id, entitlement_id, activation_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_end ON usage_session (tenant_id, entitlement_id, ended_at);

-- A wish for a right that was refused, until it was granted (`met_at`) or given up.
CREATE TABLE usage_demand (
    tenant_id      TEXT    NOT NULL,
    entitlement_id TEXT    NOT NULL,
    number         INTEGER NOT NULL,
    holder         INTEGER NOT NULL,
    right_key      TEXT    NOT NULL,
    wanted         INTEGER NOT NULL CHECK (wanted >= 1),
    began_at       INTEGER NOT NULL,
    last_at        INTEGER NOT NULL CHECK (last_at >= began_at),
    tries          INTEGER NOT NULL CHECK (tries >= 1),
    met_at         INTEGER CHECK (met_at >= began_at),
    PRIMARY KEY (tenant_id, entitlement_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX demands_of_holder ON usage_demand (tenant_id, entitlement_id, holder, right_key, number);
CREATE INDEX demands_by_time ON usage_demand (tenant_id, entitlement_id, last_at);
