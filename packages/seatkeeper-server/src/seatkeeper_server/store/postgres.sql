-- For PostgreSQL: transactions, locks, the alive moment, and statements over sets of rows. A set comes as JSON, an array of
-- arrays; measured, that costs the server half of what arrays by column do, and the client a tenth.

-- begin: A transaction that is durable when it is committed and waits for nobody for ever; what time it is, and the alive
-- moment. Nothing is set for longer than the transaction, so that connections may be shared (PgBouncer).
BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE;
SET LOCAL synchronous_commit = on;
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '20s';
SET LOCAL idle_in_transaction_session_timeout = '10s';
SET LOCAL jit = off;
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, at, boot_id, boot_at, drift, "offset", given
FROM (SELECT 1) AS always LEFT JOIN alive ON true;

-- take_stock: Let PostgreSQL see how large the tables have become that calls are served from, if one of them has doubled; it
-- plans statements anew then.
BEGIN;
SET LOCAL synchronous_commit = off;
SET LOCAL statement_timeout = '5s';
DO $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM pg_stat_user_tables AS now JOIN pg_class AS known ON known.oid = now.relid
        WHERE now.relid IN ('pool'::regclass, 'holder'::regclass, 'holding'::regclass, 'keyed'::regclass)
            AND now.n_live_tup > 2 * greatest(known.reltuples, 0) + 100
    ) THEN
        ANALYZE (SKIP_LOCKED) pool, pool_right, holder, holding, keyed, refusal;
    END IF;
END
$$;
COMMIT;

-- look: A transaction that only reads, all of it from one moment; what time it is, and the alive moment.
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL statement_timeout = '60s';
SET LOCAL idle_in_transaction_session_timeout = '10s';
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, at, boot_id, boot_at, drift, "offset", given
FROM (SELECT 1) AS always LEFT JOIN alive ON true;

-- begin_step: A step of the schema: one server at a time, and nobody is kept waiting long by what it changes.
BEGIN;
SET LOCAL synchronous_commit = on;
SET LOCAL lock_timeout = '5s';
SELECT pg_advisory_xact_lock(hashtext('seatkeeper schema'));

-- make_migration: Where the steps of the schema are noted, unless it is there.
CREATE TABLE IF NOT EXISTS migration (
    number BIGINT NOT NULL PRIMARY KEY, name TEXT COLLATE "C" NOT NULL, applied_at BIGINT NOT NULL
);

-- note_step: A step of the schema is applied, unless it has been.
INSERT INTO migration (number, name, applied_at) VALUES (:number, :name, :now) ON CONFLICT (number) DO NOTHING;

-- lock_alive: Have the alive moment to oneself.
SELECT at, boot_id, boot_at, drift, "offset", given FROM alive FOR NO KEY UPDATE;

-- lock_pools: Have these pools (tenant, entitlement), and those of these (tenant, activation), to oneself; in one sorted order.
-- With each comes what time it is when it has been locked.
SELECT mine.tenant_id, mine.entitlement_id, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
FROM (
    SELECT p.tenant_id, p.entitlement_id
    FROM pool p
    WHERE (p.tenant_id, p.entitlement_id) IN (
        SELECT asked ->> 0, asked ->> 1 FROM jsonb_array_elements(:asked::jsonb) AS asked
        UNION
        SELECT h.tenant_id, h.entitlement_id
        FROM jsonb_array_elements(:activations::jsonb) AS held
        JOIN holding h ON h.tenant_id = held ->> 0 AND h.activation_id = held ->> 1 AND h.past = 0
    )
    ORDER BY p.tenant_id, p.entitlement_id
    FOR NO KEY UPDATE OF p
) AS mine;

-- lock_all_pools: Have every pool to oneself, in the same order.
SELECT count(*) FROM (SELECT 1 FROM pool ORDER BY tenant_id, entitlement_id FOR NO KEY UPDATE) AS locked;

-- lock_ledgers: Have the own chains of these tenants to oneself, in one sorted order.
SELECT t.tenant_id
FROM tenant t
WHERE t.tenant_id IN (SELECT jsonb_array_elements_text(:asked::jsonb))
ORDER BY t.tenant_id
FOR NO KEY UPDATE OF t;

