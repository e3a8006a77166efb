//! G2: per generation exactly one terminal transition, by the holder or by a guarded statement of an operator or
//! rescuer, and terminal rows never change. (That it is the *current* holder is for G8 to say.)

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::{
        Execution, ExecutionId, Generation, LeaseRef, Outcome, RequestId, State,
        transition::{Cancelled, Refusal},
    },
    store::{Settlement, Verb},
};

use super::{
    Findings,
    docket::Docket,
    shadow::{Shadow, Stage},
    topic::Topic,
    track::{Act, Remover, Step, Track},
};
use crate::history::What;

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G2");
    // Rows as each generation ended, the last one at the end of the history.
    let mut lives: Vec<(usize, Shadow)> = Vec::new();
    let called = calls(track);
    // The first accepted settle of each lease.
    let mut settled: BTreeMap<LeaseRef, (RequestId, usize)> = BTreeMap::new();
    let last = track.walk(|step, shadows| {
        let before = shadows[step.row];
        if let Act::Settled(settlement, outcome) = step.act
            && let What::Applied { request, .. } = &track.history.events[step.event].what
            && called.contains(&request.id)
        {
            told_of_its_own_end(&mut docket, track, step, (request.id, settlement, outcome), &mut settled);
        }
        if let Act::Requeued(generation) = step.act {
            requeue(&mut docket, track, step, &before, generation);
            lives.push((step.row, before));
        } else if let Act::Removed(remover) = step.act {
            removal(&mut docket, track, step, &before, remover);
        } else if let Some(write) = accepted_write(&step.act) {
            docket.demand(!before.is_terminal(), &[before.last_event, step.event], || {
                let (name, stage, fence) = (track.name(step.row), before.stage, before.fence);
                format!("{write} changed {name} at {}, which had ended ({stage:?}) under fence {fence}", step.now)
            });
            if !before.is_terminal() {
                guard(&mut docket, track, step, &before);
            }
        }
    });
    lives.extend(last.into_iter().enumerate());
    final_rows(&mut docket, track, &lives);
    for &(first, again) in &track.broken_repeats {
        if let What::Applied { request, .. } = &track.history.events[again].what
            && matches!(
                request.verb,
                Verb::Settle(_) | Verb::Cancel(_) | Verb::Requeue(_) | Verb::UpdateItem(_) | Verb::DeleteItems(_)
            )
        {
            let (id, verb) = (request.id, request.verb.name());
            docket
                .demand(false, &[first, again], || format!("repeated {verb} {id} did not return its first outcome"));
        }
    }
    docket.close()
}

/// The settles that a driver called. One that ends its attempt in a handler's own transaction is none, and the driver
/// may learn of it from a refusal.
fn calls(track: &Track<'_>) -> BTreeSet<RequestId> {
    let mut settles: BTreeSet<_> = track
        .about(&[Topic::Settle])
        .filter_map(|(_, event)| match &event.what {
            What::Invoked { request, verb, .. } if verb == "settle" => Some(*request),
            _ => None,
        })
        .collect();
    for (_, event) in track.about(&[Topic::Application]) {
        if let What::ApplicationApplied { request, .. } = &event.what
            && let Some(with) = &request.with
        {
            sometimes!("an attempt ended in its handler's own transaction is not held to what drivers are told");
            settles.remove(&with.id);
        }
    }
    settles
}

/// A caller repeats a settle under the id that it had, and so learns of its first outcome, never that the lease which
/// it ended itself is lost. (That a repetition under the same id is answered the same, while there is a receipt, is
/// judged for all verbs below.)
fn told_of_its_own_end(
    docket: &mut Docket,
    track: &Track<'_>,
    step: &Step<'_>,
    (id, settlement, outcome): (RequestId, &Settlement, &Result<State, Refusal>),
    settled: &mut BTreeMap<LeaseRef, (RequestId, usize)>,
) {
    let lease = settlement.lease;
    if outcome.is_ok() {
        settled.entry(lease).or_insert((id, step.event));
    } else {
        let before = settled.get(&lease).filter(|(first, _)| *first != id);
        let first = before.map_or(step.event, |(_, event)| *event);
        docket.demand(before.is_none(), &[first, step.event], || {
            let (name, token, now) = (track.name(step.row), lease.token, step.now);
            format!(
                "{name}: a settle under token {token} was accepted, and at {now} refused under another request id ({id})"
            )
        });
    }
}

