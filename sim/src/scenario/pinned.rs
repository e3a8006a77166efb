//! Owns fault plans as TOML, both ways. The keys are those of [`FaultPlan`]'s fields; times are whole seconds since the
//! start.

use std::fmt::Write as _;

use tourbillon::store::Verb;

use super::{
    error::ScenarioError,
    table::{Table, Value, suggestion},
};
use crate::{
    fault::{Bad, Fault, FaultKind, FaultPlan, Then, Trigger, TriggerPoint},
    world::APPLICATION,
};

const TRIGGER_KEYS: &[&str] = &["after", "of", "nth", "then", "lasts_s"];

/// Most parts per million that a clock may drift.
const MAX_DRIFT_PPM: i32 = 50_000;

/// A century: further steps leave the years that databases can keep.
const MAX_STEP_MS: i64 = 100 * 366 * 86_400_000;

const WEEK_S: u32 = 7 * 86_400;

/// Reads `[[fault]]` and `[[trigger]]`, if there are any. Faults begin before `chaos_s`.
pub(super) fn read_plan(table: &Table<'_, '_>, chaos_s: u64) -> Result<FaultPlan, ScenarioError> {
    let faults = table.or("fault", Vec::new(), |value| value.list("`[[fault]]` tables"))?;
    let triggers = table.or("trigger", Vec::new(), |value| value.list("`[[trigger]]` tables"))?;
    Ok(FaultPlan {
        faults: faults.iter().map(|value| read_fault(value, chaos_s)).collect::<Result<_, _>>()?,
        triggers: triggers.iter().map(read_trigger).collect::<Result<_, _>>()?,
    })
}

/// The kind that a text names.
pub(super) fn read_kind(value: &Value<'_, '_>) -> Result<FaultKind, ScenarioError> {
    let text = value.text()?;
    FaultKind::from_name(text).ok_or_else(|| {
        let help = suggestion(text, FaultKind::ALL.iter().map(|kind| kind.name()));
        value.error(format!("unknown fault kind `{text}`")).help(help)
    })
}

/// What a kind of fault has besides its beginning.
fn numbers_of(kind: FaultKind) -> &'static [&'static str] {
    match kind {
        FaultKind::ClockOffset | FaultKind::ClockJump | FaultKind::DatabaseClockStep => &["by_ms"],
        FaultKind::ClockDrift => &["ppm"],
        FaultKind::Shutdown => &["grace_s"],
        FaultKind::Refuse
        | FaultKind::LoseReply
        | FaultKind::LoseEffectReply
        | FaultKind::NoticesLost
        | FaultKind::NoticesDoubled => &["percent"],
        FaultKind::ApplyLate => &["percent", "delay_s"],
        FaultKind::Busy => &["times"],
        FaultKind::FailOver => &["commits", "by_ms"],
        FaultKind::Slow | FaultKind::NoticesLate => &["percent", "delay_ms"],
        FaultKind::PoolExhaustion => &["connections"],
        FaultKind::Pause
        | FaultKind::Crash
        | FaultKind::PowerLoss
        | FaultKind::Partition
        | FaultKind::PartitionToDatabase
        | FaultKind::PartitionFromDatabase
        | FaultKind::Hold
        | FaultKind::DatabaseRestart
        | FaultKind::RestartAll
        | FaultKind::Deploy
        | FaultKind::SessionDrop
        | FaultKind::FreezeMonotonic => &[],
    }
}