-- take_time: For a statement that looks at every lease.
SET LOCAL statement_timeout = 0;

-- first_alive: Say for the first time that the database is served, and by which batch.
WITH noted AS (INSERT INTO batch (batch_id, at, happened) SELECT :batch_id, :at, 1 WHERE :batch_id <> '')
INSERT INTO alive (one, at, boot_id, boot_at, drift, "offset", given)
VALUES (1, :at, :boot_id, :boot_at, :drift, :offset, :given)
ON CONFLICT (one) DO NOTHING;

-- mark_alive: Note the batch; and say that the database is served now, unless somebody said so within the last second or is
-- about to. Who says so forgets the batches that nobody will ask about any more.
WITH noted AS (
    INSERT INTO batch (batch_id, at, happened) SELECT :batch_id, :at, 1 WHERE :batch_id <> ''
), mine AS (
    SELECT one FROM alive
    WHERE at <= :at - 1000000 OR given <> :given OR "offset" <> :offset
    FOR NO KEY UPDATE SKIP LOCKED
), marked AS (
    UPDATE alive SET at = :at, boot_id = :boot_id, boot_at = :boot_at, drift = :drift, "offset" = :offset, given = :given
    FROM mine WHERE alive.one = mine.one
    RETURNING alive.one
)
DELETE FROM batch WHERE at <= :at - 600000000 AND EXISTS (SELECT 1 FROM marked);

-- has_happened: Whether a batch was committed; if not, it never will be. Waits for one that is under way.
INSERT INTO batch (batch_id, at, happened)
VALUES (:batch_id, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 0)
ON CONFLICT (batch_id) DO UPDATE SET at = excluded.at
RETURNING happened;

-- pools_for_codes: Which pools these codes may use: (tenant, code hash, product, edition or null).
SELECT asked ->> 0, asked ->> 1, asked ->> 2, p.entitlement_id
FROM jsonb_array_elements(:asked::jsonb) AS asked
JOIN activation_code c ON c.tenant_id = asked ->> 0 AND c.code_hash = asked ->> 1
JOIN pool p ON p.tenant_id = c.tenant_id AND p.group_id = c.group_id AND p.product_id = asked ->> 2
WHERE asked ->> 3 IS NULL OR p.edition_id = asked ->> 3
ORDER BY p.entitlement_id;

-- pools: These pools (tenant, entitlement), in one sorted order.
SELECT p.tenant_id, p.entitlement_id, p.group_id, p.product_id, p.edition_id, p.mode, p.lease, p.linger, p.margin, p.nonce,
    p.switch, p.starts_at, p.ends_at, p.grace, p.sequence, p.holders, p.excess, p.facts, p.head, p.denied_since,
    p.denied_firsts, product.name, e.has_maintenance, e.maintenance_ends_at, t.contact, p.lost_after, p.lost_until, p.borrow
FROM jsonb_array_elements(:asked::jsonb) AS asked
JOIN pool p ON p.tenant_id = asked ->> 0 AND p.entitlement_id = asked ->> 1
JOIN product ON product.tenant_id = p.tenant_id AND product.product_id = p.product_id
JOIN entitlement e ON e.tenant_id = p.tenant_id AND e.entitlement_id = p.entitlement_id
JOIN tenant t ON t.tenant_id = p.tenant_id
ORDER BY p.tenant_id, p.entitlement_id;

-- rights: The counters of these pools (tenant, entitlement).
SELECT r.tenant_id, r.entitlement_id, r.key, r.kind, r.bought, r.overdraft_kind, r.overdraft_value, r.used, r.above
FROM jsonb_array_elements(:asked::jsonb) AS asked
JOIN pool_right r ON r.tenant_id = asked ->> 0 AND r.entitlement_id = asked ->> 1
ORDER BY r.tenant_id, r.entitlement_id, r.key;

