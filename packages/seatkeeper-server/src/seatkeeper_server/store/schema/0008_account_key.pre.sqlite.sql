-- The RSA key of a vendor's account, made when it is first asked for: his systems know the public part. The private one is sealed.
CREATE TABLE account_key (
    tenant_id  TEXT    NOT NULL PRIMARY KEY REFERENCES tenant,
    modulus    TEXT    NOT NULL,
    exponent   TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
