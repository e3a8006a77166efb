//! How often a fault really fired inside the window that matters, row by row: read from the history, once through.
//!
//! A span is a unit of work between its claim and its end, on one replica. What strikes at an instant hits the spans
//! that are open then; what lasts hits every span that it overlaps, once.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::{ExecutionId, Incarnation, RequestId},
    store::{Reply, Request, Verb},
};

use super::{Facet, Row, Window};
use crate::{
    fault::FaultKind,
    history::{History, HostId, Stage, What},
};

/// How often each facet fired inside each window of a row.
pub type Hits = BTreeMap<(Window, Facet), u64>;

/// The hits of one run, one entry per row, in the order of `rows`.
pub fn hits(rows: &[Row], history: &History) -> Vec<Hits> {
    let mut scan = Scan::new(rows);
    for (number, event) in history.events.iter().enumerate() {
        scan.event = number;
        scan.see(event.at_us, event.host, &event.what);
    }
    scan.hits
}

/// Which unit: a row of a workload that reports, or an execution.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Reported(usize, Incarnation, String),
    Execution(usize, ExecutionId),
}

impl Key {
    const fn row(&self) -> usize {
        match self {
            Self::Reported(row, ..) | Self::Execution(row, _) => *row,
        }
    }
}

/// A unit of work under way.
struct Span {
    replica: u8,
    has_landed: bool,
    is_marking: bool,
    mark: Option<RequestId>,
    /// The event by which it was taken.
    taken: usize,
    /// What hit it already and lasts.
    struck: BTreeSet<(u8, Facet)>,
}

struct Scan<'a> {
    rows: &'a [Row],
    hits: Vec<Hits>,
    /// The number of the event that is seen.
    event: usize,
    replicas: BTreeMap<Incarnation, u8>,
    spans: BTreeMap<Key, Span>,
    /// Those of executions that were settled, by the event of it, while that may be lost.
    settled: BTreeMap<usize, Vec<(Key, Span)>>,
    /// What lasts at the moment, by replica.
    lasting: BTreeMap<u8, BTreeMap<Facet, u32>>,
    database_down: bool,
    database_offset_us: i64,
    /// Since when a replica stands still, and what it held then.
    paused: BTreeMap<u8, (u64, BTreeSet<Key>)>,
    /// A jump of this replica's clock was announced; its direction follows.
    jumps: BTreeSet<u8>,
    wall_offset_us: BTreeMap<u8, i64>,
    /// Units whose next request is their mark.
    about_to_mark: BTreeMap<Incarnation, Key>,
    /// The request applied last, and the rows that it worked for.
    applied: Option<(RequestId, BTreeSet<usize>)>,
    /// The row of each execution claimed so far.
    executions: BTreeMap<ExecutionId, usize>,
    /// Whose effect was received last.
    landed_last: Option<Key>,
}

impl<'a> Scan<'a> {
    fn new(rows: &'a [Row]) -> Self {
        Self {
            rows,
            hits: vec![Hits::new(); rows.len()],
            event: 0,
            replicas: BTreeMap::new(),
            spans: BTreeMap::new(),
            settled: BTreeMap::new(),
            lasting: BTreeMap::new(),
            database_down: false,
            database_offset_us: 0,
            paused: BTreeMap::new(),
            jumps: BTreeSet::new(),
            wall_offset_us: BTreeMap::new(),
            about_to_mark: BTreeMap::new(),
            applied: None,
            executions: BTreeMap::new(),
            landed_last: None,
        }
    }