-- ledgers: The own chains of these tenants.
SELECT t.tenant_id, t.facts, t.head, t.holders, t.denied_since, t.denied_firsts
FROM jsonb_array_elements_text(:asked::jsonb) AS asked
JOIN tenant t ON t.tenant_id = asked
ORDER BY t.tenant_id;

-- holdings: The present holdings of these activations (tenant, activation), with who holds them.
SELECT h.tenant_id, h.entitlement_id,
    h.activation_id, h.past, h.generation, h.holder, h.state, h.occupies, h.rights, h.activated_at, h.refreshed_at,
    h.expires_at, h.free_at, h.sequence, h.nonce, h.nonce_before, h.nonce_answered, h.nonce_bound, h.noted_at, h.floored,
    h.device_key, w.seat_id, w.seat_name, w.username, w."user", w.host, w.process, w."group", w.project, w.address,
    w.blocked_until, h.due_from
FROM jsonb_array_elements(:asked::jsonb) AS asked
JOIN holding h ON h.tenant_id = asked ->> 0 AND h.activation_id = asked ->> 1 AND h.past = 0
JOIN holder w ON w.tenant_id = h.tenant_id AND w.chain_id = h.entitlement_id AND w.number = h.holder
ORDER BY h.tenant_id, h.activation_id;

-- seats: The holders known under these (tenant, chain, seat id), and what they hold.
SELECT w.tenant_id, w.chain_id, w.number, w.blocked_until,
    w.seat_id, w.seat_name, w.username, w."user", w.host, w.process, w."group", w.project, w.address,
    h.activation_id, h.past, h.generation, h.holder, h.state, h.occupies, h.rights, h.activated_at, h.refreshed_at,
    h.expires_at, h.free_at, h.sequence, h.nonce, h.nonce_before, h.nonce_answered, h.nonce_bound, h.noted_at, h.floored,
    h.device_key
FROM jsonb_array_elements(:asked::jsonb) AS asked
JOIN holder w ON w.tenant_id = asked ->> 0 AND w.chain_id = asked ->> 1 AND w.seat_id = asked ->> 2
LEFT JOIN holding h
    ON h.tenant_id = w.tenant_id AND h.entitlement_id = w.chain_id AND h.holder = w.number AND h.past = 0
ORDER BY w.tenant_id, w.chain_id, w.number;

-- keyed: The successes kept under these (tenant, scope, key).
SELECT k.tenant_id, k.scope, k.key, k.body, k.activation_id, k.generation, k.kept_until
FROM jsonb_array_elements(:asked::jsonb) AS asked
JOIN keyed k ON k.tenant_id = asked ->> 0 AND k.scope = asked ->> 1 AND k.key = asked ->> 2;

-- windows: The refusal windows of these (tenant, chain, holder).
SELECT r.tenant_id, r.chain_id, r.holder, r.denial_id, r.rule, r.since, r.until, r.count, r.key
FROM jsonb_array_elements(:asked::jsonb) AS asked
JOIN refusal r ON r.tenant_id = asked ->> 0 AND r.chain_id = asked ->> 1 AND r.holder = (asked ->> 2)::bigint;

-- extend_leases: Give every place the time back that nobody could refresh in (domain/timekeeping.py, `extended`).
UPDATE holding SET expires_at = given.expires_at, free_at = given.free_at, due_from = given.free_at, floored = given.floored
FROM (
    SELECT tenant_id, activation_id, past,
        CASE moves WHEN 1 THEN greatest(expires_at, least(extended_to, coalesce(last_moment, extended_to)))
            ELSE expires_at END AS expires_at,
        CASE WHEN moves = 0 THEN free_at + :gap WHEN mode = 'concurrent' THEN extended_to + margin END AS free_at,
        CASE WHEN moves = 1 AND at_least > expires_at + :gap THEN 1 ELSE floored END AS floored
    FROM (
        SELECT *, greatest(expires_at + :gap, at_least) AS extended_to
        FROM (
            SELECT h.tenant_id, h.activation_id, h.past, h.expires_at, h.free_at, h.floored,
                CASE WHEN h.state = 'held' AND (h.free_at IS NULL OR h.rights NOT LIKE '%"@borrowed"%') THEN 1 ELSE 0 END AS moves,
                p.mode, p.margin, p.ends_at + p.grace AS last_moment,
                CASE h.floored WHEN 1 THEN h.expires_at ELSE :now + p.lease / 3 END AS at_least
            FROM holding h JOIN pool p ON p.tenant_id = h.tenant_id AND p.entitlement_id = h.entitlement_id
            WHERE h.occupies = 1 AND (h.state <> 'returned' OR h.rights LIKE '%"@borrowed"%')
                AND (h.free_at IS NULL OR h.free_at > :alive_at)
                AND substr(h.activation_id, 1, 4) <> 'shr_'
        ) AS counting
    ) AS reaching
) AS given
WHERE given.tenant_id = holding.tenant_id AND given.activation_id = holding.activation_id AND given.past = holding.past;

