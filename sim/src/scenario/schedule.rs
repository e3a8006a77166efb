//! Owns how a scenario file says when slots are: `every`, or `cron` with a zone and the rules for changes of the
//! clocks.

use std::fmt;

use tourbillon::{
    job::Rule,
    model::Timestamp,
    plan::{Cadence, Cron, CronError, Fold, Gap, Schedule},
};

use super::{
    error::ScenarioError,
    table::{Table, Value},
};

/// Reads the schedule of a table; `None` when no key of it is there.
pub(super) fn read_schedule(table: &Table<'_, '_>) -> Result<Option<Schedule>, ScenarioError> {
    let named = |error: &dyn fmt::Display| format!("{}: {error}", table.what);
    for (key, needs) in [("anchor", "every"), ("zone", "cron"), ("gap", "cron"), ("fold", "cron")] {
        if table.get(key).is_some() && table.get(needs).is_none() {
            return Err(table.error_at(key, named(&format!("`{key}` without `{needs}`"))));
        }
    }
    match (table.get("every"), table.get("cron")) {
        (None, None) => Ok(None),
        (Some(_), Some(cron)) => {
            Err(cron.error(named(&"`every` and `cron`")).help("a job has one schedule: take one of the two out"))
        }
        (Some(every), None) => {
            let grid = Cadence::new(every.duration()?).ok_or_else(|| every.error(named(&Rule::CadenceTooShort)))?;
            let anchor = table.or("anchor", Cadence::MONDAY, |value| {
                let wrong = |error| value.error(format!("`anchor` is not an instant: {error}"));
                value.text()?.parse::<Timestamp>().map_err(wrong)
            })?;
            Ok(Some(grid.anchored_at(anchor).into()))
        }
        (None, Some(cron)) => {
            let zone = table.or("zone", "UTC", Value::text)?;
            let mut schedule = Cron::new(cron.text()?, zone).map_err(|error| match error {
                CronError::Zone { .. } => table.error_at("zone", named(&error)),
                _ => cron.error(named(&error)),
            })?;
            if let Some(gap) = table.get("gap") {
                schedule = schedule.gap(gap.one_of("gap", &[("skip", Gap::Skip), ("run_at_end", Gap::RunAtEnd)])?);
            }
            if let Some(fold) = table.get("fold") {
                let known = [("first", Fold::First), ("last", Fold::Last), ("both", Fold::Both)];
                schedule = schedule.fold(fold.one_of("fold", &known)?);
            }
            Ok(Some(schedule.into()))
        }
    }
}
