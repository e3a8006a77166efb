-- Finished items of a queue, oldest finish first: what operators list, count and remove. Slots are not in it.
create index history_item on {schema}.history (job, finished_at) where slot_at is null;

-- As in 0004_audit.sql, and removals.
create or replace function {schema}.tells(audit text, action text) returns boolean
    language sql immutable parallel safe
    as $$ select audit = 'all' or (audit = 'exceptions' and action in ('job_requeue', 'job_reclaim',
        'job_cancel_request', 'job_retry', 'job_dead', 'job_cancel', 'job_rescue', 'job_delete')) $$;
