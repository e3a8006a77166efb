//! Owns how instants and ids cross the wire: the database's own binary forms, exact, with no help from the features
//! `sqlx/uuid` and the like (each of which narrows what a user's crate can resolve next to us).

use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef, types::Oid},
};
use tourbillon::model::{ExecutionId, Incarnation, RequestId, Timestamp, Token};

/// Microseconds from 1970-01-01, ours, to 2000-01-01, where the database counts from.
const DATABASE_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A `timestamptz`. Outside the database's range (before 4713 BC) the statement fails with 22008.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) Timestamp);

/// A `uuid` by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) [u8; 16]);

macro_rules! id_from {
    ($($name:ident),*) => {
        $(impl From<$name> for Id {
            fn from(id: $name) -> Self {
                Self(*id.0.as_bytes())
            }
        }
        impl From<Id> for $name {
            fn from(id: Id) -> Self {
                Self(uuid::Uuid::from_bytes(id.0))
            }
        })*
    };
}
id_from!(ExecutionId, RequestId, Token, Incarnation);

macro_rules! builtin {
    ($name:ident, $oid:literal, $array_oid:literal) => {
        impl Type<Postgres> for $name {
            fn type_info() -> PgTypeInfo {
                PgTypeInfo::with_oid(Oid($oid))
            }
        }
        impl PgHasArrayType for $name {
            fn array_type_info() -> PgTypeInfo {
                PgTypeInfo::with_oid(Oid($array_oid))
            }
        }
    };
}
// The oids of built-in types are part of the protocol: they never change.
builtin!(Instant, 1184, 1185);
builtin!(Id, 2950, 2951);

impl Encode<'_, Postgres> for Instant {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.as_micros().saturating_sub(DATABASE_EPOCH_MICROS);
        // The two extreme values mean ±infinity to the database. The upper one is out of reach: its epoch is after ours.
        buf.extend_from_slice(&micros.max(i64::MIN + 1).to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Instant {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        if matches!(micros, i64::MIN | i64::MAX) {
            return Err("an infinite instant".into());
        }
        Ok(Self(Timestamp::from_micros(micros.saturating_add(DATABASE_EPOCH_MICROS))))
    }
}

impl Encode<'_, Postgres> for Id {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buf.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Id {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self(value.as_bytes()?.try_into()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_count_from_the_databases_epoch_and_none_is_infinite() {
        let sent = |micros: i64| {
            let mut buffer = PgArgumentBuffer::default();
            assert!(matches!(Instant(Timestamp::from_micros(micros)).encode_by_ref(&mut buffer), Ok(IsNull::No)));
            i64::from_be_bytes(buffer[..].try_into().unwrap())
        };
        assert_eq!(sent(DATABASE_EPOCH_MICROS), 0);
        assert_eq!(sent(0), -DATABASE_EPOCH_MICROS);
        assert_eq!(sent(i64::MIN), i64::MIN + 1);
        assert_eq!(sent(i64::MAX), i64::MAX - DATABASE_EPOCH_MICROS);
    }
}
