//! The example outbox as a real process, killed in the middle: what it accepted arrives.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::Failed;

use crate::{
    expect,
    replica::{Program, field},
    scene::{Folder, Watch},
};

/// Messages of the first process: more than it can accept before it is killed.
const MESSAGES: &str = "100000";

/// Accepted before the kill, at least: some before the receiver went, some after.
const ENOUGH: usize = 25;

/// The receiver is there, goes away, and comes back after a `kill -9`; the next process has no messages of its own.
pub(crate) async fn kill_with_parcels_waiting() -> Result<(), Failed> {
    let folder = Folder::new()?;
    let (database, inbox) = (folder.path().join("outbox.db"), folder.path().join("inbox"));
    fs::create_dir(&inbox)?;
    let watch = Watch::new();
    let start = |log: &str, messages: &[&str]| {
        let arguments = [database.as_os_str(), inbox.as_os_str()].into_iter().map(Into::into);
        let arguments = arguments.chain(messages.iter().map(Into::into)).collect();
        Program::start(env!("CARGO_BIN_EXE_outbox"), arguments, folder.path().join(log))
    };
    let mut first = start("first.log", &[MESSAGES])?;
    watch.until("parcels are delivered", || accepted(&first, "delivered").len() >= ENOUGH).await?;
    let away = folder.path().join("away");
    fs::rename(&inbox, &away)?;
    watch.until("parcels are stored", || accepted(&first, "stored").len() >= ENOUGH).await?;
    first.kill_9();

    let mut accepted_ids = accepted(&first, "delivered");
    accepted_ids.extend(accepted(&first, "stored"));
    let arrived = |folders: &[&PathBuf]| -> BTreeSet<String> { folders.iter().flat_map(|f| names(f)).collect() };
    expect(!accepted_ids.is_subset(&arrived(&[&away])), || "everything had arrived before the kill".into())?;
    fs::create_dir(&inbox)?;
    let mut second = start("second.log", &[])?;
    let all =
        watch.until("every accepted parcel arrives", || accepted_ids.is_subset(&arrived(&[&away, &inbox]))).await;
    all.map_err(|late| {
        let missing: Vec<_> = accepted_ids.difference(&arrived(&[&away, &inbox])).cloned().collect();
        Failed::from(format!("{} are lost: {missing:?}; {late:?}\n{}", missing.len(), second.log()))
    })?;
    second.terminate()?;
    watch.until("the outbox stops", || second.ended().ok().flatten().is_some()).await?;
    let status = second.ended()?;
    expect(status.is_some_and(|status| status.success()), || format!("{status:?}: {}", second.log()).into())
}

/// Parcels that the process says it has accepted so.
fn accepted(program: &Program, how: &str) -> BTreeSet<String> {
    let marker = format!("accepted: {how} ");
    let log = program.log();
    log.lines()
        .filter(|line| line.contains(&marker))
        .filter_map(|line| field(line, "parcel"))
        .map(str::to_owned)
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
