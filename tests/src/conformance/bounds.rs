//! Cases of extremes: batch sizes, text, JSON, names, instants and numbers at the edge of what is allowed.

use tourbillon::{
    model::{
        ErrorCode, Failure, Json, Limit, MAX_ERROR_BYTES, MAX_JSON_BYTES, MAX_NAME_BYTES, Outcome, Retry, Scope,
        SkipReason, SkippedSlots, State, Timestamp,
    },
    store::{
        Cancel, ErrorKind, Heartbeat, ListExecutions, ListSkipped, MAX_BATCH, Plan, PlanEntry, PlanOutcome, Prune,
        ReadCursors, ReadDue, ReadStats, Register, Registration, Requeue, Rescue, Settle, Settlement, Start, Verb,
    },
};

use super::subject::{Subject, claim_of, hash, job, runner, scope, succeeded};

super::cases! {
    empty_batches_are_accepted,
    limit_zero_is_invalid,
    limit_above_the_largest_batch_is_invalid,
    oversize_batch_is_invalid,
    same_row_twice_in_a_batch_is_invalid,
    refused_request_changes_nothing,
    full_batch_works,
    error_text_of_any_content_is_kept,
    longest_error_text_is_kept_whole,
    custom_code_of_any_content_is_kept,
    json_of_any_content_is_kept,
    largest_json_is_kept_whole,
    names_of_any_content_are_kept_apart,
    longest_names_work,
    keys_and_hashes_of_any_content_are_kept,
    instants_before_the_epoch_work,
    instants_in_the_far_future_work,
    endless_waits_are_kept,
    extreme_numbers_are_kept,
}

const TEXTS: [&str; 12] = [
    "",
    " ",
    "plain",
    "it's \"quoted\" `so` $1 {x} %s ?1",
    "back\\slash \\u0000 \\x00 \\n",
    "line\nbreak\r\n\ttab\u{1}\u{7f}",
    "Größe, naïve, Ελλάδα, 日本語, עברית",
    "🦀👩‍👩‍👧‍👦🏳️‍🌈",
    "e\u{301} is not \u{e9}",
    "\u{feff}\u{202e}\u{200b}\u{10ffff}\u{e000}",
    "null",
    "'; drop table execution; --",
];

async fn empty_batches_are_accepted(s: &Subject) {
    assert!(s.call(Plan { entries: Vec::new() }).await.outcomes.is_empty());
    assert!(s.call(Register { runner: runner(), jobs: Vec::new() }).await.outcomes.is_empty());
    assert!(s.call(ReadCursors { jobs: Vec::new() }).await.jobs.is_empty());
    assert!(s.call(ReadDue { jobs: Vec::new() }).await.jobs.is_empty());
    assert!(s.call(Start { leases: Vec::new() }).await.outcomes.is_empty());
    assert!(s.call(Heartbeat::of(Vec::new())).await.outcomes.is_empty());
    assert!(s.call(Settle { settlements: Vec::new() }).await.outcomes.is_empty());
    assert!(s.call(Cancel { ids: Vec::new(), actor: None }).await.outcomes.is_empty());
    assert!(s.call(Requeue { ids: Vec::new(), actor: None }).await.outcomes.is_empty());
    assert!(s.call(claim_of(&[], 1)).await.executions.is_empty());
}

fn limited(limit: u32) -> [Verb; 5] {
    [
        claim_of(&[&job("a")], limit).into(),
        Rescue { limit }.into(),
        ListExecutions { limit, ..ListExecutions::default() }.into(),
        ListSkipped { job: None, offset: 0, limit }.into(),
        Prune { history_ms: 0, receipts_ms: 0, edits_ms: u64::MAX, limit }.into(),
    ]
}

/// G14: every batch is bounded.
async fn limit_zero_is_invalid(s: &Subject) {
    for verb in limited(0) {
        assert_eq!(s.refused(verb).await.kind(), ErrorKind::Invalid);
    }
}

/// G14.
async fn limit_above_the_largest_batch_is_invalid(s: &Subject) {
    for verb in limited(MAX_BATCH + 1).into_iter().chain(limited(u32::MAX)) {
        assert_eq!(s.refused(verb).await.kind(), ErrorKind::Invalid);
    }
    for verb in limited(MAX_BATCH) {
        let request = s.request(verb);
        assert!(s.send(request).await.is_ok());
    }
}

