//! Outside receivers: they count effects by key. By kind, they refuse a fence below the highest they have seen for an
//! execution, recognise repetitions by an idempotency key, take their time, and fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tourbillon::{
    job::{Context, HandlerError},
    model::{Epoch, ExecutionId, Fence},
    runtime::Runtime,
    store::BoxFuture,
};

use super::{
    clock,
    gate::Gate,
    net::BoxConnection,
    process::{Process, WorldShared},
    strikes::Struck,
    wire::{self, Deliver, Delivered, Sent, UnitTag},
};
use crate::{
    chance,
    fault::{FaultKind, TriggerPoint},
    history::{CallAnswer, Effect, HostId, OutsideCall, Stage, What},
};

/// How long a handler waits for a receiver's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A receiver of one's own: what it answers, and what it remembers for that.
pub trait Behaviour: Send {
    /// Answers a call that has arrived and did not fail. Deterministic: it follows from the calls so far.
    fn answer(&mut self, call: &OutsideCall) -> CallAnswer;
}

impl<F: FnMut(&OutsideCall) -> CallAnswer + Send> Behaviour for F {
    fn answer(&mut self, call: &OutsideCall) -> CallAnswer {
        self(call)
    }
}

/// Makes a receiver of one's own for each run: what it remembers begins anew.
#[derive(Clone)]
pub struct BehaviourFactory(pub Arc<dyn Fn() -> Box<dyn Behaviour> + Send + Sync>);

impl fmt::Debug for BehaviourFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BehaviourFactory")
    }
}

/// How an outside receiver behaves. The default refuses stale fences, answers at once and never fails.
#[derive(Clone, Debug)]
pub struct ReceiverSpec {
    /// Whether it refuses a fence below the highest it has seen for (execution, key), and an epoch below the highest it
    /// has seen for the key. Calls that show neither are accepted.
    pub fences: bool,
    /// Whether it does nothing for an idempotency key that it has seen.
    pub deduplicates: bool,
    /// Part of calls that it answers with a failure, having done nothing; in percent. Effects of
    /// [`Host::send`](super::Host::send) do not fail.
    pub fails_percent: u8,
    /// From the arrival of a call to its effect, in true time. Below 5 s, which is how long a caller waits.
    pub takes: Duration,
    /// Answers instead of fences and idempotency keys, if there is one.
    pub behaviour: Option<BehaviourFactory>,
}

impl Default for ReceiverSpec {
    fn default() -> Self {
        Self { fences: true, deduplicates: false, fails_percent: 0, takes: Duration::ZERO, behaviour: None }
    }
}

/// What is asked of an outside receiver, and for whom.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) outside: OutsideCall,
    /// The job that makes it, for triggers that aim at one.
    pub(super) subject: Option<String>,
}

impl Call {
    /// A call that its receiver counts by `key`.
    pub fn new(key: impl Into<String>) -> Self {
        let outside = OutsideCall { key: key.into(), idempotency: None, epoch: None, effect: None };
        Self { outside, subject: None }
    }

    /// Shows an idempotency key.
    #[must_use]
    pub fn idempotent(mut self, key: impl Into<String>) -> Self {
        self.outside.idempotency = Some(key.into());
        self
    }

    /// Made under a lock or by a leader of this epoch, and shows it: a receiver that refuses old fences refuses an epoch
    /// below the highest it has seen for the key. `None`, as of a session lock or of no lock: nothing is shown.
    #[must_use]
    pub fn under(mut self, epoch: Option<Epoch>) -> Self {
        self.outside.epoch = epoch;
        self
    }

    /// Made by this attempt: it shows its fence, and counts as an effect of its execution.
    #[must_use]
    pub fn by(mut self, ctx: &Context) -> Self {
        self.subject = Some(ctx.job().to_string());
        self.outside.effect = Some(Effect {
            execution: ctx.id(),
            generation: ctx.generation(),
            fence: ctx.fence(),
            attempt: ctx.attempt(),
            key: self.outside.key.clone(),
        });
        self
    }
}

/// A call that got no answer: its effect may have happened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// The connection could not be made, or broke.
    #[error("the receiver could not be reached: {0}")]
    Broken(String),
    /// Nothing came in time.
    #[error("the receiver did not answer within {PATIENCE:?}")]
    NoAnswer,
}

/// A receiver: outlives everything, as the outside world does.
pub(super) struct Receiver {
    world: Arc<WorldShared>,
    number: u8,
    spec: ReceiverSpec,
    /// Open for ever: a receiver is not a replica.
    gate: Gate,
    seen: Mutex<Seen>,
    behaviour: Option<Mutex<Box<dyn Behaviour>>>,
}

#[derive(Default)]
struct Seen {
    highest: BTreeMap<(ExecutionId, String), Fence>,
    epochs: BTreeMap<String, Epoch>,
    done: BTreeSet<String>,
    calls: u64,
}

impl Receiver {
    pub(super) fn new(world: Arc<WorldShared>, number: u8, spec: ReceiverSpec) -> Self {
        let behaviour = spec.behaviour.as_ref().map(|BehaviourFactory(make)| Mutex::new(make()));
        Self { world, number, spec, gate: Gate::open(), seen: Mutex::default(), behaviour }
    }

