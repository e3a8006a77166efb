//! Fault plans of the columns. A few seeds must hit every row inside its window, so plans aim: each seed takes the
//! next rows in turn and strikes right after the n-th claim, effect or mark of just that row. Beside what is aimed a
//! seed has a little of the same class at random times, for what nobody thought of.

use super::{Cell, FaultClass, Row, Trial};
use crate::{
    chance::{Stream, between, percent},
    fault::{self, Bad, Fault, FaultPlan, Then, Trigger, TriggerPoint},
};

/// Aims of one run: more would hardly leave a row undisturbed by the aims at others.
const AIMS: usize = 8;

/// The plan of a cell: always the same for the same workload, variant, class and seed.
pub fn plan(cell: &Cell<'_>, trial: &Trial, rows: &[Row]) -> FaultPlan {
    let present: Vec<_> = rows.iter().filter(|row| trial.rows.is_empty() || trial.rows.contains(&row.id)).collect();
    let aim = Aim { cell, trial, dice: Stream::new(cell.seed, cell.class.name(), 0) };
    match cell.class {
        FaultClass::None => FaultPlan::default(),
        FaultClass::Swarm => {
            let leases: Vec<_> = present.iter().map(|row| row.lease).collect();
            let mut plan = fault::draw_any(&trial.facts, trial.phases.chaos, &leases, cell.seed);
            plan.triggers.extend(aim.at(&present).triggers);
            plan
        }
        FaultClass::ReplicaClock => aim.clocks(),
        _ => aim.at(&present),
    }
}

struct Aim<'a> {
    cell: &'a Cell<'a>,
    trial: &'a Trial,
    dice: Stream,
}

/// What a class does at a row: after which event, and what then.
type Shot = (TriggerPoint, Then);

