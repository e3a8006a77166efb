//! From a history and what was found in it to a picture of it: one pass, in true order.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::{Incarnation, RequestId, Timestamp},
    store::{Reply, Request, Verb},
};

use super::{
    Bar, BarKind, Lane, Mark, Point, Timeline,
    bar::{Bars, Handle, Moment},
    clock::Account,
    label::{label, word},
    model::first_view,
    subject::{Subjects, short},
};
use crate::{
    checker::Violation,
    fault::FaultKind,
    history::{Event, History, HostId, Phase, Stage, What},
};

impl Timeline {
    /// The picture of a run. `findings` may be the violations of checkers or anything else that names events; an event
    /// that the history does not have is left out. An empty history gives an empty picture.
    pub fn of(history: &History, findings: &[Violation]) -> Self {
        let mut draft = Draft::default();
        for (number, event) in history.events.iter().enumerate() {
            draft.see(number, event);
        }
        draft.finish(history, findings)
    }

    /// With the line that replays the run.
    #[must_use]
    pub fn replayed_by(mut self, line: impl Into<String>) -> Self {
        self.replay = Some(line.into());
        self
    }
}

#[derive(Default)]
struct Draft {
    title: String,
    epoch: Option<Timestamp>,
    hosts: BTreeMap<HostId, Account>,
    subjects: Subjects,
    requests: BTreeMap<RequestId, usize>,
    bars: Bars,
    /// With the host, since lanes are numbered only when all are known.
    points: Vec<(HostId, Point)>,
}

/// The order of lanes on the page: cause above effect.
const fn rank(host: HostId) -> (u8, u8) {
    match host {
        HostId::World => (0, 0),
        HostId::Replica(n) => (1, n),
        HostId::Database => (2, 0),
        HostId::Receiver(n) => (3, n),
    }
}

/// A stand-in for the index of a lane until all lanes are known.
const fn provisional(host: HostId) -> usize {
    let (sort, number) = rank(host);
    (sort as usize) << 8 | number as usize
}

fn bar(host: HostId, kind: BarKind, label: String, now: Moment) -> Bar {
    Bar {
        lane: provisional(host),
        kind,
        track: 0,
        from_us: now.at_us,
        to_us: now.at_us,
        label,
        note: String::new(),
        subjects: Vec::new(),
        first: now.event,
        last: None,
    }
}

impl Draft {
    fn see(&mut self, number: usize, event: &Event) {
        self.hosts.entry(event.host).or_insert_with(Account::new);
        let now = self.moment(number, event.at_us);
        let mut subjects = self.follow(event, now);
        subjects.sort_unstable();
        subjects.dedup();
        let request = request_of(&event.what).map(|id| {
            let next = self.requests.len();
            *self.requests.entry(id).or_insert(next)
        });
        let (kind, label) = label(&event.what, &mut self.subjects);
        self.points.push((event.host, Point { at_us: event.at_us, lane: 0, kind, label, subjects, request }));
    }

    fn moment(&self, event: usize, at_us: u64) -> Moment {
        let steps_us = self.hosts.get(&HostId::Database).map_or(0, |clock| clock.skew_us(at_us));
        let epoch_us = self.epoch.map_or(0, Timestamp::as_micros);
        Moment { at_us, event, database_us: epoch_us.saturating_add(steps_us) }
    }

