//! G9: the audit log at the end tells, one to one and in order, the transitions of the executions whose policy wants
//! them told: what, when, by whom, from which state to which, with how many attempts, and why. What a prune may have
//! taken is not demanded.

use std::collections::BTreeMap;

use tourbillon::{
    model::{
        Actor, Audit, AuditAction, AuditDetails, AuditEvent, ExecutionId, Fence, Generation, Incarnation, Outcome,
        State, Timestamp, transition::Cancelled,
    },
    store::Verb,
};

use super::{
    Findings,
    docket::Docket,
    shadow::{Shadow, Stage},
    track::{Act, Remover, Step, Track},
};
use crate::history::What;

/// A transition as it should be told.
struct Due {
    event: usize,
    at: Timestamp,
    generation: Generation,
    fence: Fence,
    actor: Actor,
    action: AuditAction,
    details: AuditDetails,
}

impl Due {
    fn is_told_by(&self, told: &AuditEvent) -> bool {
        let place = (self.at, self.generation, self.fence, self.action);
        place == (told.at, told.key.generation, told.key.fence, told.action)
            && self.actor == told.actor
            && self.details == told.details
    }
}

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G9");
    let Some((ended, state)) = track.ended else { return docket.close() };
    let is_kept = |at: Timestamp| track.history_pruned_before.is_none_or(|before| at >= before);
    let mut told: BTreeMap<ExecutionId, Vec<&AuditEvent>> = BTreeMap::new();
    for event in state.audit.iter().filter(|event| is_kept(event.at)) {
        told.entry(event.key.execution).or_default().push(event);
    }
    for (row, due) in all_due(track) {
        sometimes!("an old audit event may have been pruned", due.iter().any(|due| !is_kept(due.at)));
        let due: Vec<Due> = due.into_iter().filter(|due| is_kept(due.at)).collect();
        let told = told.remove(&track.rows[row].id).unwrap_or_default();
        let first_wrong = due.iter().zip(&told).position(|(due, told)| !due.is_told_by(told));
        for due in &due[..first_wrong.unwrap_or(due.len().min(told.len()))] {
            docket.demand(true, &[due.event, ended], String::new);
        }
        let wrong = first_wrong.or((due.len() != told.len()).then(|| due.len().min(told.len())));
        let Some(n) = wrong else { continue };
        let events = due.get(n).map_or(vec![ended], |due| vec![due.event, ended]);
        docket.demand(false, &events, || {
            let told = told.get(n).map_or_else(|| "nothing".to_owned(), |told| format!("{told:?}"));
            let due = due.get(n).map_or_else(|| "no transition".to_owned(), describe);
            format!("of {} the log tells {told}, where {due} belongs", track.name(row))
        });
    }
    for (id, events) in told {
        docket.demand(false, &[ended], || format!("the log tells of execution {id}, which nothing made: {events:?}"));
    }
    docket.close()
}

fn describe(due: &Due) -> String {
    let Due { at, generation, fence, actor, action, details, .. } = due;
    format!("{action} at {at} by {actor:?} in generation {generation}, fence {fence}: {details:?}")
}

/// By row, what its policy wants told. Every row is there, so that what was told of a silent one is noticed.
fn all_due(track: &Track<'_>) -> BTreeMap<usize, Vec<Due>> {
    let mut all: BTreeMap<usize, Vec<Due>> = (0..track.rows.len()).map(|row| (row, Vec::new())).collect();
    let mut runners: BTreeMap<usize, Incarnation> = BTreeMap::new();
    track.walk(|step, shadows| {
        if let Act::Claimed(execution, _) = step.act
            && let Some(lease) = &execution.lease
        {
            runners.insert(step.row, lease.runner);
        }
        let Some(policy) = track.rows[step.row].policy else { return };
        if policy.audit == Audit::Off {
            sometimes!("an execution that is not audited owes no event");
            return;
        }
        let runner = runners.get(&step.row).map_or_else(Actor::system, |runner| Actor::runner(*runner));
        let due = due(track, step, &shadows[step.row], runner, policy.max_attempts);
        let wanted = due.filter(|due| policy.audit.wants(due.action));
        all.entry(step.row).or_default().extend(wanted);
    });
    all
}