-- save_pools: Record what the pool machine keeps of these pools.
UPDATE pool SET
    sequence = (new ->> 2)::bigint, holders = (new ->> 3)::bigint, excess = (new ->> 4)::bigint, facts = (new ->> 5)::bigint,
    head = new ->> 6, denied_since = (new ->> 7)::bigint, denied_firsts = (new ->> 8)::bigint,
    lost_after = (new ->> 9)::bigint, lost_until = (new ->> 10)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new
WHERE pool.tenant_id = new ->> 0 AND pool.entitlement_id = new ->> 1;

-- save_rights: Record the counters of these pools.
UPDATE pool_right SET used = (new ->> 3)::bigint, above = (new ->> 4)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new
WHERE pool_right.tenant_id = new ->> 0 AND pool_right.entitlement_id = new ->> 1 AND pool_right.key = new ->> 2;

-- save_ledgers: Record the ends of these tenants' own chains.
UPDATE tenant SET
    facts = (new ->> 1)::bigint, head = new ->> 2, holders = (new ->> 3)::bigint, denied_since = (new ->> 4)::bigint,
    denied_firsts = (new ->> 5)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new
WHERE tenant.tenant_id = new ->> 0;

-- save_holders: Record who these holders are.
INSERT INTO holder (tenant_id, chain_id, number, seat_id, seat_name, username, "user", host, process, "group", project,
    address, blocked_until)
SELECT new ->> 0, new ->> 1, (new ->> 2)::bigint, new ->> 3, new ->> 4, new ->> 5, new ->> 6, new ->> 7, new ->> 8, new ->> 9,
    new ->> 10, new ->> 11, (new ->> 12)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new
ON CONFLICT (tenant_id, chain_id, number) DO UPDATE SET
    seat_name = excluded.seat_name, username = excluded.username, "user" = excluded."user", host = excluded.host,
    process = excluded.process, "group" = excluded."group", project = excluded.project, address = excluded.address,
    blocked_until = excluded.blocked_until;

-- save_holdings: Record these places.
INSERT INTO holding (tenant_id, entitlement_id, activation_id, past, generation, holder, state, occupies, rights,
    activated_at, refreshed_at, expires_at, free_at, sequence, nonce, nonce_before, nonce_answered, nonce_bound, noted_at,
    floored, device_key, due_from)
SELECT new ->> 0, new ->> 1, new ->> 2, (new ->> 3)::bigint, (new ->> 4)::bigint, (new ->> 5)::bigint, new ->> 6,
    (new ->> 7)::bigint, new ->> 8, (new ->> 9)::bigint, (new ->> 10)::bigint, (new ->> 11)::bigint, (new ->> 12)::bigint,
    (new ->> 13)::bigint, new ->> 14, new ->> 15, new ->> 16, (new ->> 17)::bigint, (new ->> 18)::bigint,
    (new ->> 19)::bigint, new ->> 20, (new ->> 21)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new
ON CONFLICT (tenant_id, activation_id, past) DO UPDATE SET
    generation = excluded.generation, state = excluded.state, occupies = excluded.occupies, rights = excluded.rights,
    activated_at = excluded.activated_at, refreshed_at = excluded.refreshed_at, expires_at = excluded.expires_at,
    free_at = excluded.free_at, sequence = excluded.sequence, nonce = excluded.nonce, nonce_before = excluded.nonce_before,
    nonce_answered = excluded.nonce_answered, nonce_bound = excluded.nonce_bound, noted_at = excluded.noted_at,
    floored = excluded.floored, device_key = excluded.device_key,
    due_from = excluded.due_from;

