-- Turns of limit keys (G15): when the last was taken, and from when the next is.
create table rate_gate (
    key        text    not null primary key,
    queue      text    not null,
    charged_at integer not null,
    opens_at   integer not null
) strict, without rowid;

-- "When does a key of this queue get its next turn?"
create index rate_gate_shut on rate_gate (queue, opens_at);
