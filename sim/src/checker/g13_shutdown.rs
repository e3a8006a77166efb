//! G13: a shutdown that says `Ok` means that nothing of the process runs any more and that each interrupted row was
//! given back uncharged, or is dead where it may not be repeated; one that says otherwise names what may
//! still run. Rows that waited in the process for a worker it tried to give back (D9).

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::{Incarnation, LeaseRef, Outcome, Reentry, RequestId, Retry, transition::Refusal},
    runtime::{HandlerEnd, TickEnd},
    store::{Reply, Verb},
};

use super::{
    Findings,
    docket::Docket,
    topic::Topic,
    track::{self, Track},
};
use crate::history::{Answer, ShutdownOutcome, What};

#[derive(Default)]
struct Process {
    /// Charged, as it was told; neither run nor given back.
    waiting: BTreeMap<LeaseRef, usize>,
    running: BTreeMap<LeaseRef, usize>,
    interrupted: BTreeMap<LeaseRef, usize>,
    ticking: BTreeMap<RequestId, usize>,
    /// A tick that was interrupted: nothing does the rest of it.
    cut_short: Option<usize>,
    /// Event of the shutdown that said `Ok`.
    stopped: Option<usize>,
}

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G13");
    let mut processes: BTreeMap<Incarnation, Process> = BTreeMap::new();
    let mut given_back: BTreeSet<LeaseRef> = BTreeSet::new();
    // Leases that a request charged.
    let mut charged: BTreeMap<RequestId, Vec<LeaseRef>> = BTreeMap::new();
    for (index, event) in track.about(Topic::CALLS_AND_OTHER) {
        match &event.what {
            What::Applied { request, result: Ok(reply), .. } => {
                charged.insert(request.id, track::charged(request, reply));
                if let (Verb::Settle(settle), Reply::Settled(settled)) = (&request.verb, reply) {
                    for (one, outcome) in settle.settlements.iter().zip(&settled.outcomes) {
                        // A row that somebody else has taken meanwhile cannot be given back, and need not be.
                        let is_done = matches!(outcome, Ok(_) | Err(Refusal::LeaseLost));
                        sometimes!(
                            "what another took cannot be given back",
                            matches!(outcome, Err(Refusal::LeaseLost))
                        );
                        if is_done && may_end_so(track, &one.lease, &one.outcome) {
                            given_back.insert(one.lease);
                        }
                    }
                }
            }
            What::Invoked { incarnation, verb, leases, .. } => {
                quiet(&mut docket, &processes, *incarnation, index, || format!("sent a {verb}"));
                if verb == "settle" {
                    let process = processes.entry(*incarnation).or_default();
                    process.waiting.retain(|lease, _| !leases.contains(lease));
                }
            }
            What::Answered { incarnation, request, answer: Answer::Reply, .. } => {
                let leases = charged.remove(request).unwrap_or_default();
                let process = processes.entry(*incarnation).or_default();
                process.waiting.extend(leases.into_iter().map(|lease| (lease, index)));
            }
            What::EffectSent { incarnation, effect } => quiet(&mut docket, &processes, *incarnation, index, || {
                format!("sent an effect of execution {}, fence {}", effect.execution, effect.fence)
            }),
            What::HandlerStarted { incarnation, lease, .. } => {
                quiet(&mut docket, &processes, *incarnation, index, || {
                    format!("started a handler of execution {} under token {}", lease.id, lease.token)
                });
                let process = processes.entry(*incarnation).or_default();
                process.waiting.remove(lease);
                process.running.insert(*lease, index);
            }
            What::HandlerEnded { incarnation, lease, end } => {
                let process = processes.entry(*incarnation).or_default();
                process.running.remove(lease);
                // It may be lost before its handler begins.
                process.waiting.remove(lease);
                if *end == HandlerEnd::Interrupted {
                    process.interrupted.insert(*lease, index);
                }
            }
            What::TickStarted { incarnation, tick, service, .. } => {
                quiet(&mut docket, &processes, *incarnation, index, || format!("began a tick of service {service}"));
                processes.entry(*incarnation).or_default().ticking.insert(*tick, index);
            }
            What::TickEnded { incarnation, tick, end } => {
                let process = processes.entry(*incarnation).or_default();
                process.ticking.remove(tick);
                if *end == TickEnd::Interrupted {
                    process.cut_short = Some(index);
                }
            }
            What::ShutdownEnded { incarnation, outcome: ShutdownOutcome::Ok } => {
                let process = processes.entry(*incarnation).or_default();
                process.stopped = Some(index);
                stopped(&mut docket, process, *incarnation, index, &given_back);
            }
            What::ShutdownEnded { incarnation, outcome: ShutdownOutcome::Timeout(names) } => {
                docket.demand(!names.is_empty(), &[index], || {
                    format!("the shutdown of {incarnation} timed out and names nothing that may still run")
                });
            }
            _ => {}
        }
    }
    docket.close()
}

/// What an interrupted attempt may become: given back, or dead where re-entry is forbidden, as under at-most-once
/// delivery.
fn may_end_so(track: &Track<'_>, lease: &LeaseRef, outcome: &Outcome) -> bool {
    let policy = track.row_at(lease.id).and_then(|row| track.rows[row].policy);
    match policy.map(|policy| policy.reentry) {
        Some(Reentry::Forbid) => matches!(outcome, Outcome::Released | Outcome::Failed { retry: Retry::Never, .. }),
        _ => *outcome == Outcome::Released,
    }
}

fn quiet(
    docket: &mut Docket,
    processes: &BTreeMap<Incarnation, Process>,
    incarnation: Incarnation,
    event: usize,
    what: impl FnOnce() -> String,
) {
    let stopped = processes.get(&incarnation).and_then(|process| process.stopped);
    docket.demand(stopped.is_none(), &[stopped.unwrap_or(event), event], || {
        format!("{incarnation} {} after its shutdown said ok", what())
    });
}

