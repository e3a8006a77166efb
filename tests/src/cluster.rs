//! Owns a throw-away Postgres: a server that the tests start themselves, or one named by `TOURBILLON_PG_URL`.
//!
//! Knows nothing of stores. The server runs on 127.0.0.1 with trust authentication in a directory of its own; a
//! small watchdog process stops it and removes the directory once this process is gone, however it went.

use std::{
    fmt, fs,
    io::{self, Read},
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// Names a server to use instead of starting one: `postgres://superuser@host:port/postgres`.
pub const URL_VARIABLE: &str = "TOURBILLON_PG_URL";

/// Ports tried when another process takes the one that we found free.
const MAX_STARTS: u32 = 5;

/// Longest that a server may take to start or stop, in seconds.
const PATIENCE_SECS: &str = "60";

/// The file system in memory that Linux has.
const MEMORY: &str = "/dev/shm";

/// Bytes that must be free there: several servers run at once, each with some hundred megabytes.
const MEMORY_NEEDED: u64 = 4 << 30;

/// Why there is no server to test against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPostgres {
    /// What is missing, and the mend.
    pub reason: String,
}

impl fmt::Display for NoPostgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for NoPostgres {}

fn missing(reason: impl Into<String>) -> NoPostgres {
    NoPostgres { reason: reason.into() }
}

/// Where a server keeps its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// In memory, where there is a file system for that with room enough; else as [`Files::OnDisk`]. A server that crashes
    /// finds them again; a machine that crashes has no tests to go on with. Making a schema takes a third of the time.
    InMemory,
    /// In the temporary directory, for those who measure what a durable commit costs.
    OnDisk,
}

/// A running server.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
}

#[derive(Debug)]
enum Server {
    /// Somebody else's.
    Named(String),
    /// Ours.
    Own(Own),
}

#[derive(Debug)]
struct Own {
    binaries: PathBuf,
    directory: PathBuf,
    port: u16,
    user: User,
    watchdog: Child,
}

impl Cluster {
    /// The server of this process: started on first use, or the one that [`URL_VARIABLE`] names.
    ///
    /// # Errors
    /// [`NoPostgres`], the same each time.
    pub fn shared() -> Result<&'static Self, NoPostgres> {
        static SHARED: OnceLock<Result<Cluster, NoPostgres>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match std::env::var(URL_VARIABLE) {
            Ok(url) => Ok(Self { server: Server::Named(url) }),
            Err(_) => Self::start(),
        });
        shared.as_ref().map_err(Clone::clone)
    }

    /// Whether [`Cluster::shared`] has something to start or to connect to. Looks only, and starts nothing.
    ///
    /// # Errors
    /// [`NoPostgres`] when there are no binaries and [`URL_VARIABLE`] is not set.
    pub fn available() -> Result<(), NoPostgres> {
        std::env::var(URL_VARIABLE).map(drop).or_else(|_| find_binaries().map(drop))
    }

    /// A private server, which a test may stop and restart.
    ///
    /// # Errors
    /// [`NoPostgres`] when there are no binaries, or they do not start.
    pub fn start() -> Result<Self, NoPostgres> {
        Self::start_with(Files::InMemory)
    }

    /// As [`Cluster::start`], with a choice of where its files are.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_with(files: Files) -> Result<Self, NoPostgres> {
        let binaries = find_binaries()?;
        let (directory, user) = make_directory(files).map_err(|error| missing(format!("no directory: {error}")))?;
        let own = Own::create(binaries, directory, user)?;
        Ok(Self { server: Server::Own(own) })
    }

    /// A superuser's URL of the maintenance database.
    pub fn url(&self) -> String {
        match &self.server {
            Server::Named(url) => url.clone(),
            Server::Own(own) => format!("postgres://postgres@127.0.0.1:{}/postgres", own.port),
        }
    }

    /// The URL of a new, empty database. (On a named server it stays behind: `tourbillon_test_…`.)
    ///
    /// # Panics
    /// When the server refuses.
    pub fn fresh_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tourbillon_test_{}_{n}", std::process::id());
        let options: sqlx::postgres::PgConnectOptions = self.url().parse().expect("the server's URL is a URL");
        let sql = [format!("drop database if exists {name}"), format!("create database {name}")];
        // On a thread of its own, so that async tests may call it too.
        let created = thread::spawn({
            let options = options.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let mut connection = options.connect().await?;
                    for statement in sql {
                        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
                    }
                    connection.close().await
                })
            }
        });
        let created: Result<(), sqlx::Error> = created.join().expect("creating a database does not panic");
        created.unwrap_or_else(|error| panic!("cannot create database {name}: {error}"));
        options.database(&name).to_url_lossy().to_string()
    }

    /// Stops the server as a crash would: no farewell, no flush beyond what was committed.
    ///
    /// # Errors
    /// [`NoPostgres`] when the server is not ours, or does not stop.
    pub fn stop_immediate(&self) -> Result<(), NoPostgres> {
        self.own()?.control(&["-m", "immediate", "stop"])
    }

    /// Starts it again on the same port, stopping it first (immediately) if it runs.
    ///
    /// # Errors
    /// [`NoPostgres`] when the server is not ours, or does not start.
    pub fn restart(&self) -> Result<(), NoPostgres> {
        self.own()?.control(&["-m", "immediate", "restart"])
    }

    /// Lets `change` write into the server's directory (its settings are in `data`), for the user that runs it, and starts
    /// it again.
    ///
    /// # Errors
    /// [`NoPostgres`] when the server is not ours, does not start again, or `change` fails.
    pub(crate) fn reconfigure<T>(&self, change: impl FnOnce(&Path, User) -> io::Result<T>) -> Result<T, NoPostgres> {
        let own = self.own()?;
        let changed = change(&own.directory, own.user).map_err(|error| missing(error.to_string()))?;
        own.control(&["-m", "fast", "restart"])?;
        Ok(changed)
    }

    fn own(&self) -> Result<&Own, NoPostgres> {
        match &self.server {
            Server::Own(own) => Ok(own),
            Server::Named(_) => Err(missing(format!("the server of {URL_VARIABLE} is not ours to stop: unset it"))),
        }
    }
}

