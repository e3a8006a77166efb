//! Owns the text of the statements; the files in `sql/` say what each is for.

macro_rules! statements {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) const $name: &str = body(include_str!(concat!("../sql/", $file, ".sql")));)*
        /// All statements with their file names.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, &str, &str)] =
            &[$(($file, $name, include_str!(concat!("../sql/", $file, ".sql")))),*];
    };
}

statements! {
    COUNT_ITEMS = "count_items";
    COUNT_RUNNING_WITH_LIMIT = "count_running_with_limit";
    CREATE_MIGRATION = "create_migration";
    DELETE_EXECUTION = "delete_execution";
    EXISTS_AUDIT = "exists_audit";
    EXISTS_MIGRATION = "exists_migration";
    EXISTS_SLOT = "exists_slot";
    FORGET_SUCCESS = "forget_success";
    INSERT_AUDIT = "insert_audit";
    INSERT_EXECUTION = "insert_execution";
    INSERT_HISTORY = "insert_history";
    INSERT_MIGRATION = "insert_migration";
    INSERT_RECEIPT = "insert_receipt";
    INSERT_SKIPPED = "insert_skipped";
    INSERT_UNREADABLE = "insert_unreadable";
    LIST_AUDIT = "list_audit";
    LIST_EXECUTIONS = "list_executions";
    LIST_ITEMS = "list_items";
    LIST_JOBS = "list_jobs";
    LIST_LOCKS = "list_locks";
    LIST_PAUSES = "list_pauses";
    LIST_RECENT = "list_recent";
    LIST_SCHEDULES = "list_schedules";
    LIST_SKIPPED = "list_skipped";
    PRUNE_AUDIT = "prune_audit";
    PRUNE_EDITS = "prune_edits";
    PRUNE_HISTORY = "prune_history";
    PRUNE_PAUSES = "prune_pauses";
    PRUNE_RECEIPTS = "prune_receipts";
    PRUNE_SKIPPED = "prune_skipped";
    PRUNE_TURNS = "prune_turns";
    READ_QUEUE_STATS = "read_queue_stats";
    READ_STATS = "read_stats";
    REMOVE_HISTORY = "remove_history";
    REMOVE_LIVE = "remove_live";
    REVISE_EXECUTION = "revise_execution";
    SELECT_CLAIMABLE = "select_claimable";
    SELECT_CURSOR = "select_cursor";
    SELECT_CURSORS = "select_cursors";
    SELECT_DUE_JOBS = "select_due_jobs";
    SELECT_ENDED_ITEMS = "select_ended_items";
    SELECT_FINISHED_WITH_KEY = "select_finished_with_key";
    SELECT_FINISHED = "select_finished";
    SELECT_GATE = "select_gate";
    SELECT_JOB = "select_job";
    SELECT_LANES = "select_lanes";
    SELECT_LAST_RESCUE = "select_last_rescue";
    SELECT_LAST_SUCCESS = "select_last_success";
    SELECT_LIVE_WITH_KEY = "select_live_with_key";
    SELECT_LIVE = "select_live";
    SELECT_LOCK = "select_lock";
    SELECT_MIGRATION = "select_migration";
    SELECT_NEWEST_SCHEDULE = "select_newest_schedule";
    SELECT_PAUSES = "select_pauses";
    SELECT_RECEIPT = "select_receipt";
    SELECT_RESCUABLE = "select_rescuable";
    SELECT_SCHEDULES = "select_schedules";
    SELECT_SHUT_GATES = "select_shut_gates";
    SELECT_TURNS = "select_turns";
    SELECT_WITHDRAWN = "select_withdrawn";
    SELECT_WITHDRAWN_GATES = "select_withdrawn_gates";
    SELECT_WITHDRAWN_LOCKS = "select_withdrawn_locks";
    UPDATE_EXECUTION = "update_execution";
    UPSERT_CURSOR = "upsert_cursor";
    UPSERT_GATE = "upsert_gate";
    UPSERT_JOB = "upsert_job";
    UPSERT_LAST_RESCUE = "upsert_last_rescue";
    UPSERT_LOCK = "upsert_lock";
    UPSERT_PAUSE = "upsert_pause";
    UPSERT_SCHEDULE = "upsert_schedule";
}

pub(crate) const BEGIN_WRITE: &str = "begin immediate";
pub(crate) const BEGIN_READ: &str = "begin deferred";
pub(crate) const COMMIT: &str = "commit";
pub(crate) const ROLL_BACK: &str = "rollback";
pub(crate) const SAVE: &str = "savepoint request";
pub(crate) const RELEASE: &str = "release request";
pub(crate) const ROLL_BACK_TO: &str = "rollback to request";

/// Room in the statement cache: every statement above, and some.
pub(crate) const CACHED_STATEMENTS: usize = 80;

