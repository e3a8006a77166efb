//! Measured and documented bounds agree: what `docs/GUARANTEES.md` says of clocks, at a few values around each bound. The
//! whole of it is `tourbillon sim envelope`.

use std::sync::Arc;

use tourbillon_sim::{
    EngineFactory, Lane, Overrides,
    envelope::{self, Axis, TICKS},
    run_seed,
    world::engine,
};

/// What breaks at this value, over the first four seeds.
fn broken(axis: Axis, value: i64) -> Vec<String> {
    let world = envelope::world().unwrap_or_else(|error| panic!("{error}"));
    let memory: EngineFactory = Arc::new(|| Ok(engine::memory()));
    let overrides = Overrides { lane: Some(Lane::Event), plan: Some(axis.plan(value)) };
    let mut broken = Vec::new();
    for seed in 0..4 {
        let verdict = run_seed(&world, seed, &overrides, &memory).unwrap_or_else(|error| panic!("{error}"));
        broken.extend(verdict.violations.into_iter().map(|violation| violation.guarantee));
        broken.extend(envelope::overlaps(&verdict.history));
    }
    broken
}

#[test]
fn no_error_of_a_wall_clock_breaks_anything() {
    for axis in [Axis::WallOffset, Axis::WallJump] {
        assert_eq!(broken(axis, axis.range().2), [] as [&str; 0], "{}", axis.about());
    }
}

#[test]
fn drift_within_the_margin_of_a_lease_breaks_nothing() {
    assert_eq!(broken(Axis::SlowClock, 100_000), [] as [&str; 0]);
    assert_eq!(broken(Axis::FastClock, 800_000), [] as [&str; 0]);
}

#[test]
fn drift_beyond_the_margin_lets_ticks_of_two_epochs_overlap() {
    assert!(broken(Axis::SlowClock, 200_000).contains(&TICKS.to_owned()));
}

#[test]
fn a_suspension_within_the_margin_breaks_nothing_and_a_long_one_lets_ticks_overlap() {
    assert_eq!(broken(Axis::Suspension, 1), [] as [&str; 0]);
    assert!(broken(Axis::Suspension, 30).contains(&TICKS.to_owned()));
}

#[test]
fn a_database_that_steps_forward_by_a_time_to_live_lets_ticks_overlap() {
    assert_eq!(broken(Axis::DatabaseForward, 1_000), [] as [&str; 0]);
    assert!(broken(Axis::DatabaseForward, 15_000).contains(&TICKS.to_owned()));
}

#[test]
fn no_pause_breaks_anything_while_the_monotonic_clock_goes_on() {
    assert_eq!(broken(Axis::Pause, 60), [] as [&str; 0]);
}

/// Bugs that trust a clock flip where the leases of the world say; `sim envelope --mutant all` finds the very values.
#[cfg(feature = "zoo")]
mod bugs {
    use std::sync::Arc;

    use tourbillon_sim::{
        EngineFactory,
        envelope::{self, FLIPS, Flip},
        world::engine,
        zoo,
    };

    fn breaks(flip: &Flip, value: i64) -> bool {
        let world = envelope::world().unwrap_or_else(|error| panic!("{error}"));
        let memory: EngineFactory = Arc::new(|| Ok(engine::memory()));
        (0..4).any(|seed| {
            let verdict = zoo::run_by_walls(flip.mutant, &world, seed, &flip.axis.plan(value), &memory)
                .unwrap_or_else(|error| panic!("{}: {error}", flip.mutant.id()));
            envelope::overlaps(&verdict.history).iter().any(|read| read == flip.reading)
        })
    }

    #[test]
    fn below_the_bound_of_theory_a_bug_breaks_nothing() {
        for flip in FLIPS {
            assert!(!breaks(flip, flip.above), "{} at {}", flip.mutant.id(), flip.axis.show(flip.above));
        }
    }

    #[test]
    fn a_clock_that_decides_about_locks_or_leases_breaks_them_when_it_is_off_by_their_length() {
        for flip in FLIPS.iter().filter(|flip| flip.axis == envelope::Axis::WallOffset) {
            let at = flip.at_most.expect("it must flip");
            assert!(breaks(flip, at), "{} at {}", flip.mutant.id(), flip.axis.show(at));
        }
    }
}