    fn see(&mut self, at_us: u64, host: HostId, what: &What) {
        match what {
            What::Booted { incarnation } => {
                if let HostId::Replica(replica) = host {
                    self.replicas.insert(*incarnation, replica);
                }
            }
            What::Staged { incarnation, row, unit, stage } => self.staged(host, *incarnation, (row, unit), *stage),
            What::Invoked { incarnation, request, .. } => {
                if let Some(key) = self.about_to_mark.remove(incarnation)
                    && let Some(span) = self.spans.get_mut(&key)
                {
                    span.mark = Some(*request);
                }
                self.settling(what);
            }
            What::Applied { request, result: Ok(reply), .. } => self.applied(request, reply),
            What::EffectReceived { effect, .. } => {
                if let Some(key) = self.open_execution(effect.execution) {
                    self.landed(key);
                }
            }
            What::FailedOver { lost } => self.failed_over(lost),
            What::Struck { kind, request, .. } => self.struck(kind, *request),
            What::FaultBegan { kind, .. } => self.began(host, kind),
            What::FaultEnded { kind } => self.ended(host, kind),
            What::ClockSet { offset_us, drift_ppm } => self.clock_set(host, *offset_us, *drift_ppm),
            What::Paused => self.stands_still(at_us, host),
            What::Resumed => self.goes_on(at_us, host),
            What::ShutdownBegan { .. } => self.instant(host, Facet::ShutDown),
            What::Crashed { .. } => self.crashed(host),
            // A heal mends links without a word of each; what it leaves cut is announced again.
            What::PhaseBegan { .. } => self.links_mended(),
            _ => {}
        }
    }

