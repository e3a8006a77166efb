//! Owns the way from a URL to a store, and what people are told when it does not lead there.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tourbillon::{
    driver::{JobOperator, OperatorError},
    health::{Bounds, Report},
    model::{ExecutionId, JobName, RequestId},
    runtime::Runtime,
    store::{ErrorKind, JobEntry, Operation, ReadStats, Store, StoreError, ask},
};
use tourbillon_pg::{PgStore, Pooler};
use tourbillon_sqlite::{Migrate, SqliteStore};

use super::args::At;

const URLS: &str = "write postgres://user@host:port/database or sqlite://path/to/file.db";

/// Connections of a command: it asks one thing at a time.
const CONNECTIONS: u32 = 1;

/// Connections where several ask.
const MANY_CONNECTIONS: u32 = 4;

/// A store, and what to call it.
pub(super) struct Database {
    store: Arc<dyn Store>,
    runtime: Runtime,
    /// Without a password.
    pub(super) name: String,
}

impl Database {
    /// Opens the database, which must exist. Its schema may be missing: the first request says so.
    pub(super) async fn open(at: &At) -> Result<Self, String> {
        Self::connect(at, false, CONNECTIONS).await
    }

    /// The same, for several who ask at once.
    pub(super) async fn open_for_many(at: &At) -> Result<Self, String> {
        Self::connect(at, false, MANY_CONNECTIONS).await
    }

    /// Opens the database; makes the file of a SQLite database that does not exist.
    pub(super) async fn make(at: &At) -> Result<Self, String> {
        Self::connect(at, true, CONNECTIONS).await
    }

    async fn connect(at: &At, make: bool, connections: u32) -> Result<Self, String> {
        let url = at
            .database
            .as_deref()
            .ok_or_else(|| format!("which database? give --database URL or set TOURBILLON_DATABASE_URL: {URLS}"))?;
        let (store, name): (Arc<dyn Store>, _) = match Place::read(url)? {
            Place::Sqlite(path) => {
                let shown = path.display().to_string();
                if at.schema.is_some() {
                    return Err("--schema is for Postgres: a SQLite file has no schemas, leave it out".to_owned());
                }
                if !make && !path.exists() {
                    return Err(format!(
                        "there is no file {shown}: check the path, or make it with `tourbillon migrate`"
                    ));
                }
                let opened = SqliteStore::builder(&path).migrate(Migrate::Manual).open();
                (Arc::new(opened.map_err(|error| explain(&error))?), format!("sqlite {shown}"))
            }
            Place::Postgres => {
                // It works with and without one, and asks too little for the difference.
                let mut builder = PgStore::builder(url).max_connections(connections).pooler(Pooler::Transaction);
                if let Some(schema) = &at.schema {
                    builder = builder.schema(schema);
                }
                let schema = at.schema.as_deref().unwrap_or(tourbillon_pg::DEFAULT_SCHEMA);
                let opened = builder.connect().await.map_err(|error| explain(&error))?;
                (Arc::new(opened), format!("postgres {}, schema {schema}", without_user(url)))
            }
        };
        Ok(Self { store, runtime: Runtime::tokio(), name })
    }

    /// Asks once; what was left unknown may be asked again by hand: no verb of these commands does harm twice.
    pub(super) async fn ask<V: Operation>(&self, verb: V) -> Result<V::Reply, String> {
        self.try_ask(verb).await.map_err(|error| explain(&error))
    }

    /// The store itself.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// The real clock and chance.
    pub(super) fn runtime(&self) -> Runtime {
        self.runtime.clone()
    }

    /// A new id, for an execution.
    pub(super) fn new_id(&self) -> ExecutionId {
        ExecutionId(self.runtime.uuid())
    }

    /// As [`Database::ask`], with the error as the store gave it.
    pub(super) async fn try_ask<V: Operation>(&self, verb: V) -> Result<V::Reply, StoreError> {
        ask(&self.store, RequestId(self.runtime.uuid()), verb).await
    }

    /// How it fares.
    pub(super) async fn health(&self, bounds: &Bounds) -> Result<Report, String> {
        self.operator().health(bounds).await.map_err(|error| refused(&error))
    }

