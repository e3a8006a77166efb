//! What a user expects of every run. Each expectation has a name, by which shrinking keeps to the same one; it reads a
//! record and accuses only of what the record shows.

use std::{collections::BTreeSet, fmt, time::Duration};

use tourbillon::model::State;

use super::record::{EffectSeen, Record};
use crate::{
    checker::{MAX_VIOLATIONS, Violation},
    history::CallAnswer,
};

/// What must hold of every run of a simulation, beside the guarantees.
///
/// Those of this module begin with [`effects`], [`slots`] and [`holds`]. One of your own reads the [`Record`]:
///
/// ```
/// use tourbillon_sim::prelude::*;
///
/// struct MailsInOrder;
///
/// impl Expectation for MailsInOrder {
///     fn name(&self) -> String {
///         "mails leave in the order of their slots".to_owned()
///     }
///
///     fn judge(&self, record: &Record<'_>, judgement: &mut Judgement) {
///         let mut last = None;
///         for effect in record.effects("smtp") {
///             let slot = record.attempt_of(effect).and_then(|attempt| attempt.slot_at);
///             judgement.demand(slot >= last, &[effect.event], || format!("{} came late", effect.key));
///             last = slot.max(last);
///         }
///     }
/// }
/// ```
pub trait Expectation: Send + Sync {
    /// One line for people. Two expectations of a simulation have different ones.
    fn name(&self) -> String;

    /// The receivers that it reads: a name that the simulation does not have is refused before anything is run.
    fn receivers(&self) -> Vec<String> {
        Vec::new()
    }

    /// The jobs and queues that it reads; likewise.
    fn jobs(&self) -> Vec<String> {
        Vec::new()
    }

    /// Reads a finished run. An expectation that demands nothing of any seed fails the check: it has tested nothing.
    fn judge(&self, record: &Record<'_>, judgement: &mut Judgement);
}

/// What an expectation found in a run.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    name: String,
    pub(super) checks: u64,
    pub(super) violations: Vec<Violation>,
}

impl Judgement {
    pub(super) fn of(expectation: &dyn Expectation, record: &Record<'_>) -> Self {
        let mut judgement = Self { name: expectation.name(), ..Self::default() };
        expectation.judge(record, &mut judgement);
        judgement
    }

    /// Counts one comparison. If it does not hold, `message` says what happened, in a sentence that a stranger
    /// understands, and `events` prove it: the last one completes the proof. The first hundred are kept.
    pub fn demand(&mut self, holds: bool, events: &[usize], message: impl FnOnce() -> String) {
        self.checks += 1;
        if holds || self.violations.len() >= MAX_VIOLATIONS {
            return;
        }
        let events: BTreeSet<_> = events.iter().copied().collect();
        self.violations.push(Violation {
            guarantee: self.name.clone(),
            message: message(),
            events: events.into_iter().collect(),
        });
    }
}

/// An expectation made of a name and a function.
///
/// ```
/// use tourbillon_sim::prelude::*;
///
/// let expectation = holds("no mail is empty", |record: &Record<'_>, judgement: &mut Judgement| {
///     for effect in record.effects("smtp") {
///         judgement.demand(!effect.key.is_empty(), &[effect.event], || "a mail to nobody".to_owned());
///     }
/// });
/// # let _ = expectation.name();
/// ```
pub fn holds<F>(name: impl Into<String>, judge: F) -> impl Expectation
where
    F: Fn(&Record<'_>, &mut Judgement) + Send + Sync,
{
    Holds { name: name.into(), judge }
}

struct Holds<F> {
    name: String,
    judge: F,
}

impl<F: Fn(&Record<'_>, &mut Judgement) + Send + Sync> Expectation for Holds<F> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn judge(&self, record: &Record<'_>, judgement: &mut Judgement) {
        (self.judge)(record, judgement);
    }
}

/// Expectations of what a receiver does.
pub fn effects(receiver: impl Into<String>) -> Effects {
    Effects { receiver: receiver.into() }
}