/// The transition that a step was, if it was one; `was` is the row before it.
fn due(track: &Track<'_>, step: &Step<'_>, was: &Shadow, runner: Actor, max_attempts: u32) -> Option<Due> {
    let mut due = Due {
        event: step.event,
        at: step.now,
        generation: was.generation,
        fence: was.fence,
        actor: Actor::system(),
        action: AuditAction::Schedule,
        details: AuditDetails {
            old_status: state_of(was.stage),
            new_status: State::Scheduled,
            attempts: was.attempt,
            max_attempts,
            reason: None,
        },
    };
    let details = &mut due.details;
    match step.act {
        Act::Made => {
            if is_trigger(track, step) {
                (due.action, due.actor) = (AuditAction::Trigger, operator(track, step));
            }
        }
        Act::Claimed(execution, is_charged) => {
            let is_held = was.stage == Stage::Held;
            due.action = if is_held { AuditAction::Reclaim } else { AuditAction::Claim };
            (due.fence, due.actor) = (execution.fence, runner);
            details.new_status = State::Running;
            details.attempts += u32::from(is_charged);
        }
        Act::Started(_, Ok(_)) if !was.is_started => {
            (due.action, due.actor) = (AuditAction::Start, runner);
            (details.new_status, details.attempts) = (State::Running, was.attempt + 1);
        }
        Act::Settled(settlement, Ok(state)) => {
            due.action = settled(&settlement.outcome, *state);
            // That a failed row is tried again is nobody's choice (P-43).
            due.actor = if due.action == AuditAction::Retry { Actor::system() } else { runner };
            details.new_status = *state;
            if *state == State::Scheduled && was.is_started {
                details.attempts = was.attempt.saturating_sub(1);
            }
            details.reason = match &settlement.outcome {
                Outcome::Failed { failure, .. } | Outcome::Cancelled { failure } => Some(failure.code.to_string()),
                _ => (*state == State::Cancelled).then(|| "canceled".to_owned()),
            };
        }
        Act::Skipped(reason) => {
            (due.action, details.new_status) = (AuditAction::Skip, State::Skipped);
            details.reason = Some(reason.as_str().to_owned());
        }
        Act::Rescued(state) => {
            (due.action, details.new_status) = (AuditAction::Rescue, state);
            let reason = if state == State::Cancelled { "canceled" } else { "stale_timeout" };
            details.reason = Some(reason.to_owned());
        }
        Act::Cancelled(Cancelled::Now) => {
            (due.action, due.actor) = (AuditAction::Cancel, operator(track, step));
            (details.new_status, details.reason) = (State::Cancelled, Some("canceled".to_owned()));
        }
        Act::Cancelled(Cancelled::Requested) if !was.is_cancel_requested => {
            (due.action, due.actor) = (AuditAction::CancelRequest, operator(track, step));
            details.new_status = State::Running;
        }
        Act::Requeued(generation) => {
            (due.action, due.actor) = (AuditAction::Requeue, operator(track, step));
            (due.generation, details.attempts) = (generation, 0);
        }
        Act::Removed(remover) => {
            due.action = AuditAction::Delete;
            if remover == Remover::Operator {
                due.actor = operator(track, step);
            }
            details.new_status = match was.stage {
                Stage::Ended(state) => state,
                _ => State::Cancelled,
            };
        }
        _ => return None,
    }
    Some(due)
}

fn state_of(stage: Stage) -> Option<State> {
    match stage {
        Stage::Absent => None,
        Stage::Waiting(state) | Stage::Ended(state) => Some(state),
        Stage::Held => Some(State::Running),
    }
}

fn settled(outcome: &Outcome, state: State) -> AuditAction {
    match (state, outcome) {
        (State::Succeeded, _) => AuditAction::Succeeded,
        (State::Retryable, _) => AuditAction::Retry,
        (State::Cancelled, _) => AuditAction::Cancel,
        (State::Scheduled, Outcome::Snoozed { .. }) => AuditAction::Snooze,
        (State::Scheduled, _) => AuditAction::Release,
        _ => AuditAction::Dead,
    }
}

/// Whether an operator made it.
fn is_trigger(track: &Track<'_>, step: &Step<'_>) -> bool {
    let What::Applied { request, .. } = &track.history.events[step.event].what else { return false };
    matches!(request.verb, Verb::TriggerJob(_))
}