    fn operator(&self) -> JobOperator {
        JobOperator::new(Arc::clone(&self.store), self.runtime.clone())
    }

    /// Fails unless something goes by this name: a registered job, or a queue with live items.
    pub(super) async fn require_known(&self, name: &JobName) -> Result<(), String> {
        let mut known: Vec<_> = self.jobs().await?.into_iter().map(|entry| entry.job).collect();
        known.extend(self.ask(ReadStats {}).await?.jobs.into_keys());
        if known.contains(name) { Ok(()) } else { Err(unknown(name, &known)) }
    }

    /// All registered jobs, in the order of their names.
    pub(super) async fn jobs(&self) -> Result<Vec<JobEntry>, String> {
        self.operator().jobs().await.map_err(|error| refused(&error))
    }
}

pub(super) fn refused(error: &OperatorError) -> String {
    match error {
        OperatorError::Store(error) => explain(error),
        OperatorError::Name(error) => error.to_string(),
        OperatorError::Schedule(error) => error.to_string(),
    }
}

enum Place {
    Sqlite(PathBuf),
    Postgres,
}

impl Place {
    fn read(url: &str) -> Result<Self, String> {
        match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres),
            Some(("sqlite", path)) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.is_empty() {
                    return Err("the URL names no file: write sqlite://path/to/file.db".to_owned());
                }
                Ok(Self::Sqlite(Path::new(path).to_owned()))
            }
            // Not quoted: what is not a URL may be a password.
            _ => Err(format!("the database URL has no scheme that this program knows: {URLS}")),
        }
    }
}

/// Host, port and database of a URL; nothing that might be a secret.
fn without_user(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.split_once('?').map_or(rest, |(place, _)| place)
}

/// The store's words, with the command that mends it.
fn explain(error: &StoreError) -> String {
    let message = error.message();
    match (error.kind(), message.strip_suffix("run migrate")) {
        (ErrorKind::Invalid, Some(what)) => format!("{what}run `tourbillon migrate` with the same --database"),
        (ErrorKind::Unknown, _) => format!("{message}: it may have been done or not; look, then repeat the command"),
        _ => message.to_owned(),
    }
}

fn unknown(name: &JobName, known: &[JobName]) -> String {
    let near = |candidate: &&JobName| strsim::damerau_levenshtein(name.as_str(), candidate.as_str());
    let mut nearest: Vec<_> =
        known.iter().filter(|candidate| near(candidate) <= 1 + name.as_str().len() / 3).collect();
    nearest.sort_by_key(|candidate| (near(candidate), candidate.as_str()));
    nearest.dedup();
    let nearest: Vec<_> = nearest.iter().take(3).map(|name| format!("`{name}`")).collect();
    match (nearest.is_empty(), known.is_empty()) {
        (false, _) => format!("there is no job or queue `{name}`: did you mean {}?", nearest.join(", ")),
        (true, true) => format!("there is no job or queue `{name}`, and no other: has a replica ever run here?"),
        (true, false) => {
            format!("there is no job or queue `{name}`: `tourbillon jobs` and `tourbillon queue` list them")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_a_database_or_say_how_to_write_them() {
        assert!(matches!(Place::read("postgresql://h/d"), Ok(Place::Postgres)));
        for (url, path) in
            [("sqlite://jobs.db", "jobs.db"), ("sqlite:///var/jobs.db", "/var/jobs.db"), ("sqlite:j", "j")]
        {
            assert!(matches!(Place::read(url), Ok(Place::Sqlite(read)) if read == Path::new(path)), "{url}");
        }
        for wrong in ["jobs.db", "mysql://secret@h/d", "", "sqlite://"] {
            let message = Place::read(wrong).err().expect("refused");
            assert!(message.contains("sqlite://path") && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn a_shown_place_holds_no_password() {
        assert_eq!(without_user("postgres://app:p@ss@db:5432/jobs?sslkey=secret"), "db:5432/jobs");
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest() {
        let known = ["digest", "digest_weekly", "rollup"].map(|name| JobName::new(name).expect("a name"));
        let name = JobName::new("digset").expect("a name");
        assert_eq!(unknown(&name, &known), "there is no job or queue `digset`: did you mean `digest`?");
    }
}
