//! What must be true of an execution if every accepted write did what it promises. An own, small reading of the
//! guarantees: it follows what the store *answered* for states, and what was *promised* for times and charges, so
//! that a store which stores something else is found out by the next answer.

use std::time::Duration;

use tourbillon::model::{
    ExecutionId, Fence, Generation, LeaseRef, Outcome, Policy, Reentry, Retention, Retry, State, Timestamp, Token,
    transition::Cancelled,
};
use tourbillon::store::Due;
use uuid::Uuid;

use super::track::{Act, Row, Step};

/// Who decides about an execution now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// The history has not made it yet.
    Absent,
    /// Nobody: it waits.
    Waiting(State),
    /// The holder of the last lease, whether or not that has expired.
    Held,
    /// Nobody any more.
    Ended(State),
}

/// One execution between two steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shadow {
    pub(super) stage: Stage,
    pub(super) generation: Generation,
    /// Of the last claim; its fence is `Fence(0)` before the first.
    pub(super) lease: LeaseRef,
    /// Highest ever, all generations.
    pub(super) fence: Fence,
    /// Event of the last claim.
    pub(super) claim_event: usize,
    /// Whether the last claim's attempt was charged.
    pub(super) is_started: bool,
    /// Expiry of the last lease by the database clock.
    pub(super) expires_at: Timestamp,
    /// Due since, or not due before.
    pub(super) wait_until: Timestamp,
    /// Whether `wait_until` was counted from a "now": then it moves when that now is withdrawn.
    pub(super) is_wait_relative: bool,
    /// Charged attempts of this generation, give-backs subtracted.
    pub(super) attempt: u32,
    pub(super) is_cancel_requested: bool,
    /// An operator or a cleaning took it away, with its history, or its end was to leave nothing.
    pub(super) is_removed: bool,
    /// A started attempt of this generation lost its lease without its holder ending it.
    pub(super) is_abandoned: bool,
    /// Database clock of the last accepted write.
    pub(super) written_at: Timestamp,
    /// Event of the last accepted write.
    pub(super) last_event: usize,
}

impl Shadow {
    pub(super) const ABSENT: Self = Self {
        stage: Stage::Absent,
        generation: Generation::FIRST,
        lease: LeaseRef { id: ExecutionId(Uuid::nil()), token: Token(Uuid::nil()), fence: Fence(0) },
        fence: Fence(0),
        claim_event: 0,
        is_started: false,
        expires_at: Timestamp::EPOCH,
        wait_until: Timestamp::EPOCH,
        is_wait_relative: false,
        attempt: 0,
        is_cancel_requested: false,
        is_removed: false,
        is_abandoned: false,
        written_at: Timestamp::EPOCH,
        last_event: 0,
    };

    /// True when somebody holds a lease that the database clock has not passed. Expiry is strict.
    pub(super) fn is_leased(&self, now: Timestamp) -> bool {
        self.stage == Stage::Held && self.expires_at >= now
    }

