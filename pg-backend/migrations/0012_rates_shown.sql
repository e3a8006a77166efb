-- The rate under which the last turn of a key was taken, for operators: microseconds from one turn to the next, and how many may be
-- taken at once. Null until then.
alter table {schema}.limit_gate add column turn_us bigint;
alter table {schema}.limit_gate add column burst bigint;
