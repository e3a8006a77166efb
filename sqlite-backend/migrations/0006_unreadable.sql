-- Live rows that this program could not read, as they were found: taken out of `execution`, so that they stop no other
-- row. No types and no checks: whatever was wrong with them is kept. To mend one, put it back by hand.
create table unreadable as select * from execution where false;
alter table unreadable add column found_at integer;
alter table unreadable add column reason text;
