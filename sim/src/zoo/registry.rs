//! Owns where each planted bug lives: the property that must catch it and the scenario that gives it its window, or why no
//! simulation can show it, and what holds it instead.

use tourbillon::mutant::Mutant;

/// What keeps a bug in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cage {
    /// The simulation.
    Hunted {
        /// The one property that must be broken: `G1` … `G15`, `PANIC`, or the id of a loop of the operator.
        by: &'static str,
        /// File below `scenarios/`.
        scenario: &'static str,
    },
    /// A test of a real database, or of a builder: the simulation applies one verb at a time, on stores without locks.
    Outside {
        /// `file::function`, of this repository.
        test: &'static str,
        /// Why not in the simulation.
        why: &'static str,
    },
    /// Nothing: what would have to be wrong is not there.
    Impossible {
        /// Why.
        why: &'static str,
    },
}

const fn by(by: &'static str, scenario: &'static str) -> Cage {
    Cage::Hunted { by, scenario }
}

/// In a short way of one store. Its own tests let it loose.
const fn on_postgres(test: &'static str) -> Cage {
    Cage::Outside { test, why: "a statement of Postgres alone, which the simulation does not have" }
}

const AHEAD: &str = "zoo/ahead.toml";
const ATTEMPTS: &str = "zoo/attempts.toml";
const CLOCKS: &str = "zoo/clocks.toml";
const FUTURE: &str = "zoo/future.toml";
const LOST: &str = "zoo/lost.toml";
const SLOTS: &str = "zoo/slots.toml";
const LOCKS: &str = "zoo/locks.toml";
const NOTICES: &str = "wake-ups.toml";
/// Replicas that are told of nothing.
const TOLD: &str = "zoo/told.toml";
const TRUST: &str = "zoo/trust.toml";
const LEADERS: &str = "leader-handover.toml";
const FORGETFUL: &str = "forgetful-items.toml";
const RATES: &str = "rates.toml";
const SCHEDULES: &str = "schedules.toml";
const QUEUES: &str = "zoo/queues.toml";
const COMMITS: &str = "zoo/commits.toml";
const BOOT: &str = "boot-migrations.toml";
const DEPLOY: &str = "rolling-deploy.toml";
const ZONES: &str = "zoo/zones.toml";
const WALL: &str = "zoo/wall.toml";
const SIGNERS: &str = "zoo/signers.toml";