impl Own {
    fn create(binaries: PathBuf, directory: PathBuf, user: User) -> Result<Self, NoPostgres> {
        let mut command = user.command(Path::new("/bin/sh"), &directory);
        command.args(["-c", WATCHDOG, "watchdog"]).arg(binaries.join("pg_ctl")).arg(&directory);
        let watchdog = command.process_group(0).stdin(Stdio::piped()).spawn();
        let watchdog = watchdog.map_err(|error| missing(format!("cannot start a watchdog: {error}")))?;
        let mut own = Self { binaries, directory, port: 0, user, watchdog };
        own.initdb()?;
        for attempt in 1.. {
            own.port = free_port().map_err(|error| missing(format!("no free port: {error}")))?;
            own.configure().map_err(|error| missing(format!("cannot write postgresql.conf: {error}")))?;
            match own.control(&["start"]) {
                Err(error) if attempt >= MAX_STARTS => return Err(error),
                Err(_) => {}
                Ok(()) => break,
            }
        }
        Ok(own)
    }

    /// An order of text that is not the order of bytes, where the server was built with ICU: it finds each missing
    /// `COLLATE "C"`.
    fn initdb(&self) -> Result<(), NoPostgres> {
        let icu = ["--locale-provider=icu", "--icu-locale=en-US"];
        let common = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "-D", "data"];
        self.run("initdb", &[&common[..], &icu].concat()).or_else(|_| {
            // A half-made data directory would be refused.
            drop(fs::remove_dir_all(self.directory.join("data")));
            self.run("initdb", &[&common[..], &["--no-locale"]].concat())
        })
    }

    fn configure(&self) -> io::Result<()> {
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\n\
             max_connections = 200\nshared_buffers = 32MB\nmax_wal_size = 256MB\ntimezone = 'Europe/Berlin'\n",
            self.port
        );
        let path = self.directory.join("data/postgresql.auto.conf");
        fs::write(&path, settings)?;
        self.user.own(&path)
    }

    fn control(&self, action: &[&str]) -> Result<(), NoPostgres> {
        let always = ["-D", "data", "-l", "log", "-w", "-t", PATIENCE_SECS];
        self.run("pg_ctl", &[&always[..], action].concat())
    }

    fn run(&self, binary: &str, arguments: &[&str]) -> Result<(), NoPostgres> {
        let mut command = self.user.command(&self.binaries.join(binary), &self.directory);
        let output = command.args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| missing(format!("cannot run {binary}: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let last = log.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
        let said = String::from_utf8_lossy(&output.stderr);
        Err(missing(format!("{binary} failed ({}): {said}{last}", output.status)))
    }
}

/// Waits until its standard input closes, which the kernel does for us when this process ends, then cleans up.
/// Signals from a terminal go to this process only; the watchdog must outlive it.
const WATCHDOG: &str = r#"trap '' INT TERM HUP
cat > /dev/null
if [ -f "$2/data/postmaster.pid" ]; then "$1" -D "$2/data" -m immediate -w stop > /dev/null 2>&1; fi
cd / && rm -rf "$2""#;

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // It removes the directory; should it have been killed, the next run with our process id will.
        drop(self.watchdog.wait());
    }
}

