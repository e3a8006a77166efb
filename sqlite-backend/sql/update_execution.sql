-- Purpose:    replaces what can change in a live row.
-- Parameters: ?1 to ?20 the new values (instants in microseconds since 1970, durations in milliseconds); ?21 id,
--             ?22 generation and ?23 fence of the row that is replaced.
-- Index:      the primary key of execution.
-- Why:        guarded although the transaction is serialisable: exactly one row must change, or the row that was
--             read is not the row that is there. Identity, policy and payload never change within a generation.
update execution set
    state = ?1, claimable_at = ?2, attempt = ?3, fence = ?4, token = ?5, runner = ?6, claimed_at = ?7,
    started_at = ?8, heartbeat_at = ?9, lease_expires_at = ?10, cancel_requested_at = ?11, finished_at = ?12,
    duration_ms = ?13, rows_affected = ?14, result = ?15, error_code = ?16, error_text = ?17,
    skip_reason = ?18, updated_at = ?19, progress = ?20
where id = ?21 and generation = ?22 and fence = ?23
