//! Owns how a plan gets smaller: entries go first, in halves and then one by one; then the numbers of what is left
//! move towards their neutral value. Knows no scenario and no run.
//!
//! It is a tree for *any* plan, drawn or read from a file, because every choice is in the plan itself. Choices of
//! kind are not shrunk: turning a power loss into a pause is another failure more often than a simpler one.

use std::ops::Range;

use proptest::{num::i64::BinarySearch, strategy::ValueTree};

use super::{Bad, Fault, FaultPlan, Trigger};

/// The value tree of a plan.
///
/// `current` is the plan at hand. `simplify` takes entries away or lowers one number; `complicate` takes the last
/// `simplify` back, wholly for entries and half-way for numbers.
#[derive(Clone, Debug)]
pub struct PlanTree {
    plan: FaultPlan,
    pass: Pass,
    undo: Undo,
    /// A number came to rest lower since entries were last tried: some entry may have become needless.
    moved: bool,
}

#[derive(Clone, Debug)]
enum Pass {
    /// Next to go: up to `size` entries from `from`. `went`: some went in this sweep.
    Entries { size: usize, from: usize, went: bool },
    /// Next to move: number `number` of entry `entry`.
    Numbers { entry: usize, number: usize, search: Option<Search> },
    /// Nothing is left to try.
    Done,
}

/// A number on its way to its neutral value.
#[derive(Clone, Debug)]
struct Search {
    start: i64,
    distance: BinarySearch,
}

#[derive(Clone, Debug)]
enum Undo {
    Nothing,
    Entries { before: FaultPlan, next: usize, went: bool },
    Number,
}

impl PlanTree {
    /// A tree that starts at `plan`.
    pub fn new(plan: FaultPlan) -> Self {
        let size = plan.len();
        Self { plan, pass: Pass::Entries { size, from: 0, went: false }, undo: Undo::Nothing, moved: false }
    }

    /// Takes the next entries away; false when this pass is over.
    fn drop_entries(&mut self) -> bool {
        let Pass::Entries { mut size, mut from, mut went } = self.pass else { return false };
        let len = self.plan.len();
        while from >= len {
            // A sweep is over. Single entries are swept again until a sweep finds none that can go.
            if size <= 1 && !went {
                self.pass = Pass::Numbers { entry: 0, number: 0, search: None };
                return false;
            }
            size = if size > 1 { size.div_ceil(2).min(len.max(1)) } else { 1 };
            (from, went) = (0, false);
            if len == 0 {
                self.pass = Pass::Done;
                return false;
            }
        }
        let next = (from + size).min(len);
        self.undo = Undo::Entries { before: self.plan.clone(), next, went };
        remove(&mut self.plan, from..next);
        self.pass = Pass::Entries { size, from, went: true };
        true
    }

    /// Moves the next number; false when this pass is over.
    fn lower_number(&mut self) -> bool {
        while let Pass::Numbers { entry, number, search } = &mut self.pass {
            let Some((value, neutral)) = number_of(&mut self.plan, *entry, *number) else {
                if *entry >= self.plan.len() {
                    return false;
                }
                (*entry, *number) = (*entry + 1, 0);
                continue;
            };
            let start = value - neutral;
            let search = search.get_or_insert_with(|| Search { start, distance: BinarySearch::new(start) });
            if search.distance.simplify() {
                set_number(&mut self.plan, *entry, *number, neutral + search.distance.current());
                self.undo = Undo::Number;
                return true;
            }
            self.moved |= search.distance.current() != search.start;
            self.pass = Pass::Numbers { entry: *entry, number: *number + 1, search: None };
        }
        false
    }
}

impl ValueTree for PlanTree {
    type Value = FaultPlan;

    fn current(&self) -> FaultPlan {
        self.plan.clone()
    }