-- move_holdings: Record what has changed of these places, which are there.
UPDATE holding SET
    generation = (new ->> 0)::bigint, state = new ->> 1, occupies = (new ->> 2)::bigint, rights = new ->> 3,
    activated_at = (new ->> 4)::bigint, refreshed_at = (new ->> 5)::bigint, expires_at = (new ->> 6)::bigint,
    free_at = (new ->> 7)::bigint, sequence = (new ->> 8)::bigint, nonce = new ->> 9, nonce_before = new ->> 10,
    nonce_answered = new ->> 11, nonce_bound = (new ->> 12)::bigint, noted_at = (new ->> 13)::bigint,
    floored = (new ->> 14)::bigint, device_key = new ->> 15, due_from = (new ->> 16)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new
WHERE holding.tenant_id = new ->> 17 AND holding.activation_id = new ->> 18 AND holding.past = (new ->> 19)::bigint;

-- renew_holdings: Record what a refresh has changed of these places.
UPDATE holding SET
    refreshed_at = (new ->> 0)::bigint, expires_at = (new ->> 1)::bigint, free_at = (new ->> 2)::bigint,
    sequence = (new ->> 3)::bigint, nonce = new ->> 4, nonce_before = new ->> 5, nonce_answered = new ->> 6,
    nonce_bound = (new ->> 7)::bigint, floored = (new ->> 8)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new
WHERE holding.tenant_id = new ->> 9 AND holding.activation_id = new ->> 10 AND holding.past = (new ->> 11)::bigint;

-- put_off_holdings: The same of places that are to be found later from now on.
UPDATE holding SET
    refreshed_at = (new ->> 0)::bigint, expires_at = (new ->> 1)::bigint, free_at = (new ->> 2)::bigint,
    due_from = (new ->> 2)::bigint, sequence = (new ->> 3)::bigint, nonce = new ->> 4, nonce_before = new ->> 5,
    nonce_answered = new ->> 6, nonce_bound = (new ->> 7)::bigint, floored = (new ->> 8)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new
WHERE holding.tenant_id = new ->> 9 AND holding.activation_id = new ->> 10 AND holding.past = (new ->> 11)::bigint;

-- remove_holdings: Forget these places (tenant, activation, past).
DELETE FROM holding WHERE (tenant_id, activation_id, past) IN (
    SELECT old ->> 0, old ->> 1, (old ->> 2)::bigint FROM jsonb_array_elements(:rows::jsonb) AS old
);

-- save_keyed: Keep these successes for a repeat.
INSERT INTO keyed (tenant_id, scope, key, body, activation_id, generation, kept_until)
SELECT new ->> 0, new ->> 1, new ->> 2, new ->> 3, new ->> 4, (new ->> 5)::bigint, (new ->> 6)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new
ON CONFLICT (tenant_id, scope, key) DO UPDATE SET
    body = excluded.body, activation_id = excluded.activation_id, generation = excluded.generation,
    kept_until = excluded.kept_until;

-- save_windows: Record these refusal windows.
INSERT INTO refusal (tenant_id, chain_id, holder, denial_id, rule, since, until, count, key)
SELECT new ->> 0, new ->> 1, (new ->> 2)::bigint, new ->> 3, new ->> 4, (new ->> 5)::bigint, (new ->> 6)::bigint,
    (new ->> 7)::bigint, new ->> 8
FROM jsonb_array_elements(:rows::jsonb) AS new
ON CONFLICT (tenant_id, chain_id, holder) DO UPDATE SET
    denial_id = excluded.denial_id, rule = excluded.rule, since = excluded.since, until = excluded.until,
    count = excluded.count, key = excluded.key;

