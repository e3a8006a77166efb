//! Shows that the judgement of races finds what it is there to find: true logs of a memory store, falsified by hand.

use std::time::Duration;

use tourbillon::{
    model::{
        Audit, ErrorCode, Execution, ExecutionId, Failure, Fence, Incarnation, JobName, Json, LeaseRef, Limit,
        NewExecution, Outcome, Policy, Reentry, RequestId, Retry, Scope, State, Supersede, Timestamp, Token,
        transition::{Charge, Refusal},
    },
    store::{
        Claim, ErrorKind, Heartbeat, ListExecutions, MAX_BATCH, ManualClock, MemoryStore, Operation, Plan, PlanEntry,
        Register, Registration, Reply, Request, Settle, Settlement, SpecHash, Start, StoreError,
    },
};
use uuid::Uuid;

use super::{Call, check, check_errors};

const LEASE: Duration = Duration::from_secs(30);

struct Book {
    store: MemoryStore,
    clock: ManualClock,
    calls: Vec<Call>,
    next: u128,
}

impl Book {
    /// A store with `rows` due rows of one limit key, of which two may run at once.
    fn new(rows: u128) -> Self {
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let mut book = Self { store: MemoryStore::new(clock.clone()), clock, calls: Vec::new(), next: 1_000 };
        let registration = Registration { job: job(), spec_hash: hash(), schedule_hash: hash(), rules: None };
        book.call(Register { runner: Incarnation(Uuid::nil()), jobs: vec![registration] });
        let now = book.clock.now();
        let slots = (1..=rows).map(|n| new_row(n, now)).collect();
        let entry = PlanEntry {
            job: job(),
            scope: Scope::global(),
            spec_hash: hash(),
            schedule_hash: None,
            expect: None,
            to: now,
            delay_ms: 0,
            slots,
            skipped: Vec::new(),
        };
        book.call(Plan { entries: vec![entry] });
        book
    }

    fn call<V: Operation>(&mut self, verb: V) -> V::Reply {
        self.next += 1;
        // So that no two calls are of one instant.
        self.clock.advance(Duration::from_millis(1));
        let request = Request { id: RequestId(Uuid::from_u128(self.next)), verb: verb.into() };
        let reply = self.store.apply(&request);
        self.calls.push(Call { worker: 0, request, reply: reply.clone() });
        V::reply(reply.unwrap()).unwrap()
    }

    fn claim(&mut self) -> Vec<LeaseRef> {
        let claim = Claim {
            runner: Incarnation(Uuid::nil()),
            jobs: vec![job()],
            limit: 10,
            charge: Charge::AtStart,
            rate: None,
        };
        let leases: Vec<LeaseRef> = self.call(claim).executions.iter().filter_map(Execution::lease_ref).collect();
        self.call(Start { leases: leases.clone() });
        leases
    }

    fn settle(&mut self, leases: &[LeaseRef], outcome: &Outcome) {
        let settlement = |lease: &LeaseRef| Settlement::of(*lease, outcome.clone());
        self.call(Settle { settlements: leases.iter().map(settlement).collect() });
    }

    fn listing(&self) -> Vec<Execution> {
        let verb = ListExecutions { limit: MAX_BATCH, ..ListExecutions::default() };
        match self.store.apply(&Request { id: RequestId(Uuid::nil()), verb: verb.into() }) {
            Ok(Reply::ExecutionPage(page)) => page.executions,
            other => panic!("{other:?}"),
        }
    }

    /// Two rows: one fails, is retried after its lease expired under a second claim, and succeeds; a late heartbeat of
    /// the first holder is refused.
    fn eventful() -> Self {
        let mut book = Self::new(2);
        let leases = book.claim();
        book.settle(&leases[..1], &failed());
        book.clock.advance(LEASE * 2);
        let again = book.claim();
        assert_eq!(again.len(), 2);
        assert_eq!(book.call(Heartbeat::of(vec![leases[1]])).outcomes, [Err(Refusal::LeaseLost)]);
        book.settle(&again, &succeeded());
        book
    }

    fn findings(&self) -> Vec<String> {
        check(&self.calls, &self.listing()).findings
    }

    /// The last reply of this verb, to be falsified.
    fn reply(&mut self, verb: &str) -> &mut Reply {
        let call = self.calls.iter_mut().rev().find(|call| call.request.verb.name() == verb);
        call.unwrap().reply.as_mut().unwrap()
    }

