//! Owns the step from "cursor and database time" to "slots to make, slots to record as skipped, new cursor".

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Schedule;
use crate::model::{SkipReason, SkippedSlots, Timestamp};

/// What becomes of slots that passed while nobody planned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// Only the newest is made; the others are recorded as superseded.
    LatestOnly,
    /// Every slot is made, oldest first.
    EverySlot {
        /// Slots that have been due for longer than this are recorded as outside the window; zero: the current
        /// slot only.
        window: Duration,
        /// Most slots made in one step; the rest follow in the next.
        max_slots: u32,
    },
}

/// Where a (job, scope) begins that was never planned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Begin {
    /// With the newest slot that is due, at once.
    #[default]
    CurrentSlot,
    /// With the first slot to become due after it was first seen.
    NextSlot,
}

impl Begin {
    fn is_usual(&self) -> bool {
        *self == Self::CurrentSlot
    }
}

/// Which slots a job makes, and when: everything the planner needs to know of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Planner {
    /// When the slots are.
    pub schedule: Schedule,
    /// A slot at t is due at t + delay.
    pub delay: Duration,
    /// What becomes of missed ones.
    pub catch_up: CatchUp,
    /// A slot found later than this after it was due is recorded as late.
    pub max_lateness: Option<Duration>,
    /// Where it begins.
    #[serde(default, skip_serializing_if = "Begin::is_usual")]
    pub begin: Begin,
}

/// One move of one cursor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// New cursor.
    pub to: Timestamp,
    /// Slot times to make, oldest first, all ≤ `to`.
    pub slots: Vec<Timestamp>,
    /// Slots not made, oldest first.
    pub skipped: Vec<SkippedSlots>,
}

impl Planner {
    /// When a slot may run.
    pub fn due_at(&self, slot: Timestamp) -> Timestamp {
        slot + self.delay
    }

    /// After this a slot that has not been started is late.
    pub fn expires_at(&self, slot: Timestamp) -> Option<Timestamp> {
        self.max_lateness.map(|limit| self.due_at(slot) + limit)
    }

    /// When the next slot behind `cursor` is due; with no cursor, behind `now`. For waking up, never for a stored
    /// decision. `None` when no slot follows.
    pub fn next_due(&self, cursor: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        Some(self.due_at(self.schedule.next_after(cursor.unwrap_or(now - self.delay))?))
    }

    /// The next step at database time `now`, or `None` when nothing is to be done.
    ///
    /// No history makes the current slot only (P-4), or none yet, as [`Begin`] says. `edited_at`: no slot at or before it is made (G6).
    pub fn step(&self, cursor: Option<Timestamp>, edited_at: Option<Timestamp>, now: Timestamp) -> Option<Step> {
        let step = self.slots(cursor, edited_at, now);
        let Some(cursor) = cursor else { return step };
        let left_out = self.schedule.left_out(cursor, step.as_ref().map_or(now - self.delay, |step| step.to));
        let Some(mut step) = step else {
            // Nothing else is due, but it is told now why there was nothing.
            let to = left_out.last()?.through;
            return Some(Step { to, slots: Vec::new(), skipped: left_out });
        };
        step.skipped.extend(left_out);
        step.skipped.sort_by_key(|slots| slots.after);
        Some(step)
    }

    fn slots(&self, cursor: Option<Timestamp>, edited_at: Option<Timestamp>, now: Timestamp) -> Option<Step> {
        let target = self.schedule.latest(now - self.delay)?;
        if cursor.is_some_and(|cursor| self.schedule.count(cursor, target) > 10) && planted!(B10) {
            return None;
        }
        let Some(cursor) = cursor else {
            if self.begin == Begin::NextSlot {
                let to = now - self.delay;
                let is_behind_edit = edited_at.is_none_or(|edit| edit <= to);
                return is_behind_edit.then(|| Step { to, slots: Vec::new(), skipped: Vec::new() });
            }
            let fresh = edited_at.is_none_or(|edit| target > edit);
            return fresh.then(|| self.make(target, vec![target], Vec::new(), now));
        };
        if target <= cursor {
            return self.rewind(cursor, target, edited_at.filter(|edit| *edit <= now));
        }
        let (slots, skipped) = match self.catch_up {
            CatchUp::EverySlot { window, max_slots } if !window.is_zero() => {
                let cursor = if planted!(B6) { cursor.max(self.before(target)) } else { cursor };
                return Some(self.every_slot(cursor, target, window, max_slots, now));
            }
            CatchUp::EverySlot { .. } => (vec![target], self.gap(cursor, target, SkipReason::OutsideWindow)),
            CatchUp::LatestOnly => (vec![target], self.gap(cursor, target, SkipReason::Superseded)),
        };
        Some(self.make(target, slots, skipped, now))
    }