    fn row_of_job(&self, job: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.jobs.contains(&job))
    }

    fn open_execution(&self, id: ExecutionId) -> Option<Key> {
        self.executions.get(&id).map(|row| Key::Execution(*row, id)).filter(|key| self.spans.contains_key(key))
    }

    fn staged(&mut self, host: HostId, incarnation: Incarnation, (row, unit): (&str, &str), stage: Stage) {
        let Some(row) = self.rows.iter().position(|known| known.id == row) else { return };
        let key = Key::Reported(row, incarnation, unit.to_owned());
        match (stage, host) {
            (Stage::Begun, HostId::Replica(replica)) => self.open(key, replica),
            (Stage::Landed, _) => self.landed(key),
            (Stage::Marking, _) => {
                if let Some(span) = self.spans.get_mut(&key) {
                    span.is_marking = true;
                    self.about_to_mark.insert(incarnation, key);
                }
            }
            (Stage::Ended, _) => self.close(&key, true),
            _ => {}
        }
    }

    fn open(&mut self, key: Key, replica: u8) {
        let (taken, struck) = (self.event, BTreeSet::new());
        let span = Span { replica, has_landed: false, is_marking: false, mark: None, taken, struck };
        self.spans.insert(key.clone(), span);
        let lasting: Vec<_> = self.lasting.get(&replica).into_iter().flat_map(BTreeMap::keys).copied().collect();
        for facet in lasting {
            self.hit_lasting(&key, facet);
        }
        if self.database_down {
            self.hit_lasting(&key, Facet::Restarted);
        }
    }

    fn close(&mut self, key: &Key, is_done: bool) {
        if self.spans.remove(key).is_some() && is_done {
            *self.hits[key.row()].entry((Window::Held, Facet::Done)).or_default() += 1;
        }
    }

    fn settled(&mut self, key: &Key) {
        let Some(span) = self.spans.remove(key) else { return };
        *self.hits[key.row()].entry((Window::Held, Facet::Done)).or_default() += 1;
        self.settled.entry(self.event).or_default().push((key.clone(), span));
    }

    /// On the timeline that survives, a unit whose end is lost is held still. One whose claim is lost is held by
    /// nobody from now on, but was until now. A fail-over that lost nothing is no more than a restart.
    fn failed_over(&mut self, lost: &[usize]) {
        if lost.is_empty() {
            return;
        }
        for event in lost {
            for (key, mut span) in self.settled.remove(event).into_iter().flatten() {
                // Its mark was durable, and is not any more.
                span.is_marking = true;
                self.spans.entry(key).or_insert(span);
            }
        }
        let keys: Vec<_> = self.spans.keys().cloned().collect();
        keys.iter().for_each(|key| self.hit(key, Facet::FailedOver));
        let lost: BTreeSet<_> = lost.iter().copied().collect();
        self.spans.retain(|key, span| matches!(key, Key::Reported(..)) || !lost.contains(&span.taken));
    }

    fn settling(&mut self, what: &What) {
        let What::Invoked { verb, leases, .. } = what else { return };
        if verb != "settle" {
            return;
        }
        for lease in leases {
            if let Some(key) = self.open_execution(lease.id)
                && let Some(span) = self.spans.get_mut(&key)
            {
                span.is_marking = true;
            }
        }
    }

    fn landed(&mut self, key: Key) {
        if let Some(span) = self.spans.get_mut(&key) {
            span.has_landed = true;
            self.landed_last = Some(key);
        }
    }

    fn applied(&mut self, request: &Request, reply: &Reply) {
        let mut rows = BTreeSet::new();
        match (&request.verb, reply) {
            (Verb::Claim(_), Reply::Claimed(claimed)) => {
                for execution in &claimed.executions {
                    let Some(row) = self.row_of_job(execution.job.as_str()) else { continue };
                    rows.insert(row);
                    self.executions.insert(execution.id, row);
                    let runner = execution.lease.as_ref().and_then(|lease| self.replicas.get(&lease.runner));
                    if let Some(replica) = runner.copied() {
                        self.open(Key::Execution(row, execution.id), replica);
                    }
                }
            }
            (Verb::Start(verb), _) => rows.extend(verb.leases.iter().filter_map(|lease| self.worked_for(lease.id))),
            (Verb::Heartbeat(verb), _) => {
                rows.extend(verb.leases.iter().filter_map(|lease| self.worked_for(lease.id)));
            }
            (Verb::Settle(verb), Reply::Settled(settled)) => {
                for (settlement, outcome) in verb.settlements.iter().zip(&settled.outcomes) {
                    let Some(key) = self.open_execution(settlement.lease.id) else { continue };
                    rows.insert(key.row());
                    if outcome.is_ok() {
                        self.settled(&key);
                    }
                }
            }
            (Verb::Rescue(_), Reply::Rescued(rescued)) => {
                for (id, _) in &rescued.ended {
                    if let Some(key) = self.open_execution(*id) {
                        self.close(&key, false);
                    }
                }
            }
            _ => {}
        }
        self.applied = Some((request.id, rows));
    }

    fn worked_for(&self, id: ExecutionId) -> Option<usize> {
        self.open_execution(id).map(|key| key.row())
    }

    fn struck(&mut self, kind: &str, request: Option<RequestId>) {
        let mut rows = BTreeSet::new();
        let facet = match (FaultKind::from_name(kind), request) {
            (Some(FaultKind::LoseReply), Some(id)) => {
                if let Some((applied, worked_for)) = &self.applied
                    && *applied == id
                {
                    rows.extend(worked_for);
                }
                let marks = self.spans.iter().filter(|(_, span)| span.mark == Some(id));
                rows.extend(marks.map(|(key, _)| key.row()));
                Facet::ReplyLost
            }
            // The receiver says that an effect landed right before it loses the answer.
            (Some(FaultKind::LoseEffectReply), _) => {
                let landed = self.landed_last.as_ref().filter(|key| self.spans.contains_key(key));
                rows.extend(landed.map(Key::row));
                Facet::AnswerLost
            }
            _ => return,
        };
        for row in rows {
            *self.hits[row].entry((Window::Held, facet)).or_default() += 1;
        }
    }

    fn began(&mut self, host: HostId, kind: &str) {
        let Some(kind) = FaultKind::from_name(kind) else { return };
        let lasting = match kind {
            FaultKind::Partition => Facet::BothWays,
            FaultKind::PartitionToDatabase => Facet::ToDatabase,
            FaultKind::PartitionFromDatabase => Facet::FromDatabase,
            FaultKind::Hold => Facet::Held,
            FaultKind::DatabaseRestart => {
                self.database_down = true;
                let keys: Vec<_> = self.spans.keys().cloned().collect();
                keys.iter().for_each(|key| self.hit_lasting(key, Facet::Restarted));
                return;
            }
            FaultKind::ClockJump => {
                if let HostId::Replica(replica) = host {
                    self.jumps.insert(replica);
                }
                return;
            }
            _ => return,
        };
        if let HostId::Replica(replica) = host {
            self.lasts(replica, lasting);
        }
    }

    fn ended(&mut self, host: HostId, kind: &str) {
        let facet = match (FaultKind::from_name(kind), host) {
            (Some(FaultKind::DatabaseRestart), _) => {
                self.database_down = false;
                return;
            }
            (Some(FaultKind::Partition), _) => Facet::BothWays,
            (Some(FaultKind::PartitionToDatabase), _) => Facet::ToDatabase,
            (Some(FaultKind::PartitionFromDatabase), _) => Facet::FromDatabase,
            (Some(FaultKind::Hold), _) => Facet::Held,
            _ => return,
        };
        if let HostId::Replica(replica) = host
            && let Some(lasting) = self.lasting.get_mut(&replica)
            && let Some(count) = lasting.get_mut(&facet)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                lasting.remove(&facet);
            }
        }
    }

    fn links_mended(&mut self) {
        let links = [Facet::BothWays, Facet::ToDatabase, Facet::FromDatabase, Facet::Held];
        for lasting in self.lasting.values_mut() {
            lasting.retain(|facet, _| !links.contains(facet));
        }
    }

    fn lasts(&mut self, replica: u8, facet: Facet) {
        *self.lasting.entry(replica).or_default().entry(facet).or_default() += 1;
        let open: Vec<_> = self.open_on(replica);
        open.iter().for_each(|key| self.hit_lasting(key, facet));
    }

    /// A clock is wrong from now on, or right again.
    fn clock_set(&mut self, host: HostId, offset_us: i64, drift_ppm: i32) {
        let HostId::Replica(replica) = host else {
            if host == HostId::Database {
                let before = std::mem::replace(&mut self.database_offset_us, offset_us);
                let facet = if offset_us < before { Facet::StepBack } else { Facet::StepForward };
                let keys: Vec<_> = self.spans.keys().cloned().collect();
                keys.iter().for_each(|key| self.hit(key, facet));
            }
            return;
        };
        let before = self.wall_offset_us.insert(replica, offset_us).unwrap_or(0);
        let lasting = self.lasting.entry(replica).or_default();
        for facet in [Facet::Offset, Facet::Drift, Facet::JumpBack, Facet::JumpForward] {
            let holds_on = offset_us != 0 && matches!(facet, Facet::JumpBack | Facet::JumpForward);
            if !holds_on {
                lasting.remove(&facet);
            }
        }
        let jumped = self.jumps.remove(&replica) && offset_us != before;
        let jump = if offset_us < before { Facet::JumpBack } else { Facet::JumpForward };
        let now = [(Facet::Offset, offset_us != 0), (Facet::Drift, drift_ppm != 0), (jump, jumped)];
        for (facet, _) in now.into_iter().filter(|(_, is_wrong)| *is_wrong) {
            self.lasts(replica, facet);
        }
    }

    fn stands_still(&mut self, at_us: u64, host: HostId) {
        if let HostId::Replica(replica) = host {
            let held = self.open_on(replica).into_iter().collect();
            self.paused.insert(replica, (at_us, held));
        }
    }

    /// What it held when it stopped is hit if it stood still for longer than that lease.
    fn goes_on(&mut self, at_us: u64, host: HostId) {
        let HostId::Replica(replica) = host else { return };
        let Some((since_us, held)) = self.paused.remove(&replica) else { return };
        let stood_us = u128::from(at_us.saturating_sub(since_us));
        for key in held {
            if stood_us > self.rows[key.row()].lease.as_micros() {
                *self.hits[key.row()].entry((Window::Held, Facet::Paused)).or_default() += 1;
            }
        }
    }

    fn crashed(&mut self, host: HostId) {
        self.instant(host, Facet::Died);
        if let HostId::Replica(replica) = host {
            self.paused.remove(&replica);
            // What a dead process held is nobody's work until it is taken again.
            self.spans.retain(|_, span| span.replica != replica);
        }
    }

    fn instant(&mut self, host: HostId, facet: Facet) {
        if let HostId::Replica(replica) = host {
            let open = self.open_on(replica);
            open.iter().for_each(|key| self.hit(key, facet));
        }
    }

    fn open_on(&self, replica: u8) -> Vec<Key> {
        self.spans.iter().filter(|(_, span)| span.replica == replica).map(|(key, _)| key.clone()).collect()
    }

    fn hit_lasting(&mut self, key: &Key, facet: Facet) {
        let is_new = self.spans.get_mut(key).is_some_and(|span| span.struck.insert((span.replica, facet)));
        if is_new {
            self.hit(key, facet);
        }
    }

    fn hit(&mut self, key: &Key, facet: Facet) {
        let Some(span) = self.spans.get(key) else { return };
        let row = key.row();
        let in_mark = if self.rows[row].has_effect { span.has_landed } else { span.is_marking };
        *self.hits[row].entry((Window::Held, facet)).or_default() += 1;
        if in_mark {
            *self.hits[row].entry((Window::EffectToMark, facet)).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use tourbillon::model::RequestId;
    use uuid::Uuid;

    use super::{super::workload::tests::row, *};
    use crate::history::{CrashKind, Event, Phase};

    /// A history of the unit `u` of row `digest` on replica 1, told step by step.
    struct Told(History);

    impl Told {
        fn new() -> Self {
            let mut told = Self(History::default());
            told.on(1, What::Booted { incarnation: me() });
            told
        }

        fn record(&mut self, host: HostId, what: What) -> &mut Self {
            let at_us = self.0.events.last().map_or(0, |event| event.at_us);
            self.0.events.push(Event { at_us, host, what });
            self
        }

        fn on(&mut self, replica: u8, what: What) -> &mut Self {
            self.record(HostId::Replica(replica), what)
        }

        fn wait(&mut self, seconds: u64) -> &mut Self {
            let at_us = self.0.events.last().map_or(0, |event| event.at_us) + seconds * 1_000_000;
            self.0.events.push(Event { at_us, host: HostId::World, what: What::PhaseBegan { phase: Phase::Chaos } });
            self
        }

        fn stage(&mut self, stage: Stage) -> &mut Self {
            let host = if stage == Stage::Landed { HostId::Receiver(0) } else { HostId::Replica(1) };
            let (row, unit) = ("digest".to_owned(), "u".to_owned());
            self.record(host, What::Staged { incarnation: me(), row, unit, stage })
        }

        fn began(&mut self, replica: u8, kind: FaultKind) -> &mut Self {
            self.on(replica, What::FaultBegan { kind: kind.name().to_owned(), detail: String::new() })
        }

        fn ended(&mut self, replica: u8, kind: FaultKind) -> &mut Self {
            self.on(replica, What::FaultEnded { kind: kind.name().to_owned() })
        }

        fn crash(&mut self) -> &mut Self {
            self.on(1, What::Crashed { incarnation: me(), kind: CrashKind::PowerLoss })
        }

        fn hits(&self, window: Window, facet: Facet) -> u64 {
            hits(&[row("digest")], &self.0)[0].get(&(window, facet)).copied().unwrap_or(0)
        }
    }

    fn me() -> Incarnation {
        Incarnation(Uuid::from_u128(1))
    }

    #[test]
    fn a_crash_hits_only_between_the_effect_and_the_mark_when_it_does() {
        let mut told = Told::new();
        told.stage(Stage::Begun).stage(Stage::Sent).stage(Stage::Landed).crash();
        assert_eq!((told.hits(Window::Held, Facet::Died), told.hits(Window::EffectToMark, Facet::Died)), (1, 1));
        let mut told = Told::new();
        told.stage(Stage::Begun).stage(Stage::Sent).crash();
        assert_eq!((told.hits(Window::Held, Facet::Died), told.hits(Window::EffectToMark, Facet::Died)), (1, 0));
        let mut told = Told::new();
        told.stage(Stage::Begun).stage(Stage::Landed).stage(Stage::Marking).stage(Stage::Ended).crash();
        assert_eq!((told.hits(Window::Held, Facet::Died), told.hits(Window::EffectToMark, Facet::Died)), (0, 0));
        assert_eq!(told.hits(Window::Held, Facet::Done), 1);
    }

    #[test]
    fn what_lasts_hits_a_unit_once_whether_it_begins_before_or_after_it() {
        let mut told = Told::new();
        told.stage(Stage::Begun).began(1, FaultKind::Partition).began(1, FaultKind::Partition);
        assert_eq!(told.hits(Window::Held, Facet::BothWays), 1);
        let mut told = Told::new();
        told.began(1, FaultKind::Hold).stage(Stage::Begun);
        assert_eq!(told.hits(Window::Held, Facet::Held), 1);
        let mut told = Told::new();
        told.began(1, FaultKind::Hold).ended(1, FaultKind::Hold).stage(Stage::Begun);
        assert_eq!(told.hits(Window::Held, Facet::Held), 0);
    }

    #[test]
    fn a_fault_of_another_replica_hits_nothing() {
        let mut told = Told::new();
        told.stage(Stage::Begun).began(0, FaultKind::Partition);
        assert_eq!(told.hits(Window::Held, Facet::BothWays), 0);
    }

    #[test]
    fn a_pause_hits_only_when_it_outlasts_the_lease() {
        for (seconds, hits) in [(20, 0), (21, 1)] {
            let mut told = Told::new();
            told.stage(Stage::Begun).on(1, What::Paused).wait(seconds).on(1, What::Resumed);
            assert_eq!(told.hits(Window::Held, Facet::Paused), hits, "{seconds} s");
        }
        let mut told = Told::new();
        told.on(1, What::Paused).wait(60).on(1, What::Resumed).stage(Stage::Begun);
        assert_eq!(told.hits(Window::Held, Facet::Paused), 0);
    }

    #[test]
    fn a_lost_reply_hits_the_unit_whose_mark_it_was() {
        let id = RequestId(Uuid::from_u128(7));
        let invoked =
            |request| What::Invoked { incarnation: me(), request, verb: "application".into(), leases: Vec::new() };
        let lost = What::Struck { kind: "lose_reply".to_owned(), replica: 1, request: Some(id) };
        let mut told = Told::new();
        told.stage(Stage::Begun).stage(Stage::Marking).on(1, invoked(id)).record(HostId::Database, lost.clone());
        assert_eq!(told.hits(Window::Held, Facet::ReplyLost), 1);
        // A request that was not the mark: that of another loop of the same process.
        let mut told = Told::new();
        let mark = RequestId(Uuid::from_u128(8));
        told.stage(Stage::Begun).on(1, invoked(id)).stage(Stage::Marking).on(1, invoked(mark));
        told.record(HostId::Database, lost);
        assert_eq!(told.hits(Window::Held, Facet::ReplyLost), 0);
    }

    #[test]
    fn a_step_of_the_database_clock_hits_what_is_held_then_by_its_direction() {
        let set = |offset_us| What::ClockSet { offset_us, drift_ppm: 0 };
        let mut told = Told::new();
        told.record(HostId::Database, set(-5)).stage(Stage::Begun).record(HostId::Database, set(5));
        assert_eq!((told.hits(Window::Held, Facet::StepBack), told.hits(Window::Held, Facet::StepForward)), (0, 1));
    }

    #[test]
    fn a_fail_over_hits_what_is_held_if_it_lost_a_commit() {
        for (lost, hits) in [(vec![], 0), (vec![0], 1)] {
            let mut told = Told::new();
            told.stage(Stage::Begun).record(HostId::Database, What::FailedOver { lost: lost.clone() });
            told.stage(Stage::Ended).record(HostId::Database, What::FailedOver { lost });
            assert_eq!(told.hits(Window::Held, Facet::FailedOver), hits);
        }
    }

    #[test]
    fn a_clock_that_is_wrong_hits_every_unit_until_it_is_right() {
        let set = |offset_us, drift_ppm| What::ClockSet { offset_us, drift_ppm };
        let mut told = Told::new();
        told.began(1, FaultKind::ClockJump).on(1, set(-9, 0)).stage(Stage::Begun).stage(Stage::Ended);
        told.on(1, set(-9, 30)).on(1, set(0, 0)).stage(Stage::Begun);
        let hits: Vec<_> = [Facet::Offset, Facet::JumpBack, Facet::JumpForward, Facet::Drift]
            .map(|facet| told.hits(Window::Held, facet))
            .into();
        assert_eq!(hits, [1, 1, 0, 0]);
    }
}