    /// Opens and closes bars; returns what the event is about.
    fn follow(&mut self, event: &Event, now: Moment) -> Vec<usize> {
        let host = event.host;
        match &event.what {
            What::Began { facts } => {
                self.title = format!("{}, seed {}", facts.scenario, facts.seed);
                self.epoch = Some(facts.epoch);
                let replicas = (0..facts.replicas).map(HostId::Replica);
                for host in replicas.chain([HostId::Database]) {
                    self.hosts.entry(host).or_insert_with(Account::new);
                }
                Vec::new()
            }
            What::Invoked { incarnation, request, verb, leases } => {
                let subjects: Vec<_> = leases.iter().map(|lease| self.subjects.execution(lease.id)).collect();
                let call = Bar { subjects: subjects.clone(), ..bar(host, BarKind::Call, verb.to_string(), now) };
                self.bars.begin(Handle::Call(*incarnation, *request), call, now);
                subjects
            }
            What::Answered { incarnation, request, .. } => {
                self.bars.end(&Handle::Call(*incarnation, *request), now, "answered");
                Vec::new()
            }
            What::Applied { request, result, .. } => {
                let subjects = self.subjects.of_request(request, result.as_ref().ok());
                if let Ok(reply) = result {
                    self.applied(request, reply, now);
                }
                subjects
            }
            What::FailedOver { lost } => {
                self.bars.fail_over(&lost.iter().copied().collect::<BTreeSet<_>>(), now);
                Vec::new()
            }
            What::ClockSet { offset_us, drift_ppm } => {
                self.bars.expire(now);
                self.hosts.entry(host).or_insert_with(Account::new).set(now.at_us, *offset_us, *drift_ppm);
                self.bars.leap(self.moment(now.event, now.at_us));
                Vec::new()
            }
            What::EffectSent { effect, .. } | What::EffectReceived { effect, .. } => {
                vec![self.subjects.execution(effect.execution), self.subjects.other(format!("effect {}", effect.key))]
            }
            What::CallReceived { call, .. } => vec![self.subjects.other(format!("effect {}", call.key))],
            What::HandlerStarted { .. }
            | What::HandlerEnded { .. }
            | What::TickStarted { .. }
            | What::TickEnded { .. }
            | What::LeaderGained { .. }
            | What::LeaderLost { .. }
            | What::Staged { .. } => self.work(event, now),
            _ => {
                self.surroundings(event, now);
                Vec::new()
            }
        }
    }

    /// Leases and locks, as the database has them.
    fn applied(&mut self, request: &Request, reply: &Reply, now: Moment) {
        match (&request.verb, reply) {
            (Verb::Claim(claim), Reply::Claimed(claimed)) => {
                for row in &claimed.executions {
                    let subjects = vec![self.subjects.execution(row.id)];
                    let label = format!("{} · fence {} · token {}", row.job, row.fence, short(request.id));
                    let lease = Bar { subjects, ..bar(self.home(claim.runner), BarKind::Lease, label, now) };
                    let expires_at = row.lease.as_ref().map(|lease| lease.expires_at);
                    self.bars.begin_until(Handle::Lease(row.id), lease, now, expires_at);
                }
            }
            (Verb::Heartbeat(heartbeat), Reply::Renewed(renewed)) => {
                for (lease, outcome) in heartbeat.leases.iter().zip(&renewed.outcomes) {
                    if let Ok(renewal) = outcome {
                        self.bars.renew(&Handle::Lease(lease.id), renewal.expires_at);
                    }
                }
            }
            (Verb::Settle(settle), Reply::Settled(settled)) => {
                for (settlement, outcome) in settle.settlements.iter().zip(&settled.outcomes) {
                    if let Ok(state) = outcome {
                        self.bars.end(
                            &Handle::Lease(settlement.lease.id),
                            now,
                            &format!("settled: {}", state.as_str()),
                        );
                    }
                }
            }
            (Verb::Rescue(_), Reply::Rescued(rescued)) => {
                for (id, state) in &rescued.ended {
                    self.bars.end(&Handle::Lease(*id), now, &format!("rescued: {}", state.as_str()));
                }
            }
            (Verb::AcquireLock(acquire), Reply::LockTried(tried)) => {
                let Ok(held) = &tried.outcome else { return };
                let subjects = vec![self.subjects.lock(&acquire.name)];
                let label = format!("{} · epoch {} · token {}", acquire.name, held.epoch, short(request.id));
                let lock = Bar { subjects, ..bar(self.home(acquire.holder), BarKind::Lock, label, now) };
                self.bars.begin_until(Handle::Lock(acquire.name.clone()), lock, now, Some(held.expires_at));
            }
            (Verb::RenewLock(renew), Reply::LockRenewed(renewed)) => {
                if let Ok(expires_at) = renewed.outcome {
                    self.bars.renew(&Handle::Lock(renew.lock.name.clone()), expires_at);
                }
            }
            (Verb::ReleaseLock(release), Reply::LockReleased(released)) if released.outcome.is_ok() => {
                self.bars.end(&Handle::Lock(release.lock.name.clone()), now, "released");
            }
            _ => {}
        }
    }

