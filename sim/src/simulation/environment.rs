//! What the environment says of a check: which seeds, which part of them, where failures are kept, what the test is
//! called. Reads it at one place; decides in pure code.

use std::{fmt::Display, ops::Range, path::PathBuf, str::FromStr};

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    /// In ascending order.
    pub(super) seeds: Vec<u64>,
    /// Failures are written here.
    pub(super) keep_in: Option<PathBuf>,
}

/// Which seeds: those of the simulation, unless `TOURBILLON_SEED` (the first, and the only one unless) and
/// `TOURBILLON_SEEDS` (how many) say otherwise; of those, the k-th of n parts of the test, and of that the part of this
/// machine (`TOURBILLON_SHARD=k/n`). One seed that was asked for by itself is run whatever the parts are: it is a replay.
pub(super) fn asked(
    default: &Range<u64>,
    part: (u64, u64),
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Asked, String> {
    let first: Option<u64> = number(&variable, "TOURBILLON_SEED")?;
    let count: Option<u64> = number(&variable, "TOURBILLON_SEEDS")?;
    let shard = variable("TOURBILLON_SHARD").map_or(Ok((1, 1)), |text| parse_shard(&text))?;
    let keep_in = variable("TOURBILLON_FAILURES").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let (Some(seed), None) = (first, count) {
        return Ok(Asked { seeds: vec![seed], keep_in });
    }
    let from = first.unwrap_or(default.start);
    let count = count.unwrap_or(default.end.saturating_sub(default.start));
    let seeds = from..from.saturating_add(count);
    let is_ours = |seed: &u64| seed % part.1 == part.0 - 1 && seed / part.1 % shard.1 == shard.0 - 1;
    Ok(Asked { seeds: seeds.filter(is_ours).collect(), keep_in })
}

fn number<T: FromStr<Err: Display>>(
    variable: impl Fn(&str) -> Option<String>,
    name: &str,
) -> Result<Option<T>, String> {
    let Some(text) = variable(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| format!("{name}={text}: {error}: write a number, such as {name}=7"))
}

fn parse_shard(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("TOURBILLON_SHARD={text}: write k/n with 1 ≤ k ≤ n, for example 2/8");
    let (k, n) = text.split_once('/').ok_or_else(wrong)?;
    let (k, n): (u64, u64) = (k.parse().map_err(|_| wrong())?, n.parse().map_err(|_| wrong())?);
    if (1..=n).contains(&k) { Ok((k, n)) } else { Err(wrong()) }
}

/// The path of the running test, as `cargo test` and `cargo nextest run` take it; `None` when nothing says it, as on the
/// main thread of `--test-threads=1`.
pub(super) fn test_name(thread: Option<&str>, mut arguments: impl Iterator<Item = String>) -> Option<String> {
    if let Some(name) = thread.filter(|name| *name != "main") {
        return Some(name.to_owned());
    }
    // A runner that starts a process for each test names it.
    let mut is_exact = false;
    let mut name = None;
    arguments.next();
    for argument in arguments {
        is_exact |= argument == "--exact";
        if !argument.starts_with('-') {
            name = Some(argument);
        }
    }
    name.filter(|_| is_exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(variables: &[(&str, &str)], part: (u64, u64)) -> Result<Vec<u64>, String> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        asked(&(0..6), part, variable).map(|asked| asked.seeds)
    }

    #[test]
    fn seeds_are_those_of_the_simulation_unless_the_environment_says_otherwise() {
        assert_eq!(seeds(&[], (1, 1)), Ok(vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(seeds(&[("TOURBILLON_SEEDS", "2")], (1, 1)), Ok(vec![0, 1]));
        assert_eq!(seeds(&[("TOURBILLON_SEED", "9")], (1, 1)), Ok(vec![9]));
        assert_eq!(seeds(&[("TOURBILLON_SEED", "9"), ("TOURBILLON_SEEDS", "2")], (1, 1)), Ok(vec![9, 10]));
    }

    #[test]
    fn parts_and_shards_cover_every_seed_once() {
        let mut all = Vec::new();
        for part in 1..=3 {
            for shard in ["1/2", "2/2"] {
                all.extend(seeds(&[("TOURBILLON_SHARD", shard)], (part, 3)).unwrap());
            }
        }
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5]);
        // A replay is not split.
        assert_eq!(seeds(&[("TOURBILLON_SEED", "9"), ("TOURBILLON_SHARD", "1/2")], (1, 3)), Ok(vec![9]));
    }

    #[test]
    fn what_cannot_be_read_is_told_with_the_mend() {
        assert_eq!(
            seeds(&[("TOURBILLON_SEED", "x")], (1, 1)).unwrap_err(),
            "TOURBILLON_SEED=x: invalid digit found in string: write a number, such as TOURBILLON_SEED=7"
        );
        assert!(seeds(&[("TOURBILLON_SHARD", "3/2")], (1, 1)).unwrap_err().ends_with("for example 2/8"));
    }

    #[test]
    fn the_test_is_named_by_its_thread_or_by_its_runner() {
        let arguments = |text: &'static str| text.split(' ').map(str::to_owned);
        assert_eq!(test_name(Some("mails::digest"), arguments("t")), Some("mails::digest".to_owned()));
        assert_eq!(test_name(Some("main"), arguments("t digest --exact --nocapture")), Some("digest".to_owned()));
        assert_eq!(test_name(Some("main"), arguments("t dig --test-threads=1")), None);
    }
}
