-- What is sold, and what people and reports ask about it. The same on every database.

-- vendors: Every tenant with its name, whom to ask, and its own chain of facts.
SELECT tenant_id, name, contact, created_at, facts, head FROM tenant ORDER BY name;

-- add_tenant: A new vendor.
INSERT INTO tenant (tenant_id, name, contact, created_at, head) VALUES (:tenant_id, :name, :contact, :now, :head);

-- set_contact: Whom refused users should ask.
UPDATE tenant SET contact = :contact WHERE tenant_id = :tenant_id;

-- keys_of: The keys of a tenant, private parts sealed.
SELECT tenant_id, purpose, kid, state, public_key, sealed, certificate, created_at, expires_at
FROM tenant_key WHERE tenant_id = :tenant_id ORDER BY purpose, created_at, kid;

-- add_key: A new key, or another state of a known one.
INSERT INTO tenant_key (tenant_id, purpose, kid, state, public_key, sealed, certificate, created_at, expires_at)
VALUES (:tenant_id, :purpose, :kid, :state, :public_key, :sealed, :certificate, :created_at, :expires_at)
ON CONFLICT (tenant_id, purpose, kid) DO UPDATE SET state = excluded.state;

-- account_key: The public part of the key of a vendor's account.
SELECT modulus, exponent FROM account_key WHERE tenant_id = :tenant_id;

-- add_account_key: The key of a vendor's account.
INSERT INTO account_key (tenant_id, modulus, exponent, sealed, created_at)
VALUES (:tenant_id, :modulus, :exponent, :sealed, :now);

-- product_named: The id of a product.
SELECT product_id FROM product WHERE tenant_id = :tenant_id AND name = :name;

-- add_product: A new product.
INSERT INTO product (tenant_id, product_id, name, created_at) VALUES (:tenant_id, :product_id, :name, :now);

-- edition_named: The id of a product's edition.
SELECT edition_id FROM edition WHERE tenant_id = :tenant_id AND product_id = :product_id AND name = :name;

-- add_edition: A new edition of a product.
INSERT INTO edition (tenant_id, edition_id, product_id, name, created_at)
VALUES (:tenant_id, :edition_id, :product_id, :name, :now);

-- plan_named: The id of a plan.
SELECT plan_id FROM plan WHERE tenant_id = :tenant_id AND name = :name;

-- add_plan: A new plan.
INSERT INTO plan (tenant_id, plan_id, name, license_type, license_start_type, duration_type, duration_count, plan_type,
    created_at)
VALUES (:tenant_id, :plan_id, :name, :license_type, 'entitlementCreation', :duration_type, :duration_count, 'paid', :now);

-- offering_with: The id of the offering with this SKU.
SELECT offering_id FROM offering WHERE tenant_id = :tenant_id AND sku = :sku;

-- add_offering: A new offering.
INSERT INTO offering (tenant_id, offering_id, edition_id, plan_id, name, sku, seats, mode, overdraft_kind, overdraft_value,
    features, lease, linger, grace, created_at)
VALUES (:tenant_id, :offering_id, :edition_id, :plan_id, :name, :sku, :seats, :mode, :overdraft_kind, :overdraft_value,
    :features, :lease, :linger, 0, :now);

-- customer_named: The id of a customer.
SELECT customer_id FROM customer WHERE tenant_id = :tenant_id AND name = :name;

-- customer_names: The names of a vendor's customers.
SELECT name FROM customer WHERE tenant_id = :tenant_id ORDER BY name;

-- add_customer: A new customer.
INSERT INTO customer (tenant_id, customer_id, name, created_at) VALUES (:tenant_id, :customer_id, :name, :now);

-- add_group: A new group of entitlements, which owns the activation codes.
INSERT INTO entitlement_group (tenant_id, group_id, customer_id, created_at)
VALUES (:tenant_id, :group_id, :customer_id, :now);

-- add_entitlement: What a customer bought, commercially.
INSERT INTO entitlement (tenant_id, entitlement_id, group_id, offering_id, activated_at, created_at)
VALUES (:tenant_id, :entitlement_id, :group_id, :offering_id, :now, :now);

-- add_pool: What a customer bought, as it is counted.
INSERT INTO pool (tenant_id, entitlement_id, group_id, product_id, edition_id, mode, lease, linger, margin, nonce, switch,
    ends_at, grace, borrow, head)
VALUES (:tenant_id, :entitlement_id, :group_id, :product_id, :edition_id, :mode, :lease, :linger, :margin, :nonce, 'on',
    :ends_at, 0, :borrow, :head);

