-- The RSA key of a vendor's account, made when it is first asked for: his systems know the public part. The private one is sealed.
CREATE TABLE account_key (
    tenant_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES tenant,
    modulus    TEXT COLLATE "C" NOT NULL,
    exponent   TEXT COLLATE "C" NOT NULL,
    sealed     BYTEA            NOT NULL,
    created_at BIGINT           NOT NULL
);
