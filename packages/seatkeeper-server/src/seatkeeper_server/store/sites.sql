-- Lending to local license servers: what both sides know of each other. The same on every database.

-- exchange_key: A key by which documents are sealed, or signed by this server itself.
SELECT kid, public_key, sealed FROM exchange_key WHERE owner = :owner AND purpose = :purpose;

-- add_exchange_key: A new one, unless somebody else just made one.
INSERT INTO exchange_key (owner, purpose, kid, public_key, sealed, created_at)
VALUES (:owner, :purpose, :kid, :public_key, :sealed, :now)
ON CONFLICT (owner, purpose) DO NOTHING;

-- applied: Whether a document was applied here.
SELECT 1 FROM applied_token WHERE tenant_id = :tenant_id AND token_id = :token_id;

-- note_applied: Remember that a document was applied.
INSERT INTO applied_token (tenant_id, token_id, applied_at) VALUES (:tenant_id, :token_id, :now);

-- sites: A vendor's local license servers, with the lease of their own license.
SELECT s.tenant_id, s.site_id, s.name, s.entitlement_id, s.activation_id, s.database_id, s.signing_key, s.sealing_key,
    s.state, s.state_since, s.sent, s.heard, s.heard_id, s.reported_at, s.created_at, s.ended_at, h.refreshed_at, h.expires_at,
    s.heard_made_at
FROM site s
LEFT JOIN holding h ON h.tenant_id = s.tenant_id AND h.activation_id = s.activation_id AND h.past = 0
WHERE s.tenant_id = :tenant_id
ORDER BY s.created_at, s.site_id;

-- save_site: What is known of a local license server.
INSERT INTO site (tenant_id, site_id, name, entitlement_id, activation_id, database_id, signing_key, sealing_key, state,
    state_since, sent, heard, heard_id, heard_made_at, reported_at, created_at, ended_at)
VALUES (:tenant_id, :site_id, :name, :entitlement_id, :activation_id, :database_id, :signing_key, :sealing_key, :state,
    :state_since, :sent, :heard, :heard_id, :heard_made_at, :reported_at, :created_at, :ended_at)
ON CONFLICT (tenant_id, site_id) DO UPDATE SET name = excluded.name, entitlement_id = excluded.entitlement_id,
    activation_id = excluded.activation_id, database_id = excluded.database_id, sealing_key = excluded.sealing_key,
    state = excluded.state, state_since = excluded.state_since, sent = excluded.sent, heard = excluded.heard,
    heard_id = excluded.heard_id, heard_made_at = excluded.heard_made_at, reported_at = excluded.reported_at, ended_at = excluded.ended_at;

-- shares: What a vendor has lent.
SELECT tenant_id, share_id, entitlement_id, site_id, holder, is_whole, skew, snapshot, lent_at, token_at, ended_at, facts, head
FROM share WHERE tenant_id = :tenant_id ORDER BY lent_at, share_id;

-- save_share: A share, as it is now.
INSERT INTO share (tenant_id, share_id, entitlement_id, site_id, holder, is_whole, skew, snapshot, lent_at, token_at, ended_at,
    facts, head)
VALUES (:tenant_id, :share_id, :entitlement_id, :site_id, :holder, :is_whole, :skew, :snapshot, :lent_at, :token_at, :ended_at,
    :facts, :head)
ON CONFLICT (tenant_id, share_id) DO UPDATE SET is_whole = excluded.is_whole, skew = excluded.skew,
    snapshot = excluded.snapshot, token_at = excluded.token_at, ended_at = excluded.ended_at, facts = excluded.facts,
    head = excluded.head;

-- lent_out: What of an entitlement is lent to local servers now: whom to, how many seats, until when, and their last report.
SELECT s.name, h.rights, h.free_at, s.reported_at
FROM share
JOIN site s ON s.tenant_id = share.tenant_id AND s.site_id = share.site_id
JOIN holding h ON h.tenant_id = share.tenant_id AND h.activation_id = share.share_id AND h.occupies = 1 AND h.free_at > :now
WHERE share.tenant_id = :tenant_id AND share.entitlement_id = :entitlement_id
ORDER BY s.name, h.past;

-- share_grants: The documents of a share that may be in force.
SELECT number, rights, until FROM share_grant WHERE tenant_id = :tenant_id AND share_id = :share_id ORDER BY number;

-- drop_share_grants: Forget the documents of a share.
DELETE FROM share_grant WHERE tenant_id = :tenant_id AND share_id = :share_id;

-- add_share_grant: A document of a share.
INSERT INTO share_grant (tenant_id, share_id, number, rights, until, issued_at)
VALUES (:tenant_id, :share_id, :number, :rights, :until, :now);

-- share_layers: Every place of a share.
SELECT activation_id, past, generation, holder, state, occupies, rights, activated_at, refreshed_at, expires_at, free_at,
    sequence, nonce, nonce_before, nonce_answered, nonce_bound, noted_at, floored, device_key
FROM holding WHERE tenant_id = :tenant_id AND activation_id = :share_id ORDER BY past;

