-- Purpose:    keeps the first reply to a request.
-- Parameters: ?1 request id, ?2 recorded at (microseconds since 1970), ?3 reply as JSON.
-- Index:      the primary key of receipt refuses a second first reply.
insert into receipt (request_id, recorded_at, reply) values (?1, ?2, ?3)
