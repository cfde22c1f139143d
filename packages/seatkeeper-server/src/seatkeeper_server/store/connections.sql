-- A local server's connection to its vendor. The same on every database.

-- connections: Where vendors are found, and how it stands.
SELECT tenant_id, url, ca_file, is_plain, connected_at, next_at, tried_at, succeeded_at, failures, error
FROM connection ORDER BY tenant_id;

-- save_connection: A connection, as it is now.
INSERT INTO connection (tenant_id, url, ca_file, is_plain, connected_at, next_at, tried_at, succeeded_at, failures, error)
VALUES (:tenant_id, :url, :ca_file, :is_plain, :connected_at, :next_at, :tried_at, :succeeded_at, :failures, :error)
ON CONFLICT (tenant_id) DO UPDATE SET url = excluded.url, ca_file = excluded.ca_file, is_plain = excluded.is_plain,
    connected_at = excluded.connected_at, next_at = excluded.next_at, tried_at = excluded.tried_at,
    succeeded_at = excluded.succeeded_at, failures = excluded.failures, error = excluded.error;

-- drop_connection: Go without a connection.
DELETE FROM connection WHERE tenant_id = :tenant_id;

-- claim_connection: Take the turn to exchange, if it is due and nobody else has taken it.
UPDATE connection SET next_at = :until, tried_at = :now WHERE tenant_id = :tenant_id AND next_at <= :now RETURNING 1;

-- unanswered: What a vendor has not answered yet, oldest first.
SELECT number, token FROM unanswered WHERE tenant_id = :tenant_id ORDER BY number;

-- add_unanswered: A document for a vendor.
INSERT INTO unanswered (tenant_id, number, token, made_at) VALUES (:tenant_id, :number, :token, :now)
ON CONFLICT (tenant_id, number) DO UPDATE SET token = excluded.token, made_at = excluded.made_at;

-- drop_unanswered: A document that was answered.
DELETE FROM unanswered WHERE tenant_id = :tenant_id AND number = :number;
