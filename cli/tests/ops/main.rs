//! The operator's commands as people run them: the real program on a real SQLite file and a real Postgres, its output
//! and its exit code. Both databases must be told of in the same words.
//!
//! Snapshots are written anew with `INSTA_UPDATE=always cargo test -p tourbillon-cli --test ops`.

mod cases;
mod site;

use tourbillon_tests::{
    cluster::Cluster,
    conformance::{Arguments, run, trial},
};

use site::{Kind, Site};

fn main() {
    let arguments = Arguments::from_args();
    let absent = Cluster::available().err().map(|error| error.reason);
    let mut trials = Vec::new();
    for (kind, absent) in [(Kind::Sqlite, None), (Kind::Postgres, absent)] {
        for (name, case) in cases::CASES {
            let name = format!("{}::{name}", kind.name());
            trials.push(trial(name, absent.as_deref(), move || case(&Site::new(kind))));
        }
    }
    for (name, case) in cases::ALONE {
        trials.push(trial((*name).to_owned(), None, case));
    }
    run(&arguments, trials).exit();
}
