//! Hand-written histories of the lives of executions, from claim to end: what the narrator of `story` says of leases,
//! handlers and effects. Everything is accepted.

use std::time::Duration;

use tourbillon::{
    model::{
        ErrorCode, Execution, Failure, Fence, Generation, Lease, LeaseRef, Outcome, Retention, Retry, SkipReason,
        State, Token,
        transition::{Cancelled, Charge, Refusal},
    },
    runtime::HandlerEnd,
    store::{
        Cancel, CancelOutcomes, CancelRequest, Claim, Claimed, Heartbeat, Renewal, Renewed, Reply, Requeue,
        RequeueOutcome, Requeued, Rescue, Rescued, Settle, Settled, Settlement, Start, Started,
    },
};
use uuid::Uuid;

use super::story::{Story, execution, failed, incarnation, job, succeeded};
use crate::history::{Effect, HostId, What};

impl Story {
    /// The last lease of execution `n`.
    pub(super) fn lease(&self, n: u8) -> LeaseRef {
        let row = &self.rows[&n];
        let token = row.lease.as_ref().map_or(Token(Uuid::nil()), |lease| lease.token);
        LeaseRef { id: row.id, token, fence: row.fence }
    }

    fn number(lease: &LeaseRef) -> u8 {
        u8::try_from(lease.id.0.as_u128()).unwrap()
    }

    pub(super) fn row(&mut self, n: u8) -> &mut Execution {
        self.rows.get_mut(&n).expect("it was made")
    }

    pub(super) fn claim(&mut self, n: u8) -> &mut Self {
        self.claim_with(n, Charge::AtStart)
    }

    pub(super) fn claim_with(&mut self, n: u8, charge: Charge) -> &mut Self {
        let (now, runner) = (self.now(), incarnation(self.replica));
        let token = Token(Uuid::from_u128(self.requests + 1));
        let row = self.row(n);
        let expires_at = now + Duration::from_millis(row.policy.lease_ms);
        row.state = State::Running;
        row.fence = Fence(row.fence.0 + 1);
        let is_charged = charge.is_at_claim(row);
        let started_at = is_charged.then_some(now);
        row.attempt += u32::from(is_charged);
        row.lease = Some(Lease { token, runner, claimed_at: now, started_at, heartbeat_at: now, expires_at });
        row.updated_at = now;
        let claimed = Claimed { now, executions: vec![row.clone()], skipped: Vec::new(), next_at: None };
        self.exchange(&[], Claim { runner, jobs: vec![job()], limit: 1, charge, rate: None }, Reply::Claimed(claimed))
    }

    pub(super) fn skip(&mut self, n: u8, reason: SkipReason) -> &mut Self {
        let (now, runner) = (self.now(), incarnation(self.replica));
        let row = self.row(n);
        (row.state, row.skip_reason) = (State::Skipped, Some(reason));
        let claimed = Claimed { now, executions: Vec::new(), skipped: vec![(row.id, reason)], next_at: None };
        let verb = Claim { runner, jobs: vec![job()], limit: 1, charge: Charge::AtStart, rate: None };
        self.exchange(&[], verb, Reply::Claimed(claimed))
    }

    pub(super) fn start(&mut self, n: u8) -> &mut Self {
        self.start_as(self.lease(n))
    }

    pub(super) fn start_as(&mut self, lease: LeaseRef) -> &mut Self {
        let now = self.now();
        let row = self.row(Self::number(&lease));
        row.attempt += 1;
        if let Some(lease) = &mut row.lease {
            lease.started_at = Some(now);
        }
        let outcomes = vec![Ok(row.attempt)];
        self.exchange(&[lease], Start { leases: vec![lease] }, Reply::Started(Started { now, outcomes }))
    }

    pub(super) fn heartbeat(&mut self, n: u8) -> &mut Self {
        self.heartbeat_as(self.lease(n))
    }

    pub(super) fn heartbeat_as(&mut self, lease: LeaseRef) -> &mut Self {
        let now = self.now();
        let expires_at = now + Duration::from_millis(self.rows[&Self::number(&lease)].policy.lease_ms);
        let outcomes = vec![Ok(Renewal { expires_at, cancel: CancelRequest::None })];
        self.exchange(&[lease], Heartbeat::of(vec![lease]), Reply::Renewed(Renewed { now, outcomes }))
    }

    pub(super) fn heartbeat_refused(&mut self, lease: LeaseRef) -> &mut Self {
        let (now, outcomes) = (self.now(), vec![Err(Refusal::LeaseLost)]);
        self.exchange(&[lease], Heartbeat::of(vec![lease]), Reply::Renewed(Renewed { now, outcomes }))
    }

    pub(super) fn settle(&mut self, n: u8, outcome: Outcome) -> &mut Self {
        self.settle_as(self.lease(n), outcome)
    }

    pub(super) fn settle_as(&mut self, lease: LeaseRef, outcome: Outcome) -> &mut Self {
        self.settle_with(Settlement::of(lease, outcome))
    }

    /// Ends execution `n`, and the database keeps nothing of it.
    pub(super) fn forget(&mut self, n: u8, outcome: Outcome, retain: Retention) -> &mut Self {
        self.settle_with(Settlement { lease: self.lease(n), outcome, retain });
        self.rows.remove(&n);
        self
    }

