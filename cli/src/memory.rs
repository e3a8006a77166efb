//! How much memory this process takes, as the system tells it. Knows nothing of simulations.

use std::fs;

/// The most that was ever in memory at once, in MiB, rounded up; `None` where the system does not tell it as Linux does.
pub(crate) fn peak_mib() -> Option<u64> {
    peak_of(&fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.div_ceil(1024))
}

/// Whether the peak is within a bound.
///
/// # Errors
/// When the peak is not known: a bound that nobody checks is worse than none.
pub(crate) fn is_within(peak_mib: Option<u64>, most_mib: u64) -> Result<bool, String> {
    let peak_mib = peak_mib.ok_or("--max-rss-mib: this system does not say how much memory a process takes")?;
    Ok(peak_mib <= most_mib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_what_linux_says() {
        assert_eq!(peak_of("Name:\tx\nVmPeak:\t  9999 kB\nVmHWM:\t    2049 kB\nVmRSS:\t  100 kB\n"), Some(3));
        assert_eq!(peak_of("Name:\tx\n"), None);
    }

    #[test]
    fn a_bound_that_cannot_be_checked_is_an_error() {
        assert_eq!(is_within(Some(3), 3), Ok(true));
        assert_eq!(is_within(Some(4), 3), Ok(false));
        assert!(is_within(None, 3).is_err());
    }
}