    /// Where what a process holds is drawn.
    fn home(&self, process: Incarnation) -> HostId {
        self.subjects.host(process).unwrap_or(HostId::Database)
    }

    /// What a replica does and believes.
    fn work(&mut self, event: &Event, now: Moment) -> Vec<usize> {
        let host = event.host;
        match &event.what {
            What::HandlerStarted { incarnation, lease, attempt, .. } => {
                let subjects = vec![self.subjects.execution(lease.id)];
                let label = format!("attempt {attempt} · fence {}", lease.fence);
                let attempt = Bar { subjects: subjects.clone(), ..bar(host, BarKind::Attempt, label, now) };
                self.bars.begin(Handle::Attempt(*incarnation, lease.id, lease.fence), attempt, now);
                self.bars.put_on(&Handle::Lease(lease.id));
                subjects
            }
            What::HandlerEnded { incarnation, lease, end } => {
                self.bars.end(&Handle::Attempt(*incarnation, lease.id, lease.fence), now, &word(end));
                vec![self.subjects.execution(lease.id)]
            }
            What::TickStarted { incarnation, tick, service, under } => {
                let mut subjects = vec![self.subjects.other(format!("service {service}"))];
                subjects.extend(under.as_ref().map(|(lock, _)| self.subjects.lock(lock)));
                let epoch = under.as_ref().map_or_else(String::new, |(_, epoch)| format!(" · epoch {epoch}"));
                let label = format!("{service}{epoch}");
                let bar = Bar { subjects: subjects.clone(), ..bar(host, BarKind::Tick, label, now) };
                self.bars.begin(Handle::Tick(*incarnation, *tick), bar, now);
                subjects
            }
            What::TickEnded { incarnation, tick, end } => {
                self.bars.end(&Handle::Tick(*incarnation, *tick), now, &word(end));
                Vec::new()
            }
            What::LeaderGained { incarnation, lock, epoch } => {
                let subjects = vec![self.subjects.lock(lock)];
                let epoch = epoch.map_or_else(String::new, |epoch| format!(" · epoch {epoch}"));
                let label = format!("leads {lock}{epoch}");
                let leader = Bar { subjects: subjects.clone(), ..bar(host, BarKind::Leader, label, now) };
                self.bars.begin(Handle::Leader(*incarnation, lock.clone()), leader, now);
                self.bars.put_on(&Handle::Lock(lock.clone()));
                subjects
            }
            What::LeaderLost { incarnation, lock, .. } => {
                self.bars.end(&Handle::Leader(*incarnation, lock.clone()), now, "lost or given up");
                vec![self.subjects.lock(lock)]
            }
            What::Staged { incarnation, row, unit, stage } => {
                let subjects = vec![self.subjects.other(format!("{row} {unit}"))];
                let handle = Handle::Unit(*incarnation, row.clone(), unit.clone());
                match stage {
                    Stage::Begun => {
                        let label = format!("{row} {unit}");
                        let unit = Bar { subjects: subjects.clone(), ..bar(host, BarKind::Unit, label, now) };
                        self.bars.begin(handle, unit, now);
                    }
                    Stage::Ended => self.bars.end(&handle, now, "ended"),
                    Stage::Sent | Stage::Landed | Stage::Marking => {}
                }
                subjects
            }
            _ => Vec::new(),
        }
    }

