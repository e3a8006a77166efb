//! An event in a few words, and what sort it is. Tells, and judges nothing.

use serde_json::Value;
use tourbillon::{
    model::{Outcome, transition::Refusal},
    store::{EnqueueOutcome, PlanOutcome, Reply, Request, Verb},
};

use super::{
    PointKind,
    subject::{Subjects, short},
};
use crate::history::{Answer, CallAnswer, CrashKind, Phase, ShutdownOutcome, Stage, What};

/// Longest text that an event brings along, in characters: notes and panics may be of any length.
const LONGEST: usize = 160;

/// The sort of an event, and its words.
pub(super) fn label(what: &What, names: &mut Subjects) -> (PointKind, String) {
    match what {
        What::Applied { request, result, .. } => match result {
            Ok(reply) => applied(request, reply, names),
            Err(error) => (PointKind::Refused, format!("{}: {error}", request.verb.name())),
        },
        What::ApplicationApplied { request, result, changes, .. } => {
            let verb = cut(&request.verb.to_string());
            match &**result {
                Ok(_) if changes.is_empty() => (PointKind::Idle, verb),
                Ok(_) => (PointKind::Applied, format!("{verb}, changes {}", changes.len())),
                Err(error) => (PointKind::Refused, format!("{verb}: {error}")),
            }
        }
        What::Invoked { verb, .. } => (PointKind::Invoked, format!("asks {verb}")),
        What::Answered { verb, answer: Answer::Reply, .. } => (PointKind::Answered, format!("{verb} answered")),
        What::Answered { verb, answer: Answer::Error(kind, message), .. } => {
            (PointKind::Failed, format!("{verb}: {}: {}", kind.as_str(), cut(message)))
        }
        What::HandlerStarted { .. }
        | What::HandlerEnded { .. }
        | What::TickStarted { .. }
        | What::TickEnded { .. }
        | What::LeaderGained { .. }
        | What::LeaderLost { .. }
        | What::Staged { .. } => work(what, names),
        What::EffectSent { .. } | What::EffectReceived { .. } | What::CallReceived { .. } => effect(what, names),
        _ => surroundings(what),
    }
}

fn work(what: &What, names: &mut Subjects) -> (PointKind, String) {
    let text = match what {
        What::HandlerStarted { lease, attempt, .. } => {
            format!("attempt {attempt} starts, fence {}: {}", lease.fence, names.name_of(lease.id))
        }
        What::HandlerEnded { lease, end, .. } => format!("attempt ends: {}: {}", word(end), names.name_of(lease.id)),
        What::TickStarted { service, under: Some((lock, epoch)), .. } => {
            format!("tick of {service} starts under {lock}, epoch {epoch}")
        }
        What::TickStarted { service, .. } => format!("tick of {service} starts"),
        What::TickEnded { end, .. } => format!("tick ends: {}", word(end)),
        What::LeaderGained { lock, epoch, .. } => match epoch {
            Some(epoch) => format!("believes to lead {lock}, epoch {epoch}"),
            None => format!("believes to lead {lock}"),
        },
        What::LeaderLost { lock, .. } => format!("no longer believes to lead {lock}"),
        What::Staged { row, unit, stage, .. } => format!("{row}, {unit}: {}", stage_name(*stage)),
        _ => String::new(),
    };
    (PointKind::Handler, text)
}

fn effect(what: &What, names: &mut Subjects) -> (PointKind, String) {
    match what {
        What::EffectSent { effect, .. } => {
            (PointKind::Effect, format!("sends `{}`, fence {}, attempt {}", effect.key, effect.fence, effect.attempt))
        }
        What::EffectReceived { effect, accepted } => {
            let (kind, verdict) =
                if *accepted { (PointKind::Received, "has") } else { (PointKind::Rejected, "refuses") };
            (kind, format!("{verdict} `{}`, fence {}, attempt {}", effect.key, effect.fence, effect.attempt))
        }
        What::CallReceived { call, answer, incarnation } => {
            let kind = if *answer == CallAnswer::Done { PointKind::Received } else { PointKind::Rejected };
            (kind, format!("`{}` of {}: {}", call.key, names.runner(*incarnation), word(answer)))
        }
        _ => (PointKind::Other, String::new()),
    }
}

