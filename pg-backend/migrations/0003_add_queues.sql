-- Queues: items are executions that no schedule made. Their indexes are in 0001_init.sql, which says why.

-- Locked by whoever fills a queue that has a bound, so that producers take turns.
create table {schema}.queue_gate (
    queue text collate "C" primary key
) with (fillfactor = 50);
