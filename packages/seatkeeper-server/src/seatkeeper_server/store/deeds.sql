-- What was sold, with all that was agreed upon, page by page. The same on every database.

-- deeds: Entitlements of a vendor, oldest first: one, or those of a group, a customer or a product.
SELECT p.tenant_id, p.entitlement_id, p.group_id, g.created_at, g.order_ref_id, c.customer_id, c.name, c.account_ref_id,
    c.disabled_at, o.offering_id, o.name, o.sku, o.seats, o.overdraft_kind, o.overdraft_value, o.lease, o.linger, o.grace,
    pl.name, pl.plan_type, pl.license_type, pl.license_start_type, pl.duration_type, pl.duration_count, e.activated_at,
    e.has_maintenance, e.maintenance_ends_at, e.created_at
FROM pool p
JOIN entitlement e ON e.tenant_id = p.tenant_id AND e.entitlement_id = p.entitlement_id
JOIN entitlement_group g ON g.tenant_id = p.tenant_id AND g.group_id = p.group_id
JOIN customer c ON c.tenant_id = p.tenant_id AND c.customer_id = g.customer_id
JOIN offering o ON o.tenant_id = p.tenant_id AND o.offering_id = e.offering_id
JOIN plan pl ON pl.tenant_id = p.tenant_id AND pl.plan_id = o.plan_id
WHERE p.tenant_id = :tenant_id
    AND (CAST(:entitlement_id AS TEXT) IS NULL OR p.entitlement_id = :entitlement_id)
    AND (CAST(:group_id AS TEXT) IS NULL OR p.group_id = :group_id)
    AND (CAST(:customer_id AS TEXT) IS NULL OR g.customer_id = :customer_id)
    AND (CAST(:product_id AS TEXT) IS NULL OR p.product_id = :product_id)
ORDER BY e.created_at, p.entitlement_id
LIMIT :most OFFSET :skip;

-- count_deeds: How many there are of the same.
SELECT count(*)
FROM pool p
JOIN entitlement_group g ON g.tenant_id = p.tenant_id AND g.group_id = p.group_id
WHERE p.tenant_id = :tenant_id
    AND (CAST(:entitlement_id AS TEXT) IS NULL OR p.entitlement_id = :entitlement_id)
    AND (CAST(:group_id AS TEXT) IS NULL OR p.group_id = :group_id)
    AND (CAST(:customer_id AS TEXT) IS NULL OR g.customer_id = :customer_id)
    AND (CAST(:product_id AS TEXT) IS NULL OR p.product_id = :product_id);

-- groups: Groups of entitlements of a vendor, oldest first: one, or a customer's.
SELECT g.group_id, g.created_at, g.order_ref_id, c.customer_id, c.name, c.account_ref_id, c.disabled_at
FROM entitlement_group g
JOIN customer c ON c.tenant_id = g.tenant_id AND c.customer_id = g.customer_id
WHERE g.tenant_id = :tenant_id
    AND (CAST(:group_id AS TEXT) IS NULL OR g.group_id = :group_id)
    AND (CAST(:customer_id AS TEXT) IS NULL OR g.customer_id = :customer_id)
ORDER BY g.created_at, g.group_id
LIMIT :most OFFSET :skip;

-- count_groups: How many there are of the same.
SELECT count(*)
FROM entitlement_group g
WHERE g.tenant_id = :tenant_id
    AND (CAST(:group_id AS TEXT) IS NULL OR g.group_id = :group_id)
    AND (CAST(:customer_id AS TEXT) IS NULL OR g.customer_id = :customer_id);

-- codes_of_group: The activation codes of a group, oldest first.
SELECT code_hash, sealed, last_four, created_at
FROM activation_code WHERE tenant_id = :tenant_id AND group_id = :group_id
ORDER BY created_at, code_hash;
