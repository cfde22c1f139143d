-- For moving a whole database into PostgreSQL, and out of it.

-- begin_look: Look at one moment of the database for as long as it takes; nothing is changed and nobody waits.
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = '10min';

-- begin_fill: Fill the database in one transaction, for as long as it takes, with nobody else at its schema.
BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE;
SET LOCAL synchronous_commit = on;
SET LOCAL lock_timeout = '20s';
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = '10min';
SELECT pg_advisory_xact_lock(hashtext('seatkeeper schema'));

-- has_table: Whether there is a table, view or sequence of this name where ours are, or would be made.
SELECT EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = :name);

-- steps: The steps of the schema that were applied, and when.
SELECT number, applied_at FROM migration ORDER BY number;

-- keep_others_out: Nobody founds a history here meanwhile.
LOCK TABLE history IN SHARE ROW EXCLUSIVE MODE;

-- began: What time it is, and the alive moment, as `begin` gives them.
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, at, boot_id, boot_at, drift, "offset", given
FROM (SELECT 1) AS always LEFT JOIN alive ON true;