    /// Processes and faults.
    fn surroundings(&mut self, event: &Event, now: Moment) {
        let host = event.host;
        let lane = provisional(host);
        match &event.what {
            What::PhaseBegan { phase: Phase::Heal } => self.bars.end_faults(now, "healed"),
            What::Booted { incarnation } => {
                self.subjects.booted(*incarnation, host);
                self.bars.end(&Handle::Down(lane), now, "started again");
                for kind in FaultKind::ALL.iter().filter(|kind| kind.lasts() && kind.shortest_s() == 0) {
                    self.bars.end(&Handle::Fault(lane, kind.name().to_owned()), now, "started again");
                }
            }
            What::Crashed { incarnation, .. } | What::ShutdownEnded { incarnation, .. } => {
                self.bars.end_process(*incarnation, now, "its process ended");
                let down = bar(host, BarKind::Down, "no process".to_owned(), now);
                self.bars.begin(Handle::Down(lane), down, now);
                self.bars.end(&Handle::Paused(lane), now, "its process ended");
            }
            What::Paused => {
                self.bars.begin(
                    Handle::Paused(lane),
                    bar(host, BarKind::Paused, "stands still".to_owned(), now),
                    now,
                );
            }
            What::Resumed => self.bars.end(&Handle::Paused(lane), now, "goes on"),
            // What happens at an instant is an event, and leaves nothing that ends.
            What::FaultBegan { kind, detail } if FaultKind::from_name(kind).is_none_or(FaultKind::lasts) => {
                let fault = bar(host, BarKind::Fault, format!("{kind} {detail}"), now);
                self.bars.begin(Handle::Fault(lane, kind.clone()), fault, now);
            }
            What::FaultEnded { kind } => self.bars.end(&Handle::Fault(lane, kind.clone()), now, "ends"),
            _ => {}
        }
    }

    fn finish(self, history: &History, findings: &[Violation]) -> Timeline {
        let end_us = history.events.last().map_or(0, |event| event.at_us);
        let end = self.moment(history.events.len(), end_us);
        let mut hosts: Vec<_> = self.hosts.into_iter().collect();
        hosts.sort_by_key(|(host, _)| rank(*host));
        let index: BTreeMap<_, _> =
            hosts.iter().enumerate().map(|(lane, (host, _))| (provisional(*host), lane)).collect();
        let points = self.points.into_iter().map(|(host, point)| Point { lane: index[&provisional(host)], ..point });
        let mut bars = self.bars.finish(end);
        for bar in &mut bars {
            bar.lane = index.get(&bar.lane).copied().unwrap_or(0);
        }
        let mark = |found: &Violation| {
            let events: Vec<_> = found.events.iter().copied().filter(|event| *event < history.events.len()).collect();
            let proof_us: Vec<_> = events.iter().map(|event| history.events[*event].at_us).collect();
            Mark {
                guarantee: found.guarantee.clone(),
                message: found.message.clone(),
                view_us: first_view(&proof_us, end_us),
                events,
            }
        };
        Timeline {
            title: self.title,
            replay: None,
            epoch: self.epoch.unwrap_or(Timestamp::EPOCH),
            end_us,
            lanes: hosts.into_iter().map(|(host, clock)| Lane { host, clock: clock.finish() }).collect(),
            subjects: self.subjects.finish(),
            points: points.collect(),
            bars,
            marks: findings.iter().map(mark).collect(),
        }
    }
}

fn request_of(what: &What) -> Option<RequestId> {
    match what {
        What::Invoked { request, .. } | What::Answered { request, .. } => Some(*request),
        What::Applied { request, .. } => Some(request.id),
        What::ApplicationApplied { request, .. } => Some(request.id),
        What::Struck { request, .. } => *request,
        What::TickStarted { tick, .. } | What::TickEnded { tick, .. } => Some(*tick),
        _ => None,
    }
}
