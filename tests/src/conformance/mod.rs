//! The store conformance suite: what every [`Store`](tourbillon::store::Store) must do, as named tests.
//!
//! Two kinds of trial for each store:
//!
//! * *cases*, one behaviour each, on a clock that the case sets. Each reply is also compared with the memory
//!   store's, and at the end so is everything stored;
//! * *generated sequences* of verbs, compared reply by reply and row by row with the memory store (`generated`).
//!
//! Where a case holds a behaviour of the parity list or a guarantee, its doc comment names the number (`P-5`, `G1`).
//!
//! To test a store of your own, implement [`Fixture`] and write a test target with `harness = false`:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use tourbillon::store::{BoxFuture, ManualClock, MemoryStore, Store, StoreError};
//! # struct Mine;
//! # impl tourbillon_tests::conformance::Fixture for Mine {
//! #     fn name(&self) -> &str { "mine" }
//! #     fn on_manual_clock(&self, clock: ManualClock) -> BoxFuture<'_, Result<Arc<dyn Store>, StoreError>> {
//! #         Box::pin(async { Ok(Arc::new(MemoryStore::new(clock)) as _) })
//! #     }
//! #     fn unmigrated(&self, clock: ManualClock) -> BoxFuture<'_, Result<Arc<dyn Store>, StoreError>> {
//! #         Box::pin(async { Ok(Arc::new(MemoryStore::unmigrated(clock)) as _) })
//! #     }
//! #     fn on_own_clock(&self, _: usize) -> BoxFuture<'_, Result<Vec<Arc<dyn Store>>, StoreError>> {
//! #         Box::pin(async { Ok(Vec::new()) })
//! #     }
//! # }
//! use tourbillon_tests::conformance::{Arguments, run, trials};
//! let arguments = Arguments::from_args();
//! run(&arguments, trials(Mine)).exit();
//! ```
//!
//! Knows no store but the memory store, which is the specification.

mod audit;
mod audit_pages;
mod bounds;
mod cancel;
mod claim;
mod claim_end;
mod clock_steps;
mod due;
mod enqueue;
mod enqueue_unique;
mod fixture;
mod generated;
mod heartbeat;
mod item_life;
mod items;
mod jobs;
mod limits;
mod list;
mod lock;
mod migrate;
mod notices;
mod pauses;
mod plan;
mod plan_bounds;
mod prune;
mod rates;
mod receipts;
mod register;
mod requeue;
mod rescue;
mod retention;
mod schedules;
mod settle;
mod start;
mod step;
mod stored_schedules;
mod subject;
mod traces;
mod unreadable;

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

pub use fixture::{DEFAULT_SEQUENCES, Fixture, Spoilable, Spoiler};
pub use libtest_mimic::{Arguments, Trial, run};
use tourbillon::{model::Audit, store::BoxFuture};

use subject::Subject;
pub(crate) use subject::{rules, trace_of};

/// One behaviour.
struct Case {
    name: &'static str,
    schema: Schema,
    run: for<'a> fn(&'a Subject) -> BoxFuture<'a, ()>,
}

/// What the database holds before a case begins.
#[derive(Clone, Copy)]
enum Schema {
    /// All tables, empty.
    Newest,
    /// Nothing at all.
    None,
}

/// Declares the cases of a topic. A function left out is dead code, and the compiler says so.
macro_rules! cases {
    (unmigrated: $($name:ident,)*) => { super::cases! { @None $($name,)* } };
    ($($name:ident,)*) => { super::cases! { @Newest $($name,)* } };
    (@$schema:ident $($name:ident,)*) => {
        pub(super) const CASES: &[super::Case] = &[$(super::Case {
            name: stringify!($name),
            schema: super::Schema::$schema,
            run: |subject| Box::pin($name(subject)),
        },)*];
    };
}
use cases;