fn surroundings(what: &What) -> (PointKind, String) {
    use PointKind::{Clock, Fault, Other, Panic, Process};
    match what {
        What::Began { facts } => (Process, format!("{}, seed {}, begins", facts.scenario, facts.seed)),
        What::PhaseBegan { phase } => (Process, format!("phase: {}", phase_name(*phase))),
        What::Booted { incarnation } => (Process, format!("boots as {}", short(incarnation))),
        What::Deployed { version, .. } => (Process, format!("runs version {version}")),
        What::Crashed { kind: CrashKind::Polite, .. } => (Process, "ends at once, with goodbyes".to_owned()),
        What::Crashed { kind: CrashKind::PowerLoss, .. } => (Process, "loses power".to_owned()),
        What::ShutdownBegan { grace_ms, .. } => (Process, format!("shuts down within {grace_ms} ms")),
        What::ShutdownEnded { outcome: ShutdownOutcome::Ok, .. } => (Process, "shutdown ends: ok".to_owned()),
        What::ShutdownEnded { outcome: ShutdownOutcome::Timeout(left), .. } => {
            (Process, format!("shutdown ends: {} may still run", left.len()))
        }
        What::Paused => (Process, "stands still".to_owned()),
        What::Resumed => (Process, "goes on".to_owned()),
        What::Struck { kind, replica, .. } => (Fault, format!("{kind} strikes a message of replica-{replica}")),
        What::FaultBegan { kind, detail } => (Fault, format!("{kind} {detail}")),
        What::FaultEnded { kind } => (Fault, format!("{kind} ends")),
        What::FailedOver { lost } => (Fault, format!("fails over, {} commits are lost", lost.len())),
        What::ClockSet { offset_us, drift_ppm } => {
            (Clock, format!("wall clock off by {:.3} s, drift {drift_ppm} ppm", *offset_us as f64 / 1e6))
        }
        What::Panicked { message } => (Panic, format!("panic: {}", cut(message))),
        What::Strayed { tasks } => (Panic, format!("{tasks} tasks strayed from the spawner")),
        What::Noted { note, .. } => (Other, cut(&note.to_string())),
        What::ApplicationEnded { .. } => (Other, "the application's tables at the end".to_owned()),
        What::Ended { state } => (Process, format!("the end: {} executions", state.executions.len())),
        // The others were told before.
        _ => (Other, String::new()),
    }
}

