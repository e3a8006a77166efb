//! The conformance suite on all of our stores. Without a Postgres, or a PgBouncer, their trials are ignored; with
//! `CI=true` they fail.

use tourbillon_tests::{
    conformance::{Arguments, run, trials},
    stores::{Memory, Postgres, Sqlite, SqliteFile},
};

fn main() {
    let arguments = Arguments::from_args();
    let all =
        [trials(Memory), trials(Sqlite), trials(SqliteFile), trials(Postgres::Direct), trials(Postgres::Pooled)];
    run(&arguments, all.into_iter().flatten().collect()).exit();
}
