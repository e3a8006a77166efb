-- Live rows that this program could not read, as they were found: taken out of `execution`, so that they stop no other
-- row. Without its checks: whatever was wrong with them is kept. To mend one, put it back by hand.
create table {schema}.unreadable (
    like {schema}.execution,
    found_at timestamptz not null,
    reason text not null
);

-- As in 0001_init.sql, but an infinite instant is none instead of an error of every statement that meets it.
create or replace function {schema}.micros(instant timestamptz) returns bigint
    language sql stable parallel safe
    as $$ select case when isfinite(instant) then (extract(epoch from instant) * 1000000)::bigint end $$;
