//! Owns the names of tick services and of locks. Knows nothing of what they name.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::id::{NameError, check_name};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// A checked name: not blank, at most [`MAX_NAME_BYTES`](crate::model::MAX_NAME_BYTES) bytes, no control
            /// characters.
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
    };
}

name! {
    /// Name of a tick service; unique within one scheduler. Cheap to clone.
    ServiceName
}

name! {
    /// Name of a lock; unique within one database schema. Cheap to clone.
    LockName
}