fn accepted_write(act: &Act<'_>) -> Option<&'static str> {
    match act {
        Act::Claimed(..) => Some("a claim"),
        Act::Skipped(_) => Some("a skip"),
        Act::Started(_, Ok(_)) => Some("a start"),
        Act::Renewed(_, Ok(_)) => Some("a heartbeat"),
        Act::Settled(_, Ok(_)) => Some("a settle"),
        Act::Rescued(_) => Some("a rescue"),
        Act::Clamped => Some("a clamp"),
        Act::Cancelled(Cancelled::Now | Cancelled::Requested) => Some("a cancel"),
        Act::Updated(_) => Some("an update"),
        _ => None,
    }
}

fn requeue(docket: &mut Docket, track: &Track<'_>, step: &Step<'_>, before: &Shadow, generation: Generation) {
    let holds = before.is_terminal() && !before.is_removed && generation == before.generation.next();
    docket.demand(holds, &[before.last_event, step.event], || {
        let (name, stage, was) = (track.name(step.row), before.stage, before.generation);
        format!("{name} got generation {generation} while generation {was} was {stage:?}")
    });
}

/// An operator removes what nobody holds, a cleaning what has ended; neither twice.
fn removal(docket: &mut Docket, track: &Track<'_>, step: &Step<'_>, before: &Shadow, remover: Remover) {
    let may_go = match remover {
        Remover::Operator => matches!(before.stage, Stage::Waiting(_) | Stage::Ended(_)),
        Remover::Cleaner => before.is_terminal(),
    };
    docket.demand(may_go && !before.is_removed, &[before.last_event, step.event], || {
        let (name, stage, was) = (track.name(step.row), before.stage, before.is_removed);
        format!("{name} was removed at {} while {stage:?}, removed before: {was}", step.now)
    });
}

/// What must hold for a live row to be ended by this statement.
fn guard(docket: &mut Docket, track: &Track<'_>, step: &Step<'_>, before: &Shadow) {
    let (holds, what) = match step.act {
        Act::Settled(settlement, Ok(state)) => {
            let expected = match &settlement.outcome {
                Outcome::Succeeded { .. } => *state == State::Succeeded,
                Outcome::Cancelled { .. } => *state == State::Cancelled,
                Outcome::Released | Outcome::Snoozed { .. } if before.is_cancel_requested => {
                    *state == State::Cancelled
                }
                Outcome::Released | Outcome::Snoozed { .. } => *state == State::Scheduled,
                // Where a failure leads is a question of the budget: G3.
                Outcome::Failed { .. } => true,
            };
            let is_entitled = before.is_started || settlement.outcome == Outcome::Released;
            (expected && is_entitled, format!("settled to {state} by {:?}", settlement.outcome))
        }
        Act::Rescued(state) => {
            let expired = before.stage == Stage::Held && before.expires_at < step.now;
            // What was cancelled while it ran is not dead (A23).
            let expected = if before.is_cancel_requested { State::Cancelled } else { State::Dead };
            (expired && state == expected, format!("rescued to {state}"))
        }
        Act::Skipped(reason) => {
            (before.attempt == 0 && !before.is_leased(step.now), format!("skipped as {}", reason.as_str()))
        }
        Act::Cancelled(Cancelled::Now) => (before.stage != Stage::Held, "cancelled at once".to_owned()),
        Act::Updated(_) => (before.stage != Stage::Held, "updated".to_owned()),
        _ => return,
    };
    docket.demand(holds, &[before.last_event, step.event], || {
        let (name, stage, until) = (track.name(step.row), before.stage, before.expires_at);
        let (now, started, attempt) = (step.now, before.is_started, before.attempt);
        format!(
            "{name} was {what} at {now} while {stage:?}, started {started}, attempt {attempt}, lease until {until}"
        )
    });
}

/// What the database holds is what the last accepted write of each generation said.
fn final_rows(docket: &mut Docket, track: &Track<'_>, lives: &[(usize, Shadow)]) {
    let Some((end, state)) = track.ended else { return };
    let rows: BTreeMap<(ExecutionId, Generation), &Execution> =
        state.executions.iter().map(|row| ((row.id, row.generation), row)).collect();
    for (index, shadow) in lives {
        // A row that is missing is for G5 to miss.
        let Some(row) = rows.get(&(track.rows[*index].id, shadow.generation)) else { continue };
        docket.demand(!shadow.is_removed, &[shadow.last_event, end], || {
            format!("{} was removed, and is there in the end as {}", track.name(*index), row.state)
        });
        let expected = match shadow.stage {
            Stage::Absent => continue,
            Stage::Held => State::Running,
            Stage::Waiting(state) | Stage::Ended(state) => state,
        };
        let holds = row.state == expected && row.attempt == shadow.attempt && row.fence == shadow.fence;
        // Fences go on growing in later generations, so an earlier one is compared as it was then.
        docket.demand(holds, &[shadow.last_event, end], || {
            let (name, generation) = (track.name(*index), shadow.generation);
            let (attempt, fence) = (shadow.attempt, shadow.fence);
            format!(
                "{name} generation {generation} ends as {}, attempt {}, fence {}; \
                 its last accepted write left it {expected}, attempt {attempt}, fence {fence}",
                row.state, row.attempt, row.fence
            )
        });
    }
}

#[cfg(test)]
mod removal_tests {
    use tourbillon::store::{Reply, UpdateOutcome};

    use super::super::story::Story;

    #[test]
    fn what_waits_or_has_ended_may_be_removed() {
        let mut story = Story::new();
        story.enqueue_within(9, &[1, 2, 3], None).delete(1).run(2).succeed(2).delete(2);
        story.run(3).succeed(3).clean(3).end();
        story.is_fine();
    }

    #[test]
    fn what_somebody_holds_is_not_removed() {
        for remove in [Story::delete, Story::clean] {
            let mut story = Story::new();
            remove(story.enqueue_within(9, &[1], None).run(1), 1);
            story.flagged_by(&["G2"]);
        }
    }

    #[test]
    fn nothing_happens_to_what_was_removed() {
        let mut story = Story::new();
        story.enqueue_within(9, &[1], None).delete(1).delete(1);
        story.flagged_by(&["G2"]);
        let mut story = Story::new();
        story.enqueue_within(9, &[1], None).clean(1);
        story.flagged_by(&["G2"]);
    }

    #[test]
    fn an_update_moves_when_an_item_may_be_claimed() {
        let mut story = Story::new();
        story.enqueue_within(9, &[1], None).put_off(1, 5_000).wait(5).run(1).succeed(1);
        story.is_fine();
        let mut story = Story::new();
        story.enqueue_within(9, &[1], None).put_off(1, 5_000).wait(4).run(1).succeed(1);
        story.flagged_by(&["G3"]);
        let mut story = Story::new();
        story.enqueue_within(9, &[1], None).run(1).put_off(1, 5_000);
        story.flagged_by(&["G2"]);
        story.forge(|_, reply| {
            if let Reply::ItemUpdated(updated) = reply {
                updated.outcome = UpdateOutcome::Running;
            }
        });
        story.is_fine();
    }
}

#[cfg(test)]
mod retention_tests {
    use tourbillon::{
        model::{Retention, Retry},
        store::Settlement,
    };

    use super::super::story::{Story, failed, succeeded};

    fn ran() -> Story {
        let mut story = Story::new();
        story.enqueue_within(9, &[1], None).run(1);
        story
    }

    #[test]
    fn what_is_not_retained_is_gone_in_the_end() {
        for retain in [Retention::Failures, Retention::Nothing] {
            let mut story = ran();
            story.forget(1, succeeded(), retain).end();
            story.is_fine();
        }
        let mut story = ran();
        story.forget(1, failed(Retry::Never), Retention::Nothing).end();
        story.is_fine();
        let mut story = ran();
        let settlement = Settlement { retain: Retention::Failures, ..Settlement::of(story.lease(1), succeeded()) };
        story.settle_with(settlement).end();
        story.flagged_by(&["G2"]);
    }

    /// Zoo D13.
    #[test]
    fn what_is_retained_does_not_vanish() {
        for (outcome, retain) in [
            (succeeded(), Retention::Everything),
            (failed(Retry::Never), Retention::Everything),
            (failed(Retry::Never), Retention::Failures),
            (failed(Retry::AfterMs(1_000)), Retention::Nothing),
        ] {
            let mut story = ran();
            story.forget(1, outcome, retain).end();
            story.flagged_by(&["G5"]);
        }
    }

    #[test]
    fn a_slot_and_a_further_life_are_kept() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).forget(1, succeeded(), Retention::Nothing).end();
        story.flagged_by(&["G5"]);
        let mut story = ran();
        story.settle(1, failed(Retry::Never)).requeue(1, 2).run(1).forget(1, succeeded(), Retention::Failures).end();
        story.flagged_by(&["G5"]);
    }

    #[test]
    fn nothing_happens_to_what_was_forgotten() {
        let mut story = ran();
        let lease = story.lease(1);
        let again = Settlement { retain: Retention::Nothing, ..Settlement::of(lease, succeeded()) };
        story.settle_with(again.clone()).settle_with(again);
        story.flagged_by(&["G2"]);
        let mut story = ran();
        let end = Settlement { retain: Retention::Nothing, ..Settlement::of(story.lease(1), succeeded()) };
        story.settle_with(end).requeue(1, 2);
        story.flagged_by(&["G2"]);
    }
}

