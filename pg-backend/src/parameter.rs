//! Owns statements without their parameters yet, and how plain values become parameters. Knows no verb.

use sqlx::{Postgres, SqlStr, postgres::PgArguments, query::Query};
use tourbillon::{
    model::{Reentry, Supersede, Timestamp, transition::MAX_WAIT_MS},
    store::{ErrorKind, StoreError},
};

use crate::wire::Instant;

/// A statement with its parameters.
pub(crate) type Bound = Query<'static, Postgres, PgArguments>;

/// A statement.
pub(crate) fn query(sql: &SqlStr) -> Bound {
    sqlx::query(sql.clone())
}

/// A statement whose first parameter is the instant of a manual clock, or null: the database's own.
pub(crate) fn at(sql: &SqlStr, now: Option<Timestamp>) -> Bound {
    query(sql).bind(now.map(Instant))
}

pub(crate) fn reentry(reentry: Reentry) -> &'static str {
    match reentry {
        Reentry::Allow => "allow",
        Reentry::Forbid => "forbid",
    }
}

pub(crate) fn supersede(supersede: Supersede) -> &'static str {
    match supersede {
        Supersede::Never => "never",
        Supersede::ByNewerSlot => "by_newer_slot",
    }
}

/// A delay in milliseconds that the database, whose instants end in the year 294276, can add to any instant of ours.
pub(crate) fn bounded(ms: u64) -> i64 {
    i64::try_from(ms.min(MAX_WAIT_MS)).unwrap_or(i64::MAX)
}

/// An age in milliseconds that the database, whose instants begin in the year -4713, can take from any instant of ours. What is cut
/// to it keeps everything all the same.
pub(crate) fn age(ms: u64) -> i64 {
    bounded(ms.min(MAX_WAIT_MS / 2))
}

/// A number of ours that must fit the database's 64 bits.
///
/// # Errors
/// `Invalid` names the number.
pub(crate) fn int8(name: &str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| {
        StoreError::new(ErrorKind::Invalid, format!("{name} is {value}, at most {} can be stored", i64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_cut_to_what_an_instant_can_take_and_numbers_are_refused() {
        assert_eq!((bounded(0), bounded(7)), (0, 7));
        // Ten thousand years of 366 days.
        assert_eq!(bounded(316_224_000_000_000), 316_224_000_000_000);
        assert_eq!(bounded(316_224_000_000_001), 316_224_000_000_000);
        assert_eq!(bounded(u64::MAX), 316_224_000_000_000);
        assert_eq!(int8("lease_ms", i64::MAX as u64).unwrap(), i64::MAX);
        let refused = int8("lease_ms", 1 << 63).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "invalid: lease_ms is 9223372036854775808, at most 9223372036854775807 can be stored"
        );
    }
}