fn stopped(
    docket: &mut Docket,
    process: &Process,
    incarnation: Incarnation,
    event: usize,
    given_back: &BTreeSet<LeaseRef>,
) {
    let running = process.running.iter().next();
    docket.demand(running.is_none(), &[running.map_or(event, |(_, started)| *started), event], || {
        let lease =
            running.map_or_else(String::new, |(lease, _)| format!(" {} under token {}", lease.id, lease.token));
        format!("the shutdown of {incarnation} said ok while a handler ran of execution{lease}")
    });
    let ticking = process.ticking.values().next();
    docket.demand(ticking.is_none(), &[ticking.copied().unwrap_or(event), event], || {
        format!("the shutdown of {incarnation} said ok while a tick ran")
    });
    docket.demand(process.cut_short.is_none(), &[process.cut_short.unwrap_or(event), event], || {
        format!("the shutdown of {incarnation} said ok, and had interrupted a tick")
    });
    let waiting = process.waiting.iter().next();
    docket.demand(waiting.is_none(), &[waiting.map_or(event, |(_, charged)| *charged), event], || {
        let id = waiting.map_or_else(String::new, |(lease, _)| lease.id.to_string());
        format!("the shutdown of {incarnation} said ok; execution {id}, which waited for a worker, was kept")
    });
    for (lease, ended) in &process.interrupted {
        docket.demand(given_back.contains(lease), &[*ended, event], || {
            let (id, token) = (lease.id, lease.token);
            format!(
                "the shutdown of {incarnation} said ok; execution {id}, interrupted under token {token}, was kept"
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use tourbillon::{
        model::{Outcome, Reentry, Retry},
        runtime::{HandlerEnd, TickEnd},
    };

    use super::super::story::{Story, failed};
    use crate::history::ShutdownOutcome;

    fn timeout(names: &[&str]) -> ShutdownOutcome {
        ShutdownOutcome::Timeout(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn interrupted() -> Story {
        let mut story = Story::new();
        story.make(1).run(1).handler_ends(1, HandlerEnd::Interrupted);
        story
    }

    #[test]
    fn ok_means_given_back_and_quiet() {
        let mut story = interrupted();
        story.settle(1, Outcome::Released).shut_down(ShutdownOutcome::Ok).wait(1).by(1).run(1);
        story.is_fine();
    }

    #[test]
    fn nothing_follows_an_ok() {
        let acts: [fn(&mut Story); 3] =
            [|story| _ = story.invoke("claim", &[]), |story| _ = story.handler(1), |story| _ = story.send(1)];
        for act in acts {
            let mut story = Story::new();
            story.make(1).claim(1).start(1).settle(1, Outcome::Released).shut_down(ShutdownOutcome::Ok);
            story.is_fine();
            act(&mut story);
            story.flagged_by(&["G13"]);
        }
        let mut story = Story::of_a_service();
        story.acquire(1).shut_down(ShutdownOutcome::Ok).tick_starts(1);
        story.flagged_by(&["G13"]);
    }

    #[test]
    fn ok_leaves_no_handler_running() {
        let mut story = Story::new();
        story.make(1).run(1).shut_down(ShutdownOutcome::Ok);
        story.flagged_by(&["G13"]);
        let mut story = Story::new();
        story.make(1).run(1).shut_down(timeout(&["job"]));
        story.is_fine();
    }

    #[test]
    fn what_was_interrupted_is_given_back() {
        let mut story = interrupted();
        story.shut_down(ShutdownOutcome::Ok);
        story.flagged_by(&["G13"]);
        let mut story = interrupted();
        story.shut_down(timeout(&["job"]));
        story.is_fine();
    }

    /// Zoo D9.
    #[test]
    fn what_waited_for_a_worker_is_given_back() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).shut_down(ShutdownOutcome::Ok);
        story.flagged_by(&["G13"]);
        let mut story = Story::new();
        story.make(1).claim(1).start(1).settle(1, Outcome::Released).shut_down(ShutdownOutcome::Ok);
        story.is_fine();
        let mut story = Story::new();
        story.make(1).claim(1).unheard().start(1).shut_down(ShutdownOutcome::Ok);
        story.is_fine();
    }

    #[test]
    fn what_may_not_run_again_may_be_dead_when_it_is_interrupted_and_nothing_else_may() {
        let forbidden = || {
            let mut story = Story::with(|facts| facts.jobs[0].reentry = Reentry::Forbid);
            story.make(1).run(1).handler_ends(1, HandlerEnd::Interrupted);
            story
        };
        let mut story = forbidden();
        story.settle(1, failed(Retry::Never)).shut_down(ShutdownOutcome::Ok);
        story.is_fine();
        let mut story = interrupted();
        story.settle(1, failed(Retry::Never)).shut_down(ShutdownOutcome::Ok);
        story.flagged_by(&["G13"]);
    }

    #[test]
    fn ok_means_that_no_tick_runs_or_was_cut_short() {
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).tick_ends(1).release(1).shut_down(ShutdownOutcome::Ok);
        story.is_fine();
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).shut_down(ShutdownOutcome::Ok);
        story.flagged_by(&["G13"]);
        let mut story = Story::of_a_service();
        story.acquire(1).tick_starts(1).tick_ends_as(1, TickEnd::Interrupted).shut_down(ShutdownOutcome::Ok);
        story.flagged_by(&["G13"]);
    }

    #[test]
    fn a_timeout_names_what_may_still_run() {
        let mut story = Story::new();
        story.shut_down(timeout(&[]));
        story.flagged_by(&["G13"]);
    }
}
