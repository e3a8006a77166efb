//! Owns the measured queues: ours and the ceilings that it is measured beside, each with the commands, settings and SQL by
//! which the same benches measure them.

use std::time::Duration;

use crate::{
    server::{Database, Race, Server, Worker, finish},
    workload::{Outcome, now, pause},
};

/// A measured queue.
pub(crate) struct System {
    pub(crate) name: &'static str,
    /// The ceiling that it is measured beside; none of a ceiling.
    pub(crate) beside: Option<&'static str>,
    /// First words of every command of it.
    prefix: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// The table that every claim reads.
    gate: &'static str,
    /// SQL: how many jobs have not ended.
    remaining: &'static str,
    /// SQL: how many jobs are kept that have ended.
    kept: &'static str,
    /// SQL: makes `{n}` finished jobs like the one that there is, ten milliseconds apart, so that nothing is old enough to be
    /// pruned.
    multiply: &'static str,
}

/// Of ours, successes are forgotten; the ceiling deletes what is finished.
pub(crate) const OURS: System = System {
    name: "ours, deleting",
    beside: Some(DELETING.name),
    prefix: &[],
    environment: &[("RETAIN", "failures")],
    gate: "tourbillon.execution",
    remaining: "select count(*) from tourbillon.execution",
    kept: "select count(*) from tourbillon.history",
    multiply: "do $$
declare
    names text;
    copies text;
begin
    select string_agg(format('%I', c.column_name), ', '),
        string_agg(case
            when c.column_name = 'id' then 'gen_random_uuid()'
            when c.data_type like 'timestamp%' then format('h.%I - g * interval ''10 ms''', c.column_name)
            else format('h.%I', c.column_name) end, ', ')
    into names, copies
    from information_schema.columns c where c.table_schema = 'tourbillon' and c.table_name = 'history';
    execute format('insert into tourbillon.history (%s) select %s
        from (select * from tourbillon.history limit 1) h, generate_series(1, {n}) g', names, copies);
end $$",
};

/// With the defaults.
pub(crate) const OURS_KEEPING: System =
    System { name: "ours, keeping", beside: Some(KEEPING.name), environment: &[], ..OURS };

/// With producers whose callers share requests.
pub(crate) const OURS_COALESCING: System = System { environment: &[("COALESCE", "1")], ..OURS };

/// With producers that have their store from the worker's process.
pub(crate) const OURS_NEAR: System = System { environment: &[("RETAIN", "failures"), ("NEAR", "1")], ..OURS };

pub(crate) const DELETING: System = System {
    name: "ceiling, deleting",
    beside: None,
    prefix: &["ceiling"],
    environment: &[],
    gate: "jobs",
    remaining: "select count(*) from jobs where state < 2",
    kept: "select count(*) from jobs where state = 2",
    multiply: "insert into jobs(state, attempts, locked_by, run_at, locked_until, finished_at, payload)
select j.state, j.attempts, j.locked_by, j.run_at - g * interval '10 ms', j.locked_until - g * interval '10 ms',
    j.finished_at - g * interval '10 ms', j.payload
from (select * from jobs where state = 2 limit 1) j, generate_series(1, {n}) g",
};

pub(crate) const KEEPING: System = System { name: "ceiling, keeping", environment: &[("KEEP", "1")], ..DELETING };

impl System {
    fn words<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        self.prefix.iter().copied().chain(rest.iter().copied()).collect()
    }

    /// Runs a command of it to its end, and returns what it printed.
    pub(crate) fn finish(&self, rest: &[&str], database: &Database) -> Outcome<String> {
        finish(&self.words(rest), self.environment, &database.url)
    }

    /// Starts a command of it that does not end.
    pub(crate) fn spawn(&self, rest: &[&str], database: &Database) -> Outcome<Worker> {
        Worker::spawn(&self.words(rest), self.environment, &database.url)
    }

    /// An empty database with its schema.
    pub(crate) async fn database(&self, server: &Server) -> Outcome<Database> {
        let database = server.database().await?;
        self.finish(&["setup"], &database)?;
        Ok(database)
    }

    /// Enqueues `jobs`, and returns how many a second.
    pub(crate) fn fill(&self, jobs: u64, database: &Database) -> Outcome<f64> {
        Ok(field(&self.finish(&["bulk", &jobs.to_string(), "1000"], database)?, "RATE "))
    }

    /// Makes a history of so many jobs: the queue itself finishes one, which is then multiplied.
    pub(crate) async fn age(&self, finished: u64, database: &mut Database) -> Outcome<()> {
        if finished > 0 {
            self.fill(1, database)?;
            let worker = self.spawn(&["worker"], database)?;
            let began = now();
            while database.number(self.kept).await? == 0 {
                if began.elapsed() > Duration::from_secs(30) {
                    return Err(format!("{}: no job was finished in 30 s: does its worker run?", self.name).into());
                }
                pause(Duration::from_millis(50)).await;
            }
            drop(worker);
            database.run(&self.multiply.replace("{n}", &finished.to_string())).await?;
        }
        database.run("vacuum analyze").await?;
        database.run("checkpoint").await
    }

    /// A drain of `jobs` by so many processes.
    pub(crate) fn race<'a>(&'a self, words: &'a [&'a str], processes: u32, jobs: u64) -> Race<'a> {
        Race { words, environment: self.environment, gate: self.gate, remaining: self.remaining, processes, jobs }
    }

    /// The words of its worker.
    pub(crate) fn worker(&self) -> Vec<&str> {
        self.words(&["worker"])
    }
}

/// The number that follows `label`; not a number when there is none.
pub(crate) fn field(text: &str, label: &str) -> f64 {
    let number = text.split(label).nth(1).and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}
