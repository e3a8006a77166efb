//! Hand-written histories, and what their pictures must show.

use std::time::Duration;

use tourbillon::{
    model::{Epoch, HeldBy, Incarnation, LockHeld, LockName, LockRef, RequestId, Timestamp, Token},
    store::{AcquireLock, LockReleased, LockRenewed, LockTried, ReleaseLock, RenewLock, Reply, Request, Verb},
};
use uuid::Uuid;

use super::{Bar, BarKind, PointKind, Timeline};
use crate::{
    checker::Violation,
    history::{Answer, Boot, CrashKind, Event, History, HostId, Phase, RunFacts, What},
};

const EPOCH: Timestamp = Timestamp::from_secs(1_200_000_000);
const TTL_MS: u64 = 10_000;

/// Writes down what it is told. Two replicas, one lock.
#[derive(Default)]
struct Teller {
    events: Vec<Event>,
    at_us: u64,
    database_offset_us: i64,
    requests: u128,
}

fn process(replica: u8) -> Incarnation {
    Incarnation(Uuid::from_u128((0x1000 + u128::from(replica)) << 64))
}

fn lock() -> LockName {
    LockName::new("leader").unwrap()
}

impl Teller {
    fn new() -> Self {
        let mut teller = Self::default();
        let facts = RunFacts {
            scenario: "two holders".to_owned(),
            seed: 7,
            epoch: EPOCH,
            replicas: 2,
            jobs: Vec::new(),
            call_timeout: Duration::from_secs(5),
            poll_interval: Duration::from_secs(1),
            rescue_interval: Duration::from_secs(5),
            probe_interval: Duration::from_secs(30),
            granularity: Duration::ZERO,
            services: Vec::new(),
            queues: Vec::new(),
            receivers: Vec::new(),
            settle_within: Duration::from_secs(60),
            boot: Boot::Ready,
        };
        teller.tell(HostId::World, What::Began { facts: Box::new(facts) });
        for replica in 0..2 {
            teller.tell(HostId::Replica(replica), What::Booted { incarnation: process(replica) });
        }
        teller
    }

    fn tell(&mut self, host: HostId, what: What) -> usize {
        self.events.push(Event { at_us: self.at_us, host, what });
        self.events.len() - 1
    }

    fn wait_ms(&mut self, ms: u64) -> &mut Self {
        self.at_us += ms * 1_000;
        self
    }

    fn now(&self) -> Timestamp {
        EPOCH.offset_micros(i64::try_from(self.at_us).unwrap() + self.database_offset_us)
    }

    fn fault(&mut self, host: HostId, kind: &str, detail: &str) -> usize {
        self.tell(host, What::FaultBegan { kind: kind.to_owned(), detail: detail.to_owned() })
    }

    /// A request with 10 ms each way; returns the event of its application.
    fn ask(&mut self, replica: u8, verb: Verb, reply: impl FnOnce(Timestamp) -> Reply) -> usize {
        self.requests += 1;
        let id = RequestId(Uuid::from_u128(self.requests << 96));
        let (name, incarnation) = (verb.name(), process(replica));
        let invoked = What::Invoked { incarnation, request: id, verb: name.into(), leases: Vec::new() };
        self.tell(HostId::Replica(replica), invoked);
        let now = self.wait_ms(10).now();
        let result = Ok(reply(now));
        let applied =
            self.tell(HostId::Database, What::Applied { request: Request { id, verb }.into(), now, result });
        self.wait_ms(10);
        let answered = What::Answered { incarnation, request: id, verb: name.into(), answer: Answer::Reply };
        self.tell(HostId::Replica(replica), answered);
        applied
    }

    fn acquire(&mut self, replica: u8, epoch: u64) -> usize {
        let verb = Verb::AcquireLock(AcquireLock { name: lock(), holder: process(replica), ttl_ms: TTL_MS });
        self.ask(replica, verb, |now| {
            let expires_at = now + Duration::from_millis(TTL_MS);
            Reply::LockTried(LockTried { now, outcome: Ok(LockHeld { epoch: Epoch(epoch), expires_at }) })
        })
    }