/// G14.
async fn oversize_batch_is_invalid(s: &Subject) {
    let name = job("a");
    let lease = s.running(&name, |_| {}).await;
    let n = MAX_BATCH as usize + 1;
    let leases: Vec<_> = (0..n).map(|_| tourbillon::model::LeaseRef { id: s.id(), ..lease }).collect();
    let ids: Vec<_> = leases.iter().map(|lease| lease.id).collect();
    let slots: Vec<_> = (0..n).map(|_| s.row()).collect();
    let registration = |n: usize| Registration {
        job: job(&n.to_string()),
        spec_hash: hash("a"),
        schedule_hash: hash("b"),
        rules: None,
    };
    let entry = |n: usize| PlanEntry { scope: scope(&n.to_string()), ..s.entry(&name, None, s.now(), Vec::new()) };
    let outcome = Outcome::Released;
    let settlements = leases.iter().map(|lease| Settlement::of(*lease, outcome.clone())).collect();
    let verbs: [Verb; 8] = [
        Start { leases: leases.clone() }.into(),
        Heartbeat::of(leases).into(),
        Settle { settlements }.into(),
        Cancel { ids: ids.clone(), actor: None }.into(),
        Requeue { ids, actor: None }.into(),
        Register { runner: runner(), jobs: (0..n).map(registration).collect() }.into(),
        Plan { entries: (0..n).map(entry).collect() }.into(),
        Plan { entries: vec![s.entry(&name, None, s.now(), slots)] }.into(),
    ];
    for verb in verbs {
        assert_eq!(s.refused(verb).await.kind(), ErrorKind::Invalid);
    }
}

async fn same_row_twice_in_a_batch_is_invalid(s: &Subject) {
    let name = job("a");
    let lease = s.running(&name, |_| {}).await;
    let settlement = Settlement::of(lease, succeeded());
    let entry = s.entry(&name, None, s.now(), Vec::new());
    let row = s.row();
    let registration =
        Registration { job: name.clone(), spec_hash: hash("a"), schedule_hash: hash("b"), rules: None };
    let verbs: [Verb; 8] = [
        Start { leases: vec![lease; 2] }.into(),
        Heartbeat::of(vec![lease; 2]).into(),
        Settle { settlements: vec![settlement; 2] }.into(),
        Cancel { ids: vec![lease.id; 2], actor: None }.into(),
        Requeue { ids: vec![lease.id; 2], actor: None }.into(),
        Register { runner: runner(), jobs: vec![registration; 2] }.into(),
        Plan { entries: vec![entry; 2] }.into(),
        Plan { entries: vec![s.entry(&name, None, s.now(), vec![row; 2])] }.into(),
    ];
    for verb in verbs {
        assert_eq!(s.refused(verb).await.kind(), ErrorKind::Invalid);
    }
}

async fn refused_request_changes_nothing(s: &Subject) {
    let lease = s.running(&job("a"), |_| {}).await;
    let before = s.get(lease.id).await;
    s.pass(1);
    s.refused(Settle { settlements: vec![Settlement::of(lease, succeeded()); 2] }).await;
    s.refused(Cancel { ids: vec![lease.id; 2], actor: None }).await;
    assert_eq!(s.get(lease.id).await, before);
}

async fn full_batch_works(s: &Subject) {
    let name = job("a");
    let rows: Vec<_> = (0..MAX_BATCH).map(|_| s.row()).collect();
    s.add(&name, rows).await;
    let claimed = s.call(claim_of(&[&name], MAX_BATCH)).await.executions;
    assert_eq!(claimed.len(), MAX_BATCH as usize);
    let leases: Vec<_> = claimed.iter().filter_map(tourbillon::model::Execution::lease_ref).collect();
    let started = s.call(Start { leases: leases.clone() }).await.outcomes;
    assert!(started.len() == leases.len() && started.iter().all(|outcome| *outcome == Ok(1)));
    let renewed = s.call(Heartbeat::of(leases.clone())).await.outcomes;
    assert!(renewed.len() == leases.len() && renewed.iter().all(Result::is_ok));
    let settlements = leases.iter().map(|lease| Settlement::of(*lease, succeeded())).collect();
    let settled = s.call(Settle { settlements }).await.outcomes;
    assert!(settled.len() == leases.len() && settled.iter().all(|outcome| *outcome == Ok(State::Succeeded)));
}

async fn fail_with(s: &Subject, failure: Failure) {
    let lease = s.running(&job("a"), |_| {}).await;
    let outcome = Outcome::Failed { failure: failure.clone(), retry: Retry::Never };
    assert_eq!(s.settle(lease, outcome).await, Ok(State::Dead));
    assert_eq!(s.get(lease.id).await.error, Some(failure));
}

/// P-8.
// P-8
async fn error_text_of_any_content_is_kept(s: &Subject) {
    for text in TEXTS {
        fail_with(s, Failure::new(ErrorCode::handler_error(), text)).await;
    }
    fail_with(s, Failure::new(ErrorCode::handler_error(), "NUL \0 goes")).await;
}

