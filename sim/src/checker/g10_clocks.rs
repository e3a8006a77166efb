//! G10: no stored decision uses a replica's wall clock. Within one history: every instant that an answer decides by
//! is the database clock at the moment of apply. Over a pair that differs in replicas' wall offsets only: the
//! applied logs are equal ([`same_decisions`]).

use tourbillon::{
    model::{Execution, Timestamp},
    store::{Reply, Verb},
};

use super::{Findings, docket::Docket, track::Track};
use crate::history::{History, What};

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G10");
    for (event, now, request, reply) in track.applied() {
        if let Some(said) = answered_now(reply) {
            docket.demand(said == now, &[event], || {
                let (verb, id) = (request.verb.name(), request.id);
                format!("{verb} {id} was decided at {said}, when the database clock showed {now}")
            });
        }
        if let (Verb::Claim(_), Reply::Claimed(claimed)) = (&request.verb, reply) {
            for row in &claimed.executions {
                let holds = claim_instants(row).into_iter().flatten().all(|at| at == now);
                docket.demand(holds, &[event], || {
                    let (row, lease) = (row.id, &row.lease);
                    format!("execution {row} was claimed at {now} with other instants: {lease:?}")
                });
            }
        }
    }
    docket.close()
}

fn claim_instants(row: &Execution) -> [Option<Timestamp>; 3] {
    let lease = row.lease.as_ref();
    [lease.map(|lease| lease.claimed_at), lease.map(|lease| lease.heartbeat_at), Some(row.updated_at)]
}

fn answered_now(reply: &Reply) -> Option<Timestamp> {
    match reply {
        Reply::ClockRead(reply) => Some(reply.now),
        Reply::CursorsRead(reply) => Some(reply.now),
        Reply::DueRead(reply) => Some(reply.now),
        Reply::Planned(reply) => Some(reply.now),
        Reply::Enqueued(reply) => Some(reply.now),
        Reply::Claimed(reply) => Some(reply.now),
        Reply::Started(reply) => Some(reply.now),
        Reply::Renewed(reply) => Some(reply.now),
        Reply::Settled(reply) => Some(reply.now),
        Reply::Rescued(reply) => Some(reply.now),
        Reply::ExecutionPage(reply) => Some(reply.now),
        Reply::Stats(reply) => Some(reply.now),
        Reply::LockTried(reply) => Some(reply.now),
        Reply::LockRenewed(reply) => Some(reply.now),
        Reply::LockReleased(reply) => Some(reply.now),
        Reply::LockPage(reply) => Some(reply.now),
        Reply::ItemPage(reply) => Some(reply.now),
        Reply::JobPage(reply) => Some(reply.now),
        Reply::JobPaused(reply) => Some(reply.now),
        Reply::JobResumed(reply) => Some(reply.now),
        Reply::JobTriggered(reply) => Some(reply.now),
        Reply::SchedulePut(reply) => Some(reply.now),
        Reply::ScheduleRemoved(reply) => Some(reply.now),
        Reply::SchedulePage(reply) => Some(reply.now),
        Reply::PausePage(reply) => Some(reply.now),
        Reply::ScopePage(reply) => Some(reply.now),
        Reply::RecentPage(reply) => Some(reply.now),
        Reply::QueueStats(reply) => Some(reply.now),
        Reply::ItemUpdated(reply) => Some(reply.now),
        Reply::ItemsDeleted(reply) => Some(reply.now),
        Reply::ItemsCleaned(reply) => Some(reply.now),
        Reply::Migrated(_)
        | Reply::Registered(_)
        | Reply::CancelOutcomes(_)
        | Reply::Requeued(_)
        | Reply::SkippedPage(_)
        | Reply::AuditPage(_)
        | Reply::Pruned(_) => None,
    }
}