    fn told_held(&mut self, replica: u8, by: u8, epoch: u64) -> usize {
        let verb = Verb::AcquireLock(AcquireLock { name: lock(), holder: process(replica), ttl_ms: TTL_MS });
        self.ask(replica, verb, |now| {
            let held = HeldBy { holder: process(by), epoch: Epoch(epoch), expires_at: now };
            Reply::LockTried(LockTried { now, outcome: Err(held) })
        })
    }

    fn renew(&mut self, replica: u8, epoch: u64) -> usize {
        let verb = Verb::RenewLock(RenewLock { lock: held(epoch) });
        self.ask(replica, verb, |now| {
            Reply::LockRenewed(LockRenewed { now, outcome: Ok(now + Duration::from_millis(TTL_MS)) })
        })
    }

    fn release(&mut self, replica: u8, epoch: u64) -> usize {
        let verb = Verb::ReleaseLock(ReleaseLock { lock: held(epoch) });
        self.ask(replica, verb, |now| Reply::LockReleased(LockReleased { now, outcome: Ok(()) }))
    }

    fn leads(&mut self, replica: u8, epoch: u64) -> usize {
        let gained = What::LeaderGained { incarnation: process(replica), lock: lock(), epoch: Some(Epoch(epoch)) };
        self.tell(HostId::Replica(replica), gained)
    }

    fn picture(&self, proof: &[usize]) -> Timeline {
        let found =
            Violation { guarantee: "G7".to_owned(), message: "two at once".to_owned(), events: proof.to_vec() };
        let history = History { events: self.events.clone() };
        Timeline::of(&history, if proof.is_empty() { &[] } else { std::slice::from_ref(&found) })
    }
}

fn held(epoch: u64) -> LockRef {
    LockRef { name: lock(), token: Token(Uuid::from_u128(epoch.into())), epoch: Epoch(epoch) }
}

fn bars(timeline: &Timeline, kind: BarKind) -> Vec<&Bar> {
    timeline.bars.iter().filter(|bar| bar.kind == kind).collect()
}

/// When bars begin and end, in milliseconds, and why they end.
fn spans(timeline: &Timeline, kind: BarKind) -> Vec<(u64, u64, &str)> {
    bars(timeline, kind).iter().map(|bar| (bar.from_us / 1_000, bar.to_us / 1_000, bar.note.as_str())).collect()
}

/// Replica 0 leads and is cut off; replica 1 is given the lock much too early.
fn two_holders() -> (Teller, [usize; 2]) {
    let mut teller = Teller::new();
    teller.wait_ms(1_000);
    let first = teller.acquire(0, 1);
    teller.leads(0, 1);
    teller.wait_ms(1_000).told_held(1, 0, 1);
    teller.fault(HostId::Replica(0), "partition", "for 5 s");
    teller.wait_ms(2_000);
    let second = teller.acquire(1, 2);
    teller.leads(1, 2);
    teller.wait_ms(1_000);
    teller.tell(HostId::World, What::PhaseBegan { phase: Phase::Heal });
    (teller, [first, second])
}

#[test]
fn each_host_has_a_lane_and_each_event_a_point() {
    let (teller, _) = two_holders();
    let timeline = teller.picture(&[]);
    let hosts: Vec<_> = timeline.lanes.iter().map(|lane| lane.host.to_string()).collect();
    assert_eq!(hosts, ["world", "replica-0", "replica-1", "database"]);
    assert_eq!(timeline.title, "two holders, seed 7");
    assert_eq!(timeline.points.len(), teller.events.len());
    let at: Vec<_> = teller.events.iter().map(|event| event.at_us).collect();
    assert_eq!(timeline.points.iter().map(|point| point.at_us).collect::<Vec<_>>(), at);
    assert!(timeline.marks.is_empty());
}

