//! The outside receivers of a simulation: their names and how they behave. What they do is the world's business.

use std::{sync::Arc, time::Duration};

use crate::{
    history::ReceiverFacts,
    world::{Behaviour, BehaviourFactory, ReceiverSpec},
};

/// An outside system that handlers have effects on: a mail server, a payment service, a web hook. It counts what it is
/// asked for by key. Reached with [`Host::receiver`](crate::world::Host::receiver).
///
/// By default it is as a plain mail server is: it accepts everything, at once.
///
/// ```
/// use std::time::Duration;
/// use tourbillon_sim::prelude::*;
///
/// let payments = Receiver::new("payments").deduplicates().takes(Duration::from_millis(300)).fails_percent(5);
/// let registry = Receiver::new("registry").refuses_old_fences();
/// let smtp: Receiver = "smtp".into();
/// # let _ = (payments, registry, smtp);
/// ```
#[derive(Clone, Debug)]
pub struct Receiver {
    name: String,
    spec: ReceiverSpec,
}

impl Receiver {
    /// A receiver of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), spec: ReceiverSpec { fences: false, ..ReceiverSpec::default() } }
    }

    /// It does nothing for an idempotency key that it has seen, and says so ([`CallAnswer::Duplicate`]).
    ///
    /// [`CallAnswer::Duplicate`]: crate::history::CallAnswer::Duplicate
    #[must_use]
    pub fn deduplicates(mut self) -> Self {
        self.spec.deduplicates = true;
        self
    }

    /// It refuses an attempt's fence below the highest that it has seen for the execution and key, and a leader's epoch
    /// below the highest for the key ([`CallAnswer::Fenced`]).
    ///
    /// [`CallAnswer::Fenced`]: crate::history::CallAnswer::Fenced
    #[must_use]
    pub fn refuses_old_fences(mut self) -> Self {
        self.spec.fences = true;
        self
    }

    /// It answers this part of the calls with a failure, having done nothing; in percent, 0 to 100.
    #[must_use]
    pub fn fails_percent(mut self, percent: u8) -> Self {
        self.spec.fails_percent = percent.min(100);
        self
    }

    /// From the arrival of a call to its effect. A caller waits 5 s for an answer.
    #[must_use]
    pub fn takes(mut self, duration: Duration) -> Self {
        self.spec.takes = duration;
        self
    }

    /// It answers as `make` says, instead of the above but for failures and delay. `make` is called once for each run,
    /// so that what a receiver remembers begins anew.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use tourbillon_sim::{history::OutsideCall, prelude::*};
    ///
    /// // A mail server that takes three mails per address and bounces the rest.
    /// let limited = Receiver::new("smtp").answering(|| {
    ///     let mut taken = BTreeMap::<String, u32>::new();
    ///     move |call: &OutsideCall| {
    ///         let taken = taken.entry(call.key.clone()).or_default();
    ///         *taken += 1;
    ///         if *taken <= 3 { CallAnswer::Done } else { CallAnswer::Failed }
    ///     }
    /// });
    /// # let _ = limited;
    /// ```
    #[must_use]
    pub fn answering<B: Behaviour + 'static>(mut self, make: impl Fn() -> B + Send + Sync + 'static) -> Self {
        self.spec.behaviour = Some(BehaviourFactory(Arc::new(move || Box::new(make()))));
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn spec(&self) -> ReceiverSpec {
        self.spec.clone()
    }

    pub(super) fn facts(&self) -> ReceiverFacts {
        // One of the user's own may do anything with fences.
        let fences = self.spec.fences && self.spec.behaviour.is_none();
        ReceiverFacts { receiver: self.name.clone(), fences }
    }
}

impl From<&str> for Receiver {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}