/// P-8.
// P-8
async fn longest_error_text_is_kept_whole(s: &Subject) {
    for (character, bytes) in [("x", 4_000), ("é", 4_000), ("日", 3_999), ("🦀", 4_000), ("\"", 4_000), ("\\", 4_000)]
    {
        let failure = Failure::new(ErrorCode::handler_error(), &character.repeat(MAX_ERROR_BYTES + 1));
        assert_eq!(failure.text.as_str().len(), bytes, "cut between characters");
        fail_with(s, failure).await;
    }
}

/// P-9.
// P-9
async fn custom_code_of_any_content_is_kept(s: &Subject) {
    for text in TEXTS {
        fail_with(s, Failure::new(ErrorCode::custom(text), "")).await;
    }
}

/// Stores a document as payload and as result.
async fn keep(s: &Subject, value: serde_json::Value) {
    let document = Json::new(&value).expect("allowed");
    let lease = s.running(&job("a"), |row| row.payload = Some(document.clone())).await;
    let outcome = Outcome::Succeeded { result: document.clone(), rows_affected: None };
    assert_eq!(s.settle(lease, outcome).await, Ok(State::Succeeded));
    let row = s.get(lease.id).await;
    assert_eq!((row.payload.as_ref(), row.result.as_ref()), (Some(&document), Some(&document)));
}

/// P-8: byte for byte, numbers and escapes included.
// P-8
async fn json_of_any_content_is_kept(s: &Subject) {
    for text in TEXTS {
        keep(s, serde_json::json!({ text: text, "list": [text, [text]] })).await;
    }
    for document in [
        "null",
        "true",
        "\"\"",
        "[]",
        "{}",
        "0",
        "-0.0",
        "1.0",
        "1e300",
        "0.1",
        "9223372036854775807",
        "18446744073709551615",
        "1.7976931348623157e308",
        "5e-324",
        r#"{"a":{"a":{"a":[[[[]]]]}},"":0}"#,
    ] {
        keep(s, serde_json::from_str(document).expect("is JSON")).await;
    }
}

/// P-8.
// P-8
async fn largest_json_is_kept_whole(s: &Subject) {
    for character in ["x", "日", "\""] {
        let mut text = character.repeat(MAX_JSON_BYTES / character.len());
        while serde_json::Value::from(text.as_str()).to_string().len() > MAX_JSON_BYTES {
            text.pop();
        }
        keep(s, text.into()).await;
    }
}

/// P-13: names are compared and ordered by their bytes on every store.
// P-13
async fn names_of_any_content_are_kept_apart(s: &Subject) {
    let names =
        ["a", "A", "ä", "a\u{308}", "a ", " a", "a'b", "a\"b", "a\\b", "a%", "a_", "🦀", "日本", "ß", "ss", "$1"];
    for (n, name) in names.into_iter().enumerate() {
        s.register_as(&job(name), &format!("spec-{n}"), "x").await;
    }
    let read = s.call(ReadCursors { jobs: names.map(job).to_vec() }).await.jobs;
    for (n, name) in names.into_iter().enumerate() {
        assert_eq!((&read[n].job, &read[n].spec_hash), (&job(name), &Some(hash(&format!("spec-{n}")))), "{name:?}");
    }
    let entries = names.map(|name| PlanEntry {
        scope: Scope::new(name, name).expect("valid"),
        spec_hash: hash("spec-0"),
        slots: vec![s.row()],
        ..s.entry(&job("a"), None, s.now(), Vec::new())
    });
    let planned = s.call(Plan { entries: entries.to_vec() }).await.outcomes;
    assert!(planned.iter().all(|outcome| matches!(outcome, PlanOutcome::Made(ids) if ids.len() == 1)));
    let read = s.call(ReadCursors { jobs: vec![job("a")] }).await.jobs.remove(0).cursors;
    let mut expected = names.map(|name| Scope::new(name, name).expect("valid"));
    expected.sort_unstable();
    assert_eq!(read.into_iter().map(|cursor| cursor.scope).collect::<Vec<_>>(), expected);
    let claimed = s.call(claim_of(&[&job("a"), &job("A")], 100)).await.executions;
    assert_eq!(claimed.len(), names.len());
}

