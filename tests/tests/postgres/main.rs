//! What holds on Postgres only: plans, error mapping, migrations, schema names, pooler safety, and a quick
//! comparison with the in-memory store. Skipped, saying why, where there is no server; on CI that is a failure.

mod differential;

use libtest_mimic::{Arguments, Failed, Trial};
use tourbillon_tests::cluster::{Cluster, NoPostgres};

type Case = (&'static str, fn(&'static Cluster) -> Result<(), Failed>);

const CASES: &[&[Case]] = &[differential::CASES];

fn main() {
    let arguments = Arguments::from_args();
    // Only listing? Then start nothing.
    let cluster = if arguments.list { Err(NoPostgres { reason: "listing".to_owned() }) } else { Cluster::shared() };
    let on_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    let trials = CASES.iter().copied().flatten().map(|(name, case)| match cluster.clone() {
        Ok(cluster) => Trial::test(*name, move || case(cluster)),
        Err(missing) if on_ci => Trial::test(*name, move || Err(missing.reason.into())),
        Err(_) if arguments.list => Trial::test(*name, || Ok(())),
        Err(missing) => Trial::test(*name, || Ok(())).with_kind(missing.reason).with_ignored_flag(true),
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Runs `work` on a runtime of its own.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(work)
}