    #[track_caller]
    fn expect(&self, number: &str, words: &str) {
        let findings = self.findings();
        let found = findings.iter().any(|finding| finding.starts_with(number) && finding.contains(words));
        assert!(found, "no {number} finding with `{words}` in {findings:#?}");
    }
}

fn job() -> JobName {
    JobName::new("job").unwrap()
}

fn hash() -> SpecHash {
    SpecHash("spec".into())
}

fn new_row(n: u128, now: Timestamp) -> NewExecution {
    NewExecution {
        id: ExecutionId(Uuid::from_u128(n)),
        slot_at: None,
        due_at: now,
        expires_at: None,
        priority: 0,
        payload: None,
        unique_key: None,
        policy: Policy {
            max_attempts: 2,
            lease_ms: u64::try_from(LEASE.as_millis()).unwrap(),
            reentry: Reentry::Allow,
            supersede: Supersede::Never,
            limit: Some(Limit { key: "pair".to_owned(), max: 2 }),
            audit: Audit::Off,
        },
    }
}

fn succeeded() -> Outcome {
    Outcome::Succeeded { result: Json::empty(), rows_affected: None }
}

fn failed() -> Outcome {
    Outcome::Failed { failure: Failure::new(ErrorCode::handler_error(), "x"), retry: Retry::AfterMs(1_000) }
}

macro_rules! falsify {
    ($book:ident, $verb:literal, $variant:ident($reply:ident) => $change:expr) => {
        match $book.reply($verb) {
            Reply::$variant($reply) => $change,
            other => panic!("{other:?}"),
        }
    };
}

#[test]
fn a_true_log_has_no_findings() {
    assert_eq!(Book::eventful().findings(), Vec::<String>::new());
}

#[test]
fn one_fence_given_out_twice_is_found() {
    let mut book = Book::eventful();
    falsify!(book, "claim", Claimed(reply) => {
        reply.executions[0].fence = Fence(1);
        let token = Token(Uuid::from_u128(77));
        reply.executions[0].lease.as_mut().unwrap().token = token;
    });
    book.expect("G1", "fence 1 was given out twice");
}

#[test]
fn one_token_given_out_twice_is_found() {
    let mut book = Book::eventful();
    let mut tokens = Vec::new();
    for call in &mut book.calls {
        if let Ok(Reply::Claimed(claimed)) = &mut call.reply {
            let lease = claimed.executions[0].lease.as_mut().unwrap();
            tokens.push(lease.token);
            lease.token = tokens[0];
        }
    }
    book.expect("G1", "was given out twice");
}

#[test]
fn a_claim_while_the_lease_holds_is_found() {
    let mut book = Book::new(1);
    let leases = book.claim();
    let mut second = book.store.apply(&Request { id: RequestId(Uuid::nil()), verb: Heartbeat::of(leases).into() });
    // What a claim without a look at the lease would have been told.
    let first = book.calls.iter().find(|call| call.request.verb.name() == "claim").unwrap().clone();
    let Ok(Reply::Claimed(mut claimed)) = first.reply.clone() else { panic!("{first:?}") };
    claimed.now = claimed.now + Duration::from_millis(5);
    claimed.executions[0].fence = Fence(2);
    claimed.executions[0].attempt = 1;
    claimed.executions[0].lease.as_mut().unwrap().token = Token(Uuid::from_u128(78));
    second = second.map(|_| Reply::Claimed(claimed));
    let request = Request { id: RequestId(Uuid::from_u128(78)), verb: first.request.verb };
    book.calls.push(Call { worker: 1, request, reply: second });
    book.expect("G1", "while attempt 1 held its lease");
}

#[test]
fn a_write_accepted_under_a_superseded_token_is_found() {
    let mut book = Book::eventful();
    let expires_at = book.clock.now() + LEASE;
    falsify!(book, "heartbeat", Renewed(reply) => {
        let cancel = tourbillon::store::CancelRequest::None;
        reply.outcomes[0] = Ok(tourbillon::store::Renewal { expires_at, cancel });
    });
    book.expect("G1", "was over and this was accepted");
}

