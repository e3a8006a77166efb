//! Owns what the dashboard shows and changes of schedules that the database keeps, and how one is written in JSON for that:
//! by its words and numbers, in place of what a store keeps of it.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tourbillon::{
    driver::ScheduleEdit,
    model::{JobName, Scope, Timestamp},
    plan::{Cadence, Cron, Fold, Gap, Schedule},
    store::{Expected, ListSchedules, PutOutcome, RemoveOutcome, Revision, ScheduleFilter, StoredSchedule},
};

use crate::{
    access::Actor,
    action::{Asked, operator, told, unknown},
    api::{self, Answer, answer, page_limit},
    problem::Problem,
    web::Shared,
};

/// Slots that a preview shows.
const SHOWN: usize = 3;

/// A schedule in words and numbers: `cron` and `zone`, or `every_us`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct When {
    /// A pattern of wall times.
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    /// Their time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    /// What becomes of wall times that a change of the clocks leaves out; by the pattern when it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<Gap>,
    /// What becomes of wall times that it repeats; by the pattern when it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    fold: Option<Fold>,
    /// From slot to slot, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    every_us: Option<u64>,
    /// One of the slots, in RFC 3339; Monday, midnight UTC, when it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<String>,
}

impl When {
    /// `None` for a schedule that is code, which no database keeps.
    fn of(schedule: &Schedule) -> Option<Self> {
        match schedule {
            Schedule::Cadence(cadence) => Some(Self {
                every_us: u64::try_from(cadence.every().as_micros()).ok(),
                anchor: Some(cadence.anchor())
                    .filter(|anchor| *anchor != Cadence::MONDAY)
                    .map(|anchor| anchor.to_string()),
                ..Self::default()
            }),
            Schedule::Cron(cron) => {
                // Rules that go with the pattern are not said, so that they go with the next one, too.
                let usual = Cron::new(cron.pattern(), cron.zone()).ok()?;
                Some(Self {
                    cron: Some(cron.pattern().to_owned()),
                    zone: Some(cron.zone().to_owned()),
                    gap: Some(cron.gap_rule()).filter(|gap| *gap != usual.gap_rule()),
                    fold: Some(cron.fold_rule()).filter(|fold| *fold != usual.fold_rule()),
                    ..Self::default()
                })
            }
            Schedule::Hook(_) => None,
        }
    }

    fn schedule(&self) -> Result<Schedule, Problem> {
        match self {
            Self { cron: Some(pattern), zone: Some(zone), gap, fold, every_us: None, anchor: None } => {
                let cron = Cron::new(pattern, zone).map_err(|error| Problem::bad(error.to_string()))?;
                let cron = gap.map_or(cron.clone(), |gap| cron.gap(gap));
                Ok(fold.map_or(cron.clone(), |fold| cron.fold(fold)).into())
            }
            Self { every_us: Some(every), anchor, cron: None, zone: None, gap: None, fold: None } => {
                let cadence = Cadence::new(Duration::from_micros(*every));
                let cadence = cadence
                    .ok_or_else(|| Problem::bad("`every_us` is 0: give the microseconds from slot to slot"))?;
                let Some(anchor) = anchor else { return Ok(cadence.into()) };
                let anchor: Timestamp = anchor.parse().map_err(|_| {
                    Problem::bad(format!("`{anchor}` is no instant: write it like 2026-01-01T06:00:00Z"))
                })?;
                Ok(cadence.anchored_at(anchor).into())
            }
            Self { cron: Some(_), zone: None, .. } => Err(Problem::bad(
                "wall times are those of a time zone: give `zone`, for example Europe/Berlin or UTC",
            )),
            _ => Err(Problem::bad(
                "a schedule is `cron` and `zone`, with `gap` and `fold`, or `every_us`, with `anchor`: give one of the two",
            )),
        }
    }
}

/// What stored schedules are asked for.
#[derive(Deserialize)]
pub(crate) struct Filter {
    job: Option<String>,
    scope_kind: Option<String>,
    scope_id: Option<String>,
    /// Every edit, removals included.
    #[serde(default)]
    all: bool,
    after: Option<String>,
    limit: Option<u32>,
}