/// See [`effects`].
#[derive(Clone, Debug)]
pub struct Effects {
    receiver: String,
}

impl Effects {
    /// Of each key on its own.
    pub fn per_key(self) -> EffectsPerKey {
        EffectsPerKey { receiver: self.receiver }
    }

    /// Each attempt of this job that the database knows to have succeeded has had an effect here, or found that an
    /// earlier one had ([`CallAnswer::Duplicate`]).
    pub fn whenever_succeeds(self, job: impl Into<String>) -> impl Expectation {
        WheneverSucceeds { receiver: self.receiver, job: job.into() }
    }
}

/// See [`Effects::per_key`].
#[derive(Clone, Debug)]
pub struct EffectsPerKey {
    receiver: String,
}

impl EffectsPerKey {
    /// No more than this many, whatever goes wrong. Of a receiver that deduplicates, or refuses old fences, one may
    /// well demand one.
    pub fn at_most(self, most: usize) -> impl Expectation {
        PerKey { receiver: self.receiver, most, excuses_unmarked: false }
    }

    /// One, and one more for each attempt that had an effect on the key and whose success is not in the database: it
    /// died between effect and mark, or its mark was lost, and nobody can know better. Nothing excuses an effect that no
    /// attempt made, or a second execution that succeeds on the same key.
    pub fn at_most_one_plus_unmarked(self) -> impl Expectation {
        PerKey { receiver: self.receiver, most: 1, excuses_unmarked: true }
    }
}

struct PerKey {
    receiver: String,
    most: usize,
    excuses_unmarked: bool,
}

impl Expectation for PerKey {
    fn name(&self) -> String {
        let (receiver, most) = (&self.receiver, self.most);
        let excuse = if self.excuses_unmarked { ", and one more per unmarked attempt" } else { "" };
        format!("effects on {receiver}: at most {most} per key{excuse}")
    }

    fn receivers(&self) -> Vec<String> {
        vec![self.receiver.clone()]
    }

    fn judge(&self, record: &Record<'_>, judgement: &mut Judgement) {
        for (key, effects) in record.done_by_key(&self.receiver) {
            let attempts = effects.iter().filter_map(|effect| record.attempt_of(effect));
            let unmarked: BTreeSet<_> =
                attempts.filter(|attempt| !attempt.is_marked()).map(|attempt| attempt.event).collect();
            let allowed = self.most + if self.excuses_unmarked { unmarked.len() } else { 0 };
            let events: Vec<_> = effects.iter().map(|effect| effect.event).collect();
            judgement.demand(effects.len() <= allowed, &events, || {
                let listed: Vec<_> = effects.iter().map(|effect| Landed(record, effect).to_string()).collect();
                let excused = if self.excuses_unmarked {
                    format!("1 and {} for attempts that were not marked", unmarked.len())
                } else {
                    self.most.to_string()
                };
                let (receiver, times) = (&self.receiver, effects.len());
                format!("{receiver} did {key:?} {times} times, allowed are {excused}:{}", listed.concat())
            });
        }
    }
}

/// An effect, on a line of its own.
struct Landed<'r>(&'r Record<'r>, &'r EffectSeen<'r>);

impl fmt::Display for Landed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(record, effect) = self;
        write!(f, "\n    at {:>9.3} s by ", effect.at.as_secs_f64())?;
        match (record.attempt_of(effect), effect.replica) {
            (Some(attempt), _) => write!(f, "{attempt}"),
            (None, Some(replica)) => write!(f, "replica-{replica}, for no attempt"),
            (None, None) => f.write_str("nobody that is known"),
        }
    }
}

struct WheneverSucceeds {
    receiver: String,
    job: String,
}

impl Expectation for WheneverSucceeds {
    fn name(&self) -> String {
        format!("effects on {}: one whenever {} succeeds", self.receiver, self.job)
    }

    fn receivers(&self) -> Vec<String> {
        vec![self.receiver.clone()]
    }

