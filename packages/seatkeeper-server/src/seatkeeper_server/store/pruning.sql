-- What tidying needs.

-- old_chains: The chains of a tenant that have facts recorded before a moment.
SELECT DISTINCT chain_id FROM fact WHERE tenant_id = :tenant_id AND recorded_at < :before ORDER BY chain_id;

-- facts_before: The first facts of a chain, up to the first one that was recorded at a moment or later. (Numbers always rise,
-- recorded moments don't where an operator set a wrong clock back.)
SELECT tenant_id, chain_id, number, kind, at, recorded_at, activation_id, generation, holder, denial_id, data, hash
FROM fact
WHERE tenant_id = :tenant_id AND chain_id = :chain_id AND number < coalesce((
    SELECT number FROM fact
    WHERE tenant_id = :tenant_id AND chain_id = :chain_id AND recorded_at >= :before
    ORDER BY number LIMIT 1
), 9223372036854775807)
ORDER BY number
LIMIT :most;

-- last_checkpoint: A chain's last checkpoint.
SELECT signed FROM checkpoint WHERE tenant_id = :tenant_id AND chain_id = :chain_id ORDER BY number DESC LIMIT 1;

-- add_checkpoint: Say what the facts up to a number came to.
INSERT INTO checkpoint (tenant_id, chain_id, number, at, signed) VALUES (:tenant_id, :chain_id, :number, :at, :signed);

-- forget_facts: Forget a chain's facts up to a number.
DELETE FROM fact WHERE tenant_id = :tenant_id AND chain_id = :chain_id AND number <= :number;
