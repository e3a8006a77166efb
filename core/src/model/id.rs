//! Owns the identities: who, what, which attempt. Makes none of them: ids come from the caller's entropy.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id! {
    /// Identity of an execution; kept across attempts, generations, and the move to history.
    ExecutionId
}
uuid_id! {
    /// Identity of one call of a store verb, made by the caller; repeating it returns the first outcome.
    RequestId
}
uuid_id! {
    /// Identity of one start of one process. Never a host name: two starts must never share it.
    Incarnation
}
uuid_id! {
    /// The random half of a lease: the id of the claim request that took it, so it is new for every attempt.
    ///
    /// All rows of one batch share it; every guard checks execution id *and* token *and* fence.
    Token
}

/// A number that grows with every claim of an execution, charged or not (G1, G3).
///
/// Handlers pass it to receivers that can refuse a lower number than the highest they have seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug, Default)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the lives of an execution: 1 at first, one more with each requeue of a finished one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
#[serde(transparent)]
pub struct Generation(pub u32);

impl Generation {
    /// The first life.
    pub const FIRST: Self = Self(1);

    /// The life after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Longest job name, scope kind or scope id, in bytes. Keeps index entries small on every store.
pub const MAX_NAME_BYTES: usize = 200;

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty or white space only.
    #[error("blank name: give it at least one visible character")]
    Blank,
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("name too long: {0} bytes, at most {MAX_NAME_BYTES} are allowed")]
    TooLong(usize),
    /// Holds a control character (NUL among them), which Postgres text or a terminal would not take.
    #[error("name holds a control character")]
    Control,
}

pub(super) fn check_name(name: &str) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Blank);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(())
}

/// Name of a job; unique within one database schema. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobName(Arc<str>);

impl JobName {
    /// A checked name: not blank, at most [`MAX_NAME_BYTES`] bytes, no control characters.
    ///
    /// # Errors
    /// [`NameError`] says which rule was broken.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_name(name)?;
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a periodic job runs for: a tenant, a shard, a trigger. Slots are counted per (job, scope).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    kind: Arc<str>,
    id: Arc<str>,
}

impl Scope {
    /// A checked scope.
    ///
    /// # Errors
    /// [`NameError`] for a blank, too long or unprintable kind or id.
    pub fn new(kind: &str, id: &str) -> Result<Self, NameError> {
        check_name(kind)?;
        check_name(id)?;
        Ok(Self { kind: kind.into(), id: id.into() })
    }

    /// `global/global`: the scope of a job that runs once for everybody (P-13).
    pub fn global() -> Self {
        Self { kind: "global".into(), id: "global".into() }
    }

    /// What sort of thing it is, for example `tenant`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Which one of that sort.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
