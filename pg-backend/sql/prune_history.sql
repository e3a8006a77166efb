-- Deletes old history, ledger entries, audit events, replaced edits of schedules, lifted pauses, receipts and turns of limit keys: up to
-- $4 of each, oldest first.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 bigint       history, ledger and audit: older than this many milliseconds
-- $3 bigint       receipts, turns: older than this many milliseconds
-- $4 bigint       most rows of each
-- $5 bigint       edits and pauses: older than this many milliseconds
--
-- Index: history_finished, skipped_recorded, audit_at, receipt_received. Edits and pauses are as few as people make; the gates are read
-- whole, too, and prune_gates.sql keeps them to those of keys in use. A gate whose key has rested has all turns of its burst, as one
-- without turns has. SKIP LOCKED: pruners of several replicas share the work, and none waits.
with
clock as materialized (
    select n.now, n.now - $2::bigint * interval '1 millisecond' as old_history,
        n.now - $3::bigint * interval '1 millisecond' as old_receipts,
        n.now - $5::bigint * interval '1 millisecond' as old_edits
    from (select coalesce($1::timestamptz, clock_timestamp()) as now) n
),
old_history as materialized (
    select h.id, h.generation from {schema}.history h
    where h.finished_at < (select c.old_history from clock c)
    order by h.finished_at, h.id, h.generation
    limit $4::bigint
    for update skip locked
),
old_skipped as materialized (
    select s.seq from {schema}.skipped s
    where s.recorded_at < (select c.old_history from clock c)
    order by s.recorded_at, s.seq
    limit $4::bigint
    for update skip locked
),
old_audit as materialized (
    select a.execution, a.generation, a.fence, a.step from {schema}.audit a
    where a.at < (select c.old_history from clock c)
    order by a.at, a.execution, a.generation, a.fence, a.step
    limit $4::bigint
    for update skip locked
),
old_receipt as materialized (
    select r.request from {schema}.receipt r
    where r.received_at < (select c.old_receipts from clock c)
    order by r.received_at, r.request
    limit $4::bigint
    for update skip locked
),
old_turn as materialized (
    select g.key from {schema}.limit_gate g
    where g.charged_at < (select c.old_receipts from clock c)
      and g.opens_at + (coalesce(g.burst, 1) - 1) * coalesce(g.turn_us, 0) * interval '1 microsecond'
          <= (select c.now from clock c)
    order by g.charged_at, g.key
    limit $4::bigint
    for update skip locked
),
old_edit as materialized (
    select s.job, s.scope_kind, s.scope_id, s.revision from {schema}.schedule s
    where s.replaced_at < (select c.old_edits from clock c)
    order by s.replaced_at, s.job, s.scope_kind, s.scope_id, s.revision
    limit $4::bigint
    for update skip locked
),
old_pause as materialized (
    select p.id from {schema}.pause p
    where p.resumed_at < (select c.old_edits from clock c)
    order by p.resumed_at, p.id
    limit $4::bigint
    for update skip locked
),
pruned_history as (
    delete from {schema}.history h using old_history o where h.id = o.id and h.generation = o.generation returning 1
),
pruned_skipped as (
    delete from {schema}.skipped s using old_skipped o where s.seq = o.seq returning 1
),
pruned_audit as (
    delete from {schema}.audit a using old_audit o
    where a.execution = o.execution and a.generation = o.generation and a.fence = o.fence and a.step = o.step
    returning 1
),
pruned_receipt as (
    delete from {schema}.receipt r using old_receipt o where r.request = o.request returning 1
),
forgotten_turn as (
    update {schema}.limit_gate g set queue = null, charged_at = null, opens_at = null, turn_us = null, burst = null
    from old_turn o where g.key = o.key returning 1
),
pruned_edit as (
    delete from {schema}.schedule s using old_edit o
    where s.job = o.job and s.scope_kind = o.scope_kind and s.scope_id = o.scope_id and s.revision = o.revision
    returning 1
),
pruned_pause as (
    delete from {schema}.pause p using old_pause o where p.id = o.id returning 1
)
select json_build_object('pruned', json_build_object(
    'executions', (select count(*) from pruned_history),
    'skipped', (select count(*) from pruned_skipped),
    'audit', (select count(*) from pruned_audit),
    'receipts', (select count(*) from pruned_receipt),
    'turns', (select count(*) from forgotten_turn),
    'edits', (select count(*) from pruned_edit),
    'pauses', (select count(*) from pruned_pause)))::text as reply
