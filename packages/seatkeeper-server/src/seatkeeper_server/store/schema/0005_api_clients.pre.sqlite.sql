-- The vendor's own systems, which call the Management API: who they are, and what each may do. Of a secret only an HMAC is kept.
CREATE TABLE api_client (
    tenant_id   TEXT    NOT NULL REFERENCES tenant,
    api_id      TEXT    NOT NULL,
    client_id   TEXT    NOT NULL,
    name        TEXT,
    secret_hash TEXT    NOT NULL,
    permissions TEXT    NOT NULL CHECK (json_valid(permissions)),   -- a list of names
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, api_id),
    UNIQUE (tenant_id, client_id)
) STRICT, WITHOUT ROWID;