#[test]
fn a_lock_is_a_bar_of_its_holder_until_the_next_takes_it_and_belief_may_outlast_it() {
    let (teller, [first, second]) = two_holders();
    let timeline = teller.picture(&[first, second]);
    assert_eq!(spans(&timeline, BarKind::Lock), [(1_010, 4_050, "taken by the next"), (4_050, 5_060, "")]);
    assert_eq!(spans(&timeline, BarKind::Leader), [(1_020, 5_060, ""), (4_060, 5_060, "")]);
    assert_eq!(spans(&timeline, BarKind::Fault), [(2_040, 5_060, "healed")]);
    let locks = bars(&timeline, BarKind::Lock);
    assert_eq!((locks[0].lane, locks[1].lane), (1, 2));
    assert_eq!(locks[0].label, "leader · epoch 1 · token 00000001");
    assert_eq!((locks[0].first, locks[0].last), (first, Some(second)));
    assert_eq!(timeline.subjects[locks[0].subjects[0]], "lock leader");
    let refused = timeline.points.iter().find(|point| point.kind == PointKind::Idle).expect("one was told held");
    assert_eq!(refused.label, "leader is held by replica-0, epoch 1");
}

#[test]
fn what_belongs_to_one_request_is_tied_together() {
    let (teller, [first, _]) = two_holders();
    let timeline = teller.picture(&[]);
    let request = timeline.points[first].request;
    let tied: Vec<_> = (0..timeline.points.len())
        .filter(|event| request.is_some() && timeline.points[*event].request == request)
        .collect();
    assert_eq!(tied, [first - 1, first, first + 1]);
}

#[test]
fn a_lock_that_is_not_renewed_ends_by_the_database_clock() {
    let mut teller = Teller::new();
    teller.acquire(0, 1);
    teller.wait_ms(4_980);
    teller.renew(0, 1);
    teller.wait_ms(30_000).tell(HostId::World, What::PhaseBegan { phase: Phase::Heal });
    assert_eq!(spans(&teller.picture(&[]), BarKind::Lock), [(10, 15_010, "expired")]);

    // The clock jumps ahead by an hour: it expires at that instant, not at its old one.
    let mut teller = Teller::new();
    teller.acquire(0, 1);
    teller.wait_ms(980);
    teller.database_offset_us = 3_600_000_000;
    teller.tell(HostId::Database, What::ClockSet { offset_us: 3_600_000_000, drift_ppm: 0 });
    teller.wait_ms(1_000).told_held(1, 0, 1);
    assert_eq!(spans(&teller.picture(&[]), BarKind::Lock), [(10, 1_000, "expired: the database clock was set")]);
}

#[test]
fn a_process_takes_its_beliefs_along_and_leaves_its_locks() {
    let mut teller = Teller::new();
    teller.acquire(0, 1);
    teller.leads(0, 1);
    teller.wait_ms(980);
    teller.tell(HostId::Replica(0), What::Crashed { incarnation: process(0), kind: CrashKind::PowerLoss });
    teller.wait_ms(2_000);
    teller.tell(HostId::Replica(0), What::Booted { incarnation: process(0) });
    teller.wait_ms(1_000).tell(HostId::World, What::PhaseBegan { phase: Phase::Heal });
    let timeline = teller.picture(&[]);
    assert_eq!(spans(&timeline, BarKind::Leader), [(20, 1_000, "its process ended")]);
    assert_eq!(spans(&timeline, BarKind::Down), [(1_000, 3_000, "started again")]);
    assert_eq!(spans(&timeline, BarKind::Lock), [(10, 4_000, "")]);
}

#[test]
fn a_fail_over_takes_back_what_its_lost_commits_did() {
    let mut teller = Teller::new();
    teller.acquire(0, 1);
    teller.wait_ms(980);
    let released = teller.release(0, 1);
    let acquired = teller.acquire(1, 2);
    teller.wait_ms(960);
    teller.tell(HostId::Database, What::FailedOver { lost: vec![released, acquired] });
    teller.wait_ms(1_000).tell(HostId::World, What::PhaseBegan { phase: Phase::Heal });
    let timeline = teller.picture(&[]);
    assert_eq!(
        spans(&timeline, BarKind::Lock),
        [(10, 1_010, "released"), (2_000, 3_000, ""), (1_030, 2_000, "lost by the fail-over")]
    );
    let again = bars(&timeline, BarKind::Lock)[1];
    assert_eq!(
        (again.lane, again.label.as_str()),
        (1, "leader · epoch 1 · token 00000001, again after the fail-over")
    );
}