/// Who runs the server: Postgres refuses to run as root.
#[derive(Clone, Copy, Debug)]
pub(crate) enum User {
    Ourselves,
    Other { uid: u32, gid: u32 },
}

impl User {
    pub(crate) fn command(self, program: &Path, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(directory).env("LC_ALL", "C");
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    pub(crate) fn own(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }
}

/// A new folder for a server, and who may write there.
pub(crate) fn make_directory(files: Files) -> io::Result<(PathBuf, User)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let parent = match files {
        Files::InMemory if has_room(Path::new(MEMORY)) => PathBuf::from(MEMORY),
        Files::InMemory | Files::OnDisk => std::env::temp_dir(),
    };
    let directory = parent.join(format!("tourbillon-pg-{}-{n}", std::process::id()));
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir(&directory)?;
    let user = if fs::metadata(&directory)?.uid() == 0 { unprivileged()? } else { User::Ourselves };
    user.own(&directory)?;
    Ok((directory, user))
}

/// Containers have little of it, and a server whose disk is full stops.
fn has_room(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) >= MEMORY_NEEDED)
}

fn unprivileged() -> io::Result<User> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(|id| id.parse::<u32>().ok());
        Some(User::Other { uid: ids.next()??, gid: ids.next()?? })
    };
    let found = find("postgres").or_else(|| find("nobody"));
    found.ok_or_else(|| io::Error::other("running as root, and there is no user `postgres` or `nobody` to drop to"))
}

pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The folders of `PATH`, in order; none where it is not set.
pub(crate) fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// On `PATH`, by `pg_config`, or where distributions put them; the newest version wins.
fn find_binaries() -> Result<PathBuf, NoPostgres> {
    let complete = |path: &Path| ["initdb", "pg_ctl", "postgres"].iter().all(|name| path.join(name).is_file());
    let mut candidates = search_path();
    candidates.extend(pg_config());
    for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let mut versions: Vec<_> = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let digits: String =
                    entry.file_name().to_string_lossy().chars().filter(char::is_ascii_digit).collect();
                Some((digits.parse::<u32>().ok()?, entry.path().join("bin")))
            })
            .collect();
        versions.sort();
        candidates.extend(versions.into_iter().rev().map(|(_, path)| path));
    }
    candidates.extend(["/usr/local/pgsql/bin", "/opt/homebrew/bin"].map(PathBuf::from));
    let hint = format!("no PostgreSQL server binaries found: install `postgresql` or set {URL_VARIABLE}");
    candidates.into_iter().find(|path| complete(path)).ok_or_else(|| missing(hint))
}

fn pg_config() -> Option<PathBuf> {
    let mut child =
        Command::new("pg_config").arg("--bindir").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut text = String::new();
    child.stdout.take()?.read_to_string(&mut text).ok()?;
    child.wait().ok()?.success().then(|| PathBuf::from(text.trim()))
}
