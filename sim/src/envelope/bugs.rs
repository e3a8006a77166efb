//! Planted bugs that trust a local clock, or an answer for younger than it is: what each of them breaks when something is
//! moved, and between which values it must do so for the first time, by the leases and timeouts of the world. Which lines
//! the bugs break is said elsewhere.

use std::fmt::Write as _;

use serde::Serialize;
use tourbillon::mutant::Mutant;

use super::{ATTEMPTS, Axis, Envelope, Reach, TICKS, chart, envelope, overlaps, world};
use crate::{world::engine::EngineFactory, zoo};

/// Where a bug must flip. The world's locks live for 12 s and are renewed every 3 s; its leases last 20 s and are renewed
/// every 4 s; both are trusted for 90 %; an attempt may run for 19 s.
#[derive(Clone, Copy, Debug)]
pub struct Flip {
    /// The bug.
    pub mutant: Mutant,
    /// What is moved.
    pub axis: Axis,
    /// What breaks.
    pub reading: &'static str,
    /// Up to here it cannot.
    pub above: i64,
    /// From here on it must, as far as the axis goes on doing what it does; `None`: it cannot break at all.
    pub at_most: Option<i64>,
    /// Why.
    pub why: &'static str,
}

/// All that are measured.
pub const FLIPS: &[Flip] = &[
    Flip {
        mutant: Mutant::B12,
        axis: Axis::WallOffset,
        reading: TICKS,
        above: 4_500,
        at_most: Some(7_000),
        why: "one clock is ahead and one behind by as much: what the latter takes has 9 s to 12 s left, less twice the error",
    },
    Flip {
        mutant: Mutant::A12,
        axis: Axis::WallOffset,
        reading: ATTEMPTS,
        above: 16_000,
        at_most: Some(21_000),
        why: "a heartbeat by a clock that is behind leaves 20 s less its error, and the next one comes after 4 s",
    },
    Flip {
        mutant: Mutant::D2,
        axis: Axis::LateAndCutOff,
        reading: TICKS,
        above: 1_200,
        at_most: Some(3_000),
        why: "trust from the answer outlives the lock by its lateness less the margin of 1.2 s; an answer later than 3 s is \
              not waited for",
    },
    Flip {
        mutant: Mutant::D3,
        axis: Axis::LateAndCutOff,
        reading: ATTEMPTS,
        above: 5_000,
        at_most: None,
        why: "an attempt ends after 19 s, and the first heartbeat has moved its lease to 24 s: there is nothing to outlive",
    },
    Flip {
        mutant: Mutant::B20,
        axis: Axis::SlowClock,
        reading: ATTEMPTS,
        above: 50_000,
        at_most: Some(280_000),
        why: "without trust it is the timeout of 19 s that ends an attempt before its lease of 20 s: 5 % is all there is",
    },
];

/// What was measured of one bug.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    /// Its id.
    pub bug: &'static str,
    /// What it does wrong.
    pub about: &'static str,
    /// The reading that was asked for, with the bug.
    pub with: Reach,
    /// The same without it.
    pub without: Reach,
    /// From the range that theory gives.
    pub above: i64,
    /// Its end, if it must flip.
    pub at_most: Option<i64>,
    /// Why.
    pub why: &'static str,
}

impl Moved {
    /// Whether it flipped where it must, or did not where it cannot.
    pub fn is_as_expected(&self) -> bool {
        match (self.at_most, self.with.broke) {
            (Some(at_most), Some(broke)) => broke > self.above && self.with.held < at_most,
            (None, None) => true,
            _ => false,
        }
    }
}

/// Measures one flip, with the bug and without it; seeds and threads as for [`envelope`].
///
/// # Errors
/// As [`envelope`].
pub fn moved(flip: &Flip, seeds: u64, threads: usize, engine: &EngineFactory) -> Result<Moved, String> {
    let world = world().map_err(|error| error.to_string())?;
    let measure = |mutant: Option<Mutant>| {
        let measured = envelope(&[flip.axis], seeds, threads, &|seed, plan| {
            let verdict = match mutant {
                Some(mutant) => zoo::run_by_walls(mutant, &world, seed, plan, engine)?,
                None => zoo::run(None, &world, seed, Some(plan.clone()), engine)?.0,
            };
            let broken = verdict.violations.iter().map(|violation| violation.guarantee.clone());
            Ok(broken.chain(overlaps(&verdict.history)).collect())
        })?;
        reach_of(&measured, flip)
    };
    Ok(Moved {
        bug: flip.mutant.id(),
        about: flip.mutant.about(),
        with: measure(Some(flip.mutant))?,
        without: measure(None)?,
        above: flip.above,
        at_most: flip.at_most,
        why: flip.why,
    })
}

fn reach_of(measured: &Envelope, flip: &Flip) -> Result<Reach, String> {
    let of = measured.reaches.iter().find(|reach| reach.guarantee == flip.reading);
    of.cloned().ok_or_else(|| format!("{} was not measured", flip.reading))
}

/// A row per bug: where it flips, where it must, and where things flip as they are.
pub fn bugs_markdown(all: &[Moved]) -> String {
    let mut text = String::from(
        "| bug | moved | breaks | broken at | must be | without the bug | why |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for one in all {
        let axis = one.with.axis;
        let flips = |reach: &Reach| match reach.broke {
            Some(broke) => format!("{} ({} held)", axis.show(broke), axis.show(reach.held)),
            None => "never".to_owned(),
        };
        let must = one.at_most.map_or_else(
            || "never".to_owned(),
            |at_most| format!("above {}, at most {}", axis.show(one.above), axis.show(at_most)),
        );
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {}: {} | {} | {} | {} | {must} | {} | {} |",
            one.bug,
            one.about,
            axis.about(),
            one.with.guarantee,
            flips(&one.with),
            flips(&one.without),
            one.why
        );
    }
    text
}

/// A bar per bug, as [`svg`](super::svg) has one per axis.
pub fn bugs_svg(all: &[Moved]) -> String {
    let rows = all.iter().map(|one| {
        let broken = one.with.broke.map(|broke| (one.with.guarantee.clone(), broke));
        let name = format!("{}: {}", one.bug, one.with.axis.about());
        chart::Bar { name, axis: one.with.axis, broken: broken.into_iter().collect() }
    });
    chart::bars("Safe envelope with planted bugs: how far each thing may go wrong, logarithmic", rows.collect())
}
