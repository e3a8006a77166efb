//! Owns the settings of a [`SqliteStore`] and the opening of its file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tourbillon::store::{DatabaseClock, ErrorKind, StoreError};

use crate::{
    SqliteStore,
    error::{Phase, read_only, translate},
    session::Session,
};

/// What a commit waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Synchronous {
    /// The disk: a commit that was acknowledged survives a loss of power. What all guarantees assume.
    #[default]
    Full,
    /// The operating system: a commit survives the end of the process, but a loss of power may take the last ones.
    /// They may repeat fencing numbers, attempts and slots then.
    Normal,
}

/// Who brings the schema up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Migrate {
    /// Opening does.
    #[default]
    OnOpen,
    /// Somebody calls [`SqliteStore::migrate`]; until then every call is refused.
    Manual,
}

/// How long a call waits for another connection's write lock unless told otherwise.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Most memory for pages, in KiB. SQLite's own 2 MiB do not hold the inner pages of the indexes of a busy queue.
const CACHE_KIB: i64 = 65_536;

/// How long the log grows before it is copied into the file, in pages of 4 KiB. Random ids touch many pages a commit,
/// so SQLite's own 1,000 pages would be copied, with two waits for the disk, every few commits.
const CHECKPOINT_PAGES: i64 = 8_000;

/// Settings of a store; the defaults are safe.
#[derive(Clone, Debug)]
pub struct Builder {
    path: PathBuf,
    clock: DatabaseClock,
    synchronous: Synchronous,
    busy_timeout: Duration,
    migrate: Migrate,
}

impl Builder {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            clock: DatabaseClock::Database,
            synchronous: Synchronous::default(),
            busy_timeout: BUSY_TIMEOUT,
            migrate: Migrate::default(),
        }
    }

    /// Where the time comes from; by default the host's clock.
    #[must_use]
    pub fn clock(mut self, clock: DatabaseClock) -> Self {
        self.clock = clock;
        self
    }

    /// What a commit waits for; by default the disk.
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// How long a call waits for another connection's write lock before it is `Unavailable`: up to about 24 days, in
    /// whole milliseconds; by default 5 s.
    #[must_use]
    pub fn busy_timeout(mut self, busy_timeout: Duration) -> Self {
        // More than fits an int makes the driver panic.
        self.busy_timeout = busy_timeout.min(Duration::from_millis(i32::MAX as u64));
        self
    }

    /// Who brings the schema up to date; by default opening does.
    #[must_use]
    pub fn migrate(mut self, migrate: Migrate) -> Self {
        self.migrate = migrate;
        self
    }

    /// Opens the file, making it if there is none, and starts the writer thread. Blocks while it does.
    ///
    /// # Errors
    /// `Invalid`, with the mend, for a path that cannot be opened, a read-only file, a newer schema; `Corrupt` for a
    /// file that is not a database; `Unavailable` for one that stays locked.
    pub fn open(self) -> Result<SqliteStore, StoreError> {
        let name = self.path.display().to_string();
        let connection = self.connect(&name)?;
        let mut session = Session::new(connection, name, self.clock)?;
        if self.migrate == Migrate::OnOpen {
            session.migrate()?;
        }
        SqliteStore::start(session)
    }

    fn connect(&self, name: &str) -> Result<Connection, StoreError> {
        let fail = |error| translate(name, Phase::Statement, error);
        // No URIs: a path is a path. No mutex: the connection has one owner.
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(fail)?;
        // SQLite falls back to reading when it may not write, and would only say so at the first write.
        if connection.is_readonly(rusqlite::MAIN_DB).map_err(fail)? {
            return Err(StoreError::new(ErrorKind::Invalid, read_only(name)));
        }
        let mode = self.use_write_ahead_log(&connection).map_err(fail)?;
        if mode != "wal" {
            let message =
                format!("{name} cannot keep a write-ahead log (its mode is {mode}): use a file on a local disk");
            return Err(StoreError::new(ErrorKind::Invalid, message));
        }
        let synchronous = match self.synchronous {
            Synchronous::Full => "full",
            Synchronous::Normal => "normal",
        };
        connection.pragma_update(None, "synchronous", synchronous).map_err(fail)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(fail)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(fail)?;
        Ok(connection)
    }

    /// Several processes that open a new file at once collide here, and SQLite does not always wait by itself: where
    /// two wait for each other it refuses one of them at once. So it is told to wait for nothing, and this does.
    fn use_write_ahead_log(&self, connection: &Connection) -> rusqlite::Result<String> {
        connection.busy_timeout(Duration::ZERO)?;
        let mode = within(self.busy_timeout, pause, || {
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        })?;
        connection.busy_timeout(self.busy_timeout)?;
        Ok(mode)
    }
}