-- lending_snapshot: An entitlement in words, as a local server has to know it.
SELECT p.entitlement_id, p.group_id, p.product_id, pr.name, p.edition_id, ed.name, o.offering_id, o.name, o.sku, pl.plan_id,
    pl.name, pl.plan_type, pl.license_type, pl.license_start_type, pl.duration_type, pl.duration_count, c.customer_id, c.name,
    c.account_ref_id, g.order_ref_id, p.mode, p.lease, p.linger, p.margin, p.nonce, e.has_maintenance, e.maintenance_ends_at, p.borrow
FROM pool p
JOIN entitlement e ON e.tenant_id = p.tenant_id AND e.entitlement_id = p.entitlement_id
JOIN entitlement_group g ON g.tenant_id = p.tenant_id AND g.group_id = p.group_id
JOIN customer c ON c.tenant_id = p.tenant_id AND c.customer_id = g.customer_id
JOIN product pr ON pr.tenant_id = p.tenant_id AND pr.product_id = p.product_id
JOIN edition ed ON ed.tenant_id = p.tenant_id AND ed.edition_id = p.edition_id
JOIN offering o ON o.tenant_id = p.tenant_id AND o.offering_id = e.offering_id
JOIN plan pl ON pl.tenant_id = p.tenant_id AND pl.plan_id = o.plan_id
WHERE p.tenant_id = :tenant_id AND p.entitlement_id = :entitlement_id;

-- set_switch: An entitlement is switched on or off.
UPDATE pool SET switch = :switch WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id;

-- save_use: An hour of use that a server reported; what was reported before of the same hour is made whole.
INSERT INTO site_use (tenant_id, share_id, hour, high, low, denials, seat_seconds)
VALUES (:tenant_id, :share_id, :hour, :high, :low, :denials, :seat_seconds)
ON CONFLICT (tenant_id, share_id, hour) DO UPDATE SET
    high = CASE WHEN excluded.high > site_use.high THEN excluded.high ELSE site_use.high END,
    low = CASE WHEN excluded.low < site_use.low THEN excluded.low ELSE site_use.low END,
    denials = site_use.denials + excluded.denials, seat_seconds = site_use.seat_seconds + excluded.seat_seconds;

-- site_use: What servers have reported of a share, hour by hour.
SELECT hour, high, low, denials, seat_seconds FROM site_use WHERE tenant_id = :tenant_id AND share_id = :share_id ORDER BY hour;

-- own_licenses: This server's own licenses.
SELECT tenant_id, site_id, name, challenge, root_key, sealing_key, lease_ends_at, epoch, sent, state, state_since, patience,
    asked_at, ended_at
FROM own_license ORDER BY tenant_id;

-- save_own_license: A license of this server's, or that it was asked for.
INSERT INTO own_license (tenant_id, site_id, name, challenge, root_key, sealing_key, lease_ends_at, epoch, sent, state,
    state_since, patience, asked_at, ended_at)
VALUES (:tenant_id, :site_id, :name, :challenge, :root_key, :sealing_key, :lease_ends_at, :epoch, :sent, :state,
    :state_since, :patience, :asked_at, :ended_at)
ON CONFLICT (tenant_id) DO UPDATE SET site_id = excluded.site_id, name = excluded.name, challenge = excluded.challenge,
    root_key = excluded.root_key, sealing_key = excluded.sealing_key, lease_ends_at = excluded.lease_ends_at,
    epoch = excluded.epoch, sent = excluded.sent, state = excluded.state, state_since = excluded.state_since,
    patience = excluded.patience, asked_at = excluded.asked_at, ended_at = excluded.ended_at;

-- lent: What a vendor has lent to this server.
SELECT tenant_id, entitlement_id, share_id, number, began, granted_at, until, ended_at, reported, reported_head, warned,
    reported_at, base
FROM lent WHERE tenant_id = :tenant_id ORDER BY entitlement_id;

-- save_lent: What an entitlement on this server rests on.
INSERT INTO lent (tenant_id, entitlement_id, share_id, number, began, granted_at, until, ended_at, reported, reported_head,
    warned, reported_at, base)
VALUES (:tenant_id, :entitlement_id, :share_id, :number, :began, :granted_at, :until, :ended_at, :reported, :reported_head,
    :warned, :reported_at, :base)
ON CONFLICT (tenant_id, entitlement_id) DO UPDATE SET share_id = excluded.share_id, number = excluded.number,
    began = excluded.began, granted_at = excluded.granted_at, until = excluded.until, ended_at = excluded.ended_at,
    reported = excluded.reported, reported_head = excluded.reported_head, warned = excluded.warned,
    reported_at = excluded.reported_at, base = excluded.base;

-- put_product: A product, by the name it has now.
INSERT INTO product (tenant_id, product_id, name, created_at) VALUES (:tenant_id, :product_id, :name, :now)
ON CONFLICT (tenant_id, product_id) DO UPDATE SET name = excluded.name;

