-- Turns of limit keys (G15): whose rows took the last and when, and from when the next may be taken. All null until the first.
alter table {schema}.limit_gate add column queue text collate "C";
alter table {schema}.limit_gate add column charged_at timestamptz;
alter table {schema}.limit_gate add column opens_at timestamptz;
alter table {schema}.limit_gate add constraint limit_gate_turns
    check ((queue is null) = (charged_at is null) and (queue is null) = (opens_at is null));

-- "When does a key of this queue get its next turn?"
create index limit_gate_shut on {schema}.limit_gate (queue, opens_at) where queue is not null;
