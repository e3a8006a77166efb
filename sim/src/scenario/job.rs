//! Owns how a `[[job]]` table becomes a job, with the defaults of `tourbillon::job::Job` and the rules of P-2.

use std::{collections::BTreeSet, time::Duration};

use tourbillon::{
    job::{AttemptRule, Rule},
    model::{Audit, JobName, Reentry, Scope},
    plan::{Backoff, CatchUp, Schedule},
};

use super::{
    error::ScenarioError,
    schedule::read_schedule,
    shape::{JobShape, ScheduleShape, Work},
    table::{Table, Value},
};

/// Keys of a `[[job]]`.
pub(super) const JOB_KEYS: &[&str] = &[
    "name",
    "every",
    "v2",
    "anchor",
    "cron",
    "zone",
    "gap",
    "fold",
    "delay",
    "catch_up",
    "max_lateness",
    "run_timeout",
    "lease",
    "heartbeat",
    "reentry",
    "max_attempts",
    "backoff",
    "overlap",
    "audit",
    "scopes",
    "schedules",
    "source",
    "work",
];

const WORK_KEYS: &[&str] =
    &["takes", "effects", "fails_percent", "panics_percent", "snoozes_percent", "hangs_percent", "oversize_percent"];

const DAY: Duration = Duration::from_secs(86_400);

/// Reads one job. Its name is in every error.
pub(super) fn read_job(mut table: Table<'_, '_>) -> Result<JobShape, ScenarioError> {
    let named = table.need("name", "give each job a name of its own: `name = \"rollup\"`")?;
    let name = named.text()?;
    JobName::new(name).map_err(|error| named.error(format!("job `{name}`: {error}")))?;
    table.what = format!("job `{name}`");
    let run_timeout = table.or("run_timeout", Duration::from_secs(60), Value::duration)?;
    let lease = table.or("lease", run_timeout + Duration::from_secs(30), Value::duration)?;
    let schedules = table.or("schedules", Vec::new(), read_own)?;
    let schedule = read_schedule(&table)?;
    if let (Some(_), false) = (&schedule, schedules.is_empty()) {
        return Err(table.error_at("schedules", format!("{}: {}", table.what, Rule::ScheduleOfJobBesideThose)));
    }
    let schedule = schedule.or_else(|| schedules.first().map(|own| own.schedule.clone()));
    let job = JobShape {
        name: name.to_owned(),
        schedule: schedule.ok_or_else(|| {
            let help =
                "say how far apart the slots are, `every = \"5m\"`, or at which wall times, `cron = \"0 8 * * *\"`";
            table.error(format!("`every` or `cron` is missing in {}", table.what)).help(help)
        })?,
        v2: table.or("v2", None, read_revision)?,
        delay: table.or("delay", Duration::ZERO, |value| value.duration_within(Duration::ZERO, 30 * DAY))?,
        catch_up: table.or("catch_up", CatchUp::LatestOnly, read_catch_up)?,
        max_lateness: table.or("max_lateness", None, |value| value.duration().map(Some))?,
        run_timeout,
        lease,
        heartbeat: table.or("heartbeat", (lease / 5).min(Duration::from_secs(30)), Value::duration)?,
        reentry: table.or("reentry", Reentry::Allow, |value| {
            value.one_of("re-entry", &[("allow", Reentry::Allow), ("forbid", Reentry::Forbid)])
        })?,
        max_attempts: table.or("max_attempts", 3, |value| value.integer(0, 1_000))?,
        backoff: table.or("backoff", Backoff::exponential(Duration::from_secs(10)), read_backoff)?,
        overlap_max: table.or("overlap", Some(1), read_overlap)?,
        audit: table.or("audit", Audit::default(), |value| {
            let choices = [("off", Audit::Off), ("exceptions", Audit::Exceptions), ("all", Audit::All)];
            value.one_of("choice of audit events", &choices)
        })?,
        scopes: table.or("scopes", vec![Scope::global()], read_scopes)?,
        stored: table.or("source", false, |value| {
            value.one_of("source of schedules", &[("function", false), ("database", true)])
        })?,
        schedules,
        work: table.or("work", idle(), read_work)?,
    };
    check(&job, &table)?;
    Ok(job)
}

/// What a deploy changes: the schedule.
fn read_revision(value: &Value<'_, '_>) -> Result<Option<Schedule>, ScenarioError> {
    const KEYS: &[&str] = &["every", "anchor", "cron", "zone", "gap", "fold"];
    let table = value.table("`v2`", "a table such as `{ every = \"45s\" }`", KEYS)?;
    let schedule = read_schedule(&table)?;
    schedule.map(Some).ok_or_else(|| value.error("`v2` changes nothing").help("write `v2 = { every = \"45s\" }`"))
}

