//! Races on real connections and permutations on real Postgres: see `tourbillon_tests::races`.

use libtest_mimic::Arguments;

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time: each is a race of its own, and claims per second are printed.
    arguments.test_threads.get_or_insert(1);
    let trials = tourbillon_tests::races::trials(arguments.list);
    libtest_mimic::run(&arguments, trials).exit();
}