/// The schedules that the database keeps, ordered by job, scope and revision.
pub(crate) async fn list(State(shared): State<Arc<Shared>>, asked: Result<Query<Filter>, QueryRejection>) -> Answer {
    let Query(asked) = asked?;
    let limit = page_limit(asked.limit);
    let after = asked.after.as_deref().map(serde_json::from_str::<(JobName, Scope, Revision)>).transpose();
    let list = ListSchedules {
        job: asked.job.as_deref().map(JobName::new).transpose()?,
        scope: api::scope(asked.scope_kind.as_deref(), asked.scope_id.as_deref())?,
        which: if asked.all { ScheduleFilter::All } else { ScheduleFilter::InForce },
        after: after.map_err(|_| Problem::bad("`after` is what the page before gave as `next`"))?,
        limit,
    };
    let page = shared.ask(list).await?;
    let next = page.schedules.last().filter(|_| page.schedules.len() == limit as usize);
    let next = next.map(|last| json!([last.job, last.scope, last.revision]).to_string());
    let schedules: Vec<_> = page.schedules.iter().map(legible).collect();
    answer(json!({ "now": page.now, "schedules": schedules, "next": next }))
}

/// With the schedule in words, and as it would be put again, where this program can read it.
fn legible(stored: &StoredSchedule) -> Value {
    let schedule = stored.schedule.as_ref().and_then(|data| data.schedule().ok());
    json!({
        "stored": stored,
        "words": schedule.as_ref().map(Schedule::to_string),
        "when": schedule.as_ref().and_then(When::of),
    })
}

/// A schedule that nobody has put yet.
#[derive(Deserialize)]
pub(crate) struct Draft {
    /// A [`When`].
    when: String,
}

/// What a schedule would do: it in words, and its next slots by the database clock; or why it is none, which while somebody types is
/// no error. Changes nothing.
pub(crate) async fn preview(
    State(shared): State<Arc<Shared>>,
    asked: Result<Query<Draft>, QueryRejection>,
) -> Answer {
    let Query(Draft { when }) = asked?;
    let when: When = serde_json::from_str(&when).map_err(|error| Problem::bad(format!("`when`: {error}")))?;
    let schedule = match when.schedule() {
        Ok(schedule) => schedule,
        Err(problem) => return answer(json!({ "refused": problem.message() })),
    };
    let now = shared.looks.report(shared.runtime()).await?.now;
    let mut slots = Vec::new();
    while let Some(next) = schedule.next_after(slots.last().copied().unwrap_or(now)).filter(|_| slots.len() < SHOWN) {
        slots.push(next);
    }
    let slots: Vec<_> = slots.iter().map(ToString::to_string).collect();
    answer(json!({ "now": now, "words": schedule.to_string(), "next": slots }))
}

/// An edit of one scope's schedule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    job: String,
    scope_kind: Option<String>,
    scope_id: Option<String>,
    /// To what; not in a removal.
    when: Option<When>,
    /// The revision that must be in force, 0 for none; whatever there is, when it is not said.
    expect: Option<u32>,
    /// Why.
    note: Option<String>,
}

impl Edit {
    fn scope(&self) -> Result<Scope, Problem> {
        Ok(api::scope(self.scope_kind.as_deref(), self.scope_id.as_deref())?.unwrap_or_else(Scope::global))
    }

    fn edit(&self) -> Result<ScheduleEdit, Problem> {
        let expected = match self.expect {
            None => Expected::Anything,
            Some(0) => Expected::Nothing,
            Some(revision) => Expected::Revision(Revision(revision)),
        };
        let edit = ScheduleEdit::of(&self.job, self.scope()?).expecting(expected);
        let note = self.note.as_deref().map(str::trim).filter(|note| !note.is_empty());
        Ok(note.map_or(edit.clone(), |note| edit.note(note)))
    }

    /// The job and the scope as people write them.
    fn of_what(&self) -> Result<String, Problem> {
        let (job, scope) = (&self.job, self.scope()?);
        Ok(if scope == Scope::global() { format!("`{job}`") } else { format!("`{job}` for {scope}") })
    }