#[test]
fn bars_of_a_track_do_not_overlap_and_a_leader_is_drawn_on_its_lock() {
    let (teller, _) = two_holders();
    let timeline = teller.picture(&[]);
    for (left, right) in timeline.bars.iter().zip(&timeline.bars[1..]) {
        let same = (left.lane, left.track, left.kind) == (right.lane, right.track, right.kind);
        assert!(!same || left.to_us <= right.from_us, "{left:?} overlaps {right:?}");
    }
    let (locks, leaders) = (bars(&timeline, BarKind::Lock), bars(&timeline, BarKind::Leader));
    assert_eq!((leaders[0].lane, leaders[0].track), (locks[0].lane, locks[0].track));
}

#[test]
fn the_first_view_is_the_proof_with_a_margin() {
    let (teller, [first, second]) = two_holders();
    let timeline = teller.picture(&[first, second]);
    assert_eq!(timeline.marks[0].view_us, (250_000, 4_810_000));
    // Of one instant: the seconds before it. An event that the history lacks is left out.
    assert_eq!(teller.picture(&[second, 9_999]).marks[0].view_us, (0, 5_050_000));
    assert_eq!(teller.picture(&[9_999]).marks[0].view_us, (0, timeline.end_us));
}

#[test]
fn the_page_needs_nothing_from_outside_and_no_text_ends_its_script() {
    let (mut teller, [first, second]) = two_holders();
    let note = serde_json::json!("</script><script>alert(1)</script> {{data}}");
    teller.tell(HostId::Replica(0), What::Noted { incarnation: process(0), note });
    let page = teller.picture(&[first, second]).replayed_by("tourbillon sim replay <x>").html();
    assert_eq!(page.matches("</script>").count(), 2, "its own two");
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "`{outside}` in the page");
    }
    let (before, rest) = page.split_once("id=\"run\">").expect("the data");
    let (data, after) = rest.split_once("</script>").expect("its end");
    assert!(!before.contains("{{") && !after.contains("{{"), "every mark of the template is filled in");
    assert_eq!(before.matches("two holders, seed 7").count(), 2, "title and heading");
    let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(data["marks"][0]["events"], serde_json::json!([first, second]));
    assert_eq!(data["replay"], "tourbillon sim replay <x>");
    assert!(data["texts"].as_array().unwrap().iter().any(|text| text.as_str().unwrap().contains("{{data}}")));
}

#[test]
fn an_empty_history_is_an_empty_picture() {
    let timeline = Timeline::of(&History::default(), &[]);
    assert!(timeline.lanes.is_empty() && timeline.points.is_empty());
    assert!(timeline.html().contains("\"points\""));
    assert_eq!(timeline.text(0), "");
}

#[test]
fn a_log_shows_the_time_before_the_violation() {
    let (teller, [first, second]) = two_holders();
    let text = teller.picture(&[first, second]).text(0);
    let expected = "\
the time before G7, one column is 57 ms:

true time           0:00.250            0:01.390            0:02.530            0:03.670
                    │                   │                   │                   │
replica-0                        ▪                 !
  fault                                            ░░ partition for 5 s ░░░░░░░░░░░░░░░░░░░░░░░░░░░░
  lock held                      ╞═ leader · epoch 1 · token 00000001 ════════════════╡
  believes to lead               ├─ leads leader · epoch 1 ─────────────────────────────────────────
replica-1                                          ·                                  ▪
  lock held                                                                           ╞═════════════
  believes to lead                                                                    ├─────────────
database                         1                 ◇                                  2

  1      0:01.010  database    leader taken, epoch 1
  2      0:04.050  database    leader taken, epoch 2

  ◇ applied, nothing changed   ▪ handler or tick   ! fault   · about something else
";
    assert_eq!(text, expected, "\n{text}");
}
