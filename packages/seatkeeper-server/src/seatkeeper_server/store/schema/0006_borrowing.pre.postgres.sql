-- For how long a device may take a seat home at most, in microseconds; 0: not at all. How many may be out at once is the counter
-- '@borrowed' of pool_right.
ALTER TABLE pool ADD COLUMN borrow BIGINT NOT NULL DEFAULT 0 CHECK (borrow >= 0);