    /// What is there is not what was expected: said in words, and which revision it is.
    fn conflict(&self, found: Option<Revision>) -> Answer {
        let what = self.of_what()?;
        let text = match (self.expect, found) {
            (Some(0), Some(found)) => {
                format!("{what} has a schedule already, as revision {found}: nothing was changed")
            }
            (_, Some(found)) => {
                format!("{what} was edited meanwhile: revision {found} is in force, and nothing was changed")
            }
            (_, None) => format!("{what} has no schedule any more: nothing was changed"),
        };
        Ok(Json(json!({ "done": false, "text": text, "in_force": found })))
    }
}

/// Gives one scope a schedule, in place of the one that it has.
pub(crate) async fn put(State(shared): State<Arc<Shared>>, actor: Actor, asked: Asked<Edit>) -> Answer {
    let Json(edit) = asked?;
    let when = edit.when.as_ref().ok_or_else(|| Problem::bad("which schedule? give `when`"))?;
    let (schedule, what) = (when.schedule()?, edit.of_what()?);
    match operator(&shared, &actor)?.put_schedule(edit.edit()?, &schedule).await? {
        PutOutcome::Put(revision) => {
            told(true, format!("{what} runs {schedule} from now on, as revision {revision}"))
        }
        PutOutcome::Unchanged(revision) => {
            told(false, format!("{what} runs {schedule} already, as revision {revision}"))
        }
        PutOutcome::Conflict(found) => edit.conflict(found),
        PutOutcome::UnknownJob => unknown(&edit.job),
        PutOutcome::NotStored => {
            let job = &edit.job;
            told(
                false,
                format!(
                    "`{job}` has its schedule from its program: only jobs with `stored_schedules` take one from here"
                ),
            )
        }
    }
}

/// Takes the schedule of one scope away.
pub(crate) async fn remove(State(shared): State<Arc<Shared>>, actor: Actor, asked: Asked<Edit>) -> Answer {
    let Json(edit) = asked?;
    if edit.when.is_some() {
        return Err(Problem::bad("a removal has no `when`: to put a schedule ask `put_schedule`"));
    }
    let what = edit.of_what()?;
    match operator(&shared, &actor)?.remove_schedule(edit.edit()?).await? {
        RemoveOutcome::Removed(revision) => {
            told(true, format!("{what} has no schedule from now on, as of revision {revision}"))
        }
        RemoveOutcome::NotThere => told(false, format!("{what} has no schedule here: nothing was removed")),
        RemoveOutcome::Conflict(found) => edit.conflict(Some(found)),
        RemoveOutcome::UnknownJob => unknown(&edit.job),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(text: &str) -> Result<Schedule, String> {
        let when: When = serde_json::from_str(text).map_err(|error| error.to_string())?;
        when.schedule().map_err(|problem| problem.message().to_owned())
    }

    #[test]
    fn what_is_shown_is_what_would_be_put_again() {
        let kept = [
            r#"{"cron":"30 2 * * *","zone":"Europe/Berlin","gap":"skip","fold":"both"}"#,
            r#"{"every_us":90000001,"anchor":"1970-01-01T00:00:07.000005Z"}"#,
        ];
        for text in kept {
            let schedule = when(text).expect("valid");
            assert_eq!(serde_json::to_string(&When::of(&schedule)).expect("JSON"), text);
        }
        let usual = when(r#"{"cron":"@daily","zone":"UTC","gap":"run_at_end","fold":"last"}"#).expect("valid");
        let shown = serde_json::to_string(&When::of(&usual)).expect("JSON");
        assert_eq!(
            shown, r#"{"cron":"0 0 * * *","zone":"UTC","fold":"last"}"#,
            "what is usual goes with the pattern"
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_mend() {
        for (text, words) in [
            (r#"{"cron":"@daily"}"#, "give `zone`"),
            (r#"{"cron":"@daily","zone":"Europe/Berlim"}"#, "did you mean `Europe/Berlin`"),
            (r#"{"cron":"61 * * * *","zone":"UTC"}"#, "61"),
            (r#"{"every_us":0}"#, "`every_us` is 0"),
            (r#"{"every_us":1,"anchor":"noon"}"#, "`noon` is no instant"),
            (r#"{"every_us":1,"cron":"@daily","zone":"UTC"}"#, "give one of the two"),
            ("{}", "give one of the two"),
            (r#"{"evry_us":1}"#, "unknown field `evry_us`"),
        ] {
            let refused = when(text).expect_err(text);
            assert!(refused.contains(words), "{text}: {refused}");
        }
    }
}
