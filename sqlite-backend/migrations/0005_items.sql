-- Finished items of a queue, oldest finish first: what operators list, count and remove. Slots are not in it.
create index history_item on history (job, finished_at, id, generation) where slot_at is null;
