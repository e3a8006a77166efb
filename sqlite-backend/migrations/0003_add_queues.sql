-- Queues: items are executions that no schedule made.

-- G11: at most one live execution per key. An item that ends leaves this table, and with it the index.
create unique index execution_unique on execution (unique_key) where unique_key is not null;
-- How many items a queue holds.
create index execution_item on execution (job) where slot_at is null;
-- Unique keys that finished items count for, newest last.
create index history_unique on history (unique_key, finished_at, id) where unique_key is not null;
