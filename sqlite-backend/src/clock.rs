//! Owns the one reading of the host's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tourbillon::{model::Timestamp, store::DatabaseClock};

/// The database's time, in whole microseconds. Call it inside the transaction that uses it, once it holds its lock.
///
/// It is not assumed to be monotonic: a host's clock may step, and the specification deals with that.
pub(crate) fn now(clock: &DatabaseClock) -> Timestamp {
    clock.fixed().unwrap_or_else(host_now)
}

#[expect(clippy::disallowed_methods, reason = "the host's clock is the clock of an embedded database (G10)")]
fn host_now() -> Timestamp {
    instant(SystemTime::now())
}

fn instant(at: SystemTime) -> Timestamp {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp::EPOCH + whole_micros(since),
        Err(before) => Timestamp::EPOCH - whole_micros(before.duration()),
    }
}

fn whole_micros(duration: Duration) -> Duration {
    Duration::new(duration.as_secs(), duration.subsec_micros() * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_be_on_either_side_of_the_epoch() {
        let second = Duration::from_millis(1_000);
        assert_eq!(instant(UNIX_EPOCH + second), Timestamp::from_micros(1_000_000));
        assert_eq!(instant(UNIX_EPOCH - second), Timestamp::from_micros(-1_000_000));
    }

    #[test]
    fn what_is_below_a_microsecond_is_cut() {
        assert_eq!(whole_micros(Duration::new(5, 123_456_789)), Duration::new(5, 123_456_000));
    }
}
