-- What facts come to: usage, sessions, demands. The same on every database.

-- begin_mark: Begin to roll up a chain, unless that was begun.
INSERT INTO usage_mark (tenant_id, entitlement_id, number, recorded_at, breaks)
VALUES (:tenant_id, :entitlement_id, 0, NULL, '[]')
ON CONFLICT (tenant_id, entitlement_id) DO NOTHING;

-- hold_mark: Have a chain's mark to oneself.
UPDATE usage_mark SET number = number WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id;

-- mark: Up to which fact a chain was rolled up.
SELECT number, recorded_at, breaks FROM usage_mark WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id;

-- set_mark: Move a chain's mark.
UPDATE usage_mark SET number = :number, recorded_at = :recorded_at, breaks = :breaks
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id;

-- behind: The entitlements that have facts beyond their mark.
SELECT p.tenant_id, p.entitlement_id
FROM pool p
LEFT JOIN usage_mark m ON m.tenant_id = p.tenant_id AND m.entitlement_id = p.entitlement_id
WHERE p.facts > coalesce(m.number, 0)
ORDER BY p.tenant_id, p.entitlement_id;

-- levels: How each right stood when the quarter began that begins at a moment.
SELECT s.right_key, s.amount, s.bought
FROM (SELECT DISTINCT right_key FROM usage_slot WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id) r
JOIN usage_slot s ON s.tenant_id = :tenant_id AND s.entitlement_id = :entitlement_id AND s.right_key = r.right_key
    AND s.began_at = (
        SELECT max(b.began_at) FROM usage_slot b
        WHERE b.tenant_id = :tenant_id AND b.entitlement_id = :entitlement_id AND b.right_key = r.right_key AND b.began_at < :before
    );

-- level: How one right stood when the quarter began that begins at a moment.
SELECT amount, bought FROM usage_slot
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND right_key = :right_key AND began_at < :before
ORDER BY began_at DESC LIMIT 1;

-- forget_slots: Forget the quarters from a moment on.
DELETE FROM usage_slot WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND began_at >= :since;

-- forget_counts: Forget what was counted from a moment on.
DELETE FROM usage_count WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND began_at >= :since;

-- slots: The quarters between two moments in which a right moved.
SELECT right_key, began_at, high, low, held, above, amount, bought
FROM usage_slot
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND right_key = :right_key
    AND began_at >= :since AND began_at < :until
ORDER BY began_at;

-- usage_rights: The rights that ever moved.
SELECT DISTINCT right_key FROM usage_slot
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id ORDER BY right_key;

-- counts: How often something happened in each quarter between two moments.
SELECT began_at, what, rule, right_key, count
FROM usage_count
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND began_at >= :since AND began_at < :until
ORDER BY began_at, what, rule, right_key;

-- sessions_between: Stays that touch a time, the latest first.
SELECT s.number, s.activation_id, s.holder, s.started_at, s.ended_at, s.cause,
    w.seat_id, w.seat_name, w.username, w."user", w.host, w.process, w."group", w.project, w.address
FROM usage_session s
LEFT JOIN holder w ON w.tenant_id = s.tenant_id AND w.chain_id = s.entitlement_id AND w.number = s.holder
WHERE s.tenant_id = :tenant_id AND s.entitlement_id = :entitlement_id AND s.started_at < :until
    AND (s.ended_at IS NULL OR s.ended_at > :since)
ORDER BY s.number DESC
LIMIT :most OFFSET :skip;

-- count_sessions: How many stays touch a time.
SELECT count(*) FROM usage_session
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND started_at < :until
    AND (ended_at IS NULL OR ended_at > :since);

-- stays: How long each holder was there between two moments, how often, and whether he still is.
SELECT s.holder, count(*), count(*) - count(s.ended_at), sum(
        CASE WHEN s.ended_at IS NULL OR s.ended_at > :until THEN :until ELSE s.ended_at END
        - CASE WHEN s.started_at < :since THEN :since ELSE s.started_at END
    ),
    w.seat_id, w.seat_name, w.username, w."user", w.host, w.process, w."group", w.project, w.address
FROM usage_session s
LEFT JOIN holder w ON w.tenant_id = s.tenant_id AND w.chain_id = s.entitlement_id AND w.number = s.holder
WHERE s.tenant_id = :tenant_id AND s.entitlement_id = :entitlement_id AND s.started_at < :until
    AND (s.ended_at IS NULL OR s.ended_at > :since)
GROUP BY s.holder, w.seat_id, w.seat_name, w.username, w."user", w.host, w.process, w."group", w.project, w.address
ORDER BY s.holder;

-- demands: What was asked for in vain at some time between two moments.
SELECT d.number, d.holder, d.right_key, d.wanted, d.began_at, d.last_at, d.tries, d.met_at
FROM usage_demand d
WHERE d.tenant_id = :tenant_id AND d.entitlement_id = :entitlement_id AND d.began_at < :until AND d.last_at >= :around
    AND coalesce(d.met_at, d.last_at) >= :since
ORDER BY d.number;