    fn jobs(&self) -> Vec<String> {
        vec![self.job.clone()]
    }

    fn judge(&self, record: &Record<'_>, judgement: &mut Judgement) {
        let worked = record
            .effects(&self.receiver)
            .filter(|effect| matches!(effect.answer, CallAnswer::Done | CallAnswer::Duplicate));
        let worked: BTreeSet<_> = worked.filter_map(|effect| record.attempt_of(effect)).map(|a| a.event).collect();
        for attempt in record.attempts(&self.job).filter(|attempt| attempt.is_marked()) {
            judgement.demand(worked.contains(&attempt.event), &[attempt.event], || {
                format!("{attempt}: succeeded without an effect on {}", self.receiver)
            });
        }
    }
}

/// Expectations of what becomes of a job's slots, or of a queue's items.
pub fn slots(job: impl Into<String>) -> Slots {
    Slots { job: job.into() }
}

/// See [`slots`].
#[derive(Clone, Debug)]
pub struct Slots {
    job: String,
}

impl Slots {
    /// At the end nothing is left open: what was due, or due again, longer ago than
    /// [`RunFacts::settle_within`](crate::history::RunFacts::settle_within) has ended, in whatever way.
    pub fn settled(self) -> impl Expectation {
        SlotsEnd { job: self.job, demand: End::Settled }
    }

    /// Of those that were made and have ended, every one succeeded.
    pub fn succeed(self) -> impl Expectation {
        SlotsEnd { job: self.job, demand: End::Succeeded }
    }

    /// None was left out: the ledger of missed slots has nothing of this job.
    pub fn none_skipped(self) -> impl Expectation {
        SlotsEnd { job: self.job, demand: End::NoneSkipped }
    }
}

enum End {
    Settled,
    Succeeded,
    NoneSkipped,
}

struct SlotsEnd {
    job: String,
    demand: End,
}

impl Expectation for SlotsEnd {
    fn name(&self) -> String {
        let demand = match self.demand {
            End::Settled => "all that was due has ended",
            End::Succeeded => "all that ended succeeded",
            End::NoneSkipped => "none is skipped",
        };
        format!("slots of {}: {demand}", self.job)
    }

    fn jobs(&self) -> Vec<String> {
        vec![self.job.clone()]
    }

    fn judge(&self, record: &Record<'_>, judgement: &mut Judgement) {
        let Some(now) = record.ended_at() else { return };
        let end = record.history().events.len() - 1;
        let bound: Duration = record.facts().settle_within;
        for row in record.executions(&self.job) {
            let what = || match row.slot_at {
                Some(slot_at) => format!("the slot {slot_at} of {}", self.job),
                None => format!("the item {} of {}", row.id, self.job),
            };
            let (state, error) = (row.state, row.error.as_ref().map(|error| error.text.to_string()));
            let why = error.map_or_else(String::new, |error| format!(": {error}"));
            match self.demand {
                End::Settled => {
                    let since = row.claimable_at.unwrap_or(row.due_at);
                    judgement.demand(state.is_terminal() || since >= now - bound, &[end], || {
                        format!("{} is still {state} at the end, {now}, since {since}{why}", what())
                    });
                }
                End::Succeeded if state.is_terminal() => {
                    judgement.demand(state == State::Succeeded, &[end], || {
                        format!("{} ended as {state} after {} attempts{why}", what(), row.attempt)
                    });
                }
                End::Succeeded | End::NoneSkipped => {}
            }
        }
        if matches!(self.demand, End::NoneSkipped) {
            let skipped: Vec<_> = record.skipped(&self.job).collect();
            judgement.demand(skipped.is_empty(), &[end], || {
                let first = &skipped[0];
                let (after, through, reason) = (first.slots.after, first.slots.through, first.slots.reason.as_str());
                let more = skipped.len() - 1;
                format!(
                    "slots of {} after {after} through {through} were skipped ({reason}), and {more} more",
                    self.job
                )
            });
        }
    }
}