/// The statement without its header. The cache of prepared statements hashes the text at each use, and the headers
/// are as long as the statements.
const fn body(file: &'static str) -> &'static str {
    let mut rest = file;
    while let [b'-', b'-', ..] = rest.as_bytes() {
        let mut end = 0;
        while rest.as_bytes()[end] != b'\n' {
            end += 1;
        }
        rest = rest.split_at(end + 1).1;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SqliteInline, row};
    use tourbillon::{
        model::Timestamp,
        store::{DatabaseClock, ManualClock},
    };

    #[test]
    fn every_file_has_a_header_and_a_name() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sql")).unwrap();
        assert_eq!(files.count(), ALL.len(), "a file in sql/ is not listed here");
        for (name, body, file) in ALL {
            assert!(file.starts_with("-- Purpose:    "), "{name} has no header");
            assert!(!body.contains("--"), "{name} has a comment below its header");
        }
        const { assert!(ALL.len() + 7 <= CACHED_STATEMENTS) }
    }

    #[test]
    fn only_the_statements_that_say_so_scan_or_sort() {
        let clock = DatabaseClock::Manual(ManualClock::new(Timestamp::EPOCH));
        let store = SqliteInline::in_memory(clock).unwrap();
        store.with_connection(|connection| {
            for (name, body, _) in ALL {
                if matches!(
                    *name,
                    "read_stats"
                        | "read_queue_stats"
                        | "list_items"
                        | "list_recent"
                        | "list_pauses"
                        | "list_schedules"
                        | "select_withdrawn"
                        | "prune_edits"
                        | "prune_pauses"
                        | "prune_turns"
                        | "select_withdrawn_gates"
                        | "select_withdrawn_locks"
                        | "list_skipped"
                        | "exists_migration"
                ) {
                    continue;
                }
                let mut explain = connection.prepare(&format!("explain query plan {body}")).unwrap();
                let nulls = vec![rusqlite::types::Null; explain.parameter_count()];
                let steps = explain.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3)).unwrap();
                let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
                for step in &steps {
                    let scans =
                        step.starts_with("SCAN ") && !step.contains("json_each") && !step.contains("CONSTANT");
                    // Of the jobs that it was asked for, and not of rows.
                    let is_short = *name == "select_due_jobs" && step == "USE TEMP B-TREE FOR DISTINCT";
                    let sorts = step.contains("TEMP B-TREE") && !is_short;
                    assert!(!scans && !sorts, "{name}: {steps:#?}");
                }
            }
        });
    }

    #[test]
    fn a_claim_seeks_to_the_due_rows_of_its_lane() {
        let clock = DatabaseClock::Manual(ManualClock::new(Timestamp::EPOCH));
        let store = SqliteInline::in_memory(clock).unwrap();
        store.with_connection(|connection| {
            for (statement, seek) in [
                (SELECT_LANES, "(<expr>=? AND priority>?)"),
                (SELECT_CLAIMABLE, "(<expr>=? AND priority=? AND claimable_at>? AND claimable_at<?)"),
                (SELECT_DUE_JOBS, "(<expr>=? AND priority=? AND claimable_at>? AND claimable_at<?)"),
                (COUNT_ITEMS, "(<expr>=?)"),
            ] {
                let mut explain = connection.prepare(&format!("explain query plan {statement}")).unwrap();
                let nulls = vec![rusqlite::types::Null; explain.parameter_count()];
                let steps = explain.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3)).unwrap();
                let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
                let is_sought = |step: &String| step.contains("INDEX execution_claim ") && step.ends_with(seek);
                assert!(steps.iter().any(is_sought), "{seek}: {steps:#?}");
            }
        });
    }

    #[test]
    fn rows_are_read_in_the_order_of_the_table() {
        let clock = DatabaseClock::Manual(ManualClock::new(Timestamp::EPOCH));
        let store = SqliteInline::in_memory(clock).unwrap();
        store.with_connection(|connection| {
            for table in ["execution", "history"] {
                let names = connection.prepare(&format!("select * from {table}")).unwrap();
                let names: Vec<String> = names.column_names().into_iter().map(str::to_owned).collect();
                assert_eq!(names.len(), row::COLUMNS);
                for statement in [
                    SELECT_LIVE,
                    SELECT_FINISHED,
                    SELECT_CLAIMABLE,
                    SELECT_RESCUABLE,
                    SELECT_ENDED_ITEMS,
                    LIST_EXECUTIONS,
                    LIST_ITEMS,
                    LIST_RECENT,
                ] {
                    assert_eq!(connection.prepare(statement).unwrap().column_names(), names);
                }
                for statement in [INSERT_EXECUTION, INSERT_HISTORY] {
                    let listed = statement.split(['(', ')']).nth(1).unwrap().split(',').map(str::trim);
                    assert!(listed.eq(names.iter().map(String::as_str)), "{statement}");
                }
            }
        });
    }
}