-- add_right: One thing of which so many were bought.
INSERT INTO pool_right (tenant_id, entitlement_id, key, kind, bought, overdraft_kind, overdraft_value, cap)
VALUES (:tenant_id, :entitlement_id, :key, :kind, :bought, :overdraft_kind, :overdraft_value, :cap);

-- add_code: An activation code, to be looked up by its hash and read by those who may.
INSERT INTO activation_code (tenant_id, code_hash, group_id, sealed, last_four, created_at)
VALUES (:tenant_id, :code_hash, :group_id, :sealed, :last_four, :now);

-- codes_of: The activation codes of an entitlement's group, oldest first.
SELECT c.code_hash, c.sealed, c.last_four, c.created_at
FROM activation_code c
JOIN entitlement e ON e.tenant_id = c.tenant_id AND e.group_id = c.group_id
WHERE e.tenant_id = :tenant_id AND e.entitlement_id = :entitlement_id
ORDER BY c.created_at, c.code_hash;

-- resize: Another number of seats; the counter keeps what is taken.
UPDATE pool_right SET bought = :bought, cap = :cap, above = :above
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND key = '';

-- set_excess: How many holders have to go because of shrinking.
UPDATE pool SET excess = :excess WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id;

-- set_end: Another end.
UPDATE pool SET ends_at = :ends_at WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id;

-- set_borrow: For how long seats may be borrowed; 0: not at all.
UPDATE pool SET borrow = :borrow WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id;

-- end_borrowing: No more seats may be borrowed; those that are out stay out.
UPDATE pool_right SET bought = 0, cap = 0, above = used
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND key = '@borrowed';

-- leaving: Places that go by themselves: nobody may refresh them any more, or time has ended them already.
SELECT count(*) FROM holding
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND occupies = 1
    AND (state <> 'held' OR free_at <= :now);

-- entitlements: What was sold to whom, in words; all of it, or one.
SELECT p.tenant_id, p.entitlement_id, t.name, c.name, pr.name, ed.name, o.name, o.sku, e.created_at, p.lease, p.linger
FROM pool p
JOIN tenant t ON t.tenant_id = p.tenant_id
JOIN entitlement e ON e.tenant_id = p.tenant_id AND e.entitlement_id = p.entitlement_id
JOIN entitlement_group g ON g.tenant_id = p.tenant_id AND g.group_id = p.group_id
JOIN customer c ON c.tenant_id = p.tenant_id AND c.customer_id = g.customer_id
JOIN product pr ON pr.tenant_id = p.tenant_id AND pr.product_id = p.product_id
JOIN edition ed ON ed.tenant_id = p.tenant_id AND ed.edition_id = p.edition_id
JOIN offering o ON o.tenant_id = p.tenant_id AND o.offering_id = e.offering_id
WHERE (CAST(:tenant_id AS TEXT) IS NULL OR p.tenant_id = :tenant_id)
    AND (CAST(:entitlement_id AS TEXT) IS NULL OR p.entitlement_id = :entitlement_id)
ORDER BY t.name, c.name, pr.name, e.created_at, p.entitlement_id;

-- sold_already: Entitlements of this customer to this product, oldest first.
SELECT p.entitlement_id
FROM pool p
JOIN entitlement e ON e.tenant_id = p.tenant_id AND e.entitlement_id = p.entitlement_id
JOIN entitlement_group g ON g.tenant_id = p.tenant_id AND g.group_id = p.group_id
WHERE p.tenant_id = :tenant_id AND p.product_id = :product_id AND g.customer_id = :customer_id
ORDER BY e.created_at, p.entitlement_id;

-- commercial: An entitlement as its own programs may read it.
SELECT c.name, c.account_ref_id, g.order_ref_id, o.name, o.sku, pr.name, pl.name, pl.license_type, pl.license_start_type,
    pl.duration_type, pl.duration_count, p.grace, p.linger, p.lease, e.has_maintenance, e.maintenance_ends_at, r.bought,
    p.ends_at
FROM pool p
JOIN pool_right r ON r.tenant_id = p.tenant_id AND r.entitlement_id = p.entitlement_id AND r.key = ''
JOIN entitlement e ON e.tenant_id = p.tenant_id AND e.entitlement_id = p.entitlement_id
JOIN entitlement_group g ON g.tenant_id = p.tenant_id AND g.group_id = p.group_id
JOIN customer c ON c.tenant_id = p.tenant_id AND c.customer_id = g.customer_id
JOIN product pr ON pr.tenant_id = p.tenant_id AND pr.product_id = p.product_id
JOIN offering o ON o.tenant_id = p.tenant_id AND o.offering_id = e.offering_id
JOIN plan pl ON pl.tenant_id = p.tenant_id AND pl.plan_id = o.plan_id
WHERE p.tenant_id = :tenant_id AND p.entitlement_id = :entitlement_id;

