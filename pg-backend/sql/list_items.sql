-- Lists items of one queue, live and finished, in the order asked for, then by id and generation.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         queue
-- $3 text[]       only these states; empty: all
-- $4 text         scope kind, or null for any scope
-- $5 text         scope id
-- $6 text         only this unique key, or null
-- $7 boolean      only waiting items that are due
-- $8 text         order: created, updated, claimable, priority
-- $9 bigint       1 for ascending, -1 for descending
-- $10 bigint      how many to pass over
-- $11 bigint      most rows
-- $12 boolean     only the newest generation of each
--
-- Index: execution_claim and history_item; what they find is sorted, since an operator may ask for any order. A key
-- times its direction turns numbers round; ids have no sign, hence two terms, one of them null.
with clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
item as materialized (
    select * from {schema}.execution e where {lane:e} = $2::text
    union all
    select * from {schema}.history h where h.job = $2::text and h.slot_at is null
),
ranked as materialized (
    select i.*, $9::bigint * case $8::text
            when 'created' then {schema}.micros(i.created_at)
            when 'updated' then {schema}.micros(i.updated_at)
            when 'claimable' then coalesce({schema}.micros({claimable_from:i}), 9223372036854775807)
            else i.priority
        end as rank
    from item i
    where (cardinality($3::text[]) = 0 or i.state = any ($3::text[]))
      and ($4::text is null or (i.scope_kind = $4::text and i.scope_id = $5::text))
      and ($6::text is null or i.unique_key = $6::text)
      and (not $7::boolean or (i.state <> 'running' and i.claimable_at <= (select c.now from clock c)))
      and not ($12::boolean and (
          exists (select from {schema}.execution e where e.id = i.id and e.generation > i.generation)
          or exists (select from {schema}.history h where h.id = i.id and h.generation > i.generation)))
),
page as materialized (
    select r.*, row_number() over (order by r.rank, case when $9::bigint > 0 then r.id end,
        case when $9::bigint < 0 then r.id end desc, $9::bigint * r.generation) as place
    from ranked r
    order by place
    offset $10::bigint limit $11::bigint
)
select json_build_object('item_page', json_build_object(
    'now', {schema}.micros(c.now),
    'items', coalesce((select json_agg({execution_json:p} order by p.place) from page p), '[]')))::text as reply
from clock c