-- close_windows: Forget these refusal windows (tenant, chain, holder).
DELETE FROM refusal WHERE (tenant_id, chain_id, holder) IN (
    SELECT old ->> 0, old ->> 1, (old ->> 2)::bigint FROM jsonb_array_elements(:rows::jsonb) AS old
);

-- add_facts: Write these facts down.
INSERT INTO fact (tenant_id, chain_id, number, kind, at, recorded_at, activation_id, generation, holder, denial_id, data, hash)
SELECT new ->> 0, new ->> 1, (new ->> 2)::bigint, new ->> 3, (new ->> 4)::bigint, (new ->> 5)::bigint, new ->> 6,
    (new ->> 7)::bigint, (new ->> 8)::bigint, new ->> 9, new ->> 10, new ->> 11
FROM jsonb_array_elements(:rows::jsonb) AS new;

-- --- what facts come to --------------------------------------------------------------------------------------------

-- save_slots: Keep these quarters.
INSERT INTO usage_slot (tenant_id, entitlement_id, right_key, began_at, high, low, held, above, amount, bought)
SELECT new ->> 0, new ->> 1, new ->> 2, (new ->> 3)::bigint, (new ->> 4)::bigint, (new ->> 5)::bigint, (new ->> 6)::bigint,
    (new ->> 7)::bigint, (new ->> 8)::bigint, (new ->> 9)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new;

-- save_counts: Keep what was counted.
INSERT INTO usage_count (tenant_id, entitlement_id, began_at, what, rule, right_key, count)
SELECT new ->> 0, new ->> 1, (new ->> 2)::bigint, new ->> 3, new ->> 4, new ->> 5, (new ->> 6)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new;

-- save_sessions: Keep these stays as they are now.
INSERT INTO usage_session (tenant_id, entitlement_id, number, activation_id, holder, started_at, ended_at, cause)
SELECT new ->> 0, new ->> 1, (new ->> 2)::bigint, new ->> 3, (new ->> 4)::bigint, (new ->> 5)::bigint, (new ->> 6)::bigint,
    new ->> 7
FROM jsonb_array_elements(:rows::jsonb) AS new
ON CONFLICT (tenant_id, entitlement_id, number) DO UPDATE SET ended_at = excluded.ended_at, cause = excluded.cause;

-- save_demands: Keep these demands as they are now.
INSERT INTO usage_demand (tenant_id, entitlement_id, number, holder, right_key, wanted, began_at, last_at, tries, met_at)
SELECT new ->> 0, new ->> 1, (new ->> 2)::bigint, (new ->> 3)::bigint, new ->> 4, (new ->> 5)::bigint, (new ->> 6)::bigint,
    (new ->> 7)::bigint, (new ->> 8)::bigint, (new ->> 9)::bigint
FROM jsonb_array_elements(:rows::jsonb) AS new
ON CONFLICT (tenant_id, entitlement_id, number) DO UPDATE SET wanted = excluded.wanted, began_at = excluded.began_at,
    last_at = excluded.last_at, tries = excluded.tries, met_at = excluded.met_at;

-- open_sessions: The stays of these activations that last.
SELECT s.number, s.activation_id, s.holder, s.started_at, s.ended_at, s.cause
FROM jsonb_array_elements_text(:asked::jsonb) AS asked
JOIN usage_session s ON s.tenant_id = :tenant_id AND s.entitlement_id = :entitlement_id AND s.activation_id = asked
    AND s.ended_at IS NULL
ORDER BY s.number;

-- last_demands: The last demand of each of these holders, of each right.
SELECT d.number, d.holder, d.right_key, d.wanted, d.began_at, d.last_at, d.tries, d.met_at
FROM jsonb_array_elements_text(:asked::jsonb) AS asked
JOIN usage_demand d ON d.tenant_id = :tenant_id AND d.entitlement_id = :entitlement_id AND d.holder = asked::bigint
WHERE NOT EXISTS (
    SELECT 1 FROM usage_demand later
    WHERE later.tenant_id = d.tenant_id AND later.entitlement_id = d.entitlement_id AND later.holder = d.holder
        AND later.right_key = d.right_key AND later.number > d.number
)
ORDER BY d.number;
