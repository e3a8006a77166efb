//! Outside receivers: they count effects by key, and refuse a fence below the highest they have seen for an
//! execution.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tourbillon::{
    job::HandlerError,
    model::{ExecutionId, Fence},
    runtime::Runtime,
};

use super::{
    net::BoxStream,
    process::{Process, WorldShared},
    strikes::Struck,
    wire::{self, Deliver, Delivered, UnitTag},
};
use crate::{
    fault::{FaultKind, TriggerPoint},
    history::{Effect, HostId, Stage, What},
};

/// How long a handler waits for a receiver's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A receiver: outlives everything, as the outside world does.
pub(super) struct Receiver {
    world: Arc<WorldShared>,
    number: u8,
    highest: Mutex<BTreeMap<(ExecutionId, String), Fence>>,
}

impl Receiver {
    pub(super) fn new(world: Arc<WorldShared>, number: u8) -> Self {
        Self { world, number, highest: Mutex::default() }
    }

    /// The host's software.
    #[expect(clippy::disallowed_methods, reason = "a receiver is not a replica: it is never paused")]
    pub(super) async fn serve(self: Arc<Self>) {
        let Ok(mut listener) = self.world.net.listen().await else { return };
        while let Ok(stream) = listener.accept().await {
            tokio::spawn(Arc::clone(&self).session(stream));
        }
    }

    async fn session(self: Arc<Self>, mut stream: BoxStream) {
        while let Ok(Deliver { replica, effect, subject, unit }) = wire::receive(&mut stream).await {
            let accepted: Delivered = self.accept(effect);
            let host = HostId::Receiver(self.number);
            if let Some(UnitTag { incarnation, row, unit }) = unit {
                self.world.record(host, What::Staged { incarnation, row, unit, stage: Stage::Landed });
            }
            let struck = self.world.strikes.reached(TriggerPoint::EffectReceived, &[&subject], replica);
            if struck == Struck::ReplyLost || self.world.strikes.loses_effect_reply(replica) {
                let kind = FaultKind::LoseEffectReply.name().to_owned();
                self.world.record(host, What::Struck { kind, replica, request: None });
                return;
            }
            if wire::send(&mut stream, &accepted).await.is_err() {
                return;
            }
        }
    }

    fn accept(&self, effect: Effect) -> bool {
        let mut seen = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = seen.entry((effect.execution, effect.key.clone())).or_default();
        let accepted = effect.fence >= *highest;
        *highest = effect.fence.max(*highest);
        drop(seen);
        self.world.record(HostId::Receiver(self.number), What::EffectReceived { effect, accepted });
        accepted
    }
}

/// A handler's side: one connection per effect, as a web hook would have.
pub(super) async fn send(
    process: &Process,
    runtime: &Runtime,
    number: u8,
    (effect, subject, unit): (Effect, String, Option<UnitTag>),
) -> Result<(), HandlerError> {
    let deliver = Deliver { replica: process.replica, effect, subject, unit };
    let exchange = async {
        let mut stream = process.world.net.dial(HostId::Receiver(number)).await?;
        wire::send(&mut stream, &deliver).await?;
        wire::receive::<Delivered>(&mut stream).await
    };
    match runtime.timeout(PATIENCE, exchange).await {
        Some(Ok(true)) => Ok(()),
        Some(Ok(false)) => Err(HandlerError::new("the receiver refused the fence").code("fenced").never_retry()),
        Some(Err(error)) => Err(HandlerError::new(format!("the receiver could not be reached: {error}"))),
        None => Err(HandlerError::new(format!("the receiver did not answer within {PATIENCE:?}"))),
    }
}