#[cfg(test)]
mod tests {
    use tourbillon::{
        model::{
            ErrorCode, Failure, Fence, Outcome, Reentry, SkipReason, State,
            transition::{Cancelled, Refusal},
        },
        store::{Prune, Pruned, Reply},
    };

    use super::super::story::{Story, succeeded};
    use crate::history::{HostId, What};

    #[test]
    fn every_way_to_end_is_fine_once() {
        let mut story = Story::with(|facts| facts.jobs[0].reentry = Reentry::Forbid);
        story.make(1).run(1).effect(1).succeed(1);
        story.wait(60).make(2).claim(2).start(2).wait(31).rescue(2, State::Dead);
        story.wait(29).make(3).cancel(3, Cancelled::Now);
        let failure = Failure::new(ErrorCode::canceled(), "stopped");
        story.wait(60).make(4).claim(4).start(4).cancel(4, Cancelled::Requested);
        story.settle(4, Outcome::Cancelled { failure }).cancel(4, Cancelled::AlreadyTerminal);
        story.wait(60).make(5).wait(60).make(6).skip(5, SkipReason::Superseded);
        story.claim(6).start(6).fail(6, 0).claim(6).start(6).fail(6, 0).claim(6).start(6).fail(6, 0);
        story.end();
        story.is_fine();
    }

