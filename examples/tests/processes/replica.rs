//! Owns one process: its start, its signals, its log, and its certain end; and what the log of a service says.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    ops::{Deref, DerefMut},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use tourbillon::model::{ExecutionId, Incarnation};

/// A running, or ended, process. Dropping it kills the process.
pub(crate) struct Program {
    child: Child,
    /// Kills the process should the test process be killed itself.
    watchdog: Child,
    log: PathBuf,
}

/// A process of the service.
pub(crate) struct Replica(Program);

impl Deref for Replica {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl DerefMut for Replica {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.0
    }
}

/// A handler's first line in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Start {
    /// Index of the process.
    pub(crate) replica: usize,
    pub(crate) job: String,
    pub(crate) execution: ExecutionId,
    pub(crate) attempt: u32,
    pub(crate) fence: u64,
}

impl Program {
    /// Starts it; it logs to `log`.
    pub(crate) fn start(binary: &str, arguments: Vec<OsString>, log: PathBuf) -> io::Result<Self> {
        let output = File::create(&log)?;
        let child = Command::new(binary)
            .args(arguments)
            .env("RUST_LOG", "info,tourbillon=debug")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        // Reaching the end of its input, which the kernel sees to when this process ends, it kills. Signals from a
        // terminal go to this process only.
        let watch = r#"trap '' INT TERM HUP; cat > /dev/null; kill -9 "$1" 2> /dev/null"#;
        let mut watchdog = Command::new("/bin/sh");
        watchdog.args(["-c", watch, "watchdog", &child.id().to_string()]).process_group(0).stdin(Stdio::piped());
        let mut guard = Orphan(Some(child));
        let watchdog = watchdog.spawn()?;
        Ok(Self { child: guard.0.take().expect("set above"), watchdog, log })
    }

    /// SIGKILL: the process does nothing any more.
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
    }

    /// SIGTERM: what an orchestrator sends first.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        // Through the shell: the standard library sends SIGKILL only.
        let pid = self.child.id().to_string();
        let sent = Command::new("/bin/sh").args(["-c", r#"kill -TERM "$1""#, "kill", &pid]).status()?;
        if sent.success() { Ok(()) } else { Err(io::Error::other(format!("kill -TERM {pid}: {sent}"))) }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            // Its process id may now become another's.
            end(&mut self.watchdog);
        }
        Ok(status)
    }

    /// What it logged so far, whole lines only.
    pub(crate) fn log(&self) -> String {
        let mut log = fs::read_to_string(&self.log).unwrap_or_default();
        log.truncate(log.rfind('\n').map_or(0, |end| end + 1));
        log
    }
}

impl Replica {
    /// Starts the service on the database at `place`; it logs to `log`.
    pub(crate) fn start(place: &str, log: PathBuf) -> io::Result<Self> {
        Program::start(env!("CARGO_BIN_EXE_service"), vec![place.into()], log).map(Self)
    }

    /// Its identity in leases, once it serves.
    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains(" service: serving "))?;
        field(line, "incarnation")?.parse().ok()
    }

    /// The handlers that it started, in order. `replica` is its index.
    pub(crate) fn starts(&self, replica: usize) -> Vec<Start> {
        let start = |line: &str| {
            let (job, execution) = (field(line, "job")?.to_owned(), field(line, "execution")?.parse().ok()?);
            let (attempt, fence) = (field(line, "attempt")?.parse().ok()?, field(line, "fence")?.parse().ok()?);
            Some(Start { replica, job, execution, attempt, fence })
        };
        self.log()
            .lines()
            .filter(|line| line.contains(" service: attempt "))
            .map(|line| start(line).unwrap_or_else(|| panic!("an attempt is logged in another form: {line}")))
            .collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The watchdog before the child is reaped, so that it can kill no other process of the same id.
        drop(self.child.kill());
        end(&mut self.watchdog);
        drop(self.child.wait());
    }
}

/// A child that ends with its scope unless taken out.
struct Orphan(Option<Child>);

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    // Both fail only for a child that has ended.
    drop(child.kill());
    drop(child.wait());
}

/// The value of `name=value` in a line. What an event says of itself is behind what its spans say.
pub(crate) fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.rsplit(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}
