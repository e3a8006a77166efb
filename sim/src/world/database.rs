//! The database host: accepts sessions, applies requests on the engine at its own clock, answers. Faults strike
//! between "received", "applied" and "answered".

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tourbillon::{
    model::ExecutionId,
    store::{ErrorKind, PlanOutcome, Reply, Request, StoreError},
};

use super::{
    clock::ServerClock,
    engine::Engine,
    gate::Gate,
    net::BoxStream,
    process::WorldShared,
    strikes::{Fate, Struck},
    subject::{self, Subjects},
    wire::{self, Ask, Told},
};
use crate::{
    fault::{FaultKind, TriggerPoint},
    history::{HostId, What},
};

/// The database: survives restarts of its host.
pub(super) struct Database {
    pub(super) world: Arc<WorldShared>,
    pub(super) clock: ServerClock,
    engine: Mutex<Box<dyn Engine + Send>>,
    subjects: Mutex<Subjects>,
    /// Owns the sessions of the present start of the server; never closed, but a restart ends them in order.
    gate: Mutex<Gate>,
}

impl Database {
    pub(super) fn new(world: Arc<WorldShared>, clock: ServerClock, engine: Box<dyn Engine + Send>) -> Self {
        Self { world, clock, engine: Mutex::new(engine), subjects: Mutex::default(), gate: Mutex::new(Gate::open()) }
    }

    fn gate(&self) -> Gate {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server stops: what it has under way ends with it, in order.
    pub(super) fn end_sessions(&self) {
        self.gate().end();
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Gate::open();
    }

    /// Applies a request without recording it; for looking at the final state.
    pub(super) fn look(&self, request: &Request) -> Result<Reply, StoreError> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.apply(self.clock.now(), request)
    }

    /// Applies a request: the one place where anything becomes true.
    fn apply(&self, request: Request) -> Result<Reply, StoreError> {
        let now = self.clock.now();
        let result = self.engine.lock().unwrap_or_else(PoisonError::into_inner).apply(now, &request);
        self.world.record(HostId::Database, What::Applied { request, now, result: result.clone() });
        result
    }

    /// The host's software.
    #[expect(clippy::disallowed_methods, reason = "the database host is not a replica: it is never paused")]
    pub(super) async fn serve(self: Arc<Self>) {
        let Ok(mut listener) = self.world.net.listen().await else { return };
        while let Ok(stream) = listener.accept().await {
            tokio::spawn(self.gate().guard(Arc::clone(&self).session(stream)));
        }
    }

    async fn session(self: Arc<Self>, mut stream: BoxStream) {
        while let Ok(Ask { replica, request }) = wire::receive(&mut stream).await {
            let id = request.id;
            let struck = |kind: FaultKind| {
                let kind = kind.name().to_owned();
                self.world.record(HostId::Database, What::Struck { kind, replica, request: Some(id) });
            };
            let told: Told = match self.world.strikes.fate(replica, id) {
                Fate::Refuse => {
                    struck(FaultKind::Refuse);
                    Err(StoreError::new(ErrorKind::Unavailable, "refused: too many connections"))
                }
                Fate::LoseReply => {
                    let _ = self.apply(request);
                    struck(FaultKind::LoseReply);
                    return;
                }
                Fate::ApplyLate(delay) => {
                    struck(FaultKind::ApplyLate);
                    self.apply_late(request, delay);
                    // Hangs until the caller gives up and closes.
                    let _ = wire::receive::<Ask>(&mut stream).await;
                    return;
                }
                Fate::Pass => {
                    let executions = subject::executions(&request.verb);
                    let result = self.apply(request);
                    if self.pull_trigger(replica, &executions, &result) == Struck::ReplyLost {
                        struck(FaultKind::LoseReply);
                        return;
                    }
                    result
                }
            };
            if wire::send(&mut stream, &told).await.is_err() {
                return;
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "as for serve; true time is the database host's time")]
    fn apply_late(self: &Arc<Self>, request: Request, delay: Duration) {
        let database = Arc::clone(self);
        tokio::spawn(self.gate().guard(async move {
            tokio::time::sleep(delay).await;
            let _ = database.apply(request);
        }));
    }

    fn pull_trigger(&self, replica: u8, executions: &[ExecutionId], result: &Result<Reply, StoreError>) -> Struck {
        let subjects = match result {
            Ok(reply) => self.subjects.lock().unwrap_or_else(PoisonError::into_inner).of(executions, reply),
            Err(_) => return Struck::No,
        };
        let point = match result {
            Ok(Reply::Planned(planned)) if planned.outcomes.iter().any(made_something) => TriggerPoint::AppliedPlan,
            Ok(Reply::Claimed(claimed)) if !claimed.executions.is_empty() => TriggerPoint::AppliedClaim,
            Ok(Reply::Started(_)) => TriggerPoint::AppliedStart,
            Ok(Reply::Renewed(_)) => TriggerPoint::AppliedHeartbeat,
            Ok(Reply::Settled(_)) => TriggerPoint::AppliedSettle,
            Ok(Reply::Rescued(_)) => TriggerPoint::AppliedRescue,
            _ => return Struck::No,
        };
        let subjects: Vec<_> = subjects.iter().map(String::as_str).collect();
        self.world.strikes.reached(point, &subjects, replica)
    }
}

fn made_something(outcome: &PlanOutcome) -> bool {
    matches!(outcome, PlanOutcome::Made(ids) if !ids.is_empty())
}
