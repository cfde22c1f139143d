-- For SQLite: the alive moment, and statements over sets of rows. What is asked for comes as JSON, an array of arrays; what is
-- saved goes in row by row, by one prepared statement.

-- alive: The last moment this database was known to be served.
SELECT at, boot_id, boot_at, drift, "offset", 0 FROM alive;

-- mark_alive: Say that the database is served now, and by which batch.
INSERT INTO alive (one, at, boot_id, boot_at, drift, "offset", batch_id)
VALUES (1, :at, :boot_id, :boot_at, :drift, :offset, :batch_id)
ON CONFLICT (one) DO UPDATE SET at = excluded.at, boot_id = excluded.boot_id, boot_at = excluded.boot_at,
    drift = excluded.drift, "offset" = excluded."offset", batch_id = excluded.batch_id;

-- last_batch: The last transaction that was committed.
SELECT batch_id FROM alive;

-- pools_for_codes: Which pools these codes may use: (tenant, code hash, product, edition or null).
SELECT asked.value ->> 0, asked.value ->> 1, asked.value ->> 2, p.entitlement_id
FROM json_each(:asked) AS asked
JOIN activation_code c ON c.tenant_id = asked.value ->> 0 AND c.code_hash = asked.value ->> 1
JOIN pool p ON p.tenant_id = c.tenant_id AND p.group_id = c.group_id AND p.product_id = asked.value ->> 2
WHERE asked.value ->> 3 IS NULL OR p.edition_id = asked.value ->> 3
ORDER BY p.entitlement_id;

-- pools: These pools (tenant, entitlement), in one sorted order.
SELECT p.tenant_id, p.entitlement_id, p.group_id, p.product_id, p.edition_id, p.mode, p.lease, p.linger, p.margin, p.nonce,
    p.switch, p.starts_at, p.ends_at, p.grace, p.sequence, p.holders, p.excess, p.facts, p.head, p.denied_since,
    p.denied_firsts, product.name, e.has_maintenance, e.maintenance_ends_at, t.contact, p.lost_after, p.lost_until, p.borrow
FROM json_each(:asked) AS asked
JOIN pool p ON p.tenant_id = asked.value ->> 0 AND p.entitlement_id = asked.value ->> 1
JOIN product ON product.tenant_id = p.tenant_id AND product.product_id = p.product_id
JOIN entitlement e ON e.tenant_id = p.tenant_id AND e.entitlement_id = p.entitlement_id
JOIN tenant t ON t.tenant_id = p.tenant_id
ORDER BY p.tenant_id, p.entitlement_id;

-- rights: The counters of these pools (tenant, entitlement).
SELECT r.tenant_id, r.entitlement_id, r.key, r.kind, r.bought, r.overdraft_kind, r.overdraft_value, r.used, r.above
FROM json_each(:asked) AS asked
JOIN pool_right r ON r.tenant_id = asked.value ->> 0 AND r.entitlement_id = asked.value ->> 1
ORDER BY r.tenant_id, r.entitlement_id, r.key;

-- ledgers: The own chains of these tenants.
SELECT t.tenant_id, t.facts, t.head, t.holders, t.denied_since, t.denied_firsts
FROM json_each(:asked) AS asked
JOIN tenant t ON t.tenant_id = asked.value
ORDER BY t.tenant_id;

-- holdings: The present holdings of these activations (tenant, activation), with who holds them.
SELECT h.tenant_id, h.entitlement_id,
    h.activation_id, h.past, h.generation, h.holder, h.state, h.occupies, h.rights, h.activated_at, h.refreshed_at,
    h.expires_at, h.free_at, h.sequence, h.nonce, h.nonce_before, h.nonce_answered, h.nonce_bound, h.noted_at, h.floored,
    h.device_key, w.seat_id, w.seat_name, w.username, w.user, w.host, w.process, w."group", w.project, w.address,
    w.blocked_until, h.due_from
FROM json_each(:asked) AS asked
JOIN holding h ON h.tenant_id = asked.value ->> 0 AND h.activation_id = asked.value ->> 1 AND h.past = 0
JOIN holder w ON w.tenant_id = h.tenant_id AND w.chain_id = h.entitlement_id AND w.number = h.holder
ORDER BY h.tenant_id, h.activation_id;

-- seats: The holders known under these (tenant, chain, seat id), and what they hold.
SELECT w.tenant_id, w.chain_id, w.number, w.blocked_until,
    w.seat_id, w.seat_name, w.username, w.user, w.host, w.process, w."group", w.project, w.address,
    h.activation_id, h.past, h.generation, h.holder, h.state, h.occupies, h.rights, h.activated_at, h.refreshed_at,
    h.expires_at, h.free_at, h.sequence, h.nonce, h.nonce_before, h.nonce_answered, h.nonce_bound, h.noted_at, h.floored,
    h.device_key