-- places: The places of an entitlement that count, and those that lapsed lately, with who has them.
SELECT h.activation_id, h.past, h.generation, h.holder, h.state, h.occupies, h.rights, h.activated_at, h.refreshed_at,
    h.expires_at, h.free_at, h.sequence, h.nonce, h.nonce_before, h.nonce_answered, h.nonce_bound, h.noted_at, h.floored,
    h.device_key, w.seat_id, w.seat_name, w.username, w."user", w.host, w.process, w."group", w.project, w.address, w.blocked_until
FROM holding h
JOIN holder w ON w.tenant_id = h.tenant_id AND w.chain_id = h.entitlement_id AND w.number = h.holder
WHERE h.tenant_id = :tenant_id AND h.entitlement_id = :entitlement_id
    AND (h.occupies = 1 OR (h.state = 'lapsed' AND h.expires_at >= :lapsed_since))
ORDER BY h.activated_at, h.activation_id, h.past;

-- ended_places: What places take that time has ended although nobody has settled it yet.
SELECT h.rights FROM holding h
WHERE h.tenant_id = :tenant_id AND h.entitlement_id = :entitlement_id AND h.occupies = 1 AND h.due_from <= :now
    AND h.free_at <= :now;

-- counting_places: What every place of an entitlement that counts takes.
SELECT h.rights FROM holding h WHERE h.tenant_id = :tenant_id AND h.entitlement_id = :entitlement_id AND h.occupies = 1;

-- holders_called: Holders by seat id, name, user@host, or the activation they hold now.
SELECT w.tenant_id, w.chain_id, w.number, w.seat_id, w.seat_name, w.username, w."user", w.host, w.process, w."group",
    w.project, w.address, w.blocked_until, h.activation_id
FROM holder w
JOIN pool p ON p.tenant_id = w.tenant_id AND p.entitlement_id = w.chain_id
LEFT JOIN holding h ON h.tenant_id = w.tenant_id AND h.entitlement_id = w.chain_id AND h.holder = w.number AND h.past = 0
WHERE w.seat_id = :called OR w.seat_name = :called OR h.activation_id = :called OR w."user" || '@' || w.host = :called
ORDER BY w.tenant_id, w.chain_id, w.number;

-- holder_names: Names of holders of present places, for suggestions.
SELECT DISTINCT coalesce(w.seat_name, w.seat_id), w.seat_id, h.activation_id
FROM holding h
JOIN holder w ON w.tenant_id = h.tenant_id AND w.chain_id = h.entitlement_id AND w.number = h.holder
WHERE h.occupies = 1 AND h.past = 0
ORDER BY 1
LIMIT 5000;

-- working: Seats held under a lease that ends after a moment, and the last of those ends.
SELECT count(*), max(expires_at) FROM holding
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND occupies = 1 AND state = 'held' AND expires_at > :after;

-- blocked: Who is refused now, and until when.
SELECT coalesce(seat_name, seat_id), blocked_until FROM holder
WHERE tenant_id = :tenant_id AND chain_id = :chain_id AND blocked_until > :now
ORDER BY blocked_until, seat_id;

-- block: Refuse a holder until a moment; NULL: no longer.
UPDATE holder SET blocked_until = :until WHERE tenant_id = :tenant_id AND chain_id = :chain_id AND number = :number;

-- log: What happened since a moment, the newest first; of one customer, one holder, or refusals only.
SELECT f.tenant_id, f.chain_id, f.number, f.kind, f.at, f.recorded_at, f.activation_id, f.generation, f.holder, f.denial_id,
    f.data, f.hash, c.name, pr.name, w.seat_id, w.seat_name, w.username, w."user", w.host, w.process, w."group", w.project,
    w.address
FROM tenant t
JOIN fact f ON f.tenant_id = t.tenant_id AND f.recorded_at >= :since
LEFT JOIN pool p ON p.tenant_id = f.tenant_id AND p.entitlement_id = f.chain_id
LEFT JOIN product pr ON pr.tenant_id = p.tenant_id AND pr.product_id = p.product_id
LEFT JOIN entitlement_group g ON g.tenant_id = p.tenant_id AND g.group_id = p.group_id
LEFT JOIN customer c ON c.tenant_id = g.tenant_id AND c.customer_id = g.customer_id
LEFT JOIN holder w ON w.tenant_id = f.tenant_id AND w.chain_id = f.chain_id AND w.number = f.holder
WHERE (CAST(:customer AS TEXT) IS NULL OR c.name = :customer OR c.customer_id = :customer)
    AND (
        CAST(:called AS TEXT) IS NULL OR f.activation_id = :called OR w.seat_id = :called OR w.seat_name = :called
        OR w."user" = :called OR w.host = :called OR w.username = :called OR w."user" || '@' || w.host = :called
    )
    AND (:denied = 0 OR f.kind IN ('Denied', 'DeniedAgain'))