/// Where a bug lives. Exhaustive: every row of the zoo is accounted for.
pub const fn cage(mutant: Mutant) -> Cage {
    use Mutant::*;
    match mutant {
        A1 => by("G2", ATTEMPTS),
        A2 => by("G10", ATTEMPTS),
        A3 => by("G8", LOST),
        A4 | A5 => by("G5", ATTEMPTS),
        A6 => by("G3", ATTEMPTS),
        A7 => by("G5", ATTEMPTS),
        A8 => by("G5", ATTEMPTS),
        A9 => by("G15", ATTEMPTS),
        A10 => by("G5", SLOTS),
        A11 => by("G14", ATTEMPTS),
        A12 => by("G10", ATTEMPTS),
        A13 => by("G5", AHEAD),
        A14 => by("G14", LOCKS),
        A15 => by("G2", CLOCKS),
        A16 => by("G3", ATTEMPTS),
        A17 => by("G2", AHEAD),
        A18 => by("G5", ATTEMPTS),
        A19 => by("G11", QUEUES),
        A20 => by("G4", AHEAD),
        A21 => by("G13", ATTEMPTS),
        A22 => by("G5", ATTEMPTS),
        A23 => by("G2", QUEUES),
        A24 => by("crl_generation", SIGNERS),
        A25 => by("G6", SLOTS),
        A26 => by("G12", BOOT),
        A27 => by("G7", LEADERS),
        A28 => Cage::Outside {
            test: "core/tests/services/locked.rs::locks_and_groups_that_do_not_fit_together_are_refused",
            why: "the builder refuses it before anything runs",
        },
        A29 => by("G7", LOCKS),
        A30 => by("G3", ATTEMPTS),
        A31 => by("G5", QUEUES),
        A32 => by("G1", ATTEMPTS),
        A33 | A34 => by("G3", ATTEMPTS),
        B1 => by("G7", LEADERS),
        B2 => by("G8", COMMITS),
        B3 => by("G14", LOCKS),
        B4 => by("G14", LEADERS),
        B5 | B6 => by("G5", SLOTS),
        B7 => by("G6", SLOTS),
        B8 => by("G14", SLOTS),
        B9 => by("G14", LEADERS),
        B10 => by("G5", SLOTS),
        B11 => by("G6", DEPLOY),
        B12 => by("G10", LEADERS),
        B13 => by("G2", ATTEMPTS),
        B14 => by("G5", WALL),
        B15 => by("G5", ZONES),
        B16 => by("G5", SLOTS),
        B17 => by("G7", LEADERS),
        B18 => by("G2", ATTEMPTS),
        B19 => by("G8", CLOCKS),
        B20 => by("G8", AHEAD),
        B21 => by("G1", ATTEMPTS),
        B22 => by("G14", ATTEMPTS),
        B23 => by("G5", ATTEMPTS),
        B24 => by("G14", AHEAD),
        B25 => by("G3", ATTEMPTS),
        B26 => by("G5", ATTEMPTS),
        B27 => Cage::Outside {
            test: "pg-backend/src/sql.rs::no_statement_leaves_state_in_its_session",
            why: "locks are rows, and no statement knows advisory ones; session locks, if asked for, have a connection each",
        },
        B28 => by("G7", LEADERS),
        B29 => by("G12", BOOT),
        B30 => by("G14", TOLD),
        B31 => Cage::Outside {
            test: "tests/src/races/mod.rs::opposite_batches_do_not_deadlock",
            why: "the simulation applies one verb at a time: there are no row locks to order",
        },
        B32 => by("G7", LOCKS),
        B33 => Cage::Impossible { why: "the lease is part of the row: no worker's entry can go before its row" },
        B34 => Cage::Outside {
            test: "core/tests/queues/noticing.rs::a_burst_of_notices_is_a_few_looks",
            why: "a claim for nothing is a cost and breaks no guarantee; who hears a burst of notices looks once",
        },
        B35 => by("G2", ATTEMPTS),
        C1 => Cage::Outside {
            test: "tests/tests/postgres/race.rs::limit_holds_under_many_claimers",
            why: "write skew needs two transactions at once, and the simulation applies one verb at a time",
        },
        C2 => by("G2", ATTEMPTS),
        C3 => by("G11", QUEUES),
        C4 => by("G14", ATTEMPTS),
        C5 => by("G1", AHEAD),
        C6 => by("G5", SLOTS),
        C7 => by("G6", DEPLOY),
        C8 => by("G5", FUTURE),
        C9 => by("G11", QUEUES),
        C10 => Cage::Outside {
            test: "tests/tests/postgres/claim_plan.rs::claim_reads_due_rows_only",
            why: "right, only slow: how many pages a statement reads is a matter of the planner of Postgres",
        },
        D1 => by("G7", LEADERS),
        D2 => by("G7", TRUST),
        D3 => by("G8", AHEAD),
        D4 => by("G9", ATTEMPTS),
        D5 => by("PANIC", ATTEMPTS),
        D6 => by("G14", LOCKS),
        D7 => by("G14", NOTICES),
        D8 => by("G14", AHEAD),
        D9 => by("G13", AHEAD),
        D10 => by("G14", AHEAD),
        D11 => by("G4", AHEAD),
        D12 => by("G2", AHEAD),
        D13 => by("G5", FORGETFUL),
        D14 | D15 => by("G6", SCHEDULES),
        D16 => by("G15", RATES),
        D17 => by("G10", ATTEMPTS),
        D18 => by("PANIC", ATTEMPTS),
        D19 => by("G5", FORGETFUL),
        D20 => on_postgres("tests/tests/postgres/planted.rs::a_short_claim_locks_no_row"),
        D21 => on_postgres("tests/tests/postgres/planted.rs::a_short_claim_takes_all_rows_when_one_is_plain"),
        D22 => on_postgres("tests/tests/postgres/planted.rs::a_claim_onward_locks_no_row"),
        D23 => on_postgres("tests/tests/postgres/planted.rs::a_claim_onward_passes_over_what_is_more_urgent"),
        D24 => on_postgres("tests/tests/postgres/planted.rs::a_claim_goes_onward_for_ever"),
        D25 => on_postgres("tests/tests/postgres/planted.rs::a_claim_onward_takes_all_rows_when_one_is_plain"),
        D26 => on_postgres("tests/tests/postgres/planted.rs::a_short_settlement_takes_whatever_lease"),
        D27 => on_postgres("tests/tests/postgres/planted.rs::a_short_settlement_frees_no_place"),
        D28 => on_postgres("tests/tests/postgres/planted.rs::a_short_settlement_forgets_what_has_a_slot"),
        D29 => on_postgres("tests/tests/postgres/planted.rs::a_short_settlement_leaves_a_row_that_moved"),
        D30 => on_postgres("tests/tests/postgres/planted.rs::a_short_enqueue_makes_an_item_again"),
        D31 => on_postgres("tests/tests/postgres/planted.rs::a_bulk_enqueue_makes_an_item_again"),
        D32 => on_postgres("tests/tests/postgres/planted.rs::a_key_is_not_looked_up_behind_its_insert"),
    }
}
