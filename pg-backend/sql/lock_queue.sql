-- Makes producers of one queue with a bound take turns; first statement of such an enqueue's transaction.
--
-- $1 text  queue
--
-- Index: primary key. Why a statement of its own: what the producer before us committed is in the next statement's
-- snapshot, not in one taken before the wait. Why an update: it locks the gate whether it is new or not, where a
-- select does not see one that its own snapshot lacks.
insert into {schema}.queue_gate as g (queue) values ($1::text)
on conflict (queue) do update set queue = g.queue
returning g.queue as reply
