//! Timelines as files and as text: where they go, and what is said about them. What they look like is the simulator's.

use std::{fs, path::Path};

use tourbillon_sim::timeline::Timeline;

/// Writes the page, with the folders that it needs.
///
/// # Errors
/// When the file cannot be written, naming it.
pub(crate) fn write(timeline: &Timeline, path: &Path) -> Result<(), String> {
    let cannot = |error| format!("cannot write {}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(cannot)?;
    }
    fs::write(path, timeline.html()).map_err(cannot)
}

/// The page of a failing seed in a folder of such pages.
pub(crate) fn file_name(scenario: &str, seed: u64) -> String {
    let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '-' };
    format!("{}-seed-{seed}.html", scenario.chars().map(plain).collect::<String>())
}
