-- What tidying needs.

-- oldest_facts: A chain that has facts recorded before a moment.
SELECT chain_id FROM fact WHERE tenant_id = :tenant_id AND recorded_at < :before ORDER BY recorded_at LIMIT 1;

-- facts_before: The first facts of a chain, as far as they were recorded before a moment.
SELECT tenant_id, chain_id, number, kind, at, recorded_at, activation_id, generation, holder, denial_id, data, hash
FROM fact
WHERE tenant_id = :tenant_id AND chain_id = :chain_id AND recorded_at < :before
ORDER BY number
LIMIT :most;

-- last_checkpoint: A chain's last checkpoint.
SELECT signed FROM checkpoint WHERE tenant_id = :tenant_id AND chain_id = :chain_id ORDER BY number DESC LIMIT 1;

-- add_checkpoint: Say what the facts up to a number came to.
INSERT INTO checkpoint (tenant_id, chain_id, number, at, signed) VALUES (:tenant_id, :chain_id, :number, :at, :signed);

-- forget_facts: Forget a chain's facts up to a number.
DELETE FROM fact WHERE tenant_id = :tenant_id AND chain_id = :chain_id AND number <= :number;