    /// The host's software.
    pub(super) fn software(self: Arc<Self>) -> BoxFuture<'static, ()> {
        let gate = self.gate.clone();
        Box::pin(gate.guard(self.serve()))
    }

    async fn serve(self: Arc<Self>) {
        let Ok(mut listener) = self.world.net.listen(HostId::Receiver(self.number)).await else { return };
        while let Ok(connection) = listener.accept().await {
            self.gate.spawn(Arc::clone(&self).session(connection));
        }
    }

    async fn session(self: Arc<Self>, mut connection: BoxConnection) {
        while let Ok(Deliver { replica, sent, subject, unit }) = wire::receive(&mut connection).await {
            let answer: Delivered = self.handle(sent).await;
            let host = HostId::Receiver(self.number);
            if answer == CallAnswer::Failed {
                // Nothing happened: there is no effect to lose the answer of.
                if wire::send(&mut connection, answer).await.is_err() {
                    return;
                }
                continue;
            }
            if let Some(UnitTag { incarnation, row, unit }) = unit {
                self.world.record(host, What::Staged { incarnation, row, unit, stage: Stage::Landed });
            }
            let struck = self.world.strikes.reached(TriggerPoint::EffectReceived, &[&subject], replica);
            if struck == Struck::ReplyLost || self.world.strikes.loses_effect_reply(replica) {
                let kind = FaultKind::LoseEffectReply.name().to_owned();
                self.world.record(host, What::Struck { kind, replica, request: None });
                return;
            }
            if wire::send(&mut connection, answer).await.is_err() {
                return;
            }
        }
    }

    async fn handle(&self, sent: Sent) -> CallAnswer {
        match sent {
            Sent::Effect(effect) => {
                let fresh = self.is_fresh(&effect);
                self.received(effect, fresh);
                if fresh { CallAnswer::Done } else { CallAnswer::Fenced }
            }
            Sent::Call { incarnation, call } => {
                if !self.spec.takes.is_zero() {
                    clock::wait(self.spec.takes).await;
                }
                let answer = self.answer(&call);
                if let Some(effect) = call.effect.clone() {
                    self.received(effect, answer == CallAnswer::Done);
                }
                let received = What::CallReceived { incarnation, call: Box::new(call), answer };
                self.world.record(HostId::Receiver(self.number), received);
                answer
            }
        }
    }

    fn answer(&self, call: &OutsideCall) -> CallAnswer {
        let drawn = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.calls += 1;
            chance::draw(self.world.seed, "receiver", u64::from(self.number), seen.calls)
        };
        if chance::percent(drawn, self.spec.fails_percent) {
            return CallAnswer::Failed;
        }
        if let Some(behaviour) = &self.behaviour {
            return behaviour.lock().unwrap_or_else(PoisonError::into_inner).answer(call);
        }
        let is_old = call.effect.as_ref().is_some_and(|effect| !self.is_fresh(effect)) || self.is_past_epoch(call);
        if self.spec.fences && is_old {
            return CallAnswer::Fenced;
        }
        let is_repeated = self.spec.deduplicates
            && call.idempotency.clone().is_some_and(|key| {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                !seen.done.insert(key)
            });
        if is_repeated { CallAnswer::Duplicate } else { CallAnswer::Done }
    }

    /// Whether the effect's fence is not below the highest seen.
    fn is_fresh(&self, effect: &Effect) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = seen.highest.entry((effect.execution, effect.key.clone())).or_default();
        let fresh = effect.fence >= *highest;
        *highest = effect.fence.max(*highest);
        fresh
    }

    fn is_past_epoch(&self, call: &OutsideCall) -> bool {
        let Some(epoch) = call.epoch else { return false };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = seen.epochs.entry(call.key.clone()).or_insert(epoch);
        let is_past = epoch < *highest;
        *highest = epoch.max(*highest);
        is_past
    }

    fn received(&self, effect: Effect, accepted: bool) {
        self.world.record(HostId::Receiver(self.number), What::EffectReceived { effect, accepted });
    }
}

/// A handler's side: one connection per effect, as a web hook would have.
pub(super) async fn send(
    process: &Process,
    runtime: &Runtime,
    number: u8,
    (effect, subject, unit): (Effect, String, Option<UnitTag>),
) -> Result<(), HandlerError> {
    match deliver(process, runtime, number, (Sent::Effect(effect), subject, unit)).await {
        Ok(CallAnswer::Fenced) => {
            Err(HandlerError::new("the receiver refused the fence").code("fenced").never_retry())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(HandlerError::new(error)),
    }
}

/// A caller's side.
pub(super) async fn deliver(
    process: &Process,
    runtime: &Runtime,
    number: u8,
    (sent, subject, unit): (Sent, String, Option<UnitTag>),
) -> Result<CallAnswer, CallError> {
    let deliver = Deliver { replica: process.replica, sent, subject, unit };
    let exchange = async {
        let from = HostId::Replica(process.replica);
        let mut connection = process.world.net.dial(from, HostId::Receiver(number)).await?;
        wire::send(&mut connection, deliver).await?;
        wire::receive::<Delivered>(&mut connection).await
    };
    match runtime.timeout(PATIENCE, exchange).await {
        Some(answer) => answer.map_err(|error| CallError::Broken(error.to_string())),
        None => Err(CallError::NoAnswer),
    }
}