#[test]
fn two_accepted_ends_are_found() {
    let mut book = Book::eventful();
    let mut again = book.calls.last().unwrap().clone();
    again.request.id = RequestId(Uuid::from_u128(79));
    if let Ok(Reply::Settled(settled)) = &mut again.reply {
        settled.now = settled.now + Duration::from_millis(3);
    }
    book.calls.push(again);
    book.expect("G2", "and again at");
}

#[test]
fn an_acknowledged_end_that_is_not_in_history_is_found() {
    let mut book = Book::eventful();
    let mut listing = book.listing();
    listing[0].state = State::Dead;
    let findings = check(&book.calls, &listing).findings;
    assert!(findings.iter().any(|finding| finding.starts_with("G2: acknowledged")), "{findings:?}");
    falsify!(book, "settle", Settled(reply) => reply.outcomes[0] = Err(Refusal::LeaseLost));
    book.expect("G2", "nobody was told of this end");
}

#[test]
fn an_attempt_beyond_the_budget_and_a_lost_charge_are_found() {
    let mut book = Book::eventful();
    falsify!(book, "start", Started(reply) => reply.outcomes[0] = Ok(3));
    book.expect("G3", "was told attempt 3");
    let mut book = Book::eventful();
    falsify!(book, "claim", Claimed(reply) => reply.executions[0].attempt = 0);
    book.expect("G3", "shows 0 charged attempts, 1 were charged");
}

#[test]
fn a_retry_before_its_time_is_found() {
    let mut book = Book::eventful();
    let early = book.calls.iter().find_map(|call| match &call.reply {
        Ok(Reply::Settled(settled)) => Some(settled.now + Duration::from_millis(10)),
        _ => None,
    });
    falsify!(book, "claim", Claimed(reply) => reply.now = early.unwrap());
    book.expect("G3", "is before");
}

#[test]
fn a_refusal_without_a_cause_is_found() {
    let mut book = Book::new(1);
    let leases = book.claim();
    book.call(Heartbeat::of(leases.clone()));
    book.settle(&leases, &succeeded());
    falsify!(book, "heartbeat", Renewed(reply) => reply.outcomes[0] = Err(Refusal::LeaseLost));
    book.expect("G8", "without a cause");
}

#[test]
fn too_many_at_once_are_found() {
    let mut book = Book::new(3);
    let two = book.claim();
    assert_eq!(two.len(), 2, "the limit is two");
    book.settle(&two, &succeeded());
    let third = book.claim();
    book.settle(&third, &succeeded());
    assert_eq!(book.findings(), Vec::<String>::new());
    // As if the third had been claimed together with the first two.
    let before = book.calls.iter().find_map(|call| match &call.reply {
        Ok(Reply::Claimed(claimed)) => Some(claimed.now),
        _ => None,
    });
    falsify!(book, "claim", Claimed(reply) => reply.now = before.unwrap());
    book.expect("G15", "3 rows with key pair");
}

#[test]
fn lost_plans_unended_rows_and_contradictions_are_found() {
    let mut book = Book::eventful();
    let findings = check(&book.calls, &book.listing()[1..]).findings;
    assert!(findings.iter().any(|finding| finding.starts_with("G5") && finding.contains("nowhere")), "{findings:?}");
    let mut again = book.calls.last().unwrap().clone();
    if let Ok(Reply::Settled(settled)) = &mut again.reply {
        settled.outcomes[0] = Err(Refusal::LeaseLost);
    }
    book.calls.push(again);
    assert!(book.findings().iter().any(|finding| finding.contains("was answered")), "{:?}", book.findings());
    let mut book = Book::new(1);
    book.claim();
    book.expect("G5", "never ended");
}

#[test]
fn a_cursor_moved_twice_from_one_place_is_found() {
    let mut book = Book::eventful();
    let mut plan = book.calls[1].clone();
    plan.request.id = RequestId(Uuid::from_u128(80));
    book.calls.push(plan);
    book.expect("G6", "twice");
}

#[test]
fn an_error_of_another_kind_than_allowed_is_found() {
    let mut book = Book::eventful();
    let last = book.calls.last_mut().unwrap();
    last.reply = Err(StoreError::new(ErrorKind::Conflict, "x"));
    assert_eq!(check_errors(&book.calls, &[ErrorKind::Unknown]).len(), 1);
    assert_eq!(check_errors(&book.calls, &[ErrorKind::Conflict]).len(), 0);
}