    fn simplify(&mut self) -> bool {
        self.undo = Undo::Nothing;
        loop {
            match self.pass {
                Pass::Entries { .. } => {
                    if self.drop_entries() {
                        return true;
                    }
                }
                Pass::Numbers { .. } => {
                    if self.lower_number() {
                        return true;
                    }
                    let again = Pass::Entries { size: 1, from: 0, went: false };
                    self.pass = if std::mem::take(&mut self.moved) { again } else { Pass::Done };
                }
                Pass::Done => return false,
            }
        }
    }

    fn complicate(&mut self) -> bool {
        match std::mem::replace(&mut self.undo, Undo::Nothing) {
            Undo::Nothing => false,
            Undo::Entries { before, next, went } => {
                self.plan = before;
                if let Pass::Entries { size, .. } = self.pass {
                    self.pass = Pass::Entries { size, from: next, went };
                }
                true
            }
            Undo::Number => {
                let Pass::Numbers { entry, number, search: Some(search) } = &mut self.pass else { return false };
                let Some((_, neutral)) = number_of(&mut self.plan, *entry, *number) else { return false };
                let more = search.distance.complicate();
                set_number(&mut self.plan, *entry, *number, neutral + search.distance.current());
                if more {
                    self.undo = Undo::Number;
                }
                more
            }
        }
    }
}

/// Removes entries by their place in "faults, then triggers".
fn remove(plan: &mut FaultPlan, gone: Range<usize>) {
    let faults = plan.faults.len();
    plan.faults.drain(gone.start.min(faults)..gone.end.min(faults));
    plan.triggers.drain(gone.start.max(faults) - faults..gone.end.max(faults) - faults);
}

/// A number of an entry: where it is, and the value that says least.
struct Number<'a> {
    place: Place<'a>,
    neutral: i64,
}

enum Place<'a> {
    U8(&'a mut u8),
    U32(&'a mut u32),
    I32(&'a mut i32),
    I64(&'a mut i64),
}

impl Number<'_> {
    fn get(&self) -> i64 {
        match &self.place {
            Place::U8(value) => i64::from(**value),
            Place::U32(value) => i64::from(**value),
            Place::I32(value) => i64::from(**value),
            Place::I64(value) => **value,
        }
    }

    fn set(self, to: i64) {
        // Searches run between a value and its neutral one, so every stop fits.
        match self.place {
            Place::U8(value) => *value = u8::try_from(to).unwrap_or(*value),
            Place::U32(value) => *value = u32::try_from(to).unwrap_or(*value),
            Place::I32(value) => *value = i32::try_from(to).unwrap_or(*value),
            Place::I64(value) => *value = to,
        }
    }
}

fn number_of(plan: &mut FaultPlan, entry: usize, number: usize) -> Option<(i64, i64)> {
    numbers(plan, entry).into_iter().nth(number).map(|number| (number.get(), number.neutral))
}

fn set_number(plan: &mut FaultPlan, entry: usize, number: usize, to: i64) {
    if let Some(number) = numbers(plan, entry).into_iter().nth(number) {
        number.set(to);
    }
}

fn numbers(plan: &mut FaultPlan, entry: usize) -> Vec<Number<'_>> {
    let faults = plan.faults.len();
    match plan.faults.get_mut(entry) {
        Some(fault) => numbers_of_fault(fault),
        None => plan.triggers.get_mut(entry - faults).map(numbers_of_trigger).unwrap_or_default(),
    }
}

/// How long it lasts goes first: a short fault leaves most room for its beginning to move.
fn numbers_of_fault(fault: &mut Fault) -> Vec<Number<'_>> {
    let kind = fault.bad.kind();
    let mut numbers = vec![
        Number { place: Place::U32(&mut fault.lasts_s), neutral: i64::from(kind.shortest_s()) },
        Number { place: Place::U8(&mut fault.replica), neutral: 0 },
    ];
    match &mut fault.bad {
        Bad::ClockOffset { by_ms } | Bad::ClockJump { by_ms } | Bad::DatabaseClockStep { by_ms } => {
            numbers.push(Number { place: Place::I64(by_ms), neutral: 0 });
        }
        Bad::ClockDrift { ppm } => numbers.push(Number { place: Place::I32(ppm), neutral: 0 }),
        Bad::Shutdown { grace_s } => numbers.push(Number { place: Place::U32(grace_s), neutral: 0 }),
        // All requests rather than a part of them: nothing is left to chance, which reads best.
        Bad::Refuse { percent }
        | Bad::LoseReply { percent }
        | Bad::LoseEffectReply { percent }
        | Bad::NoticesLost { percent }
        | Bad::NoticesDoubled { percent } => {
            numbers.push(Number { place: Place::U8(percent), neutral: 100 });
        }
        Bad::Slow { percent, delay_ms } | Bad::NoticesLate { percent, delay_ms } => {
            numbers.push(Number { place: Place::U8(percent), neutral: 100 });
            numbers.push(Number { place: Place::U32(delay_ms), neutral: 0 });
        }
        Bad::FailOver { commits, by_ms } => {
            numbers.push(Number { place: Place::U32(commits), neutral: 1 });
            numbers.push(Number { place: Place::I64(by_ms), neutral: 0 });
        }
        Bad::Busy { times } => numbers.push(Number { place: Place::U32(times), neutral: 1 }),
        Bad::PoolExhaustion { connections } => numbers.push(Number { place: Place::U8(connections), neutral: 0 }),
        Bad::ApplyLate { percent, delay_s } => {
            numbers.push(Number { place: Place::U8(percent), neutral: 100 });
            numbers.push(Number { place: Place::U32(delay_s), neutral: 1 });
        }
        Bad::Pause
        | Bad::FreezeMonotonic
        | Bad::Crash
        | Bad::PowerLoss
        | Bad::Partition
        | Bad::PartitionToDatabase
        | Bad::PartitionFromDatabase
        | Bad::Hold
        | Bad::DatabaseRestart
        | Bad::RestartAll
        | Bad::Deploy
        | Bad::SessionDrop => {}
    }
    numbers.push(Number { place: Place::U32(&mut fault.at_s), neutral: 0 });
    numbers
}