FROM json_each(:asked) AS asked
JOIN holder w ON w.tenant_id = asked.value ->> 0 AND w.chain_id = asked.value ->> 1 AND w.seat_id = asked.value ->> 2
LEFT JOIN holding h
    ON h.tenant_id = w.tenant_id AND h.entitlement_id = w.chain_id AND h.holder = w.number AND h.past = 0
ORDER BY w.tenant_id, w.chain_id, w.number;

-- keyed: The successes kept under these (tenant, scope, key).
SELECT k.tenant_id, k.scope, k.key, k.body, k.activation_id, k.generation, k.kept_until
FROM json_each(:asked) AS asked
JOIN keyed k ON k.tenant_id = asked.value ->> 0 AND k.scope = asked.value ->> 1 AND k.key = asked.value ->> 2;

-- windows: The refusal windows of these (tenant, chain, holder).
SELECT r.tenant_id, r.chain_id, r.holder, r.denial_id, r.rule, r.since, r.until, r.count, r.key
FROM json_each(:asked) AS asked
JOIN refusal r ON r.tenant_id = asked.value ->> 0 AND r.chain_id = asked.value ->> 1 AND r.holder = asked.value ->> 2;

-- extend_leases: Give every place the time back that nobody could refresh in (domain/timekeeping.py, `extended`).
UPDATE holding SET expires_at = given.expires_at, free_at = given.free_at, due_from = given.free_at, floored = given.floored
FROM (
    SELECT tenant_id, activation_id, past,
        CASE moves WHEN 1 THEN max(expires_at, min(extended_to, coalesce(last_moment, extended_to)))
            ELSE expires_at END AS expires_at,
        CASE WHEN moves = 0 THEN free_at + :gap WHEN mode = 'concurrent' THEN extended_to + margin END AS free_at,
        CASE WHEN moves = 1 AND at_least > expires_at + :gap THEN 1 ELSE floored END AS floored
    FROM (
        SELECT *, max(expires_at + :gap, at_least) AS extended_to
        FROM (
            SELECT h.tenant_id, h.activation_id, h.past, h.expires_at, h.free_at, h.floored,
                CASE WHEN h.state = 'held' AND (h.free_at IS NULL OR h.rights NOT LIKE '%"@borrowed"%') THEN 1 ELSE 0 END AS moves,
                p.mode, p.margin, p.ends_at + p.grace AS last_moment,
                CASE h.floored WHEN 1 THEN h.expires_at ELSE :now + p.lease / 3 END AS at_least
            FROM holding h JOIN pool p ON p.tenant_id = h.tenant_id AND p.entitlement_id = h.entitlement_id
            WHERE h.occupies = 1 AND (h.state <> 'returned' OR h.rights LIKE '%"@borrowed"%')
                AND (h.free_at IS NULL OR h.free_at > :alive_at)
                AND substr(h.activation_id, 1, 4) <> 'shr_'
        )
    )
) AS given
WHERE given.tenant_id = holding.tenant_id AND given.activation_id = holding.activation_id AND given.past = holding.past;

-- save_pools: Record what the pool machine keeps of these pools.
UPDATE pool SET
    sequence = ?3, holders = ?4, excess = ?5, facts = ?6, head = ?7, denied_since = ?8, denied_firsts = ?9,
    lost_after = ?10, lost_until = ?11
WHERE tenant_id = ?1 AND entitlement_id = ?2;

-- save_rights: Record the counters of these pools.
UPDATE pool_right SET used = ?4, above = ?5 WHERE tenant_id = ?1 AND entitlement_id = ?2 AND key = ?3;

-- save_ledgers: Record the ends of these tenants' own chains.
UPDATE tenant SET facts = ?2, head = ?3, holders = ?4, denied_since = ?5, denied_firsts = ?6 WHERE tenant_id = ?1;

-- save_holders: Record who these holders are.
INSERT INTO holder (tenant_id, chain_id, number, seat_id, seat_name, username, user, host, process, "group", project,
    address, blocked_until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant_id, chain_id, number) DO UPDATE SET
    seat_name = excluded.seat_name, username = excluded.username, user = excluded.user, host = excluded.host,
    process = excluded.process, "group" = excluded."group", project = excluded.project, address = excluded.address,
    blocked_until = excluded.blocked_until;

-- save_holdings: Record these places.
INSERT INTO holding (tenant_id, entitlement_id, activation_id, past, generation, holder, state, occupies, rights,
    activated_at, refreshed_at, expires_at, free_at, sequence, nonce, nonce_before, nonce_answered, nonce_bound, noted_at,
    floored, device_key, due_from)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant_id, activation_id, past) DO UPDATE SET
    generation = excluded.generation, state = excluded.state, occupies = excluded.occupies, rights = excluded.rights,
    activated_at = excluded.activated_at, refreshed_at = excluded.refreshed_at, expires_at = excluded.expires_at,
    free_at = excluded.free_at, sequence = excluded.sequence, nonce = excluded.nonce, nonce_before = excluded.nonce_before,
    nonce_answered = excluded.nonce_answered, nonce_bound = excluded.nonce_bound, noted_at = excluded.noted_at,
    floored = excluded.floored, device_key = excluded.device_key,
    due_from = excluded.due_from;

