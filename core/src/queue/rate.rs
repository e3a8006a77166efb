//! Owns what users say of how often items of a queue may begin, and its validation.

use std::time::Duration;

use super::refusal::QueueRule;
use crate::model::{MAX_TURN_US, Rate};

/// How often items may be claimed, on all replicas together, by the database clock: so many in a period, one behind the
/// other. Whatever fails or restarts, in no period begin more than `items` + `burst` − 1 claims.
///
/// ```
/// use std::time::Duration;
/// use tourbillon::queue::RateLimit;
/// // One each 100 ms: never more than 600 in a minute, and never two at once.
/// let even = RateLimit::per(600, Duration::from_secs(60));
/// // As many in the long run; after a rest up to 50 at once, and never more than 649 in a minute.
/// let uneven = RateLimit::per(600, Duration::from_secs(60)).burst(50);
/// // For a receiver that counts: never more than 600 in a minute, with 50 at once.
/// let strict = RateLimit::per(551, Duration::from_secs(60)).burst(50);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    items: u32,
    period: Duration,
    burst: u32,
}

impl RateLimit {
    /// At most `items` in each `period`, evenly: a turn comes every `period` ∕ `items`, and one that is not taken is lost.
    pub fn per(items: u32, period: Duration) -> Self {
        Self { items, period, burst: 1 }
    }

    /// Lets up to `items` begin at once after a rest that left their turns unused. Without it a queue whose claims take as
    /// long as a turn does not reach its rate: let it be as many as come in 100 ms. 1 to the items of a period.
    #[must_use]
    pub fn burst(self, items: u32) -> Self {
        Self { burst: items, ..self }
    }

    /// The distance of two turns, rounded up: never more items than were allowed.
    fn turn_us(self) -> u64 {
        let period = u64::try_from(self.period.as_micros()).unwrap_or(u64::MAX);
        period.div_ceil(u64::from(self.items.max(1)))
    }

    pub(super) fn broken_rule(self) -> Option<QueueRule> {
        Some(match self {
            _ if self.items == 0 => QueueRule::NoTurn,
            _ if self.period.is_zero() || self.period.as_micros() > u128::from(MAX_TURN_US) => QueueRule::RatePeriod,
            _ if self.burst == 0 || self.burst > self.items => QueueRule::Burst(self.burst, self.items),
            _ => return None,
        })
    }

    /// What is asked of a store. `key` is that of all items, if they have one.
    pub(super) fn rate(self, key: Option<String>) -> Rate {
        Rate { key, turn_us: self.turn_us(), burst: self.burst }
    }
}
