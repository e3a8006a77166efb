//! Races on real connections, and permutations of verbs on real Postgres.
//!
//! The simulation serialises verbs, so row locks, rechecks after a wait, `SKIP LOCKED` and deadlocks never happen in
//! it. Here they do:
//!
//! * `race`: sixteen tasks on the database's own clock, judged from what each call was told (`log`, `life`, `check`);
//! * `crash`: the same, with the server killed and restarted in the middle;
//! * `keys`: producers that share unique keys and the room of a queue, judged call by call (G11, G15, capacity);
//! * `locks`: a few locks that live for milliseconds, judged call by call (G7);
//! * `twice`: one request, sent twice at once;
//! * `batches`: large batches in opposite orders over many gates;
//! * `permute`: each ordered pair of writing verbs on shared rows (`scene`, `scene_locks`), both in flight at once
//!   (`stage`), every result equal to a serial order on the in-memory store.
//!
//! Each of the timed ones goes on until `enough` has met for its verdict to mean something.
//!
//! Knows the three stores; the judgement knows none.

mod arena;
mod audit;
mod batches;
mod check;
#[cfg(test)]
mod check_tests;
mod crash;
mod enough;
mod explain;
mod keys;
mod life;
mod locks;
mod log;
mod permute;
mod race;
mod rates;
mod scene;
mod scene_locks;
mod stage;
mod twice;
mod work;

use arena::Arena;
pub use check::{Verdict, check, check_errors};
use libtest_mimic::{Failed, Trial};
pub use log::Call;

use crate::cluster::Cluster;

/// How long the random races last.
const LASTING: std::time::Duration = std::time::Duration::from_secs(3);

/// Connections and writer threads on the SQLite file.
const SQLITE_HANDLES: usize = 4;

/// Pools of connections on Postgres.
const POSTGRES_HANDLES: usize = 4;

/// All trials. Those that need a Postgres are ignored with the reason as their kind where there is none; with the
/// environment variable `CI=true` they fail instead.
///
/// With `listing`, nothing is started.
pub fn trials(listing: bool) -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("memory::sixteen_tasks_share_rows", || {
            block_on(async { race::run(&Arena::memory(), LASTING / 4).await }).map_err(Failed::from)
        }),
        Trial::test("sqlite::sixteen_tasks_share_rows", || {
            block_on(async { race::run(&Arena::sqlite(SQLITE_HANDLES), LASTING).await }).map_err(Failed::from)
        }),
    ];
    trials.push(Trial::test("sqlite::a_request_sent_twice_at_once_has_one_effect", || {
        block_on(async { twice::run(&Arena::sqlite(2)).await }).map_err(Failed::from)
    }));
    trials.push(Trial::test("sqlite::producers_share_keys_and_room", || {
        block_on(async { keys::run(&Arena::sqlite(SQLITE_HANDLES), LASTING / 2).await }).map_err(Failed::from)
    }));
    trials.push(Trial::test("memory::turns_of_a_key_are_shared", || {
        block_on(async { rates::run(&Arena::memory(), LASTING / 4).await }).map_err(Failed::from)
    }));
    trials.push(Trial::test("sqlite::turns_of_a_key_are_shared", || {
        block_on(async { rates::run(&Arena::sqlite(SQLITE_HANDLES), LASTING / 2).await }).map_err(Failed::from)
    }));
    trials.push(Trial::test("memory::a_lock_has_one_holder_per_epoch", || {
        block_on(async { locks::run(&Arena::memory(), LASTING / 4).await }).map_err(Failed::from)
    }));
    trials.push(Trial::test("sqlite::a_lock_has_one_holder_per_epoch", || {
        block_on(async { locks::run(&Arena::sqlite(SQLITE_HANDLES), LASTING / 2).await }).map_err(Failed::from)
    }));
    for (name, run) in POSTGRES {
        trials.push(on_postgres(name, *run, listing));
    }
    trials
}

type OnPostgres = fn(&'static Cluster) -> Result<(), String>;

const POSTGRES: &[(&str, OnPostgres)] = &[
    ("postgres::sixteen_tasks_share_rows", |cluster| {
        block_on(async {
            let arena = Arena::postgres(cluster.fresh_database(), POSTGRES_HANDLES).await;
            race::run(&arena, LASTING).await
        })
    }),
    ("postgres::producers_share_keys_and_room", |cluster| {
        block_on(async {
            let arena = Arena::postgres(cluster.fresh_database(), POSTGRES_HANDLES).await;
            keys::run(&arena, LASTING).await
        })
    }),
    ("postgres::turns_of_a_key_are_shared", |cluster| {
        block_on(async {
            let arena = Arena::postgres(cluster.fresh_database(), POSTGRES_HANDLES).await;
            rates::run(&arena, LASTING / 2).await
        })
    }),
    ("postgres::a_lock_has_one_holder_per_epoch", |cluster| {
        block_on(async {
            let arena = Arena::postgres(cluster.fresh_database(), POSTGRES_HANDLES).await;
            locks::run(&arena, LASTING / 2).await
        })
    }),
    ("postgres::nothing_acknowledged_is_lost_in_a_crash", |_| {
        let own = Cluster::start().map_err(|error| error.reason)?;
        block_on(crash::run(&own))
    }),
    ("postgres::a_request_sent_twice_at_once_has_one_effect", |cluster| {
        block_on(async { twice::run(&Arena::postgres(cluster.fresh_database(), 2).await).await })
    }),
    ("postgres::opposite_batches_do_not_deadlock", |cluster| {
        block_on(async {
            batches::run(&Arena::postgres_without_deadlock_detector(cluster.fresh_database(), 4).await).await
        })
    }),
    ("postgres::every_pair_of_verbs_equals_a_serial_order", |cluster| block_on(permute::run(cluster))),
];

fn on_postgres(name: &str, run: OnPostgres, listing: bool) -> Trial {
    if listing {
        return Trial::test(name, || Ok(()));
    }
    match Cluster::available() {
        Ok(()) => Trial::test(name, move || {
            let cluster = Cluster::shared().map_err(|missing| missing.reason)?;
            run(cluster).map_err(Failed::from)
        }),
        Err(missing) => {
            let on_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            let reason = missing.reason.clone();
            Trial::test(name, move || Err(missing.reason.into())).with_kind(reason).with_ignored_flag(!on_ci)
        }
    }
}

/// Runs a race on a runtime of its own, with two worker threads.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be built").block_on(work)
}
