//! Owns schedules that are code: a function that returns slot times. Says how the one question that a user's function
//! answers, "which slots come next", also answers "which was the last". Bounded, whatever the function does.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::model::Timestamp;

/// Most slots that one call of a hook is asked for; what it returns beyond is cut off.
pub const MAX_HOOK_SLOTS: usize = 1_000;

/// How far a slot of a hook may be away from the one before or after it: 1,000 days. Further slots are not found.
const HORIZON_US: i64 = 1_000 * 86_400 * 1_000_000;

/// Calls of one count at most, so that no count of a dense schedule runs for ever.
const MAX_PAGES: u64 = 1_000;

type SlotFn = dyn Fn(Timestamp, Timestamp, usize) -> Vec<Timestamp> + Send + Sync;

/// A schedule by a function of your own: which slots lie in (`after`, `through`], at most so many, oldest first.
///
/// The function must be pure: the same answer for the same question, on every replica and at every time, since several
/// replicas ask it and only the cursor of the database decides which answer counts. `version` stands for it in the
/// job's hash: change it with the function, or the edit is not noticed.
///
/// Two slots are at most 1,000 days apart, and 1,000 slots at most are taken from one call.
///
/// ```
/// use std::time::Duration;
/// use tourbillon::{model::Timestamp, plan::Hook};
/// /// Every hour, and a quarter past on full days.
/// let hook = Hook::new("hours-1", |after, through, cap| {
///     let hour = 3_600_000_000;
///     let first = after.as_micros().div_euclid(hour) + 1;
///     (first..).map(|n| Timestamp::from_micros(n * hour)).take_while(|slot| *slot <= through).take(cap).collect()
/// });
/// let at: Timestamp = "2026-11-20T12:30:00Z".parse().unwrap();
/// assert_eq!(hook.latest(at).unwrap().to_string(), "2026-11-20T12:00:00Z");
/// ```
#[derive(Clone)]
pub struct Hook {
    version: Arc<str>,
    slots: Arc<SlotFn>,
}

impl Hook {
    /// A schedule by `slots(after, through, cap)`.
    pub fn new<F>(version: &str, slots: F) -> Self
    where
        F: Fn(Timestamp, Timestamp, usize) -> Vec<Timestamp> + Send + Sync + 'static,
    {
        Self { version: version.into(), slots: Arc::new(slots) }
    }

    /// What stands for the function in hashes.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The first slot after `at`, if there is one within 1,000 days.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.ask(at, at.offset_micros(HORIZON_US), 1).first().copied()
    }

    /// The last slot at or before `at`, if there is one within 1,000 days. Asks at most some fifty times: for one slot
    /// after an instant that is moved back until there is one, then forth until there is no later one.
    pub fn latest(&self, at: Timestamp) -> Option<Timestamp> {
        let first_after = |after| self.ask(after, at, 1).first().copied();
        let mut back = 1_000_000;
        // No slot lies in (nothing_after, at].
        let mut nothing_after = at;
        let mut found = loop {
            let from = at.offset_micros(-back);
            match first_after(from) {
                Some(slot) => break slot,
                None if back >= HORIZON_US => return None,
                None => (nothing_after, back) = (from, back.saturating_mul(4).min(HORIZON_US)),
            }
        };
        while found < nothing_after {
            // Halfway between the newest slot known and the oldest instant with none behind it.
            let middle = found.offset_micros((nothing_after.as_micros() - found.as_micros()) / 2);
            match first_after(middle) {
                Some(later) => found = later,
                None => nothing_after = middle,
            }
        }
        Some(found)
    }

    /// How many slots lie in (`after`, `through`]; a million at most.
    pub fn count(&self, mut after: Timestamp, through: Timestamp) -> u64 {
        let mut count = 0;
        for _ in 0..MAX_PAGES {
            let page = self.ask(after, through, MAX_HOOK_SLOTS);
            count += page.len() as u64;
            match page.last() {
                Some(last) if page.len() == MAX_HOOK_SLOTS => after = *last,
                _ => break,
            }
        }
        count
    }

    /// What the function says, made true to its promise: in order, each once, within the range and the cap.
    fn ask(&self, after: Timestamp, through: Timestamp, cap: usize) -> Vec<Timestamp> {
        if after >= through {
            return Vec::new();
        }
        let mut slots = (self.slots)(after, through, cap);
        slots.retain(|slot| after < *slot && *slot <= through);
        slots.sort_unstable();
        slots.dedup();
        slots.truncate(cap);
        slots
    }
}

impl PartialEq for Hook {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

impl Eq for Hook {}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hook({:?})", self.version)
    }
}

/// The version alone: a function cannot be written down.
impl Serialize for Hook {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.version)
    }
}

