-- The rate under which the last turn of a key was taken, for operators: microseconds from one turn to the next, and how many may be
-- taken at once. 0: it was taken before this was kept.
alter table rate_gate add column turn_us integer not null default 0;
alter table rate_gate add column burst integer not null default 0;
