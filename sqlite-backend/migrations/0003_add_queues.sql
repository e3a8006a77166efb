-- Queues: items are executions that no schedule made.

-- G11: at most one live execution per key. An item that ends leaves this table, and with it the index.
create unique index execution_unique on execution (unique_key) where unique_key is not null;
-- Unique keys that finished items count for, newest last.
create index history_unique on history (unique_key, finished_at, id) where unique_key is not null;