    #[test]
    fn a_generation_ends_once() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).succeed(1).succeed(1);
        story.flagged_by(&["G2"]);
    }

    #[test]
    fn nothing_is_written_to_a_row_that_ended() {
        let ended = || {
            let mut story = Story::new();
            story.make(1).run(1).effect(1).succeed(1);
            story
        };
        let mut story = ended();
        story.heartbeat(1);
        story.flagged_by(&["G2"]);
        let mut story = ended();
        story.claim(1);
        story.flagged_by(&["G2"]);
        let mut story = ended();
        story.start(1).forge(|_, reply| {
            if let Reply::Started(started) = reply {
                started.outcomes[0] = Ok(1);
            }
        });
        story.flagged_by(&["G2"]);
        let mut story = ended();
        story.clamp(1);
        story.flagged_by(&["G2"]);
        let mut story = ended();
        story.wait(31).rescue(1, State::Dead);
        story.flagged_by(&["G2"]);
        let mut story = ended();
        story.cancel(1, Cancelled::Requested);
        story.flagged_by(&["G2"]);
    }

    #[test]
    fn a_rescue_ends_nobody_who_holds_a_lease_and_ends_for_good() {
        let mut story = Story::with(|facts| facts.jobs[0].reentry = Reentry::Forbid);
        story.make(1).claim(1).start(1).wait(29).rescue(1, State::Dead);
        story.flagged_by(&["G2"]);
        // A lease is held through its last instant.
        let rescued_after = |ms| {
            let mut story = Story::with(|facts| facts.jobs[0].reentry = Reentry::Forbid);
            story.make(1).claim(1).start(1).wait_ms(ms).rescue(1, State::Dead);
            story
        };
        rescued_after(30_000).flagged_by(&["G2"]);
        rescued_after(30_001).is_fine();
        let mut story = Story::with(|facts| facts.jobs[0].reentry = Reentry::Forbid);
        story.make(1).claim(1).start(1).wait(31).rescue(1, State::Retryable);
        story.flagged_by(&["G2"]);
    }

    #[test]
    fn a_skip_ends_only_what_never_started() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).fail(1, 0).wait(60).make(2).skip(1, SkipReason::Superseded);
        story.flagged_by(&["G2", "G5"]);
        let mut story = Story::new();
        story.make(1).claim(1).wait(61).make(2).skip(1, SkipReason::Superseded);
        story.is_fine();
    }

    #[test]
    fn a_running_row_is_asked_not_cancelled() {
        let mut story = Story::new();
        story.make(1).claim(1).cancel(1, Cancelled::Now);
        story.flagged_by(&["G2"]);
    }

    #[test]
    fn a_settle_leads_where_it_says_and_needs_a_start() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).succeed(1).forge(|_, reply| {
            if let Reply::Settled(settled) = reply {
                settled.outcomes[0] = Ok(State::Dead);
            }
        });
        story.flagged_by(&["G2"]);
        let mut story = Story::new();
        story.make(1).claim(1).settle(1, succeeded());
        story.flagged_by(&["G2", "G4"]);
    }

    #[test]
    fn a_requeue_gives_the_next_life_to_a_finished_row_only() {
        let mut story = Story::new();
        story.make(1).claim(1).requeue(1, 2);
        story.flagged_by(&["G2"]);
        let mut story = Story::new();
        story.make(1).cancel(1, Cancelled::Now).requeue(1, 3);
        story.flagged_by(&["G2"]);
    }

    #[test]
    fn the_database_ends_with_what_was_last_accepted() {
        for change in [
            |story: &mut Story| story.row(1).state = State::Dead,
            |story: &mut Story| story.row(1).attempt = 2,
            |story: &mut Story| story.row(1).fence = Fence(2),
        ] {
            let mut story = Story::new();
            story.make(1).run(1).effect(1).succeed(1);
            story.row(1).error = Some(Failure::new(ErrorCode::handler_error(), "a reason"));
            change(&mut story);
            story.end();
            story.flagged_by(&["G2"]);
        }
    }

    /// Zoo C2.
    #[test]
    fn a_repeated_settle_reports_its_own_success() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).unheard().succeed(1).wait(1).repeat();
        story.is_fine();
        story.forge(|_, reply| {
            if let Reply::Settled(settled) = reply {
                settled.now = settled.now.offset_micros(1_000_000);
                settled.outcomes[0] = Err(Refusal::LeaseLost);
            }
        });
        story.flagged_by(&["G2"]);
    }

    #[test]
    fn a_settle_is_repeated_under_its_own_id() {
        let refused = |story: &mut Story| {
            story.forge(|_, reply| {
                if let Reply::Settled(settled) = reply {
                    settled.outcomes[0] = Err(Refusal::LeaseLost);
                }
            });
        };
        let mut story = Story::new();
        story.make(1).run(1).effect(1).unheard().succeed(1).wait(1).succeed(1);
        refused(&mut story);
        story.flagged_by(&["G2"]);
        // Not only of the last attempt.
        let mut story = Story::new();
        story.make(1).run(1).effect(1).unheard().fail(1, 0).wait(1).fail(1, 0);
        refused(&mut story);
        story.flagged_by(&["G2"]);
        // The receipt has been pruned; the id is the same.
        let mut story = Story::new();
        story.make(1).run(1).effect(1).unheard().succeed(1);
        let settle = story.history.events.iter().rev().find(|event| matches!(event.what, What::Applied { .. }));
        let settle = settle.expect("it was applied").what.clone();
        let pruned = Pruned { receipts: 1, ..Pruned::default() };
        let prune = Prune { history_ms: 3_600_000, receipts_ms: 0, edits_ms: u64::MAX, limit: 10 };
        story.wait(1).exchange(&[], prune, Reply::Pruned(pruned));
        story.record(HostId::Database, settle);
        refused(&mut story);
        story.is_fine();
        // A handler ended its attempt in a transaction of its own, which no driver called.
        let mut story = Story::new();
        story.make(1).run(1).effect(1).succeed(1);
        story.history.events.retain(|event| !matches!(&event.what, What::Invoked { verb, .. } if verb == "settle"));
        story.succeed(1);
        refused(&mut story);
        story.is_fine();
        // Likewise under a request of the application's.
        let mut story = Story::new();
        story.make(1).run(1).effect(1).succeed(1);
        for event in &mut story.history.events {
            if let What::Invoked { verb, .. } = &mut event.what
                && verb == "settle"
            {
                *verb = "pay".into();
            }
        }
        story.succeed(1);
        refused(&mut story);
        story.is_fine();
        // Somebody else took the row: that is what a refusal is for.
        let mut story = Story::new();
        story.make(1).run(1).effect(1).wait(31);
        let lost = story.lease(1);
        story.by(1).claim(1).by(0).settle_as(lost, succeeded());
        refused(&mut story);
        story.flagged_by(&[]);
    }
}
