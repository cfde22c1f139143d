-- Statements that read the same on every database. Those over sets of rows are in the file of each database.

-- history: What this database is.
SELECT database_id, epoch FROM history;

-- found_history: Say what this new database is, unless somebody else just did.
INSERT INTO history (one, database_id, epoch, created_at) VALUES (1, :database_id, :epoch, :created_at)
ON CONFLICT (one) DO NOTHING;

-- due: The places of a pool that time has ended, oldest first.
SELECT activation_id, past, generation, holder, state, occupies, rights, activated_at, refreshed_at, expires_at, free_at,
    sequence, nonce, nonce_before, nonce_answered, nonce_bound, noted_at, floored, device_key
FROM holding
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND occupies = 1 AND due_from <= :now AND free_at <= :now
ORDER BY free_at, activation_id, past
LIMIT :most OFFSET :skip;

-- pools_with_due: Pools in which time may have ended places.
SELECT p.tenant_id, p.entitlement_id
FROM pool p
WHERE EXISTS (
    SELECT 1 FROM holding h
    WHERE h.tenant_id = p.tenant_id AND h.entitlement_id = p.entitlement_id AND h.occupies = 1 AND h.due_from <= :now
)
ORDER BY p.tenant_id, p.entitlement_id
LIMIT :most;

-- put_off: Look again at those places of a pool that were refreshed meanwhile when their lease ends.
UPDATE holding SET due_from = free_at
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND occupies = 1 AND due_from <= :now AND free_at > :now;

-- roster: Of those places of a pool that may end first, the earliest moment one comes back, in a row without a name; then their
-- first holders, by the end of their lease. Who has returned his seat holds it no longer.
WITH looked_at AS MATERIALIZED (
    SELECT holder, state, activated_at, expires_at, free_at,
        CASE :borrowing WHEN 1 THEN CASE WHEN rights LIKE '%"@borrowed"%' THEN 1 ELSE 0 END ELSE 0 END AS borrowed
    FROM holding
    WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND occupies = 1
    ORDER BY due_from
    LIMIT :among
), shown AS (
    SELECT holder, activated_at, expires_at, free_at, borrowed FROM looked_at WHERE state <> 'returned' ORDER BY free_at LIMIT :most
)
SELECT NULL, NULL, NULL, min(free_at), 0 FROM looked_at
UNION ALL
SELECT coalesce(w.seat_name, w.seat_id), shown.activated_at, shown.expires_at, shown.free_at, shown.borrowed
FROM shown CROSS JOIN holder w  -- SQLite would rather look at every holder
WHERE w.tenant_id = :tenant_id AND w.chain_id = :entitlement_id AND w.number = shown.holder;

-- windows_ended: Refusal windows that began before a moment.
SELECT tenant_id, chain_id, holder, denial_id, rule, since, until, count, key FROM refusal
WHERE since <= :before
ORDER BY since
LIMIT :most;

-- tenants: Every tenant.
SELECT tenant_id FROM tenant ORDER BY tenant_id;

-- forget_keyed: Forget idempotency keys whose time is over.
DELETE FROM keyed WHERE kept_until <= :now;

-- forget_holdings: Forget seats that ended long ago; a token of theirs then means "gone".
DELETE FROM holding WHERE occupies = 0 AND due_from <= :before AND refreshed_at <= :before AND expires_at <= :before;

-- idle_chains: Chains that know holders of whom nothing speaks any more. It looks at every holder.
SELECT DISTINCT holder.tenant_id, holder.chain_id FROM holder WHERE (blocked_until IS NULL OR blocked_until <= :now)
    AND NOT EXISTS (
        SELECT 1 FROM holding h
        WHERE h.tenant_id = holder.tenant_id AND h.entitlement_id = holder.chain_id AND h.holder = holder.number
    )
    AND NOT EXISTS (
        SELECT 1 FROM fact f
        WHERE f.tenant_id = holder.tenant_id AND f.chain_id = holder.chain_id AND f.holder = holder.number AND f.holder > 0
    )
    AND NOT EXISTS (
        SELECT 1 FROM refusal r
        WHERE r.tenant_id = holder.tenant_id AND r.chain_id = holder.chain_id AND r.holder = holder.number
    )
LIMIT :most;

-- forget_holders: Forget who is who in a chain where nothing is left that speaks of him.
DELETE FROM holder WHERE tenant_id = :tenant_id AND chain_id = :chain_id
    AND (blocked_until IS NULL OR blocked_until <= :now)
    AND NOT EXISTS (
        SELECT 1 FROM holding h
        WHERE h.tenant_id = holder.tenant_id AND h.entitlement_id = holder.chain_id AND h.holder = holder.number
    )
    AND NOT EXISTS (
        SELECT 1 FROM fact f
        WHERE f.tenant_id = holder.tenant_id AND f.chain_id = holder.chain_id AND f.holder = holder.number AND f.holder > 0
    )
    AND NOT EXISTS (
        SELECT 1 FROM refusal r
        WHERE r.tenant_id = holder.tenant_id AND r.chain_id = holder.chain_id AND r.holder = holder.number
    );

-- extend_keyed: Give idempotency keys the time back in which nobody could ask again.
UPDATE keyed SET kept_until = kept_until + :gap WHERE kept_until > :alive_at;

-- shift_leases: Move every lease and place, but for shares, whose end was signed: the recorded time itself was wrong.
UPDATE holding SET expires_at = expires_at + :by, free_at = free_at + :by, refreshed_at = refreshed_at + :by,
    due_from = due_from + :by
WHERE substr(activation_id, 1, 4) <> 'shr_';