/// Always an error, for the same reason.
impl<'de> Deserialize<'de> for Hook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let version = String::deserialize(deserializer)?;
        Err(D::Error::custom(format!("hook `{version}` is code and cannot be read: make it with `Hook::new`")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use proptest::prelude::*;

    /// A hook that lists these instants, and what it must find, by looking at all of them.
    fn listed(slots: Vec<i64>) -> Hook {
        let slots: Vec<_> = slots.into_iter().map(Timestamp::from_micros).collect();
        Hook::new("listed", move |after, through, cap| {
            slots.iter().copied().filter(|slot| after < *slot && *slot <= through).take(cap).collect()
        })
    }

    proptest! {
        // P-1, P-4
        #[test]
        fn a_hook_finds_the_slots_that_its_function_lists(
            gaps in proptest::collection::vec(prop_oneof![1i64..10, 1i64..10_000_000_000, Just(3_600_000_000)], 0..30),
            at in 0i64..100_000_000_000,
        ) {
            let slots: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let hook = listed(slots.clone());
            let as_micros = |found: Option<Timestamp>| found.map(Timestamp::as_micros);
            let at_instant = Timestamp::from_micros(at);
            prop_assert_eq!(as_micros(hook.latest(at_instant)), slots.iter().copied().filter(|slot| *slot <= at).max());
            prop_assert_eq!(as_micros(hook.next_after(at_instant)), slots.iter().copied().find(|slot| *slot > at));
            let through = Timestamp::from_micros(at + 50_000_000_000);
            let between = slots.iter().filter(|slot| at < **slot && **slot <= through.as_micros()).count();
            prop_assert_eq!(hook.count(at_instant, through), between as u64);
        }
    }

    #[test]
    fn the_last_slot_of_many_is_found_with_few_questions() {
        let asked = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&asked);
        let often = Hook::new("every millisecond", move |after: Timestamp, through, cap| {
            counted.fetch_add(1, Ordering::Relaxed);
            let first = (after.as_micros() / 1_000 + 1) * 1_000;
            (first..=through.as_micros()).step_by(1_000).map(Timestamp::from_micros).take(cap).collect()
        });
        let at = Timestamp::from_micros(1_800_000_000_000_999);
        assert_eq!(often.latest(at), Some(Timestamp::from_micros(1_800_000_000_000_000)));
        let asked = asked.load(Ordering::Relaxed);
        assert!(asked <= 50, "{asked} times");
    }

    #[test]
    fn a_slot_is_found_within_a_thousand_days_and_no_further() {
        let hook = listed(vec![0]);
        let days = 86_400_000_000_000;
        let at = Timestamp::from_micros;
        assert_eq!((hook.next_after(at(-days)), hook.next_after(at(-days - 1))), (Some(at(0)), None));
        assert_eq!((hook.latest(at(days - 1)), hook.latest(at(days))), (Some(at(0)), None));
    }

    #[test]
    fn a_hook_is_known_by_its_version_alone() {
        let hook = listed(vec![1]);
        assert_eq!((hook.version(), format!("{hook:?}").as_str()), ("listed", "Hook(\"listed\")"));
        assert_eq!(hook, listed(vec![2]));
        assert_ne!(hook, Hook::new("other", |_, _, _| Vec::new()));
        assert_eq!(serde_json::to_value(&hook).ok(), Some("listed".into()));
        let refused = serde_json::from_str::<Hook>("\"listed\"").expect_err("code cannot be read");
        assert!(refused.to_string().contains("hook `listed` is code"), "{refused}");
    }

    #[test]
    fn an_answer_out_of_order_or_range_is_put_right() {
        let hook = Hook::new("careless", |_, _, _| [9, 3, 3, 700, 5].map(Timestamp::from_micros).to_vec());
        let at = Timestamp::from_micros;
        assert_eq!(hook.ask(at(3), at(9), 10), [at(5), at(9)]);
        assert_eq!(hook.ask(at(0), at(9), 2), [at(3), at(5)]);
        assert_eq!(hook.latest(at(8)), Some(at(5)));
    }

    #[test]
    fn a_dense_hook_is_counted_up_to_a_million_and_a_silent_one_has_no_slot() {
        let dense = Hook::new("dense", |after: Timestamp, _, cap| {
            (1i64..).map(|n| after.offset_micros(n)).take(cap).collect()
        });
        assert_eq!(dense.count(Timestamp::EPOCH, Timestamp::from_secs(60)), 1_000_000);
        assert_eq!(dense.latest(Timestamp::from_secs(60)), Some(Timestamp::from_secs(60)));
        let silent = listed(Vec::new());
        assert_eq!((silent.latest(Timestamp::EPOCH), silent.next_after(Timestamp::EPOCH)), (None, None));
    }
}