ORDER BY f.recorded_at DESC, CASE WHEN f.chain_id = f.tenant_id THEN 0 ELSE 1 END DESC, f.chain_id DESC, f.number DESC
LIMIT :most;

-- facts_called: The facts that bear the id of a refusal.
SELECT f.tenant_id, f.chain_id, f.number, f.kind, f.at, f.recorded_at, f.activation_id, f.generation, f.holder, f.denial_id,
    f.data, f.hash, c.name, pr.name, w.seat_id, w.seat_name, w.username, w."user", w.host, w.process, w."group", w.project,
    w.address
FROM tenant t
JOIN fact f ON f.tenant_id = t.tenant_id AND f.denial_id = :denial_id
LEFT JOIN pool p ON p.tenant_id = f.tenant_id AND p.entitlement_id = f.chain_id
LEFT JOIN product pr ON pr.tenant_id = p.tenant_id AND pr.product_id = p.product_id
LEFT JOIN entitlement_group g ON g.tenant_id = p.tenant_id AND g.group_id = p.group_id
LEFT JOIN customer c ON c.tenant_id = g.tenant_id AND c.customer_id = g.customer_id
LEFT JOIN holder w ON w.tenant_id = f.tenant_id AND w.chain_id = f.chain_id AND w.number = f.holder
ORDER BY f.recorded_at, f.number;

-- counting: A refusal that is still being counted, by its id.
SELECT r.tenant_id, r.chain_id, r.holder, r.denial_id, r.rule, r.since, r.until, r.count, c.name, pr.name,
    w.seat_id, w.seat_name, w.username, w."user", w.host, w.process, w."group", w.project, w.address
FROM refusal r
LEFT JOIN pool p ON p.tenant_id = r.tenant_id AND p.entitlement_id = r.chain_id
LEFT JOIN product pr ON pr.tenant_id = p.tenant_id AND pr.product_id = p.product_id
LEFT JOIN entitlement_group g ON g.tenant_id = p.tenant_id AND g.group_id = p.group_id
LEFT JOIN customer c ON c.tenant_id = g.tenant_id AND c.customer_id = g.customer_id
LEFT JOIN holder w ON w.tenant_id = r.tenant_id AND w.chain_id = r.chain_id AND w.number = r.holder
WHERE r.denial_id = :denial_id;

-- refusal_ids: The newest refusals' ids, for suggestions.
SELECT f.denial_id FROM tenant t JOIN fact f ON f.tenant_id = t.tenant_id AND f.denial_id IS NOT NULL
ORDER BY f.recorded_at DESC
LIMIT 1000;

-- sittings: Who came and went in a pool up to a fact, oldest first: what is needed to know who was there then.
SELECT f.kind, f.at, f.activation_id, f.data, coalesce(w.seat_name, w.seat_id)
FROM fact f
LEFT JOIN holder w ON w.tenant_id = f.tenant_id AND w.chain_id = f.chain_id AND w.number = f.holder
WHERE f.tenant_id = :tenant_id AND f.chain_id = :chain_id AND f.number < :number
    AND f.kind IN ('Claimed', 'Resumed', 'TakenOver', 'Retaken', 'Restored', 'Expired', 'Returned', 'Freed', 'TakenBack')
ORDER BY f.number;

-- chain_back: A stretch of a chain of facts, the newest first.
SELECT tenant_id, chain_id, number, kind, at, recorded_at, activation_id, generation, holder, denial_id, data, hash
FROM fact
WHERE tenant_id = :tenant_id AND chain_id = :chain_id AND number < :before
ORDER BY number DESC
LIMIT :most;

-- newest_facts: What happened to a vendor's entitlements, whichever, the newest first; not what concerns the vendor alone.
SELECT tenant_id, chain_id, number, kind, at, recorded_at, activation_id, generation, holder, denial_id, data, hash
FROM fact
WHERE tenant_id = :tenant_id AND chain_id <> :tenant_id
ORDER BY recorded_at DESC, chain_id DESC, number DESC
LIMIT :most OFFSET :skip;

-- chain: A stretch of a chain of facts.
SELECT tenant_id, chain_id, number, kind, at, recorded_at, activation_id, generation, holder, denial_id, data, hash
FROM fact
WHERE tenant_id = :tenant_id AND chain_id = :chain_id AND number > :after AND number <= :last
ORDER BY number
LIMIT :most;