/// Who the request says asked.
fn operator(track: &Track<'_>, step: &Step<'_>) -> Actor {
    let What::Applied { request, .. } = &track.history.events[step.event].what else { return Actor::system() };
    let name = match &request.verb {
        Verb::Cancel(verb) => verb.actor.as_ref(),
        Verb::Requeue(verb) => verb.actor.as_ref(),
        Verb::DeleteItems(verb) => verb.actor.as_ref(),
        Verb::TriggerJob(verb) => verb.actor.as_ref(),
        _ => None,
    };
    Actor::operator(name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tourbillon::{
        model::{Audit, AuditKey, OperatorName, Scope, SkipReason, State::*, transition},
        store::TriggerOutcome,
    };

    use super::{
        super::story::{Story, execution, incarnation, job},
        *,
    };

    /// An event of execution 1 at the story's present.
    fn told(story: &Story, action: AuditAction, place: (u64, u8), states: (Option<State>, State)) -> AuditEvent {
        let runs = matches!(action, AuditAction::Claim | AuditAction::Start | AuditAction::Succeeded);
        let reason = (action == AuditAction::Retry).then(|| "handler_error".to_owned());
        let key =
            AuditKey { execution: execution(1), generation: Generation::FIRST, fence: Fence(place.0), step: place.1 };
        AuditEvent {
            key,
            at: story.now(),
            job: job(),
            scope: Scope::global(),
            actor: if runs { Actor::runner(incarnation(0)) } else { Actor::system() },
            action,
            details: AuditDetails {
                old_status: states.0,
                new_status: states.1,
                attempts: 0,
                max_attempts: 3,
                reason,
            },
        }
    }

    /// Made, claimed, started, failed, with a log that says so.
    fn failed_once() -> Story {
        let mut story = Story::new();
        story.audit = Audit::All;
        story.wait(1).make(1);
        let mut log = vec![told(&story, AuditAction::Schedule, (0, 0), (None, Scheduled))];
        story.wait(1).run(1);
        log.push(told(&story, AuditAction::Claim, (1, 1), (Some(Scheduled), Running)));
        log.push(told(&story, AuditAction::Start, (1, 3), (Some(Running), Running)));
        story.wait(1).effect(1).handler_ends(1, tourbillon::runtime::HandlerEnd::Failed).fail(1, 5_000);
        log.push(told(&story, AuditAction::Retry, (1, 5), (Some(Running), Retryable)));
        log.iter_mut().skip(2).for_each(|event| event.details.attempts = 1);
        story.log = log;
        story
    }

    #[test]
    fn log_that_tells_every_transition_is_fine() {
        failed_once().end().is_fine();
    }

    #[test]
    fn missing_event_is_found() {
        for missing in 0..4 {
            let mut story = failed_once();
            story.log.remove(missing);
            story.end().flagged_by(&["G9"]);
        }
    }

    #[test]
    fn event_of_a_transition_that_did_not_happen_is_found() {
        let mut story = failed_once();
        // As when the event is committed and the transition is rolled back.
        let extra = told(&story, AuditAction::Succeeded, (1, 6), (Some(Running), Succeeded));
        story.log.push(extra);
        story.end().flagged_by(&["G9"]);
    }

    #[test]
    fn wrong_actor_instant_attempts_or_state_is_found() {
        let changes: [fn(&mut AuditEvent); 5] = [
            |event| event.actor = Actor::runner(incarnation(1)),
            |event| event.at = event.at.offset_micros(1),
            |event| event.details.attempts = 2,
            |event| event.details.old_status = Some(Scheduled),
            |event| event.details.reason = None,
        ];
        for change in changes {
            let mut story = failed_once();
            story.log.last_mut().into_iter().for_each(change);
            story.end().flagged_by(&["G9"]);
        }
    }

    #[test]
    fn row_that_is_not_audited_must_tell_nothing() {
        let mut story = Story::new();
        story.wait(1).make(1);
        story.log = vec![told(&story, AuditAction::Schedule, (0, 0), (None, Scheduled))];
        story.end().flagged_by(&["G9"]);
    }

    #[test]
    fn exceptions_leave_the_rest_untold() {
        let mut story = Story::new();
        story.audit = Audit::Exceptions;
        let rest = failed_once();
        story.wait(1).make(1).wait(1).run(1).wait(1).effect(1);
        story.handler_ends(1, tourbillon::runtime::HandlerEnd::Failed).fail(1, 5_000);
        story.log = vec![rest.log[3].clone()];
        story.end().is_fine();
    }

    #[test]
    fn events_of_nowhere_are_found() {
        let mut story = failed_once();
        let mut stray = told(&story, AuditAction::Schedule, (0, 0), (None, Scheduled));
        stray.key.execution = execution(9);
        story.log.push(stray);
        story.end().flagged_by(&["G9"]);
    }

    #[test]
    fn what_the_log_lacks_is_described() {
        let mut story = failed_once();
        story.log.pop();
        story.end().says("nothing, where job_retry at 2008-01-10T21:20:03Z by");
    }

    #[test]
    fn what_may_have_been_pruned_need_not_be_told() {
        let lacks = |missing| {
            let mut story = failed_once();
            story.wait(97).prune(98_000).log.remove(missing);
            story.end();
            story
        };
        lacks(0).is_fine();
        lacks(1).flagged_by(&["G9"]);
    }

    fn operator(name: &str) -> OperatorName {
        OperatorName::new(name).unwrap()
    }

    /// Execution 1, made a second ago; what made it is told.
    fn item() -> Story {
        let mut story = Story::new();
        story.audit = Audit::All;
        story.enqueue_within(9, &[1], None);
        story.log = vec![told(&story, AuditAction::Schedule, (0, 0), (None, Scheduled))];
        story.wait(1);
        story
    }

    /// Whoever asked for the last request is called that, and the log tells what came of it as one by `actor`.
    fn asked(mut story: Story, actor: &str, due: impl FnOnce(&Story) -> AuditEvent) -> Story {
        let asks = Some(operator("ann"));
        story.forge(|verb, _| match verb {
            Verb::Cancel(verb) => verb.actor = asks,
            Verb::Requeue(verb) => verb.actor = asks,
            Verb::DeleteItems(verb) => verb.actor = asks,
            Verb::TriggerJob(verb) => verb.actor = asks,
            _ => unreachable!("nobody asks for that by name"),
        });
        let mut due = due(&story);
        due.actor = Actor::operator(Some(&operator(actor)));
        story.log.push(due);
        story.end();
        story
    }

    #[test]
    fn what_an_operator_does_is_told_with_their_name() {
        type Case = (fn() -> Story, fn(&Story) -> AuditEvent);
        let cases: [Case; 4] = [
            (
                || {
                    let mut story = item();
                    story.cancel(1, transition::Cancelled::Now);
                    story
                },
                |story| {
                    let mut due = told(story, AuditAction::Cancel, (0, 1), (Some(Scheduled), Cancelled));
                    due.details.reason = Some("canceled".to_owned());
                    due
                },
            ),
            (
                || {
                    let mut story = item();
                    story.cancel(1, transition::Cancelled::Now);
                    let mut due = told(&story, AuditAction::Cancel, (0, 1), (Some(Scheduled), Cancelled));
                    (due.actor, due.details.reason) = (Actor::operator(None), Some("canceled".to_owned()));
                    story.log.push(due);
                    story.wait(1).requeue(1, 2);
                    story
                },
                |story| {
                    let mut due = told(story, AuditAction::Requeue, (0, 0), (Some(Cancelled), Scheduled));
                    due.key.generation = Generation(2);
                    due
                },
            ),
            (
                || {
                    let mut story = item();
                    story.delete(1);
                    story
                },
                |story| told(story, AuditAction::Delete, (0, 1), (Some(Scheduled), Cancelled)),
            ),
            (
                || {
                    let mut story = Story::new();
                    story.audit = Audit::All;
                    story.trigger_as(1, TriggerOutcome::Triggered);
                    story
                },
                |story| told(story, AuditAction::Trigger, (0, 0), (None, Scheduled)),
            ),
        ];
        for (tell, due) in cases {
            asked(tell(), "ann", due).is_fine();
            asked(tell(), "bob", due).flagged_by(&["G9"]);
        }
    }

    #[test]
    fn a_cleaning_is_told_as_the_systems_with_the_state_of_what_it_took() {
        let cleaned = |change: fn(&mut AuditEvent)| {
            let mut story = item();
            story.skip(1, SkipReason::Expired);
            let mut skipped = told(&story, AuditAction::Skip, (0, 1), (Some(Scheduled), Skipped));
            skipped.details.reason = Some("expired".to_owned());
            story.wait(1).clean(1);
            let mut due = told(&story, AuditAction::Delete, (0, 2), (Some(Skipped), Skipped));
            change(&mut due);
            story.log.extend([skipped, due]);
            // That it expires is in its request.
            story.history.events.iter_mut().for_each(|event| {
                if let What::Applied { request, .. } = &mut event.what
                    && let Verb::Enqueue(enqueue) = &mut Arc::make_mut(request).verb
                {
                    enqueue.items[0].ttl_ms = Some(500);
                }
            });
            story.end();
            story
        };
        cleaned(|_| {}).is_fine();
        cleaned(|due| due.actor = Actor::operator(None)).flagged_by(&["G9"]);
        cleaned(|due| due.details.new_status = Cancelled).flagged_by(&["G9"]);
    }
}