-- put_edition: An edition of a product.
INSERT INTO edition (tenant_id, edition_id, product_id, name, created_at)
VALUES (:tenant_id, :edition_id, :product_id, :name, :now)
ON CONFLICT (tenant_id, edition_id) DO UPDATE SET name = excluded.name;

-- put_plan: A plan.
INSERT INTO plan (tenant_id, plan_id, name, license_type, license_start_type, duration_type, duration_count, plan_type,
    created_at)
VALUES (:tenant_id, :plan_id, :name, :license_type, :license_start_type, :duration_type, :duration_count, :plan_type, :now)
ON CONFLICT (tenant_id, plan_id) DO UPDATE SET name = excluded.name;

-- put_offering: An offering; what of it counts here stands in the pool.
INSERT INTO offering (tenant_id, offering_id, edition_id, plan_id, name, sku, seats, mode, overdraft_kind, overdraft_value,
    features, lease, linger, grace, created_at)
VALUES (:tenant_id, :offering_id, :edition_id, :plan_id, :name, :sku, 1, :mode, 'none', 0, '[]', :lease, :linger, 0, :now)
ON CONFLICT (tenant_id, offering_id) DO UPDATE SET name = excluded.name, sku = excluded.sku;

-- put_customer: A customer.
INSERT INTO customer (tenant_id, customer_id, name, account_ref_id, created_at)
VALUES (:tenant_id, :customer_id, :name, :account_ref_id, :now)
ON CONFLICT (tenant_id, customer_id) DO UPDATE SET name = excluded.name, account_ref_id = excluded.account_ref_id;

-- put_group: A group of entitlements.
INSERT INTO entitlement_group (tenant_id, group_id, customer_id, order_ref_id, created_at)
VALUES (:tenant_id, :group_id, :customer_id, :order_ref_id, :now)
ON CONFLICT (tenant_id, group_id) DO UPDATE SET order_ref_id = excluded.order_ref_id;

-- put_entitlement: An entitlement's commercial side.
INSERT INTO entitlement (tenant_id, entitlement_id, group_id, offering_id, activated_at, has_maintenance, maintenance_ends_at,
    created_at)
VALUES (:tenant_id, :entitlement_id, :group_id, :offering_id, :now, :has_maintenance, :maintenance_ends_at, :now)
ON CONFLICT (tenant_id, entitlement_id) DO UPDATE SET offering_id = excluded.offering_id,
    has_maintenance = excluded.has_maintenance, maintenance_ends_at = excluded.maintenance_ends_at;

-- put_pool: An entitlement's counted side: its terms; what was counted stays.
INSERT INTO pool (tenant_id, entitlement_id, group_id, product_id, edition_id, mode, lease, linger, margin, nonce, switch,
    ends_at, grace, head)
VALUES (:tenant_id, :entitlement_id, :group_id, :product_id, :edition_id, :mode, :lease, :linger, :margin, :nonce, 'on',
    :ends_at, 0, :head)
ON CONFLICT (tenant_id, entitlement_id) DO UPDATE SET mode = excluded.mode, lease = excluded.lease, linger = excluded.linger,
    margin = excluded.margin, nonce = excluded.nonce, switch = 'on', ends_at = excluded.ends_at;

-- put_right: How much of a right there is; what is taken of it stays, above the cap if need be.
INSERT INTO pool_right (tenant_id, entitlement_id, key, kind, bought, overdraft_kind, overdraft_value, cap)
VALUES (:tenant_id, :entitlement_id, :key, :kind, :bought, :overdraft_kind, :overdraft_value, :cap)
ON CONFLICT (tenant_id, entitlement_id, key) DO UPDATE SET bought = excluded.bought, overdraft_kind = excluded.overdraft_kind,
    overdraft_value = excluded.overdraft_value, cap = excluded.cap,
    above = CASE WHEN excluded.cap IS NOT NULL AND pool_right.used > excluded.cap THEN pool_right.used - excluded.cap
        ELSE 0 END;

-- drop_codes: Forget a group's activation codes.
DELETE FROM activation_code WHERE tenant_id = :tenant_id AND group_id = :group_id;

-- believed: What every place that counts takes, and until when somebody may believe in it.
SELECT rights, expires_at, coalesce(free_at, expires_at) FROM holding
WHERE tenant_id = :tenant_id AND entitlement_id = :entitlement_id AND occupies = 1;

-- put_tenant: A vendor whose seats are lent to this server.
INSERT INTO tenant (tenant_id, name, contact, created_at, head) VALUES (:tenant_id,
    CASE WHEN EXISTS (SELECT 1 FROM tenant WHERE name = :name AND tenant_id <> :tenant_id) THEN :named_by_id ELSE :name END,
    :contact, :now, :head)
ON CONFLICT (tenant_id) DO UPDATE SET contact = excluded.contact;

-- set_certificate: The certificate under which a key signs from now on.
UPDATE tenant_key SET certificate = :certificate, expires_at = :expires_at
WHERE tenant_id = :tenant_id AND purpose = 'signing' AND kid = :kid;
