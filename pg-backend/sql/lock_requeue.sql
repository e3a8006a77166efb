-- Makes requeues take turns; first statement of a requeue's transaction.
--
-- Why: the next generation is the last finished one plus one. Two requeues of one execution, with a whole life in
-- between that neither snapshot shows, would otherwise both make the same generation. An operator's verb can wait.
select count(*)::text as reply
from (select m.name from {schema}.meta m where m.name = 'requeue' for update) locked
