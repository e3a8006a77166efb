//! What the database committed, in order, so that a fail-over can go back to before. Owns which entries are lost;
//! applies nothing.

use tourbillon::{
    model::Timestamp,
    store::{PlanOutcome, Reply},
};

use super::wire::{Answered, Asked, Told};

/// The log of verbs: whatever may have changed something.
#[derive(Default)]
pub(super) struct Commits(Vec<Commit>);

struct Commit {
    now: Timestamp,
    asked: Asked,
    /// What the history says of it.
    events: Vec<usize>,
    /// Surely changed something: it counts as a commit that can be lost.
    counts: bool,
}

impl Commits {
    pub(super) fn add(&mut self, now: Timestamp, asked: Asked, events: Vec<usize>, told: &Told) {
        let changes_nothing = match &asked {
            Asked::Store(request) => told.is_err() || is_read(request.verb.name()),
            // The store's part may have been applied although the whole was refused.
            Asked::Application(request) => told.is_err() && request.with.is_none(),
            Asked::Listen | Asked::Probe => true,
        };
        if !changes_nothing {
            self.0.push(Commit { now, asked, events, counts: told.as_ref().is_ok_and(wrote) });
        }
    }

    /// Forgets the newest commits, so many of them, and all that came after the oldest of those; returns what the
    /// history says of what is lost, in order.
    pub(super) fn lose(&mut self, commits: u32) -> Vec<usize> {
        let mut left = commits;
        let mut keep = self.0.len();
        while left > 0 && keep > 0 {
            keep -= 1;
            left -= u32::from(self.0[keep].counts);
        }
        self.0.drain(keep..).flat_map(|lost| lost.events).collect()
    }

    /// What is kept, to be carried out again.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Timestamp, &Asked)> {
        self.0.iter().map(|commit| (commit.now, &commit.asked))
    }
}

fn is_read(verb: &str) -> bool {
    verb.starts_with("read_") || verb.starts_with("list_")
}

fn wrote(answered: &Answered) -> bool {
    match answered {
        Answered::Store(Reply::Planned(planned)) => {
            planned.outcomes.iter().any(|outcome| matches!(outcome, PlanOutcome::Made(_)))
        }
        Answered::Store(Reply::Claimed(claimed)) => !claimed.executions.is_empty() || !claimed.skipped.is_empty(),
        Answered::Store(Reply::Started(started)) => started.outcomes.iter().any(Result::is_ok),
        Answered::Store(Reply::Renewed(renewed)) => renewed.outcomes.iter().any(Result::is_ok),
        Answered::Store(Reply::Settled(settled)) => settled.outcomes.iter().any(Result::is_ok),
        Answered::Store(Reply::Rescued(rescued)) => !rescued.ended.is_empty() || !rescued.clamped.is_empty(),
        Answered::Store(Reply::Migrated(migrated)) => migrated.from < migrated.to,
        Answered::Store(_) | Answered::Application(_) => true,
        Answered::Heard | Answered::Notice(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use tourbillon::{
        model::{Incarnation, RequestId, transition::Charge},
        store::{Claim, Claimed, ClockRead, Prune, Pruned, ReadClock, Request, Verb},
    };
    use uuid::Uuid;

    use super::*;

    fn commits(verbs: impl IntoIterator<Item = (Verb, Reply)>) -> Commits {
        let mut commits = Commits::default();
        for (event, (verb, reply)) in verbs.into_iter().enumerate() {
            let asked = Asked::Store(Request { id: RequestId(Uuid::nil()), verb }.into());
            commits.add(Timestamp::EPOCH, asked, vec![event], &Ok(Answered::Store(reply)));
        }
        commits
    }

    fn write() -> (Verb, Reply) {
        let prune = Prune { history_ms: 0, receipts_ms: 0, edits_ms: u64::MAX, limit: 1 };
        (prune.into(), Reply::Pruned(Pruned { executions: 1, ..Pruned::default() }))
    }

    fn read() -> (Verb, Reply) {
        (ReadClock {}.into(), Reply::ClockRead(ClockRead { now: Timestamp::EPOCH }))
    }

    #[test]
    fn the_newest_commits_are_lost_and_reads_do_not_count() {
        let mut log = commits([write(), write(), read(), write(), read()]);
        assert_eq!(log.lose(2), [1, 3]);
        assert_eq!((log.iter().count(), log.lose(5), log.lose(1)), (1, vec![0], vec![]));
    }

    /// It may have left a receipt, which a repetition would find.
    #[test]
    fn what_changed_nothing_is_lost_with_what_came_before() {
        let runner = Incarnation(Uuid::nil());
        let claim = Claim { runner, jobs: Vec::new(), limit: 1, charge: Charge::AtStart, rate: None };
        let empty = Reply::Claimed(Claimed {
            now: Timestamp::EPOCH,
            executions: Vec::new(),
            skipped: Vec::new(),
            next_at: None,
        });
        let mut log = commits([write(), write(), (claim.into(), empty)]);
        assert_eq!(log.lose(1), [1, 2]);
    }
}