fn read_fault(value: &Value<'_, '_>, chaos_s: u64) -> Result<Fault, ScenarioError> {
    let all = [
        "kind",
        "at_s",
        "lasts_s",
        "replica",
        "by_ms",
        "ppm",
        "grace_s",
        "percent",
        "delay_s",
        "delay_ms",
        "times",
        "connections",
        "commits",
    ];
    let like = "a table, headed by `[[fault]]`";
    let any = value.table("[[fault]]", like, &all)?;
    let kind = read_kind(&any.need("kind", "say what goes wrong: `kind = \"pause\"`")?)?;
    let mut allowed = vec!["kind", "at_s"];
    allowed.extend(kind.lasts().then_some("lasts_s"));
    allowed.extend(kind.strikes_one_replica().then_some("replica"));
    allowed.extend(numbers_of(kind));
    let table = value.table(&format!("[[fault]] of kind `{kind}`"), like, &allowed)?;
    let at = table.need("at_s", "say when, in seconds since the start: `at_s = 60`")?;
    let at_s = at.integer(0, u32::MAX)?;
    if u64::from(at_s) >= chaos_s {
        let message = format!("`at_s` is {at_s}, but the chaos phase ends after {chaos_s} s");
        return Err(at.error(message).help("faults begin in the chaos phase; later ones would be healed at once"));
    }
    let by_ms = || table.need("by_ms", "signed milliseconds: `by_ms = -1500`")?.integer(-MAX_STEP_MS, MAX_STEP_MS);
    let percent = || table.need("percent", "the part of requests: `percent = 50`")?.integer(1u8, 100);
    let delay_ms = || table.need("delay_ms", "how late, in milliseconds: `delay_ms = 4900`")?.integer(0, WEEK_S);
    let bad = match kind {
        FaultKind::ClockOffset => Bad::ClockOffset { by_ms: by_ms()? },
        FaultKind::ClockJump => Bad::ClockJump { by_ms: by_ms()? },
        FaultKind::DatabaseClockStep => Bad::DatabaseClockStep { by_ms: by_ms()? },
        FaultKind::ClockDrift => Bad::ClockDrift {
            ppm: table.need("ppm", "parts per million: `ppm = 200`")?.integer(-MAX_DRIFT_PPM, MAX_DRIFT_PPM)?,
        },
        FaultKind::Shutdown => Bad::Shutdown { grace_s: table.or("grace_s", 0, |value| value.integer(0, WEEK_S))? },
        FaultKind::Refuse => Bad::Refuse { percent: percent()? },
        FaultKind::LoseReply => Bad::LoseReply { percent: percent()? },
        FaultKind::LoseEffectReply => Bad::LoseEffectReply { percent: percent()? },
        FaultKind::ApplyLate => Bad::ApplyLate {
            percent: percent()?,
            delay_s: table.need("delay_s", "how late, in seconds: `delay_s = 10`")?.integer(0, WEEK_S)?,
        },
        FaultKind::Pause => Bad::Pause,
        FaultKind::Crash => Bad::Crash,
        FaultKind::PowerLoss => Bad::PowerLoss,
        FaultKind::Partition => Bad::Partition,
        FaultKind::PartitionToDatabase => Bad::PartitionToDatabase,
        FaultKind::PartitionFromDatabase => Bad::PartitionFromDatabase,
        FaultKind::Hold => Bad::Hold,
        FaultKind::DatabaseRestart => Bad::DatabaseRestart,
        FaultKind::RestartAll => Bad::RestartAll,
        FaultKind::Deploy => Bad::Deploy,
        FaultKind::SessionDrop => Bad::SessionDrop,
        FaultKind::FreezeMonotonic => Bad::FreezeMonotonic,
        FaultKind::FailOver => Bad::FailOver {
            commits: table.or("commits", 1, |value| value.integer(1, 1_000_000))?,
            by_ms: table.or("by_ms", 0, |value| value.integer(-MAX_STEP_MS, MAX_STEP_MS))?,
        },
        FaultKind::Busy => Bad::Busy {
            times: table.need("times", "how many requests in a row: `times = 5`")?.integer(1, 1_000_000)?,
        },
        FaultKind::Slow => Bad::Slow { percent: percent()?, delay_ms: delay_ms()? },
        FaultKind::NoticesLost => Bad::NoticesLost { percent: percent()? },
        FaultKind::NoticesDoubled => Bad::NoticesDoubled { percent: percent()? },
        FaultKind::NoticesLate => Bad::NoticesLate { percent: percent()?, delay_ms: delay_ms()? },
        FaultKind::PoolExhaustion => {
            Bad::PoolExhaustion { connections: table.or("connections", 0, |value| value.integer(0, 255))? }
        }
    };
    let shortest = kind.shortest_s();
    Ok(Fault {
        at_s,
        lasts_s: table.or("lasts_s", shortest, |value| value.integer(shortest, WEEK_S))?,
        replica: table.or("replica", 0, |value| value.integer(0u8, 255))?,
        bad,
    })
}