-- move_holdings: Record what has changed of these places, which are there.
UPDATE holding SET generation = ?, state = ?, occupies = ?, rights = ?, activated_at = ?, refreshed_at = ?, expires_at = ?,
    free_at = ?, sequence = ?, nonce = ?, nonce_before = ?, nonce_answered = ?, nonce_bound = ?, noted_at = ?, floored = ?,
    device_key = ?, due_from = ?
WHERE tenant_id = ? AND activation_id = ? AND past = ?;

-- renew_holdings: Record what a refresh has changed of these places.
UPDATE holding SET refreshed_at = ?, expires_at = ?, free_at = ?, sequence = ?, nonce = ?, nonce_before = ?,
    nonce_answered = ?, nonce_bound = ?, floored = ?
WHERE tenant_id = ? AND activation_id = ? AND past = ?;

-- put_off_holdings: The same of places that are to be found later from now on.
UPDATE holding SET refreshed_at = ?1, expires_at = ?2, free_at = ?3, due_from = ?3, sequence = ?4, nonce = ?5,
    nonce_before = ?6, nonce_answered = ?7, nonce_bound = ?8, floored = ?9
WHERE tenant_id = ?10 AND activation_id = ?11 AND past = ?12;

-- remove_holdings: Forget these places (tenant, activation, past).
DELETE FROM holding WHERE tenant_id = ? AND activation_id = ? AND past = ?;

-- save_keyed: Keep these successes for a repeat.
INSERT INTO keyed (tenant_id, scope, key, body, activation_id, generation, kept_until)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant_id, scope, key) DO UPDATE SET
    body = excluded.body, activation_id = excluded.activation_id, generation = excluded.generation,
    kept_until = excluded.kept_until;

-- save_windows: Record these refusal windows.
INSERT INTO refusal (tenant_id, chain_id, holder, denial_id, rule, since, until, count, key)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant_id, chain_id, holder) DO UPDATE SET
    denial_id = excluded.denial_id, rule = excluded.rule, since = excluded.since, until = excluded.until,
    count = excluded.count, key = excluded.key;

-- close_windows: Forget these refusal windows (tenant, chain, holder).
DELETE FROM refusal WHERE tenant_id = ? AND chain_id = ? AND holder = ?;

-- add_facts: Write these facts down.
INSERT INTO fact (tenant_id, chain_id, number, kind, at, recorded_at, activation_id, generation, holder, denial_id, data, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- --- what facts come to --------------------------------------------------------------------------------------------

-- save_slots: Keep these quarters.
INSERT INTO usage_slot (tenant_id, entitlement_id, right_key, began_at, high, low, held, above, amount, bought)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- save_counts: Keep what was counted.
INSERT INTO usage_count (tenant_id, entitlement_id, began_at, what, rule, right_key, count)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- save_sessions: Keep these stays as they are now.
INSERT INTO usage_session (tenant_id, entitlement_id, number, activation_id, holder, started_at, ended_at, cause)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant_id, entitlement_id, number) DO UPDATE SET ended_at = excluded.ended_at, cause = excluded.cause;

-- save_demands: Keep these demands as they are now.
INSERT INTO usage_demand (tenant_id, entitlement_id, number, holder, right_key, wanted, began_at, last_at, tries, met_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant_id, entitlement_id, number) DO UPDATE SET wanted = excluded.wanted, began_at = excluded.began_at,
    last_at = excluded.last_at, tries = excluded.tries, met_at = excluded.met_at;

-- open_sessions: The stays of these activations that last.
SELECT s.number, s.activation_id, s.holder, s.started_at, s.ended_at, s.cause
FROM json_each(:asked) AS asked
JOIN usage_session s ON s.tenant_id = :tenant_id AND s.entitlement_id = :entitlement_id AND s.activation_id = asked.value
    AND s.ended_at IS NULL
ORDER BY s.number;

-- last_demands: The last demand of each of these holders, of each right.
SELECT d.number, d.holder, d.right_key, d.wanted, d.began_at, d.last_at, d.tries, d.met_at
FROM json_each(:asked) AS asked
JOIN usage_demand d ON d.tenant_id = :tenant_id AND d.entitlement_id = :entitlement_id AND d.holder = asked.value
WHERE NOT EXISTS (
    SELECT 1 FROM usage_demand later
    WHERE later.tenant_id = d.tenant_id AND later.entitlement_id = d.entitlement_id AND later.holder = d.holder
        AND later.right_key = d.right_key AND later.number > d.number
)
ORDER BY d.number;
