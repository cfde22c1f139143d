-- The vendor's own systems, which call the Management API. The same on every database.

-- api_clients: The API clients of a vendor, oldest first; all of them, or one by its id or by what it calls itself.
SELECT tenant_id, api_id, client_id, name, secret_hash, permissions, created_at
FROM api_client
WHERE tenant_id = :tenant_id AND (CAST(:api_id AS TEXT) IS NULL OR api_id = :api_id)
    AND (CAST(:client_id AS TEXT) IS NULL OR client_id = :client_id)
ORDER BY created_at, api_id;

-- add_api_client: A new API client.
INSERT INTO api_client (tenant_id, api_id, client_id, name, secret_hash, permissions, created_at)
VALUES (:tenant_id, :api_id, :client_id, :name, :secret_hash, :permissions, :now);

-- remove_api_client: Forget an API client.
DELETE FROM api_client WHERE tenant_id = :tenant_id AND api_id = :api_id;
