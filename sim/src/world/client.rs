//! The client of an outside receiver that a user's handler holds: what an HTTP client is in production. Knows no rows of
//! truth tables.

use std::{fmt, sync::Arc};

use tourbillon::{
    job::{Context, HandlerError},
    runtime::Runtime,
};

use super::{
    process::Process,
    receiver::{self, Call, CallError},
    wire::Sent,
};
use crate::history::{CallAnswer, What};

/// A way to one outside receiver, over the simulated network. Cheap to clone; belongs to the process whose
/// [`Host::receiver`](super::Host::receiver) made it, and dies with it.
#[derive(Clone)]
pub struct Client {
    process: Arc<Process>,
    runtime: Runtime,
    name: String,
    number: u8,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client of receiver {}", self.name)
    }
}

impl Client {
    /// # Panics
    /// If the simulation has no receiver of this name.
    pub(super) fn new(process: &Arc<Process>, runtime: &Runtime, name: &str) -> Self {
        let names = &process.world.receivers;
        let Some(number) = names.iter().position(|known| known == name) else {
            panic!(
                "the simulation has no receiver `{name}`, it has {names:?}: add it with `.receiver(\"{name}\")`, before \
                 `.app(…)` or after"
            );
        };
        let number = u8::try_from(number).expect("receivers are counted in a byte");
        Self { process: Arc::clone(process), runtime: runtime.clone(), name: name.to_owned(), number }
    }

    /// Causes an effect for an attempt and waits for the answer, with the attempt's fence and no idempotency key. `key`
    /// is what expectations count by: the mail and the day, the customer and the invoice.
    ///
    /// # Errors
    /// When no answer came, and the effect may or may not have happened; when the receiver could not; and, never to be
    /// retried, when it refused the fence.
    pub async fn send(&self, ctx: &Context, key: impl Into<String>) -> Result<(), HandlerError> {
        match self.call(Call::new(key).by(ctx)).await? {
            CallAnswer::Done | CallAnswer::Duplicate => Ok(()),
            CallAnswer::Failed => Err(HandlerError::new(format!("receiver {} failed", self.name))),
            CallAnswer::Fenced => {
                let refused = HandlerError::new(format!("receiver {} refused the fence", self.name));
                Err(refused.code("fenced").never_retry())
            }
        }
    }

    /// Makes a call and waits for its answer.
    ///
    /// # Errors
    /// When none came: what was asked for may or may not have happened.
    pub async fn call(&self, call: Call) -> Result<CallAnswer, CallError> {
        let Call { outside, subject } = call;
        self.process.holds_back().await;
        let incarnation = self.process.incarnation();
        if let Some(effect) = outside.effect.clone() {
            self.process.record(What::EffectSent { incarnation, effect });
        }
        let subject = subject.unwrap_or_else(|| self.name.clone());
        let sent = Sent::Call { incarnation, call: outside };
        receiver::deliver(&self.process, &self.runtime, self.number, (sent, subject, None)).await
    }
}