/// Compares the applied logs of two runs that differ in nothing but replicas' wall clocks (G10): requests, database
/// clock and results, in order. At most one violation, at the first difference; its event index is one of `a`, or
/// the length of `a` when `a` ended first.
pub fn same_decisions(a: &History, b: &History) -> Findings {
    let mut docket = Docket::new("G10");
    let (mut left, mut right) = (applied(a), applied(b));
    let mut number = 0_usize;
    loop {
        let (one, other) = (left.next(), right.next());
        let is_equal = match (one, other) {
            (None, None) => break,
            (Some((_, one)), Some((_, other))) => one == other,
            _ => false,
        };
        let at = one.map_or(a.events.len(), |(index, _)| index);
        docket.demand(is_equal, &[at], || {
            format!(
                "applied request {number} differs: {} in the first history, {} in the second",
                describe(one),
                describe(other)
            )
        });
        if !is_equal {
            break;
        }
        number += 1;
    }
    docket.close()
}

fn applied(history: &History) -> impl Iterator<Item = (usize, &What)> {
    let events = history.events.iter().map(|event| &event.what).enumerate();
    events.filter(|(_, what)| matches!(what, What::Applied { .. }))
}

fn describe(applied: Option<(usize, &What)>) -> String {
    match applied {
        Some((index, What::Applied { request, now, result })) => {
            let (verb, id) = (request.verb.name(), request.id);
            let result = result.as_ref().map_or_else(ToString::to_string, |reply| format!("{reply:?}"));
            format!("{verb} {id} at {now} (event {index}) with {result}")
        }
        _ => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::story::{Story, failed},
        same_decisions,
    };
    use tourbillon::{
        model::Retry,
        store::{Reply, StoreError},
    };

    use crate::history::What;

    /// Zoo A2, A12.
    #[test]
    fn an_answer_decided_by_another_clock_is_found() {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).forge(|_, reply| {
            if let Reply::Started(started) = reply {
                started.now = started.now.offset_micros(-1);
            }
        });
        story.flagged_by(&["G10"]);
        let mut story = Story::new();
        story.make(1).claim(1).forge(|_, reply| {
            if let Reply::Claimed(claimed) = reply {
                let lease = claimed.executions[0].lease.as_mut().unwrap();
                lease.claimed_at = lease.claimed_at.offset_micros(-1);
            }
        });
        story.flagged_by(&["G10"]);
    }

    fn told(retry_ms: u64) -> Story {
        let mut story = Story::new();
        story.make(1).claim(1).start(1).wait(1).settle(1, failed(Retry::AfterMs(retry_ms))).wait(1).cancel_all();
        story
    }

    impl Story {
        fn cancel_all(&mut self) -> &mut Self {
            self.cancel(1, tourbillon::model::transition::Cancelled::Now)
        }
    }

    #[test]
    fn wall_offsets_decide_nothing() {
        let (a, mut b) = (told(10), told(10));
        b.drift(5);
        let last = b.history.events.pop().unwrap();
        b.history.events.insert(1, last);
        let findings = same_decisions(&a.history, &b.history);
        assert_eq!((findings.checks, findings.violations.len()), (5, 0));
    }

    #[test]
    fn the_first_difference_is_located() {
        let (a, mut b) = (told(10), told(11));
        let findings = same_decisions(&a.history, &b.history);
        assert_eq!(findings.checks, 4);
        let [violation] = &findings.violations[..] else { panic!("{findings:?}") };
        let What::Applied { request, .. } = &a.history.events[violation.events[0]].what else { panic!() };
        assert_eq!(request.verb.name(), "settle");
        assert!(violation.message.starts_with("applied request 3 differs: settle"), "{violation}");

        b.history.events.truncate(violation.events[0]);
        let findings = same_decisions(&b.history, &a.history);
        assert_eq!(findings.violations[0].events, [b.history.events.len()]);
    }

    #[test]
    fn results_are_compared_too() {
        let (a, mut b) = (told(10), told(10));
        let applied = b.history.events.iter_mut().rev().find_map(|event| match &mut event.what {
            What::Applied { result, .. } => Some(result),
            _ => None,
        });
        *applied.unwrap() = Err(StoreError::new(tourbillon::store::ErrorKind::Unavailable, "no"));
        assert_eq!(same_decisions(&a.history, &b.history).violations.len(), 1);
    }
}