fn numbers_of_trigger(trigger: &mut Trigger) -> Vec<Number<'_>> {
    vec![
        Number { place: Place::U32(&mut trigger.lasts_s), neutral: 0 },
        Number { place: Place::U32(&mut trigger.nth), neutral: 1 },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Then, TriggerPoint};

    fn pause(at_s: u32) -> Fault {
        Fault { at_s, lasts_s: 9, replica: 2, bad: Bad::Pause }
    }

    #[test]
    fn entries_are_removed_across_faults_and_triggers() {
        let trigger =
            |nth| Trigger { after: TriggerPoint::AppliedPlan, of: None, nth, then: Then::Crash, lasts_s: 0 };
        let plan = FaultPlan { faults: vec![pause(1), pause(2)], triggers: vec![trigger(1), trigger(2)] };
        let mut cut = plan.clone();
        remove(&mut cut, 1..3);
        assert_eq!(cut, FaultPlan { faults: vec![pause(1)], triggers: vec![trigger(2)] });
        let mut none = plan;
        remove(&mut none, 0..4);
        assert!(none.is_empty());
    }

    /// proptest's own protocol: after a refused step the tree is where it was, or between.
    #[test]
    fn complicate_takes_entries_back() {
        let plan = FaultPlan { faults: (0..5).map(pause).collect(), triggers: vec![] };
        let mut tree = PlanTree::new(plan.clone());
        let mut smaller = 0;
        while tree.simplify() {
            smaller += 1;
            assert_ne!(tree.current(), plan);
            if tree.current().len() < 5 {
                assert!(tree.complicate());
                assert_eq!(tree.current(), plan);
            } else {
                break;
            }
        }
        assert!(smaller > 5, "halves and single entries were tried");
    }

    #[test]
    fn an_empty_plan_is_as_small_as_it_gets() {
        let mut tree = PlanTree::new(FaultPlan::default());
        assert!(!tree.simplify() && !tree.complicate());
    }
}
