//! Cases of reading and pruning the audit log.

use tourbillon::{
    model::{Audit, AuditEvent, ExecutionId},
    store::{ListAudit, MAX_BATCH, Prune},
};

use super::subject::{Subject, job, succeeded};

super::cases! {
    log_is_read_page_by_page_along_each_life,
    log_is_filtered_by_job_and_by_execution,
    cursor_of_an_unknown_event_continues_behind_its_place,
    page_without_room_is_refused,
    old_events_are_pruned_oldest_first_and_counted,
    events_outlive_the_execution_that_they_tell,
}

/// Two executions of one job and one of another, each through its whole life.
async fn three_lives(s: &Subject) -> [ExecutionId; 3] {
    let mut ids = [s.id(); 3];
    for (id, name) in ids.iter_mut().zip(["digest", "digest", "rollup"]) {
        *id = s.ended(&job(name), succeeded()).await;
        s.pass(1_000);
    }
    ids
}

async fn log_is_read_page_by_page_along_each_life(s: &Subject) {
    three_lives(s).await;
    let all = s.audit(None).await;
    assert_eq!(all.len(), 12);
    assert!(all.is_sorted_by_key(|event| event.key));
    let (mut paged, mut after): (Vec<AuditEvent>, _) = (Vec::new(), None);
    loop {
        let page = s.call(ListAudit { after, limit: 5, ..ListAudit::default() }).await.events;
        after = page.last().map(|event| event.key);
        paged.extend(page.iter().cloned());
        if page.len() < 5 {
            break;
        }
    }
    assert_eq!(paged, all);
}

async fn log_is_filtered_by_job_and_by_execution(s: &Subject) {
    let [first, _, other] = three_lives(s).await;
    let of = |name, execution| ListAudit { job: Some(job(name)), execution, after: None, limit: MAX_BATCH };
    assert_eq!(s.call(of("digest", None)).await.events.len(), 8);
    assert_eq!(s.call(of("rollup", Some(other))).await.events.len(), 4);
    assert_eq!(s.call(of("rollup", Some(first))).await.events, []);
    assert_eq!(s.call(of("unheard of", None)).await.events, []);
    let events = s.audit(Some(first)).await;
    let rest = ListAudit { execution: Some(first), after: Some(events[1].key), limit: 1, job: None };
    assert_eq!(s.call(rest).await.events, events[2..3]);
}

async fn cursor_of_an_unknown_event_continues_behind_its_place(s: &Subject) {
    let [first, ..] = three_lives(s).await;
    let events = s.audit(Some(first)).await;
    let mut after = events[1].key;
    after.step += 1;
    let page = s.call(ListAudit { execution: Some(first), after: Some(after), limit: 9, job: None }).await;
    assert_eq!(page.events, events[2..]);
}

async fn page_without_room_is_refused(s: &Subject) {
    for limit in [0, MAX_BATCH + 1] {
        s.refused(ListAudit { limit, ..ListAudit::default() }).await;
    }
}

async fn old_events_are_pruned_oldest_first_and_counted(s: &Subject) {
    let [first, second, third] = three_lives(s).await;
    let prune = Prune { history_ms: 1_000, receipts_ms: 1_000, edits_ms: u64::MAX, limit: 6 };
    let pruned = s.call(prune).await;
    assert_eq!((pruned.executions, pruned.audit), (2, 6));
    assert!(s.audit(Some(first)).await.is_empty());
    assert_eq!(s.audit(Some(second)).await.len(), 2);
    assert_eq!(s.call(prune).await.audit, 2);
    assert_eq!(s.audit(Some(third)).await.len(), 4, "as old as the bound is not older");
}

async fn events_outlive_the_execution_that_they_tell(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.audit = Audit::All).await;
    s.pass(5_000);
    s.settle(lease, succeeded()).await.expect("held");
    s.pass(1_000);
    // The start of its life is old, its end is not: the execution stays, and so does what tells its end.
    let pruned = s.call(Prune { history_ms: 2_000, receipts_ms: 2_000, edits_ms: u64::MAX, limit: 100 }).await;
    assert_eq!((pruned.executions, pruned.audit), (0, 3));
    assert_eq!(s.audit(Some(lease.id)).await.len(), 1);
}