/// What the database did, by its own reply.
fn applied(request: &Request, reply: &Reply, names: &mut Subjects) -> (PointKind, String) {
    let verb = request.verb.name();
    let (changed, text) = match (&request.verb, reply) {
        (Verb::Claim(_), Reply::Claimed(claimed)) => {
            let skips = some(claimed.skipped.len(), "skips");
            let taken = claimed.executions.len();
            (taken > 0 || !claimed.skipped.is_empty(), format!("claim: takes {}{skips}", number(taken)))
        }
        (Verb::Plan(_), Reply::Planned(planned)) => {
            let made: Vec<_> = planned.outcomes.iter().map(made).collect();
            let moved = made.iter().flatten().count();
            let slots: usize = made.iter().flatten().sum();
            (moved > 0, format!("plan: {slots} slots, {moved} of {} cursors move", made.len()))
        }
        (Verb::Enqueue(_), Reply::Enqueued(enqueued)) => {
            let made = enqueued.outcomes.iter().filter(|outcome| matches!(outcome, EnqueueOutcome::Enqueued(_)));
            let made = made.count();
            (made > 0, format!("enqueue: {made} of {}", enqueued.outcomes.len()))
        }
        (Verb::Start(_), Reply::Started(started)) => tally("start", &started.outcomes),
        (Verb::Heartbeat(_), Reply::Renewed(renewed)) => tally("heartbeat", &renewed.outcomes),
        (Verb::Settle(settle), Reply::Settled(settled)) => {
            let (changed, text) = tally("settle", &settled.outcomes);
            match settle.settlements.as_slice() {
                [one] => (changed, format!("{text}, {}", outcome_name(&one.outcome))),
                _ => (changed, text),
            }
        }
        (Verb::Rescue(_), Reply::Rescued(rescued)) => {
            let clamped = rescued.clamped.len() + rescued.clamped_locks.len();
            let ended = rescued.ended.len();
            (ended + clamped > 0, format!("rescue: ends {}{}", number(ended), some(clamped, "clamps")))
        }
        (Verb::AcquireLock(lock), Reply::LockTried(tried)) => match &tried.outcome {
            Ok(held) => (true, format!("{} taken, epoch {}", lock.name, held.epoch)),
            Err(by) => (false, format!("{} is held by {}, epoch {}", lock.name, names.runner(by.holder), by.epoch)),
        },
        (Verb::RenewLock(renew), Reply::LockRenewed(renewed)) => {
            let how = if renewed.outcome.is_ok() { "renewed" } else { "not renewed: lost" };
            (renewed.outcome.is_ok(), format!("{} {how}, epoch {}", renew.lock.name, renew.lock.epoch))
        }
        (Verb::ReleaseLock(release), Reply::LockReleased(released)) => {
            let how = if released.outcome.is_ok() { "released" } else { "not released: lost" };
            (released.outcome.is_ok(), format!("{} {how}, epoch {}", release.lock.name, release.lock.epoch))
        }
        (
            Verb::ReadClock(_)
            | Verb::ReadCursors(_)
            | Verb::ReadDue(_)
            | Verb::ReadStats(_)
            | Verb::ReadQueueStats(_)
            | Verb::ListExecutions(_)
            | Verb::ListSkipped(_)
            | Verb::ListAudit(_)
            | Verb::ListLocks(_)
            | Verb::ListItems(_),
            _,
        ) => (false, verb.to_owned()),
        _ => (true, verb.to_owned()),
    };
    (if changed { PointKind::Applied } else { PointKind::Idle }, text)
}

/// How many slots a plan made of one cursor, if it moved it.
fn made(outcome: &PlanOutcome) -> Option<usize> {
    match outcome {
        PlanOutcome::Made(ids) => Some(ids.len()),
        PlanOutcome::ScheduleChanged => Some(0),
        _ => None,
    }
}

fn tally<T>(verb: &str, outcomes: &[Result<T, Refusal>]) -> (bool, String) {
    let ok = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    (ok > 0, format!("{verb}: {}{}", number(ok), some(outcomes.len() - ok, "refuses")))
}

fn number(count: usize) -> String {
    if count == 0 { "nothing".to_owned() } else { count.to_string() }
}

fn some(count: usize, verb: &str) -> String {
    if count == 0 { String::new() } else { format!(", {verb} {count}") }
}

const fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded { .. } => "succeeded",
        Outcome::Failed { .. } => "failed",
        Outcome::Released => "released",
        Outcome::Snoozed { .. } => "snoozed",
        Outcome::Cancelled { .. } => "cancelled",
    }
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Chaos => "chaos",
        Phase::PartialHeal => "partial heal",
        Phase::Heal => "heal",
    }
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Begun => "begun",
        Stage::Sent => "effect under way",
        Stage::Landed => "effect landed",
        Stage::Marking => "about to be marked",
        Stage::Ended => "ended",
    }
}

/// A variant's name as a history spells it, in words.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name.replace('_', " "),
        _ => String::new(),
    }
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(LONGEST).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}