/// Tries again while the file is locked, for as long as that.
fn within<T>(
    patience: Duration,
    pause: impl Fn(Duration),
    attempt: impl Fn() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    const PAUSE: Duration = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && waited < patience => pause(PAUSE),
            done => return done,
        }
        waited += PAUSE;
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

#[expect(clippy::disallowed_methods, reason = "opening blocks by contract, before there is anything to simulate")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tourbillon-builder-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn builder(&self) -> Builder {
            Builder::new(&self.0.join("jobs.db"))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn settings(builder: &Builder) -> [String; 5] {
        let connection = builder.connect("jobs.db").unwrap();
        ["journal_mode", "synchronous", "cache_size", "wal_autocheckpoint", "busy_timeout"].map(|name| {
            let value: rusqlite::types::Value = connection.pragma_query_value(None, name, |row| row.get(0)).unwrap();
            match value {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => panic!("{name} is {other:?}"),
            }
        })
    }

    #[test]
    fn a_file_is_opened_with_the_settings_that_the_guarantees_assume() {
        let folder = Folder::new("settings");
        // Full is 2: a commit is on the disk.
        assert_eq!(settings(&folder.builder()), ["wal", "2", "-65536", "8000", "5000"]);
        let quick = folder.builder().synchronous(Synchronous::Normal).busy_timeout(Duration::from_millis(70));
        assert_eq!(settings(&quick), ["wal", "1", "-65536", "8000", "70"]);
        let endless = folder.builder().busy_timeout(Duration::MAX);
        assert_eq!(settings(&endless)[4], i32::MAX.to_string());
    }

    #[test]
    fn a_file_that_stays_locked_while_it_is_opened_is_unavailable() {
        let folder = Folder::new("locked");
        let other = Connection::open(folder.0.join("jobs.db")).unwrap();
        other.execute_batch("create table t (a); begin exclusive").unwrap();
        let refused = folder.builder().busy_timeout(Duration::from_millis(25)).connect("jobs.db").unwrap_err();
        assert_eq!(refused.to_string(), "unavailable: jobs.db is locked by another connection");
    }

    #[test]
    fn a_lock_is_waited_for_as_long_as_was_said() {
        let busy = || rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None);
        let tries = |patience_ms: u64, free_after: u32| {
            let (tried, paused) = (std::cell::Cell::new(0), std::cell::Cell::new(Duration::ZERO));
            let done = within(
                Duration::from_millis(patience_ms),
                |time| paused.set(paused.get() + time),
                || {
                    tried.set(tried.get() + 1);
                    if tried.get() > free_after { Ok(()) } else { Err(busy()) }
                },
            );
            (done.is_ok(), tried.get(), paused.get().as_millis())
        };
        assert_eq!(tries(5_000, 0), (true, 1, 0));
        assert_eq!(tries(5_000, 3), (true, 4, 30));
        assert_eq!(tries(20, 9), (false, 3, 20));
        assert_eq!(tries(0, 9), (false, 1, 0));
    }

    #[test]
    fn only_a_lock_is_waited_for() {
        let is = |code| is_busy(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(is(ffi::SQLITE_BUSY) && is(ffi::SQLITE_LOCKED));
        assert!(!is(ffi::SQLITE_IOERR) && !is(ffi::SQLITE_CANTOPEN));
        assert!(!is_busy(&rusqlite::Error::QueryReturnedNoRows));
    }
}