fn read_trigger(value: &Value<'_, '_>) -> Result<Trigger, ScenarioError> {
    let table = value.table("[[trigger]]", "a table, headed by `[[trigger]]`", TRIGGER_KEYS)?;
    let points: Vec<_> = TriggerPoint::ALL.iter().map(|point| (point.name(), *point)).collect();
    let thens: Vec<_> = Then::ALL.iter().map(|then| (then.name(), *then)).collect();
    let then = table.need("then", "say what happens: `then = \"power_loss\"`")?;
    let trigger = Trigger {
        after: table.need("after", "say after what: `after = \"applied_settle\"`")?.one_of("event", &points)?,
        of: table.get("of").map(|value| value.text().map(str::to_owned)).transpose()?,
        nth: table.or("nth", 1, |value| value.integer(1, u32::MAX))?,
        then: then.one_of("consequence", &thens)?,
        lasts_s: table.or("lasts_s", 0, |value| value.integer(0, WEEK_S))?,
    };
    if !trigger.is_possible() {
        let then = |message: &str, help| Err(then.error(message).help(help));
        return match trigger.after {
            TriggerPoint::HandlerStarted => {
                then("no reply follows the start of a handler", "wait for `applied_start` instead")
            }
            TriggerPoint::Asked => then(
                "this does not happen to a request",
                "wait for what the database applied, such as `applied_claim`, or let the request be refused, lost …",
            ),
            _ => then("the request was carried out before", "write `after = \"asked\"`, and `of` for the verb"),
        };
    }
    if let (TriggerPoint::Asked, Some(of), Some(verb)) = (trigger.after, table.get("of"), &trigger.of)
        && verb != APPLICATION
        && !Verb::NAMES.contains(&verb.as_str())
    {
        let help = suggestion(verb, Verb::NAMES.iter().copied());
        return Err(of.error(format!("no verb of a store is called `{verb}`")).help(help));
    }
    if !trigger.lasts() && table.get("lasts_s").is_some() {
        let message = format!("`{}` takes no time", trigger.then.name());
        return Err(table.error_at("lasts_s", message).help("leave `lasts_s` out"));
    }
    Ok(trigger)
}

impl FaultPlan {
    /// The plan as scenario files write it: one table per fault and trigger, in order. What a kind ignores is left
    /// out. An empty plan is an empty text.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for fault in &self.faults {
            write_fault(&mut text, fault);
        }
        for trigger in &self.triggers {
            let Trigger { after, of, nth, then, lasts_s } = trigger;
            let (after, then) = (after.name(), then.name());
            let _ = write!(text, "\n[[trigger]]\nafter = \"{after}\"\n");
            if let Some(of) = of {
                let _ = writeln!(text, "of = {}", toml::Value::from(of.as_str()));
            }
            let _ = write!(text, "nth = {nth}\nthen = \"{then}\"\n");
            if trigger.lasts() {
                let _ = writeln!(text, "lasts_s = {lasts_s}");
            }
        }
        text.trim_start().to_owned()
    }
}

fn write_fault(text: &mut String, fault: &Fault) {
    let kind = fault.bad.kind();
    // Writing to a String cannot fail.
    let _ = write!(text, "\n[[fault]] # {}\nkind = \"{kind}\"\nat_s = {}\n", kind.about(), fault.at_s);
    if kind.lasts() {
        let _ = writeln!(text, "lasts_s = {}", fault.lasts_s);
    }
    if kind.strikes_one_replica() {
        let _ = writeln!(text, "replica = {}", fault.replica);
    }
    let _ = match &fault.bad {
        Bad::ClockOffset { by_ms } | Bad::ClockJump { by_ms } | Bad::DatabaseClockStep { by_ms } => {
            writeln!(text, "by_ms = {by_ms}")
        }
        Bad::ClockDrift { ppm } => writeln!(text, "ppm = {ppm}"),
        Bad::Shutdown { grace_s } => writeln!(text, "grace_s = {grace_s}"),
        Bad::Refuse { percent }
        | Bad::LoseReply { percent }
        | Bad::LoseEffectReply { percent }
        | Bad::NoticesLost { percent }
        | Bad::NoticesDoubled { percent } => {
            writeln!(text, "percent = {percent}")
        }
        Bad::ApplyLate { percent, delay_s } => writeln!(text, "percent = {percent}\ndelay_s = {delay_s}"),
        Bad::FailOver { commits, by_ms } => writeln!(text, "commits = {commits}\nby_ms = {by_ms}"),
        Bad::Busy { times } => writeln!(text, "times = {times}"),
        Bad::Slow { percent, delay_ms } | Bad::NoticesLate { percent, delay_ms } => {
            writeln!(text, "percent = {percent}\ndelay_ms = {delay_ms}")
        }
        Bad::PoolExhaustion { connections } => writeln!(text, "connections = {connections}"),
        Bad::Pause
        | Bad::Crash
        | Bad::PowerLoss
        | Bad::Partition
        | Bad::PartitionToDatabase
        | Bad::PartitionFromDatabase
        | Bad::Hold
        | Bad::DatabaseRestart
        | Bad::RestartAll
        | Bad::Deploy
        | Bad::SessionDrop
        | Bad::FreezeMonotonic => Ok(()),
    };
}