    pub(super) fn settle_with(&mut self, settlement: Settlement) -> &mut Self {
        let Settlement { lease, outcome, .. } = settlement.clone();
        let now = self.now();
        let row = self.row(Self::number(&lease));
        let is_started = row.lease.as_ref().is_some_and(|lease| lease.started_at.is_some());
        row.state = match &outcome {
            Outcome::Succeeded { .. } => State::Succeeded,
            Outcome::Failed { retry: Retry::AfterMs(_), .. } if row.attempt < row.policy.max_attempts => {
                State::Retryable
            }
            Outcome::Failed { .. } => State::Dead,
            Outcome::Released | Outcome::Snoozed { .. } => {
                row.attempt -= u32::from(is_started);
                State::Scheduled
            }
            Outcome::Cancelled { .. } => State::Cancelled,
        };
        if let Outcome::Failed { failure, .. } | Outcome::Cancelled { failure } = &outcome {
            row.error = Some(failure.clone());
        }
        let settled = Settled { now, outcomes: vec![Ok(row.state)] };
        let settlements = vec![settlement];
        self.exchange(&[lease], Settle { settlements }, Reply::Settled(settled))
    }

    pub(super) fn succeed(&mut self, n: u8) -> &mut Self {
        self.settle(n, succeeded())
    }

    pub(super) fn fail(&mut self, n: u8, retry_ms: u64) -> &mut Self {
        self.settle(n, failed(Retry::AfterMs(retry_ms)))
    }

    pub(super) fn rescue(&mut self, n: u8, state: State) -> &mut Self {
        let now = self.now();
        let row = self.row(n);
        row.state = state;
        row.error = Some(Failure::new(ErrorCode::stale_timeout(), "expired"));
        let rescued = Rescued { now, ended: vec![(row.id, state)], clamped: Vec::new(), clamped_locks: Vec::new() };
        self.exchange(&[], Rescue { limit: 10 }, Reply::Rescued(rescued))
    }

    /// A rescue notices that the clock stepped back.
    pub(super) fn clamp(&mut self, n: u8) -> &mut Self {
        let rescued =
            Rescued { now: self.now(), ended: Vec::new(), clamped: vec![execution(n)], clamped_locks: Vec::new() };
        self.exchange(&[], Rescue { limit: 10 }, Reply::Rescued(rescued))
    }

    pub(super) fn cancel(&mut self, n: u8, outcome: Cancelled) -> &mut Self {
        let row = self.row(n);
        if outcome == Cancelled::Now {
            row.state = State::Cancelled;
            row.error = Some(Failure::new(ErrorCode::canceled(), "cancelled"));
        }
        let outcomes = vec![outcome];
        self.exchange(
            &[],
            Cancel { ids: vec![execution(n)], actor: None },
            Reply::CancelOutcomes(CancelOutcomes { outcomes }),
        )
    }

    /// Gives another life; the story goes on with that one only.
    pub(super) fn requeue(&mut self, n: u8, generation: u32) -> &mut Self {
        let row = self.row(n);
        (row.generation, row.state, row.attempt) = (Generation(generation), State::Scheduled, 0);
        let outcomes = vec![RequeueOutcome::Requeued(Generation(generation))];
        self.exchange(&[], Requeue { ids: vec![execution(n)], actor: None }, Reply::Requeued(Requeued { outcomes }))
    }

    // Handlers and effects.

    pub(super) fn handler(&mut self, n: u8) -> &mut Self {
        let (lease, incarnation) = (self.lease(n), incarnation(self.replica));
        let row = &self.rows[&n];
        let (generation, attempt, slot_at) = (row.generation, row.attempt, row.slot_at);
        let (job, scope) = (row.job.clone(), Box::new(row.scope.clone()));
        self.here(What::HandlerStarted { incarnation, lease, generation, attempt, job, scope, slot_at })
    }

    pub(super) fn handler_ends(&mut self, n: u8, end: HandlerEnd) -> &mut Self {
        let (lease, incarnation) = (self.lease(n), incarnation(self.replica));
        self.here(What::HandlerEnded { incarnation, lease, end })
    }

    /// Claim, start, handler.
    pub(super) fn run(&mut self, n: u8) -> &mut Self {
        self.claim(n).start(n).handler(n)
    }

    fn effect_of(&self, n: u8, fence: Fence) -> Effect {
        let row = &self.rows[&n];
        let key = format!("key-{n}");
        Effect { execution: row.id, generation: row.generation, fence, attempt: row.attempt, key }
    }

    pub(super) fn send(&mut self, n: u8) -> &mut Self {
        let (effect, incarnation) = (self.effect_of(n, self.lease(n).fence), incarnation(self.replica));
        self.here(What::EffectSent { incarnation, effect })
    }

    pub(super) fn receive(&mut self, n: u8) -> &mut Self {
        self.receive_as(n, self.lease(n).fence)
    }

    pub(super) fn receive_as(&mut self, n: u8, fence: Fence) -> &mut Self {
        let effect = self.effect_of(n, fence);
        self.record(HostId::Receiver(0), What::EffectReceived { effect, accepted: true })
    }

    pub(super) fn effect(&mut self, n: u8) -> &mut Self {
        self.send(n).receive(n)
    }
}
