-- What a restored database is told about itself.

-- raise_epoch: Say that a new part of this database's history begins.
UPDATE history SET epoch = epoch + 1;

-- set_back: Number the leases of every pool from above this number; those up to it may have been signed since the backup
-- (domain/restoring.py, `set_back`).
UPDATE pool SET
    lost_after = CASE WHEN lost_until = 0 THEN sequence ELSE lost_after END,
    lost_until = CASE WHEN sequence < :number THEN :number ELSE sequence END,
    sequence = CASE WHEN sequence < :number THEN :number ELSE sequence END;

-- longest_lease: The longest that a lease of any pool lasts.
SELECT max(lease) FROM pool;