impl Aim<'_> {
    fn at(&self, present: &[&Row]) -> FaultPlan {
        let mut plan = FaultPlan::default();
        if present.is_empty() {
            return plan;
        }
        let turn = usize::try_from(self.trial.turn).unwrap_or(0);
        for n in 0..AIMS {
            let number = turn * AIMS + n;
            let (row, round) = (present[number % present.len()], number / present.len());
            let shots = shots(self.class(), row);
            // Each time round the rows, the next shot at each.
            let Some((after, then)) = shots.get(round % shots.len().max(1)) else { continue };
            let of = Some(row.jobs.get(round % row.jobs.len().max(1)).copied().unwrap_or(row.id).to_owned());
            // Of two that wait for one event only one would strike.
            let before = plan.triggers.iter().filter(|trigger| trigger.of == of).count();
            plan.triggers.push(Trigger {
                after: *after,
                nth: self.nth(row) + u32::try_from(before).unwrap_or(0),
                of,
                then: *then,
                lasts_s: self.lasts_s(*then, row),
            });
        }
        let random = self.random(present);
        plan.faults.extend(random);
        plan.faults.sort_by_key(|fault| fault.at_s);
        plan
    }

    /// The class of one aim: the cell's own, or any in a swarm.
    fn class(&self) -> FaultClass {
        if self.cell.class != FaultClass::Swarm {
            return self.cell.class;
        }
        let drawn = between(self.dice.next(), 0, FaultClass::ALL.len() as u64 - 1);
        FaultClass::ALL[usize::try_from(drawn).unwrap_or(0)]
    }

    /// Spread over the run, early enough that a row that is a little late still gets there.
    fn nth(&self, row: &Row) -> u32 {
        let units = self.trial.phases.chaos.as_secs() / row.every.as_secs().max(1);
        narrow(between(self.dice.next(), 1, (units / 2).max(1)))
    }

    fn lasts_s(&self, then: Then, row: &Row) -> u32 {
        let lease = row.lease.as_secs().max(1);
        let draw = self.dice.next();
        narrow(match then {
            Then::LoseReply => 0,
            Then::PowerLoss | Then::Crash | Then::Shutdown => between(draw, 0, 45),
            Then::DatabaseRestart | Then::FailOver => between(draw, 0, 20),
            // Longer than the lease, by little or by much.
            Then::Pause => lease + between(draw, 2, lease + 5),
            Then::DatabaseClockBack | Then::DatabaseClockForward => between(draw, 1, lease * 2),
            _ => between(draw, 2, lease * 2),
        })
    }

    /// Every replica has another fault of its clock, all facets in each run, so that each row meets each of them.
    fn clocks(&self) -> FaultPlan {
        let chaos_s = self.trial.phases.chaos.as_secs();
        let replicas = self.trial.facts.replicas.max(1);
        let sign = |n: u64| if n.is_multiple_of(2) { 1 } else { -1 };
        let mut faults = Vec::new();
        for replica in 0..replicas {
            let turn = self.cell.seed + u64::from(replica);
            let by_ms =
                |n: u64| sign(n) * i64::try_from(between(self.dice.next(), 1_000, 7_200_000)).unwrap_or(1_000);
            // A slow and a fast one: well within what a lease's margin allows for.
            let ppm = i32::try_from(sign(turn)).unwrap_or(1)
                * i32::try_from(between(self.dice.next(), 50, 20_000)).unwrap_or(50);
            let at = |part: u64| narrow(chaos_s * part / 8);
            faults.push(Fault { at_s: 0, lasts_s: 0, replica, bad: Bad::ClockOffset { by_ms: by_ms(turn) } });
            faults.push(Fault { at_s: 0, lasts_s: 0, replica, bad: Bad::ClockDrift { ppm } });
            faults.push(Fault { at_s: at(2), lasts_s: 0, replica, bad: Bad::ClockJump { by_ms: by_ms(turn) } });
            faults.push(Fault { at_s: at(5), lasts_s: 0, replica, bad: Bad::ClockJump { by_ms: by_ms(turn + 1) } });
        }
        faults.sort_by_key(|fault| fault.at_s);
        FaultPlan { faults, triggers: Vec::new() }
    }

    /// At most two faults of the class at random times, on random replicas.
    fn random(&self, present: &[&Row]) -> Vec<Fault> {
        let chaos_s = self.trial.phases.chaos.as_secs().max(1);
        let count = between(self.dice.next(), 0, 2);
        let mut faults = Vec::new();
        for _ in 0..count {
            let index = between(self.dice.next(), 0, present.len() as u64 - 1);
            let lease = present[usize::try_from(index).unwrap_or(0)].lease.as_secs().max(1);
            let (draw, lasts) = (self.dice.next(), self.dice.next());
            let one_of = |n: u64| between(draw, 0, n - 1);
            let (bad, lasts_s) = match self.cell.class {
                FaultClass::Crash if one_of(2) == 0 => (Bad::Crash, between(lasts, 0, 45)),
                FaultClass::Crash => (Bad::PowerLoss, between(lasts, 0, 45)),
                FaultClass::Partition => {
                    let kinds = [Bad::Partition, Bad::PartitionToDatabase, Bad::PartitionFromDatabase];
                    let kind = kinds[usize::try_from(one_of(3)).unwrap_or(0)].clone();
                    (kind, between(lasts, 1, lease * 2))
                }
                FaultClass::LostReply => {
                    let part = u8::try_from(between(draw, 10, 60)).unwrap_or(10);
                    let answers = percent(lasts, 50);
                    let bad = if answers {
                        Bad::LoseEffectReply { percent: part }
                    } else {
                        Bad::LoseReply { percent: part }
                    };
                    (bad, between(lasts, 5, 60))
                }
                FaultClass::Hold if one_of(2) == 0 => {
                    let delay_s = narrow(between(draw, 1, (lease * 2).min(120)));
                    (Bad::ApplyLate { percent: 50, delay_s }, between(lasts, 5, 30))
                }
                FaultClass::Hold => (Bad::Hold, between(lasts, 1, lease * 2)),
                FaultClass::Pause => (Bad::Pause, lease + between(lasts, 2, lease + 5)),
                FaultClass::Shutdown => {
                    (Bad::Shutdown { grace_s: narrow(between(draw, 0, 30)) }, between(lasts, 0, 45))
                }
                FaultClass::DatabaseClock => {
                    let ms = i64::try_from(between(lasts, 100, lease * 2_000)).unwrap_or(100);
                    (Bad::DatabaseClockStep { by_ms: if one_of(2) == 0 { ms } else { -ms } }, 0)
                }
                FaultClass::DatabaseRestart => (Bad::DatabaseRestart, between(lasts, 0, 20)),
                FaultClass::Failover => {
                    // More than the one that a trigger loses, to a server with a clock of its own.
                    let by_ms = i64::try_from(between(lasts, 0, 2_000)).unwrap_or(0) - 1_000;
                    (Bad::FailOver { commits: narrow(between(draw, 1, 8)), by_ms }, between(draw, 0, 20))
                }
                _ => return faults,
            };
            let at_s = narrow(between(self.dice.next(), 0, chaos_s - 1));
            let replica = u8::try_from(between(self.dice.next(), 0, u64::from(self.trial.facts.replicas.max(1)) - 1));
            faults.push(Fault { at_s, lasts_s: narrow(lasts_s), replica: replica.unwrap_or(0), bad });
        }
        faults
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The moments of a row's units, early to late.
struct Moments {
    taken: TriggerPoint,
    /// In the middle: the effect has landed, or the handler runs.
    middle: TriggerPoint,
    /// The write of the mark is about to leave, or was just applied.
    mark: TriggerPoint,
}

fn moments(row: &Row) -> Moments {
    let is_job = !row.jobs.is_empty();
    let taken = if is_job { TriggerPoint::AppliedClaim } else { TriggerPoint::UnitBegun };
    let without_effect = if is_job { TriggerPoint::HandlerStarted } else { TriggerPoint::UnitMarking };
    Moments {
        taken,
        middle: if row.has_effect { TriggerPoint::EffectReceived } else { without_effect },
        mark: if is_job { TriggerPoint::AppliedSettle } else { TriggerPoint::UnitMarking },
    }
}

/// What is shot at a row of this kind, in turn. Those first in the list come first: with few seeds they are all that
/// a row gets.
fn shots(class: FaultClass, row: &Row) -> Vec<Shot> {
    let Moments { taken, middle, mark } = moments(row);
    match class {
        FaultClass::None | FaultClass::Swarm | FaultClass::ReplicaClock => Vec::new(),
        FaultClass::Crash => {
            vec![(taken, Then::PowerLoss), (middle, Then::Crash), (mark, Then::PowerLoss), (taken, Then::Crash)]
        }
        // A process that dies politely drops its units first, which then count as ended: that is seen in figures, not in
        // hits, and so comes last.
        FaultClass::CrashEffectMark => {
            vec![(middle, Then::PowerLoss), (middle, Then::PowerLoss), (middle, Then::Crash)]
        }
        FaultClass::Partition => vec![
            (middle, Then::Partition),
            (taken, Then::PartitionFromDatabase),
            (middle, Then::PartitionToDatabase),
            (taken, Then::Partition),
            (middle, Then::PartitionFromDatabase),
            (taken, Then::PartitionToDatabase),
        ],
        FaultClass::LostReply => {
            let mut shots = vec![(mark, Then::LoseReply)];
            shots.extend(row.has_effect.then_some((TriggerPoint::EffectReceived, Then::LoseReply)));
            shots.push((taken, Then::LoseReply));
            shots
        }
        FaultClass::Hold => vec![(middle, Then::Hold), (taken, Then::Hold)],
        FaultClass::Pause => vec![(middle, Then::Pause), (taken, Then::Pause), (mark, Then::Pause)],
        FaultClass::DatabaseClock => vec![
            (middle, Then::DatabaseClockForward),
            (middle, Then::DatabaseClockBack),
            (taken, Then::DatabaseClockForward),
            (taken, Then::DatabaseClockBack),
        ],
        FaultClass::DatabaseRestart => vec![(middle, Then::DatabaseRestart), (taken, Then::DatabaseRestart)],
        // The middle first: a claim that is lost leaves nothing to be done twice.
        FaultClass::Failover => vec![(middle, Then::FailOver), (mark, Then::FailOver), (taken, Then::FailOver)],
        FaultClass::Shutdown => vec![(taken, Then::Shutdown), (middle, Then::Shutdown)],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{
        super::{Modes, Workload},
        *,
    };

    fn plans(class: FaultClass, seeds: u64) -> Vec<FaultPlan> {
        let rows = Modes.rows("library");
        let plan_of = |seed| {
            let cell = Cell { variant: "library", class, seed };
            plan(&cell, &Modes.trial(&cell), &rows)
        };
        (0..seeds).map(plan_of).collect()
    }

    #[test]
    fn a_few_seeds_aim_at_every_row() {
        let rows: BTreeSet<_> = Modes.rows("library").iter().map(|row| row.id.to_owned()).collect();
        for class in FaultClass::ALL {
            let aims_itself = matches!(class, FaultClass::None | FaultClass::Swarm | FaultClass::ReplicaClock);
            if aims_itself {
                continue;
            }
            let plans = plans(*class, 2);
            let aimed: BTreeSet<_> =
                plans.iter().flat_map(|plan| &plan.triggers).filter_map(|trigger| trigger.of.clone()).collect();
            assert_eq!(aimed, rows, "{class}");
        }
    }

    #[test]
    fn a_pause_is_longer_than_the_lease_and_a_plan_possible() {
        for class in FaultClass::ALL {
            for plan in plans(*class, 20) {
                assert!(plan.triggers.iter().all(Trigger::is_possible), "{class}: {plan:?}");
                // What is drawn rather than aimed may be shorter.
                let is_drawn = *class == FaultClass::Swarm;
                let is_long = |trigger: &Trigger| trigger.then != Then::Pause || trigger.lasts_s > 20;
                assert!(is_drawn || plan.triggers.iter().all(is_long), "{class}: {plan:?}");
                assert!(plan.faults.is_sorted_by_key(|fault| fault.at_s), "{class}: {plan:?}");
            }
        }
    }

    #[test]
    fn without_faults_nothing_is_planned_and_a_seed_keeps_its_plan() {
        assert!(plans(FaultClass::None, 5).iter().all(FaultPlan::is_empty));
        assert_eq!(plans(FaultClass::Crash, 5), plans(FaultClass::Crash, 5));
    }
}
