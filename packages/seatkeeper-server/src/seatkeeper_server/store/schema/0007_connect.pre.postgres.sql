-- A local server that is connected to its vendor's: where he is found, how it stands, and what he has not answered yet.
CREATE TABLE connection (
    tenant_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    url          TEXT COLLATE "C" NOT NULL,
    ca_file      TEXT COLLATE "C",
    is_plain     BIGINT           NOT NULL CHECK (is_plain IN (0, 1)),   -- plain http beyond this machine was asked for
    connected_at BIGINT           NOT NULL,
    next_at      BIGINT           NOT NULL,
    tried_at     BIGINT,
    succeeded_at BIGINT,
    failures     BIGINT           NOT NULL DEFAULT 0 CHECK (failures >= 0),
    error        TEXT COLLATE "C"
);

-- Documents for the vendor that he has not answered yet, by their number.
CREATE TABLE unanswered (
    tenant_id TEXT COLLATE "C" NOT NULL,
    number    BIGINT           NOT NULL CHECK (number >= 1),
    token     TEXT COLLATE "C" NOT NULL,
    made_at   BIGINT           NOT NULL,
    PRIMARY KEY (tenant_id, number)
);

-- When the last document that was heard from a site was made there.
ALTER TABLE site ADD COLUMN heard_made_at BIGINT;