const TOPICS: &[(&str, &[Case])] = &[
    ("migrate", migrate::CASES),
    ("register", register::CASES),
    ("plan", plan::CASES),
    ("plan", plan_bounds::CASES),
    ("enqueue", enqueue::CASES),
    ("enqueue", enqueue_unique::CASES),
    ("schedules", schedules::CASES),
    ("claim", claim::CASES),
    ("claim", claim_end::CASES),
    ("claim", due::CASES),
    ("start", start::CASES),
    ("heartbeat", heartbeat::CASES),
    ("settle", settle::CASES),
    ("settle", retention::CASES),
    ("rescue", rescue::CASES),
    ("cancel", cancel::CASES),
    ("requeue", requeue::CASES),
    ("traces", traces::CASES),
    ("limits", limits::CASES),
    ("rates", rates::CASES),
    ("receipts", receipts::CASES),
    ("clock_steps", clock_steps::CASES),
    ("audit", audit::CASES),
    ("audit", audit_pages::CASES),
    ("list", list::CASES),
    ("jobs", jobs::CASES),
    ("pauses", pauses::CASES),
    ("stored_schedules", stored_schedules::CASES),
    ("prune", prune::CASES),
    ("items", items::CASES),
    ("items", item_life::CASES),
    ("lock", lock::CASES),
    ("notices", notices::CASES),
    ("bounds", bounds::CASES),
];

/// All trials of one store, named `store::topic::behaviour`.
///
/// Where the fixture is [absent](Fixture::absent) its trials are marked ignored, with the reason as their kind;
/// with the environment variable `CI=true` they are run, and fail with it.
pub fn trials(fixture: impl Fixture) -> Vec<Trial> {
    let fixture = Arc::new(fixture);
    let absent = fixture.absent();
    let mut trials = Vec::new();
    for (topic, cases) in TOPICS {
        let audit = if *topic == "audit" { Audit::All } else { fixture.audit() };
        for case in *cases {
            let name = format!("{}::{topic}::{}", fixture.name(), case.name);
            let fixture = Arc::clone(&fixture);
            trials.push(trial(name, absent.as_deref(), move || run_case(&*fixture, case, audit)));
        }
    }
    for (case, run) in unreadable::CASES {
        let name = format!("{}::unreadable::{case}", fixture.name());
        let fixture = Arc::clone(&fixture);
        trials.push(trial(name, absent.as_deref(), move || block_on(run(&*fixture))));
    }
    let name = format!("{}::generated::sequences_equal_the_memory_store", fixture.name());
    trials.push(trial(name.clone(), absent.as_deref(), move || generated::run(&*fixture, &name)));
    trials
}

/// Whether this case fails, on a store that has to: one with a bug that was planted. The store is made on the thread that calls.
///
/// # Panics
/// When there is no such case.
pub fn fails(fixture: &impl Fixture, topic: &str, case: &str) -> bool {
    let mut cases = TOPICS.iter().filter(|(name, _)| *name == topic).flat_map(|(_, cases)| *cases);
    let case = cases.find(|one| one.name == case).unwrap_or_else(|| panic!("{topic} has no case {case}"));
    std::panic::catch_unwind(AssertUnwindSafe(|| run_case(fixture, case, fixture.audit()))).is_err()
}

/// One trial: ignored, or failing where the environment says `CI=true`, when `absent` says what it lacks.
pub fn trial(name: String, absent: Option<&str>, run: impl FnOnce() + Send + 'static) -> Trial {
    let Some(reason) = absent.map(str::to_owned) else {
        return Trial::test(name, move || {
            run();
            Ok(())
        });
    };
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let fails = format!("{reason} (with CI=true that is a failure)");
    Trial::test(name, move || Err(fails.into())).with_kind(reason).with_ignored_flag(!in_ci)
}

fn run_case(fixture: &dyn Fixture, case: &Case, audit: Audit) {
    block_on(async {
        let subject = Subject::new(fixture, case.schema, audit).await;
        (case.run)(&subject).await;
        subject.compare_everything().await;
    });
}

/// Runs a future to its end on a runtime of its own. Worker threads, since a store may need its own tasks.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime can be built").block_on(future)
}
