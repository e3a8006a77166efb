//! Randomness by name: `hash(seed, stream, host, n)`. Removing one fault, host or call reshuffles nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

/// 64 evenly drawn bits for the n-th draw of a host from a stream.
#[inline]
pub fn draw(seed: u64, stream: &str, host: u64, n: u64) -> u64 {
    // FNV-1a tells streams apart; the finaliser of splitmix64 makes neighbours independent.
    let name = stream
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    [name, host, n].into_iter().fold(mix(seed), |state, part| mix(state ^ mix(part)))
}

#[inline]
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// True for `percent` of draws.
pub fn percent(drawn: u64, percent: u8) -> bool {
    (drawn >> 32) * 100 < u64::from(percent) << 32
}

/// A number in `low..=high`.
pub fn between(drawn: u64, low: u64, high: u64) -> u64 {
    let width = u128::from(high.saturating_sub(low)) + 1;
    low + u64::try_from((u128::from(drawn) * width) >> 64).unwrap_or(0)
}

/// A stream that is drawn from in order.
#[derive(Debug)]
pub struct Stream {
    seed: u64,
    name: &'static str,
    host: u64,
    next: AtomicU64,
}

impl Stream {
    /// The stream of this name and host, from its beginning.
    pub const fn new(seed: u64, name: &'static str, host: u64) -> Self {
        Self { seed, name, host, next: AtomicU64::new(0) }
    }

    /// The next draw.
    pub fn next(&self) -> u64 {
        draw(self.seed, self.name, self.host, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_hosts_and_counts_are_independent() {
        let all =
            [draw(1, "a", 0, 0), draw(2, "a", 0, 0), draw(1, "b", 0, 0), draw(1, "a", 1, 0), draw(1, "a", 0, 1)];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn draws_are_even_enough() {
        let hits = (0..10_000).filter(|n| percent(draw(7, "p", 0, *n), 30)).count();
        assert!((2800..3200).contains(&hits), "{hits}");
        assert!((0..1000).all(|n| !percent(draw(7, "p", 0, n), 0) && percent(draw(7, "p", 0, n), 100)));
        let values: Vec<_> = (0..1000).map(|n| between(draw(7, "b", 0, n), 3, 5)).collect();
        assert!(values.iter().all(|v| (3..=5).contains(v)) && [3, 4, 5].iter().all(|v| values.contains(v)));
    }
}
