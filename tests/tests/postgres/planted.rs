//! Owns the bugs that are planted in the statements of this store (`docs/ZOO.md`): each is caught by a case that there is anyway, named by
//! what it is about. Without the bug that one passes: a case of this program in a trial of its own, one of conformance here.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Once},
};

use libtest_mimic::Failed;
use tourbillon::{
    model::Audit,
    store::{BoxFuture, ManualClock, Store, StoreError},
};
use tourbillon_pg::{
    PgStore,
    planted::{Bug, let_loose},
};
use tourbillon_tests::{
    cluster::Cluster,
    conformance::{Fixture, fails},
    stores::Postgres,
};

use crate::{Case, Run, explain::prepare, held, onward, settle, transaction};

/// Who has to notice.
enum By {
    /// A case of conformance, and its topic.
    Conformance(&'static str, &'static str),
    /// A case of this program.
    Case(Run),
}

macro_rules! bugs {
    ($($name:ident $bug:ident by $by:expr;)*) => {
        pub(crate) const CASES: &[Case] = &[$((concat!("planted::", stringify!($name)), $name),)*];
        /// Of every bug there is.
        const fn name(bug: Bug) -> &'static str {
            match bug { $(Bug::$bug => stringify!($name),)* }
        }
        $(fn $name(cluster: &'static Cluster) -> Result<(), Failed> {
            is_caught(cluster, Bug::$bug, &$by)
        })*
    };
}

bugs! {
    a_short_claim_locks_no_row D20 by By::Case(held::a_claim_passes_over_what_is_held);
    a_short_claim_takes_all_rows_when_one_is_plain D21 by By::Conformance("claim", "skipped_rows_count_towards_the_limit");
    a_claim_onward_locks_no_row D22 by By::Case(onward::a_claim_onward_passes_over_what_is_locked);
    a_claim_onward_passes_over_what_is_more_urgent D23 by By::Case(onward::a_claim_goes_on_behind_the_last_row_taken);
    a_claim_goes_onward_for_ever D24 by By::Case(onward::what_comes_to_lie_behind_a_claim_is_found_within_a_second);
    a_claim_onward_takes_all_rows_when_one_is_plain D25 by By::Case(onward::a_claim_that_cannot_go_on_looks_anew);
    a_short_settlement_takes_whatever_lease D26 by By::Conformance("settle", "settle_with_the_wrong_token_or_fence_is_refused");
    a_short_settlement_frees_no_place D27 by By::Conformance("limits", "overlap_forbidden_is_a_limit_of_one");
    a_short_settlement_forgets_what_has_a_slot D28 by By::Conformance("settle", "slot_is_remembered_whatever_is_retained");
    a_short_settlement_leaves_a_row_that_moved D29 by By::Case(settle::a_row_that_moves_while_the_short_way_waits_goes);
    a_short_enqueue_makes_an_item_again D30 by By::Conformance("enqueue", "id_that_is_taken_is_a_duplicate");
    a_bulk_enqueue_makes_an_item_again D31 by By::Conformance("enqueue", "taken_ids_in_a_batch_stop_nobody_else");
    a_key_is_not_looked_up_behind_its_insert D32 by By::Case(transaction::a_key_whose_item_finished_meanwhile_counts);
}

/// Rows that tell of exceptions alone take the short ways.
struct Terse;

impl Fixture for Terse {
    fn name(&self) -> &str {
        "terse"
    }

    fn on_manual_clock(&self, clock: ManualClock) -> BoxFuture<'_, Result<Arc<dyn Store>, StoreError>> {
        Postgres::Direct.on_manual_clock(clock)
    }

    fn unmigrated(&self, clock: ManualClock) -> BoxFuture<'_, Result<Arc<dyn Store>, StoreError>> {
        Postgres::Direct.unmigrated(clock)
    }

    fn on_own_clock(&self, handles: usize) -> BoxFuture<'_, Result<Vec<Arc<dyn Store>>, StoreError>> {
        Postgres::Direct.on_own_clock(handles)
    }

    fn audit(&self) -> Audit {
        Audit::Exceptions
    }
}

fn is_caught(cluster: &'static Cluster, bug: Bug, by: &By) -> Result<(), Failed> {
    if let By::Conformance(topic, case) = by
        && fails(&Terse, topic, case)
    {
        return Err(format!("{case} fails without {bug:?}").into());
    }
    let _loose = let_loose(bug);
    crate::block_on(is_accepted(cluster, bug))?;
    let _quiet = Quiet::new();
    let is_caught = match by {
        By::Conformance(topic, case) => fails(&Terse, topic, case),
        By::Case(case) => !matches!(catch_unwind(AssertUnwindSafe(|| case(cluster))), Ok(Ok(()))),
    };
    if is_caught { Ok(()) } else { Err(format!("nobody notices {bug:?}, {}", name(bug)).into()) }
}

/// Else every case would notice it.
async fn is_accepted(cluster: &'static Cluster, bug: Bug) -> Result<(), Failed> {
    let url = cluster.fresh_database();
    let store = PgStore::connect(&url).await?;
    store.migrate().await?;
    let mut app = crate::connect(&url).await?;
    let names = match bug.file() {
        "settle_plain" => vec!["settle_keeping", "settle_forgetting"],
        file => vec![file],
    };
    for name in names {
        prepare(&mut app, &store, (name, "")).await?;
    }
    Ok(())
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Panics of this thread are what is waited for, and not told, until this is dropped.
struct Quiet;

impl Quiet {
    fn new() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if !IS_QUIET.get() {
                    usual(panic);
                }
            }));
        });
        IS_QUIET.set(true);
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        IS_QUIET.set(false);
    }
}