    /// True when `lease` is the one that decides.
    pub(super) fn is_held_by(&self, lease: &LeaseRef) -> bool {
        self.stage == Stage::Held && self.lease == *lease
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    /// True when the policy lets a claim, rather than a rescue, take a row whose lease has expired.
    pub(super) fn may_run_again(&self, policy: &Policy) -> bool {
        let has_right = policy.reentry == Reentry::Allow && self.attempt < policy.max_attempts;
        !self.is_cancel_requested && (!self.is_started || has_right)
    }

    /// Moves on by one step. Refused writes, handlers and effects change nothing.
    pub(super) fn apply(&mut self, step: &Step<'_>, row: &Row<'_>) {
        let now = step.now;
        match step.act {
            Act::Made => {
                let (stage, wait_until) = (Stage::Waiting(State::Scheduled), row.due_at);
                *self = Self { stage, wait_until, is_wait_relative: row.is_due_relative, ..Self::ABSENT };
            }
            Act::Claimed(execution, is_charged) => {
                if self.stage == Stage::Absent {
                    self.wait_until = row.due_at;
                }
                self.is_abandoned |= self.stage == Stage::Held && self.is_started;
                self.stage = Stage::Held;
                let token = execution.lease.as_ref().map_or(self.lease.token, |lease| lease.token);
                self.lease = LeaseRef { id: execution.id, token, fence: execution.fence };
                self.fence = self.fence.max(execution.fence);
                self.claim_event = step.event;
                self.is_started = is_charged;
                self.attempt += u32::from(self.is_started);
                self.expires_at = row.lease_end(now);
            }
            Act::Started(_, Ok(_)) if self.is_started => return,
            Act::Started(_, Ok(_)) => {
                self.is_started = true;
                self.attempt += 1;
                self.expires_at = row.lease_end(now);
            }
            Act::Renewed(_, Ok(_)) => self.expires_at = row.lease_end(now),
            Act::Settled(settlement, Ok(state)) => {
                self.settle(&settlement.outcome, *state, now);
                self.is_removed = self.is_forgotten(settlement.retain, row);
            }
            Act::Skipped(_) => self.stage = Stage::Ended(State::Skipped),
            Act::Rescued(state) => {
                self.is_abandoned |= self.is_started;
                self.rest(state, now);
            }
            Act::Clamped => self.clamp(now),
            Act::Cancelled(Cancelled::Now) => self.stage = Stage::Ended(State::Cancelled),
            Act::Cancelled(Cancelled::Requested) if !self.is_cancel_requested => self.is_cancel_requested = true,
            Act::Requeued(generation) => {
                let (fence, lease) = (self.fence, self.lease);
                let stage = Stage::Waiting(State::Scheduled);
                // That of a slot is an absolute time, like the slot's own.
                let is_wait_relative = row.slot_at.is_none();
                *self = Self { stage, generation, fence, lease, wait_until: now, is_wait_relative, ..Self::ABSENT };
            }
            Act::Updated(None) => {}
            Act::Updated(Some(due)) => self.put_off(due, now),
            Act::Removed(_) => {
                if let Stage::Waiting(_) = self.stage {
                    self.stage = Stage::Ended(State::Cancelled);
                }
                self.is_removed = true;
            }
            _ => return,
        }
        self.written_at = now;
        self.last_event = step.event;
    }

    fn settle(&mut self, outcome: &Outcome, state: State, now: Timestamp) {
        let until = match outcome {
            Outcome::Failed { retry: Retry::AfterMs(ms), .. } | Outcome::Snoozed { for_ms: ms } => after_ms(now, *ms),
            _ => now,
        };
        let is_given_back = matches!(outcome, Outcome::Released | Outcome::Snoozed { .. }) && !state.is_terminal();
        if is_given_back && self.is_started {
            self.attempt = self.attempt.saturating_sub(1);
        }
        self.rest(state, until);
    }

    /// Nothing is kept of a first life that no schedule made, if its queue says so of ends like this one.
    fn is_forgotten(&self, retain: Retention, row: &Row<'_>) -> bool {
        let may_go = row.slot_at.is_none() && self.generation == Generation::FIRST;
        may_go
            && match (retain, self.stage) {
                (Retention::Nothing, Stage::Ended(_)) => true,
                (Retention::Failures, Stage::Ended(state)) => state == State::Succeeded,
                _ => false,
            }
    }

    fn rest(&mut self, state: State, until: Timestamp) {
        if state.is_terminal() {
            self.stage = Stage::Ended(state);
        } else {
            self.stage = Stage::Waiting(state);
            self.wait_until = until;
            self.is_wait_relative = true;
        }
    }

    /// An absolute time is one as at an enqueue, of an item that has not failed.
    fn put_off(&mut self, due: Due, now: Timestamp) {
        (self.wait_until, self.is_wait_relative) = match due {
            Due::AfterMs(ms) => (after_ms(now, ms), true),
            Due::At(at) => (at, self.stage != Stage::Waiting(State::Scheduled)),
        };
    }

    /// The clock stepped back: what was counted from a withdrawn "now" is counted from this one.
    fn clamp(&mut self, now: Timestamp) {
        let back = now.as_micros().saturating_sub(self.written_at.as_micros()).min(0);
        match self.stage {
            Stage::Held => self.expires_at = self.expires_at.offset_micros(back),
            Stage::Waiting(_) if self.is_wait_relative => self.wait_until = self.wait_until.offset_micros(back),
            _ => {}
        }
    }
}

/// `now` and so many milliseconds of the database clock.
pub(super) fn after_ms(now: Timestamp, ms: u64) -> Timestamp {
    now + Duration::from_millis(ms)
}
