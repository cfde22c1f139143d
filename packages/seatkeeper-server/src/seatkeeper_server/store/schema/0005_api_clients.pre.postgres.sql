-- The vendor's own systems, which call the Management API: who they are, and what each may do. Of a secret only an HMAC is kept.
CREATE TABLE api_client (
    tenant_id   TEXT COLLATE "C" NOT NULL REFERENCES tenant,
    api_id      TEXT COLLATE "C" NOT NULL,
    client_id   TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C",
    secret_hash TEXT COLLATE "C" NOT NULL,
    permissions TEXT COLLATE "C" NOT NULL,                          -- a list of names
    created_at  BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, api_id),
    UNIQUE (tenant_id, client_id)
);
