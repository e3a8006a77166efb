//! A monthly charge, here one every five minutes, by a payment service that does nothing twice for one idempotency key.
//! It looks safe: every call has a key.

use tourbillon::prelude::*;
use tourbillon_sim::prelude::*;

use super::MINUTE;

pub(super) fn simulation(app: fn(&Host) -> Scheduler) -> Simulation {
    Simulation::new("charge")
        .lasting(20 * MINUTE)
        .receiver(Receiver::new("payments").deduplicates())
        .app(app)
        .expect(effects("payments").per_key().at_most(1))
        .expect(effects("payments").whenever_succeeds("charge"))
}

fn charge(host: &Host, key: fn(&Context, &str) -> String) -> Scheduler {
    let payments = host.receiver("payments");
    let job = Job::new("charge").every(5 * MINUTE).run(move |ctx: Context| {
        let payments = payments.clone();
        async move {
            let slot = ctx.slot_at().expect("a planned job has slots");
            let invoice = format!("invoice of {slot}");
            let call = Call::new(&invoice).by(&ctx).idempotent(key(&ctx, &invoice));
            match payments.call(call).await? {
                CallAnswer::Done | CallAnswer::Duplicate => Ok(()),
                refused => Err(HandlerError::new(format!("the payment service said {refused:?}"))),
            }
        }
    });
    Scheduler::builder(host.store()).runtime(host.runtime()).job(job).build().expect("the rules of the job hold")
}

/// The bug: an attempt that is repeated, because its end was not recorded, shows another key.
pub(super) fn by_attempt(host: &Host) -> Scheduler {
    charge(host, |ctx, _| format!("{}/{}", ctx.id(), ctx.attempt()))
}

/// Nearly: attempts of one execution share a key. But a fail-over may lose the execution with the rest of the newest
/// commits, and the slot is planned anew, under a new id.
pub(super) fn by_execution(host: &Host) -> Scheduler {
    charge(host, |ctx, _| ctx.id().to_string())
}

/// What is charged for is the key.
pub(super) fn by_invoice(host: &Host) -> Scheduler {
    charge(host, |_, invoice| invoice.to_owned())
}