async fn longest_names_work(s: &Subject) {
    let long = "日".repeat(MAX_NAME_BYTES / 3);
    let name = job(&long);
    s.register(&name).await;
    let longest =
        Scope::new(&"k".repeat(MAX_NAME_BYTES), &"🦀".repeat(MAX_NAME_BYTES / 4)).expect("as long as allowed");
    let skipped =
        vec![SkippedSlots { after: s.after(-2), through: s.after(-1), count: Some(1), reason: SkipReason::Late }];
    let row = s.row_with(|row| row.slot_at = Some(s.now()));
    let entry = s.entry(&name, None, s.now(), vec![row]);
    s.plan(PlanEntry { scope: longest.clone(), skipped, ..entry }).await;
    let (row, _) = s.claim_one(&name).await;
    assert_eq!((row.job, row.scope), (name.clone(), longest));
    assert_eq!(s.call(ListSkipped { job: Some(name), offset: 0, limit: 1 }).await.entries.len(), 1);
}

async fn keys_and_hashes_of_any_content_are_kept(s: &Subject) {
    let name = job("a");
    for text in TEXTS {
        let id = s.add_one(&name, |row| {
            row.policy.limit = Some(Limit { key: text.to_owned(), max: 1 });
        });
        let id = id.await;
        let (row, _) = s.claim_one(&name).await;
        assert_eq!((row.id, row.policy.limit.map(|limit| limit.key)), (id, Some(text.to_owned())));
        s.register_as(&job("b"), text, text).await;
        assert_eq!(s.call(ReadCursors { jobs: vec![job("b")] }).await.jobs[0].spec_hash, Some(hash(text)));
    }
}

/// Runs a life at `now`: plan, claim, expiry, retry, end.
async fn live_at(s: &Subject, now: Timestamp) {
    s.clock.set(now);
    let name = job("a");
    let first = s.running(&name, |row| row.slot_at = Some(now)).await;
    s.pass(60_001);
    let (row, second) = s.claim_one(&name).await;
    assert_eq!((row.id, row.slot_at, row.created_at), (first.id, Some(now), now));
    s.start(second).await.expect("held");
    s.pass(10);
    s.settle(second, succeeded()).await.expect("held");
    let row = s.get(first.id).await;
    assert_eq!((row.duration_ms, row.finished_at), (Some(10), Some(s.now())));
}

async fn instants_before_the_epoch_work(s: &Subject) {
    for now in ["0001-06-01T00:00:00.000001Z", "1969-12-31T23:58:30.999999Z", "1970-01-01T00:00:00Z"] {
        live_at(s, now.parse().expect("is an instant")).await;
    }
}

async fn instants_in_the_far_future_work(s: &Subject) {
    for now in ["2038-01-19T03:14:07.999999Z", "2262-04-11T23:47:16.854776Z", "9998-12-31T00:00:00Z"] {
        live_at(s, now.parse().expect("is an instant")).await;
    }
}

/// No store refuses a wait that ends after all time; it is cut to 10,000 years.
async fn endless_waits_are_kept(s: &Subject) {
    let name = job("a");
    for ms in [u64::MAX, i64::MAX as u64, i64::MAX as u64 / 1_000, 3_000_000_000_000] {
        let lease = s.running(&name, |_| {}).await;
        let outcome = Outcome::Failed { failure: super::subject::failure("x"), retry: Retry::AfterMs(ms) };
        assert_eq!(s.settle(lease, outcome).await, Ok(State::Retryable));
        let lease = s.running(&name, |_| {}).await;
        assert_eq!(s.settle(lease, Outcome::Snoozed { for_ms: ms }).await, Ok(State::Scheduled));
    }
    s.pass(50 * 365 * 86_400_000);
    assert!(s.nothing_to_claim(&name).await);
    s.call(ReadStats {}).await;
}

/// P-11.
// P-11
async fn extreme_numbers_are_kept(s: &Subject) {
    let name = job("a");
    let low = s.add_one(&name, |row| row.priority = i16::MIN).await;
    let high = s.add_one(&name, |row| row.priority = i16::MAX).await;
    let claimed = s.claim(&name).await.executions;
    assert_eq!(claimed.iter().map(|row| row.id).collect::<Vec<_>>(), [low, high]);
    let lease = s.running(&name, |row| {
        row.policy.max_attempts = i32::MAX as u32;
        row.policy.lease_ms = 1_000 * 86_400_000;
        row.policy.limit = Some(Limit { key: "k".to_owned(), max: i32::MAX as u32 });
    });
    let lease = lease.await;
    let outcome = Outcome::Succeeded { result: Json::empty(), rows_affected: Some(i64::MAX as u64) };
    s.settle(lease, outcome).await.expect("held");
    let row = s.get(lease.id).await;
    assert_eq!((row.rows_affected, row.policy.max_attempts), (Some(i64::MAX as u64), i32::MAX as u32));
}
