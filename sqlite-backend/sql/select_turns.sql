-- Purpose:    how the turns of a queue stand: the rate of the key that is shut for the longest, how many are shut, and from when
--             the first of them is not.
-- Parameters: ?1 queue; ?2 now (microseconds since 1970).
-- Index:      rate_gate_shut, from its end for the rate; as many entries as keys are shut.
select
    turn_us, burst,
    (select count(*) from rate_gate indexed by rate_gate_shut where queue = ?1 and opens_at > ?2),
    (select min(opens_at) from rate_gate indexed by rate_gate_shut where queue = ?1 and opens_at > ?2)
from rate_gate indexed by rate_gate_shut
where queue = ?1 and turn_us > 0
order by opens_at desc, key desc
limit 1