/// P-2, in the words of core, at the key that breaks it.
fn check(job: &JobShape, table: &Table<'_, '_>) -> Result<(), ScenarioError> {
    let (lease, run_timeout, heartbeat) = (job.lease, job.run_timeout, job.heartbeat);
    // A default that breaks a rule is the fault of the key that it was made from.
    let heartbeat_key = if table.get("heartbeat").is_some() { "heartbeat" } else { "lease" };
    let broken = [
        (run_timeout.is_zero(), "run_timeout", Rule::Attempts(AttemptRule::NoRunTimeout)),
        (lease <= run_timeout, "lease", Rule::Attempts(AttemptRule::LeaseTooShort { lease, run_timeout })),
        (heartbeat.is_zero(), heartbeat_key, Rule::Attempts(AttemptRule::NoHeartbeat)),
        (heartbeat >= lease, "heartbeat", Rule::Attempts(AttemptRule::HeartbeatTooSlow { heartbeat, lease })),
        (job.max_attempts == 0, "max_attempts", Rule::Attempts(AttemptRule::NoAttempt)),
        (job.max_lateness.is_some_and(|limit| limit.is_zero()), "max_lateness", Rule::NoLateness),
        (matches!(job.catch_up, CatchUp::EverySlot { max_slots: 0, .. }), "catch_up", Rule::NoSlotCap),
        (job.overlap_max == Some(0), "overlap", Rule::NoRoom),
        (job.scopes.is_empty(), "scopes", Rule::NoScope),
    ];
    let of_backoff = job.backoff.check().err().map(|error| ("backoff", Rule::Attempts(AttemptRule::Backoff(error))));
    let first = broken.into_iter().find(|(broken, ..)| *broken).map(|(_, key, rule)| (key, rule)).or(of_backoff);
    if let Some((key, rule)) = first {
        return Err(table.error_at(key, format!("{}: {rule}", table.what)));
    }
    if job.stored && job.schedules.is_empty() {
        return Err(table.error_at("source", format!("{}: `source` without `schedules`", table.what)));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = job.scopes.iter().find(|scope| !seen.insert(*scope)) {
        return Err(table.error_at("scopes", format!("{}: the scope `{twice}` is listed twice", table.what)));
    }
    if job.work.takes_max >= run_timeout {
        let message = format!(
            "{}: the work takes up to {:?}, which is not less than the run timeout ({run_timeout:?}): \
             raise `run_timeout`, or use `hangs_percent` for attempts that run into it",
            table.what, job.work.takes_max,
        );
        return Err(table.error_at("work", message));
    }
    Ok(())
}

fn read_catch_up(value: &Value<'_, '_>) -> Result<CatchUp, ScenarioError> {
    const LIKE: &str = "`{ every_slot = { window = \"24h\", max_slots = 5 } }`";
    if value.is_text() {
        let read = value.one_of("catch-up", &[("latest_only", CatchUp::LatestOnly)]);
        return read.map_err(|error| error.help(format!("write \"latest_only\" or {LIKE}")));
    }
    let table = value.table("`catch_up`", &format!("\"latest_only\" or {LIKE}"), &["every_slot"])?;
    let every = table.need("every_slot", LIKE)?;
    let every = every.table("`every_slot`", "`{ window = \"24h\", max_slots = 5 }`", &["window", "max_slots"])?;
    Ok(CatchUp::EverySlot {
        window: every
            .need("window", "say how old a slot may be to be made up for: `window = \"24h\"`")?
            .duration()?,
        max_slots: every
            .need("max_slots", "cap the slots made in one step: `max_slots = 5`")?
            .integer(0, tourbillon::store::MAX_BATCH)?,
    })
}

type ReadCurve = fn(&Value<'_, '_>) -> Result<Backoff, ScenarioError>;

pub(super) fn read_backoff(value: &Value<'_, '_>) -> Result<Backoff, ScenarioError> {
    const KEYS: &[&str] = &["table", "exponential", "linear", "constant", "cap", "jitter_percent"];
    const LIKE: &str = "`{ exponential = \"10s\" }`, `{ linear = \"10s\" }`, `{ constant = \"10s\" }` or `{ table = [\"1m\", \"5m\"] }`";
    let table = value.table("`backoff`", LIKE, KEYS)?;
    let curves: [(&str, ReadCurve); 4] = [
        ("table", |waits| {
            let waits = waits.list("durations")?.iter().map(Value::duration).collect::<Result<Vec<_>, _>>()?;
            Ok(Backoff::table(waits))
        }),
        ("exponential", |base| base.duration().map(Backoff::exponential)),
        ("linear", |base| base.duration().map(Backoff::linear)),
        ("constant", |wait| wait.duration().map(Backoff::constant)),
    ];
    let mut given = curves.iter().filter_map(|(key, read)| table.get(key).map(|value| (value, read)));
    let Some((first, read)) = given.next() else {
        return Err(value.error("`backoff` names no curve").help(format!("write {LIKE}")));
    };
    if let Some((second, _)) = given.next() {
        return Err(second.error("`backoff` names two curves").help(format!("write one of {LIKE}")));
    }
    let mut backoff = read(&first)?;
    if let Some(cap) = table.get("cap") {
        backoff = backoff.capped_at(cap.duration()?);
    }
    if let Some(percent) = table.get("jitter_percent") {
        backoff = backoff.with_jitter_percent(percent.integer(0, 100)?);
    }
    Ok(backoff)
}

fn read_overlap(value: &Value<'_, '_>) -> Result<Option<u32>, ScenarioError> {
    if value.is_integer() {
        return value.integer(0, 1_000).map(Some);
    }
    value
        .one_of("overlap", &[("forbid", Some(1)), ("allow", None)])
        .map_err(|error| error.help("write \"forbid\", \"allow\" or how many may run at once per scope"))
}

fn read_scopes(value: &Value<'_, '_>) -> Result<Vec<Scope>, ScenarioError> {
    value.list("scopes")?.iter().map(read_scope).collect()
}

fn read_scope(value: &Value<'_, '_>) -> Result<Scope, ScenarioError> {
    let text = value.text()?;
    let Some((kind, id)) = text.split_once('/') else {
        return Err(value.error(format!("`{text}` is not a scope")).help("write kind/id, such as \"tenant/a\""));
    };
    Scope::new(kind, id).map_err(|error| value.error(format!("scope `{text}`: {error}")))
}

fn read_own(value: &Value<'_, '_>) -> Result<Vec<ScheduleShape>, ScenarioError> {
    const KEYS: &[&str] = &["scope", "every", "anchor", "cron", "zone", "gap", "fold", "from", "until"];
    const LIKE: &str = "`{ scope = \"trigger/a\", cron = \"0 8 * * *\", zone = \"Europe/Berlin\" }`";
    let mut schedules: Vec<ScheduleShape> = Vec::new();
    for value in value.list("schedules")? {
        let table = value.table("`schedules`", LIKE, KEYS)?;
        let schedule = read_schedule(&table)?;
        let own = ScheduleShape {
            scope: read_scope(&table.need("scope", LIKE)?)?,
            schedule: schedule.ok_or_else(|| value.error("a scope without `every` or `cron`").help(LIKE))?,
            from: table.or("from", Duration::ZERO, Value::duration)?,
            until: table.or("until", None, |value| value.duration().map(Some))?,
        };
        // In the order of time, so that there is one at a time.
        let before = schedules.iter().rev().find(|before| before.scope == own.scope);
        if before.is_some_and(|before| before.until.is_none_or(|until| until > own.from)) {
            let message = format!("the scope `{}` has two schedules at a time", own.scope);
            return Err(value.error(message).help("let the one before end first: `until` of it, `from` of this one"));
        }
        schedules.push(own);
    }
    if schedules.is_empty() {
        return Err(value.error("`schedules` is empty").help(LIKE));
    }
    Ok(schedules)
}

/// Returns at once and does one thing.
pub(super) fn idle() -> Work {
    Work {
        takes_min: Duration::ZERO,
        takes_max: Duration::ZERO,
        effects: 1,
        fails_percent: 0,
        panics_percent: 0,
        snoozes_percent: 0,
        hangs_percent: 0,
        oversize_percent: 0,
    }
}

pub(super) fn read_work(value: &Value<'_, '_>) -> Result<Work, ScenarioError> {
    let like = "a table such as `{ takes = \"1s\", fails_percent = 5 }`";
    let table = value.table("`work`", like, WORK_KEYS)?;
    let percent = |key| table.or(key, 0u8, |value| value.integer(0, 100));
    let default = idle();
    let (takes_min, takes_max) = table.or("takes", (default.takes_min, default.takes_max), read_takes)?;
    let work = Work {
        takes_min,
        takes_max,
        effects: table.or("effects", default.effects, |value| value.integer(0, 100))?,
        fails_percent: percent("fails_percent")?,
        panics_percent: percent("panics_percent")?,
        snoozes_percent: percent("snoozes_percent")?,
        hangs_percent: percent("hangs_percent")?,
        oversize_percent: percent("oversize_percent")?,
    };
    let ends = [work.fails_percent, work.panics_percent, work.snoozes_percent, work.hangs_percent];
    let sum: u32 = ends.into_iter().map(u32::from).sum();
    if sum > 100 {
        let message = format!(
            "an attempt ends in one way only, but the parts that fail, panic, snooze and hang add up to {sum} %"
        );
        return Err(value.error(message).help("lower them to 100 % together; what is left succeeds"));
    }
    if work.snoozes_percent > 50 {
        let message =
            "more than half of the attempts snooze: a snooze is not charged, so nothing bounds how long that goes on";
        return Err(table.error_at("snoozes_percent", message).help("lower `snoozes_percent` to 50 or less"));
    }
    Ok(work)
}

/// `"1s"` or `["200ms", "2s"]`.
fn read_takes(value: &Value<'_, '_>) -> Result<(Duration, Duration), ScenarioError> {
    if !value.is_array() {
        return value.duration().map(|takes| (takes, takes));
    }
    let ends = value.list("two durations")?;
    let [shortest, longest] = ends.as_slice() else {
        return Err(value
            .error("`takes` is one duration, or a list of the shortest and the longest")
            .help("write `takes = \"1s\"` or `takes = [\"200ms\", \"2s\"]`"));
    };
    let (shortest, longest) = (shortest.duration()?, longest.duration()?);
    if shortest > longest {
        return Err(value.error("`takes` lists the longest before the shortest").help("exchange the two"));
    }
    Ok((shortest, longest))
}
