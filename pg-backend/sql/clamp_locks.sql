-- After the database clock stepped back: moves held locks written in the withdrawn future back to the present.
--
-- $1 timestamptz  now, or null for the server's clock
--
-- Runs behind clamp_executions.sql, in its transaction. No index: it happens once per step of the clock, and locks are
-- few. Rows are locked in name order and waited for: each of them must be moved.
with
withdrawn as materialized (
    select l.* from {schema}.lock l
    where l.released_at is null and l.renewed_at > $1::timestamptz
    order by l.name
    for update of l
),
clamped as (
    update {schema}.lock l
    set expires_at = w.expires_at
            - ({schema}.micros(w.renewed_at) - {schema}.micros($1::timestamptz)) * interval '1 microsecond',
        renewed_at = $1::timestamptz
    from withdrawn w
    where l.name = w.name
)
select coalesce((select json_agg(w.name order by w.name) from withdrawn w), '[]')::text as reply
