//! Copy this to `tests/simulation.rs`, put your job in, and say what you expect of it.

use std::time::Duration;

use tourbillon::prelude::*;
use tourbillon_sim::prelude::*;

/// What each replica runs. Everything comes from `host`: the store, the runtime, the ways to the outside.
fn app(host: &Host) -> Scheduler {
    let smtp = host.receiver("smtp");
    let digest = Job::new("digest").every(Duration::from_secs(60)).run(move |ctx: Context| {
        let smtp = smtp.clone();
        async move {
            let slot = ctx.slot_at().expect("a planned job has slots");
            smtp.send(&ctx, format!("digest of {slot}")).await
        }
    });
    Scheduler::builder(host.store()).runtime(host.runtime()).job(digest).build().expect("the rules of the job hold")
}

/// One function builds it, so that the test that a failure prints can be pasted beside it.
fn simulation() -> Simulation {
    Simulation::new("digest")
        .lasting(Duration::from_secs(600))
        .receiver("smtp")
        .app(app)
        .expect(effects("smtp").per_key().at_most_one_plus_unmarked())
        .expect(effects("smtp").whenever_succeeds("digest"))
        .expect(slots("digest").settled())
}

#[test]
fn a_digest_is_sent_once_unless_its_mark_was_lost() {
    simulation().check();
}
