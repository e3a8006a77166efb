//! What a lock of another kind than the lease row must do. Knows no database.

use std::fmt;

use crate::{
    model::LockName,
    store::{BoxFuture, StoreError},
};

/// A source of locks that are bound to a session, for example Postgres advisory locks.
///
/// Best effort: such a lock has no epoch, hence fences nothing, and when its session dies somebody else may take it
/// before its holder notices. The default, a lease row, has neither weakness (G7).
pub trait Locker: Send + Sync + fmt::Debug + 'static {
    /// Tries to take a lock; never waits for its holder. `None` when somebody else has it.
    ///
    /// Dropping the future must leave no lock behind.
    ///
    /// # Errors
    /// Whatever kept it from learning whether the lock is free.
    fn try_lock(&self, name: LockName) -> BoxFuture<'_, Result<Option<Box<dyn SessionLock>>, StoreError>>;
}

/// A lock held through a session. Dropping it must end the session, and the lock with it.
pub trait SessionLock: Send + fmt::Debug + 'static {
    /// Asks whether it is still held.
    ///
    /// # Errors
    /// When it is not, or when nobody could say: the work under it is cancelled in both cases.
    fn verify(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Gives it back.
    fn unlock(self: Box<Self>) -> BoxFuture<'static, ()>;
}
