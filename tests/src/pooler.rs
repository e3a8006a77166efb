//! Owns a throw-away PgBouncer in front of the tests' server. Knows nothing of stores.
//!
//! It gives each transaction another session, in turns, so that nothing that leans on a session can pass by luck. It ends
//! with this process, however that goes: its standard input closes.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use crate::cluster::{Cluster, Files, NoPostgres, free_port, make_directory, search_path};

/// Sessions at the server per database, far fewer than clients.
const SESSIONS: u32 = 4;

/// A user of the server's who is let in beside its superuser: one with few privileges.
pub(crate) const APP: &str = "tourbillon_app";

/// Looks at its port, until it is there.
const LOOKS: u32 = 500;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A running PgBouncer.
#[derive(Debug)]
pub struct Pooler {
    watchdog: Child,
    port: u16,
}

impl Pooler {
    /// The one of this process, in front of [`Cluster::shared`]: started on first use.
    ///
    /// # Errors
    /// [`NoPostgres`], the same each time: without a server, or without PgBouncer.
    pub fn shared() -> Result<&'static Self, NoPostgres> {
        static SHARED: OnceLock<Result<Pooler, NoPostgres>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start(Cluster::shared()?));
        shared.as_ref().map_err(Clone::clone)
    }

    /// Whether [`Pooler::shared`] has something to start. Looks only, and starts nothing.
    ///
    /// # Errors
    /// [`NoPostgres`] says what is missing.
    pub fn available() -> Result<(), NoPostgres> {
        Cluster::available()?;
        find_binary().map(drop)
    }

    /// In front of this server.
    ///
    /// # Errors
    /// [`NoPostgres`] when there is no PgBouncer, or it does not start.
    pub fn start(cluster: &Cluster) -> Result<Self, NoPostgres> {
        let binary = find_binary()?;
        let server: PgConnectOptions =
            cluster.url().parse().map_err(|error| missing(format!("the server's URL: {error}")))?;
        Self::launch(&binary, &server).map_err(|error| missing(format!("pgbouncer does not start: {error}")))
    }

    fn launch(binary: &Path, server: &PgConnectOptions) -> io::Result<Self> {
        let (directory, user) = make_directory(Files::OnDisk)?;
        let port = free_port()?;
        let settings = directory.join("pgbouncer.ini");
        let (host, at) = (server.get_host(), server.get_port());
        let users = directory.join("users");
        let known: Vec<_> = [server.get_username(), APP].map(|name| format!("\"{name}\" \"\"\n")).into();
        fs::write(&users, known.concat())?;
        user.own(&users)?;
        fs::write(
            &settings,
            format!(
                "[databases]\n* = host={host} port={at}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = {SESSIONS}\n\
                 server_round_robin = 1\nmax_client_conn = 500\nlogfile = {}\n",
                users.display(),
                directory.join("log").display()
            ),
        )?;
        user.own(&settings)?;
        let mut command = user.command(Path::new("/bin/sh"), &directory);
        let watchdog =
            command.args(["-c", WATCHDOG, "watchdog"]).arg(binary).arg(&directory).stdin(Stdio::piped()).spawn()?;
        let pooler = Self { watchdog, port };
        pooler.wait(&directory)?;
        Ok(pooler)
    }

    #[expect(clippy::disallowed_methods, reason = "waits for a real process, before any test begins")]
    fn wait(&self, directory: &Path) -> io::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        for _ in 0..LOOKS {
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Err(io::Error::other(fs::read_to_string(directory.join("log")).unwrap_or_default()))
    }

    /// The way through it to the database that `url` names at the server.
    ///
    /// # Panics
    /// When `url` is none of the server's.
    pub fn url(&self, url: &str) -> String {
        let options: PgConnectOptions = url.parse().expect("the server's URL is a URL");
        options.host("127.0.0.1").port(self.port).to_url_lossy().to_string()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        drop(self.watchdog.wait());
    }
}

const WATCHDOG: &str = r#"trap '' INT TERM HUP
"$1" -q "$2/pgbouncer.ini" > /dev/null 2>&1 &
cat > /dev/null
kill -9 $!
cd / && rm -rf "$2""#;

fn missing(reason: String) -> NoPostgres {
    NoPostgres { reason }
}

fn find_binary() -> Result<PathBuf, NoPostgres> {
    let mut folders = search_path();
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"].map(PathBuf::from));
    let found = folders.into_iter().map(|folder| folder.join("pgbouncer")).find(|path| path.is_file());
    found.ok_or_else(|| missing("no PgBouncer found: install `pgbouncer`".to_owned()))
}
