//! Simulations of your own jobs: the application as in production, outside receivers, faults, what you expect. Every run
//! is held against the guarantees G1–G15 too; the rules that they are judged by (lease, attempts, schedule …) are read
//! from the scheduler that the application builds.
//!
//! The guide is `docs/guide/testing-your-jobs.md`. In short:
//!
//! ```
//! use std::time::Duration;
//! use tourbillon::prelude::*;
//! use tourbillon_sim::prelude::*;
//!
//! /// As in production, but for where the store, the runtime and the mail server come from.
//! fn app(host: &Host) -> Scheduler {
//!     let smtp = host.receiver("smtp");
//!     let digest = Job::new("digest").every(Duration::from_secs(60)).run(move |ctx: Context| {
//!         let smtp = smtp.clone();
//!         async move {
//!             let slot = ctx.slot_at().expect("a planned job has slots");
//!             smtp.send(&ctx, format!("digest of {slot}")).await
//!         }
//!     });
//!     Scheduler::builder(host.store()).runtime(host.runtime()).job(digest).build().expect("the rules hold")
//! }
//!
//! // In a `#[test]`:
//! Simulation::new("digest")
//!     .lasting(Duration::from_secs(600))
//!     .receiver("smtp")
//!     .app(app)
//!     .expect(effects("smtp").per_key().at_most_one_plus_unmarked())
//!     .expect(slots("digest").settled())
//! #   .seeds(0..1)
//!     .check();
//! ```

mod builder;
mod check;
mod environment;
mod expect;
mod facts;
mod failure;
mod faults;
mod receiver;
mod record;
mod run;
mod words;

pub use builder::Simulation;
pub use check::Held;
pub use expect::{Effects, EffectsPerKey, Expectation, Judgement, Slots, effects, holds, slots};
pub use failure::{CheckError, Counterexample};
pub use faults::Faults;
pub use receiver::Receiver;
pub use record::{AttemptSeen, EffectSeen, Record};

/// One `#[test]` for each of eight parts of a range of seeds, so that a runner runs them side by side: `cargo nextest run`
/// as processes of their own, `cargo test` as threads. `TOURBILLON_SHARD=k/n` splits each part over machines.
///
/// ```
/// # use tourbillon::prelude::*;
/// use tourbillon_sim::prelude::*;
///
/// fn simulation() -> Simulation {
///     Simulation::new("digest") // .receiver(…).app(…).expect(…)
/// }
///
/// seed_tests! {
///     /// Makes the tests `digest_holds::part_1` to `digest_holds::part_8`.
///     digest_holds: simulation(), seeds 0..200;
/// }
/// ```
#[macro_export]
macro_rules! seed_tests {
    ($($(#[$about:meta])* $name:ident: $simulation:expr, seeds $seeds:expr;)+) => {
        $($(#[$about])* mod $name {
            use super::*;
            $crate::seed_tests! { @parts $simulation, $seeds,
                part_1 1, part_2 2, part_3 3, part_4 4, part_5 5, part_6 6, part_7 7, part_8 8 }
        })+
    };
    (@parts $simulation:expr, $seeds:expr, $($part:ident $k:literal),+) => {
        $(#[test] fn $part() { $simulation.seeds($seeds).part($k, 8).check(); })+
    };
}