    /// A cursor that lies a whole slot ahead of the database clock was moved there by a clock that has since
    /// stepped back. It follows the clock, or the schedule would be silent until the withdrawn future comes
    /// again (the store makes no slot twice on the way).
    ///
    /// Not past an edit, before which the schedule has no slots: the cursor that an edit left, which lies ahead of
    /// every delayed slot, is no withdrawn future.
    fn rewind(&self, cursor: Timestamp, target: Timestamp, edited_at: Option<Timestamp>) -> Option<Step> {
        let slot_ahead = self.schedule.next_after(target)?;
        if planted!(C8) {
            return None;
        }
        (cursor > slot_ahead && edited_at.is_none_or(|edit| edit <= target)).then(|| Step {
            to: target,
            slots: Vec::new(),
            skipped: Vec::new(),
        })
    }

    fn every_slot(
        &self,
        cursor: Timestamp,
        target: Timestamp,
        window: Duration,
        max_slots: u32,
        now: Timestamp,
    ) -> Step {
        // Slots up to here have been due for longer than the window.
        let outside = (now - self.delay - window).offset_micros(-1);
        let mut skipped = Vec::new();
        let mut at = cursor;
        let is_outside = |slot: &Timestamp| *slot > cursor && !planted!(B16);
        if let Some(last_outside) = self.schedule.latest(outside).filter(is_outside) {
            skipped.extend(self.range(cursor, last_outside, SkipReason::OutsideWindow));
            at = last_outside;
        }
        let mut slots = Vec::new();
        while slots.len() < max_slots as usize
            && let Some(next) = self.schedule.next_after(at).filter(|next| *next <= target)
        {
            at = next;
            slots.push(at);
        }
        self.make(at, slots, skipped, now)
    }

    /// Slots strictly between `cursor` and `target`.
    fn gap(&self, cursor: Timestamp, target: Timestamp, reason: SkipReason) -> Vec<SkippedSlots> {
        let through = self.schedule.latest(target.offset_micros(-1));
        through.and_then(|through| self.range(cursor, through, reason)).into_iter().collect()
    }

    /// Planted bugs only: the slot before this one.
    fn before(&self, slot: Timestamp) -> Timestamp {
        self.schedule.latest(slot.offset_micros(-1)).unwrap_or(slot)
    }

    fn range(&self, after: Timestamp, through: Timestamp, reason: SkipReason) -> Option<SkippedSlots> {
        let count = self.schedule.count(after, through);
        (count > 0 && !planted!(B5)).then_some(SkippedSlots { after, through, count: Some(count), reason })
    }

    /// Moves the slots that are late already from "make" to "record".
    fn make(&self, to: Timestamp, slots: Vec<Timestamp>, mut skipped: Vec<SkippedSlots>, now: Timestamp) -> Step {
        let is_late = |slot: &Timestamp| self.expires_at(*slot).is_some_and(|at| at < now);
        let (late, slots): (Vec<_>, Vec<_>) = slots.into_iter().partition(is_late);
        if let (Some(first), Some(last)) = (late.first(), late.last())
            && !planted!(A10)
        {
            skipped.push(SkippedSlots {
                after: first.offset_micros(-1),
                through: *last,
                count: Some(late.len() as u64),
                reason: SkipReason::Late,
            });
        }
        Step { to, slots, skipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Cadence;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn minutes(n: u32) -> Duration {
        MINUTE * n
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_secs(1_000_000_020 + minute * 60)
    }

    fn planner(catch_up: CatchUp) -> Planner {
        let cadence = Cadence::new(minutes(5)).unwrap().anchored_at(at(0));
        let (schedule, begin) = (Schedule::Cadence(cadence), Begin::CurrentSlot);
        Planner { schedule, delay: Duration::ZERO, catch_up, max_lateness: None, begin }
    }

    fn every(window: Duration, max_slots: u32) -> Planner {
        planner(CatchUp::EverySlot { window, max_slots })
    }

    /// Slots as minutes, skipped as (count, reason), cursor as minute.
    type Seen = (Vec<i64>, Vec<(u64, SkipReason)>, i64);

    fn check(planner: &Planner, cursor: Option<i64>, now: i64, expected: Option<Seen>) {
        let minute = |t: Timestamp| (t.as_micros() - at(0).as_micros()) / 60_000_000;
        let step = planner.step(cursor.map(at), None, at(now));
        let seen = step.map(|step| {
            let skipped = step.skipped.iter().map(|s| (s.count.unwrap(), s.reason)).collect();
            (step.slots.into_iter().map(minute).collect(), skipped, minute(step.to))
        });
        assert_eq!(seen, expected, "cursor {cursor:?}, now {now}");
    }

    // P-4
    #[test]
    fn no_history_makes_the_current_slot_only() {
        check(&planner(CatchUp::LatestOnly), None, 12, Some((vec![10], vec![], 10)));
        check(&every(minutes(60), 10), None, 12, Some((vec![10], vec![], 10)));
    }

    #[test]
    fn a_job_that_begins_with_its_next_slot_makes_none_that_was_due_before_it_was_seen() {
        for delay in [0, 3] {
            let planner = Planner { begin: Begin::NextSlot, delay: minutes(delay), ..planner(CatchUp::LatestOnly) };
            let seen = i64::from(12 - delay);
            check(&planner, None, 12, Some((vec![], vec![], seen)));
            check(&planner, Some(seen), 12, None);
            let due = 10 + if delay == 0 { 5 } else { i64::from(delay) };
            check(&planner, Some(seen), due, Some((vec![due - i64::from(delay)], vec![], due - i64::from(delay))));
            assert_eq!(planner.step(None, Some(at(12)), at(12)).is_some(), delay == 0, "not past an edit");
        }
    }

    /// So that rules of before there was a choice keep their hash.
    #[test]
    fn where_a_job_begins_is_written_down_only_where_it_is_not_the_usual() {
        for (begin, is_written) in [(Begin::CurrentSlot, false), (Begin::NextSlot, true)] {
            let planner = Planner { begin, ..planner(CatchUp::LatestOnly) };
            let written = serde_json::to_value(&planner).expect("JSON");
            assert_eq!(written.get("begin").is_some(), is_written, "{written}");
            assert_eq!(serde_json::from_value::<Planner>(written).expect("read back"), planner);
        }
    }

    // P-4
    #[test]
    fn latest_only_makes_the_newest_and_records_the_others() {
        let planner = planner(CatchUp::LatestOnly);
        check(&planner, Some(10), 14, None);
        check(&planner, Some(10), 15, Some((vec![15], vec![], 15)));
        check(&planner, Some(10), 31, Some((vec![30], vec![(3, SkipReason::Superseded)], 30)));
    }

    // P-4
    #[test]
    fn every_slot_goes_oldest_first_within_window_and_cap() {
        check(&every(minutes(60), 10), Some(10), 31, Some((vec![15, 20, 25, 30], vec![], 30)));
        check(&every(minutes(60), 2), Some(10), 31, Some((vec![15, 20], vec![], 20)));
        check(&every(minutes(10), 9), Some(10), 41, Some((vec![35, 40], vec![(4, SkipReason::OutsideWindow)], 40)));
        check(
            &every(minutes(10), 9),
            Some(10),
            40,
            Some((vec![30, 35, 40], vec![(3, SkipReason::OutsideWindow)], 40)),
        );
        check(&every(Duration::ZERO, 9), Some(10), 31, Some((vec![30], vec![(3, SkipReason::OutsideWindow)], 30)));
    }

    // P-1, P-3
    #[test]
    fn a_delay_moves_when_a_slot_is_due_but_not_its_time() {
        let planner = Planner { delay: minutes(3), ..planner(CatchUp::LatestOnly) };
        check(&planner, Some(10), 17, None);
        check(&planner, Some(10), 18, Some((vec![15], vec![], 15)));
        assert_eq!(planner.due_at(at(15)), at(18));
        assert_eq!(planner.next_due(Some(at(10)), at(12)), Some(at(18)));
        assert_eq!(planner.next_due(None, at(12)), Some(at(13)), "the slot of minute 10 is not due yet");
    }

    // P-14
    #[test]
    fn a_late_slot_is_recorded_not_made() {
        let planner = Planner { max_lateness: Some(minutes(2)), ..planner(CatchUp::LatestOnly) };
        check(&planner, Some(10), 17, Some((vec![15], vec![], 15)));
        check(&planner, Some(10), 18, Some((vec![], vec![(1, SkipReason::Late)], 15)));
        let step = planner.step(Some(at(10)), None, at(18)).expect("something to record");
        assert_eq!((step.skipped[0].after, step.skipped[0].through), (at(15).offset_micros(-1), at(15)));
    }

    /// The triggers of the second reference job: nobody planned for most of a day.
    // P-14
    #[test]
    fn a_day_of_missed_slots_collapses_to_the_newest_and_that_too_when_it_is_late() {
        let planner = Planner { max_lateness: Some(minutes(5)), ..planner(CatchUp::LatestOnly) };
        let day = 24 * 60;
        let missed = (287, SkipReason::Superseded);
        check(&planner, Some(0), day + 4, Some((vec![day], vec![missed], day)));
        let hourly = Cadence::new(minutes(60)).unwrap().anchored_at(at(0));
        let planner = Planner { schedule: Schedule::Cadence(hourly), ..planner };
        let missed = (23, SkipReason::Superseded);
        check(&planner, Some(0), day + 5, Some((vec![day], vec![missed], day)));
        check(&planner, Some(0), day + 6, Some((vec![], vec![missed, (1, SkipReason::Late)], day)));
    }

    /// The same where every slot counts: the cap holds for late ones, too, and nothing is left out.
    // P-14
    #[test]
    fn a_day_of_missed_slots_is_worked_off_five_at_a_time() {
        let planner = Planner { max_lateness: Some(minutes(5)), ..every(minutes(24 * 60), 5) };
        let late = (5, SkipReason::Late);
        check(&planner, Some(0), 62, Some((vec![], vec![late], 25)));
        check(&planner, Some(25), 62, Some((vec![], vec![late], 50)));
        check(&planner, Some(50), 62, Some((vec![60], vec![(1, SkipReason::Late)], 60)));
    }

    /// Berlin's clocks leave out 02:00 to 03:00 at 01:00 UTC.
    #[test]
    fn what_a_gap_leaves_out_is_recorded_when_the_cursor_passes_it() {
        let utc = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let nightly = |pattern| {
            let cron = crate::plan::Cron::new(pattern, "Europe/Berlin").unwrap().gap(crate::plan::Gap::Skip);
            Planner { schedule: Schedule::Cron(cron), ..planner(CatchUp::LatestOnly) }
        };
        let planner = nightly("0,30 2 * * *");
        let (before, at_end) = (utc("2023-03-25T01:30:00Z"), utc("2023-03-26T01:00:00Z"));
        assert_eq!(planner.step(Some(before), None, utc("2023-03-26T00:59:59Z")), None);
        let step = planner.step(Some(before), None, at_end).expect("the gap is told");
        let seen: Vec<_> = step.skipped.iter().map(|slots| (slots.through, slots.count, slots.reason)).collect();
        assert_eq!((step.to, step.slots.len(), seen), (at_end, 0, vec![(at_end, Some(2), SkipReason::Gap)]));
        assert_eq!(planner.step(Some(step.to), None, utc("2023-03-26T12:00:00Z")), None, "once");
        // With the next slots, if nobody planned in between.
        let step = planner.step(Some(before), None, utc("2023-03-27T00:45:00Z")).expect("a slot");
        let seen: Vec<_> = step.skipped.iter().map(|slots| (slots.count, slots.reason)).collect();
        assert_eq!(step.slots, [utc("2023-03-27T00:30:00Z")]);
        assert_eq!(seen, [(Some(1), SkipReason::Superseded), (Some(2), SkipReason::Gap)]);
        assert_eq!(step.skipped[1].after, at_end.offset_micros(-1));
        // And as late as the slots themselves, where these are due with a delay.
        let delayed = Planner { delay: minutes(10), ..planner.clone() };
        assert_eq!(delayed.step(Some(before), None, at_end + minutes(9)), None);
        assert_eq!(delayed.step(Some(before), None, at_end + minutes(10)).map(|step| step.to), Some(at_end));
        // What runs every so often goes on by elapsed time, and misses nothing.
        let step = nightly("*/30 * * * *").step(Some(utc("2023-03-26T00:30:00Z")), None, at_end).expect("a slot");
        assert_eq!((step.slots, step.skipped), (vec![at_end], vec![]));
    }

    #[test]
    fn an_edit_keeps_a_new_scope_from_making_an_older_slot() {
        let planner = planner(CatchUp::LatestOnly);
        assert_eq!(planner.step(None, Some(at(11)), at(12)), None);
        assert_eq!(planner.step(None, Some(at(10)), at(12)), None, "nor the one of the same instant");
        assert_eq!(planner.step(None, Some(at(11)), at(15)).unwrap().slots, [at(15)]);
    }

    #[test]
    fn a_cursor_in_a_withdrawn_future_follows_the_clock() {
        let planner = planner(CatchUp::LatestOnly);
        check(&planner, Some(15), 14, None);
        check(&planner, Some(60), 14, Some((vec![], vec![], 10)));
    }

    #[test]
    fn the_cursor_that_an_edit_left_is_no_withdrawn_future() {
        let planner = Planner { delay: minutes(20), ..planner(CatchUp::LatestOnly) };
        assert_eq!(planner.step(Some(at(61)), Some(at(61)), at(62)), None, "slots 45 to 60 came before the edit");
        assert_eq!(planner.step(Some(at(61)), Some(at(61)), at(85)).unwrap().slots, [at(65)]);
        assert_eq!(
            planner.step(Some(at(61)), Some(at(61)), at(40)).unwrap().to,
            at(20),
            "the edit itself is withdrawn"
        );
    }

    proptest! {
        /// Each slot is made or recorded exactly once, whatever the pattern of calls.
        // P-4
        #[test]
        fn every_slot_is_made_or_recorded_once(
            latest in any::<bool>(), window in 0u32..40, cap in 1u32..5, late in proptest::option::of(0u32..20),
            delay in 0u32..10, gaps in proptest::collection::vec(0i64..90, 1..20),
        ) {
            let catch_up = if latest { CatchUp::LatestOnly } else {
                CatchUp::EverySlot { window: minutes(window), max_slots: cap }
            };
            let planner = Planner { delay: minutes(delay), max_lateness: late.map(minutes), ..planner(catch_up) };
            let (mut now, mut cursor, mut accounted) = (100i64, None, 0u64);
            let mut first = None;
            for gap in gaps {
                now += gap;
                while let Some(step) = planner.step(cursor, None, at(now)) {
                    prop_assert!(cursor.is_none_or(|c| step.to > c), "cursor grows");
                    prop_assert!(planner.due_at(step.to) <= at(now), "nothing before it is due");
                    first.get_or_insert(step.to);
                    accounted += step.slots.len() as u64;
                    accounted += step.skipped.iter().map(|s| s.count.unwrap()).sum::<u64>();
                    cursor = Some(step.to);
                }
            }
            let (first, last) = (first.unwrap(), cursor.unwrap());
            prop_assert_eq!(accounted, planner.schedule.count(first, last) + 1);
        }
    }
}
