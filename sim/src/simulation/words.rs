//! Tells in words what led to a violation: the faults, and what happened to the executions and keys that are concerned.
//! For people; nothing is decided by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use tourbillon::{
    model::{ExecutionId, Fence, LeaseRef, Scope},
    store::{Claimed, Reply, Settled, Verb},
};

use crate::{
    checker::Violation,
    history::{CallAnswer, CrashKind, Effect, Event, History, HostId, Phase, RunFacts, What},
};

/// Most lines of a story; of a longer one, the last.
const MAX_LINES: usize = 32;

/// One line per event that matters, in true order; those that prove the violation are marked.
pub(super) fn tell(history: &History, violation: &Violation) -> Vec<String> {
    let Some(What::Began { facts }) = history.events.first().map(|event| &event.what) else { return Vec::new() };
    let mut teller =
        Teller { facts, subjects: Subjects::of(history, violation), starts: BTreeMap::new(), open: BTreeMap::new() };
    let through = violation.events.last().copied().unwrap_or(history.events.len());
    let mut lines = Vec::new();
    for (index, event) in history.events.iter().enumerate().take(through.saturating_add(1)) {
        let proves = violation.events.contains(&index);
        let Some(words) = teller.words(event, proves) else { continue };
        let mark = if proves { "▶" } else { " " };
        let (seconds, host) = (event.at_us as f64 / 1e6, teller.host(event.host));
        lines.push(format!("{mark} {seconds:>10.3} s  {host:<12} {words}"));
    }
    let left_out = lines.len().saturating_sub(MAX_LINES);
    if left_out > 0 {
        lines.drain(..left_out);
        lines.insert(0, format!("  … {left_out} lines before"));
    }
    lines
}

/// What a violation is about.
#[derive(Default)]
struct Subjects<'h> {
    executions: BTreeSet<ExecutionId>,
    keys: BTreeSet<&'h str>,
}

impl<'h> Subjects<'h> {
    fn of(history: &'h History, violation: &Violation) -> Self {
        let mut subjects = Self::default();
        for event in violation.events.iter().filter_map(|index| history.events.get(*index)) {
            match &event.what {
                What::EffectSent { effect, .. } | What::EffectReceived { effect, .. } => subjects.add(effect),
                What::CallReceived { call, .. } => {
                    subjects.keys.insert(&call.key);
                    call.effect.iter().for_each(|effect| subjects.add(effect));
                }
                What::HandlerStarted { lease, .. } | What::HandlerEnded { lease, .. } => {
                    subjects.executions.insert(lease.id);
                }
                What::Invoked { leases, .. } => {
                    subjects.executions.extend(leases.iter().map(|lease| lease.id));
                }
                What::Applied { result: Ok(Reply::Claimed(claimed)), .. } => {
                    subjects.executions.extend(claimed.executions.iter().map(|row| row.id));
                }
                What::Applied { request, .. } => {
                    if let Verb::Settle(settle) = &request.verb {
                        subjects.executions.extend(settle.settlements.iter().map(|settlement| settlement.lease.id));
                    }
                }
                _ => {}
            }
        }
        subjects
    }

    fn add(&mut self, effect: &'h Effect) {
        self.executions.insert(effect.execution);
        self.keys.insert(&effect.key);
    }
}

struct Teller<'h> {
    facts: &'h RunFacts,
    subjects: Subjects<'h>,
    /// What is started under a claim, in words.
    starts: BTreeMap<(ExecutionId, Fence), String>,
    /// Attempts that were started and of whose end the database knows nothing.
    open: BTreeMap<ExecutionId, Fence>,
}

impl Teller<'_> {
    fn host(&self, host: HostId) -> String {
        match host {
            HostId::Receiver(number) => {
                let named = self.facts.receivers.get(usize::from(number));
                named.map_or_else(|| host.to_string(), |facts| facts.receiver.clone())
            }
            HostId::World | HostId::Database | HostId::Replica(_) => host.to_string(),
        }
    }

    /// What an event says, if it belongs to the story.
    fn words(&mut self, event: &Event, proves: bool) -> Option<String> {
        match &event.what {
            What::PhaseBegan { phase: Phase::Chaos } => None,
            What::PhaseBegan { phase } => Some(match phase {
                Phase::PartialHeal => {
                    "faults end: the database and some replicas are healed, the others are cut off or dead".to_owned()
                }
                _ => "everything is healed".to_owned(),
            }),
            What::FaultBegan { kind, detail } if detail.is_empty() => Some(format!("{kind} begins")),
            What::FaultBegan { kind, detail } => Some(format!("{kind} begins: {detail}")),
            What::FaultEnded { kind } => Some(format!("{kind} ends")),
            What::Struck { kind, replica, .. } => Some(format!("{kind} strikes a message of replica-{replica}")),
            What::Crashed { kind: CrashKind::PowerLoss, .. } => Some("dies, as in a power cut".to_owned()),
            What::Crashed { kind: CrashKind::Polite, .. } => Some("ends, with goodbyes".to_owned()),
            What::Booted { .. } if event.at_us > 1_000_000 => Some("starts again".to_owned()),
            What::FailedOver { lost } => Some(format!("goes on without its last {} commits", lost.len())),
            What::Strayed { tasks } => {
                Some(format!("is found with {tasks} tasks that were started past its spawner"))
            }
            What::Panicked { message } => Some(format!("panic: {message}")),
            What::LeaderGained { lock, epoch, .. } => Some(format!("leads {lock}{}", Shown("epoch", epoch.as_ref()))),
            What::LeaderLost { lock, epoch, .. } => {
                Some(format!("leads {lock} no more{}", Shown("epoch", epoch.as_ref())))
            }
            What::HandlerStarted { lease, attempt, job, scope, slot_at, .. }
                if self.subjects.executions.contains(&lease.id) =>
            {
                let mut what = format!("attempt {attempt} of {job}");
                if **scope != Scope::global() {
                    let _ = write!(what, " for {scope}");
                }
                if let Some(slot_at) = slot_at {
                    let _ = write!(what, ", slot {slot_at}");
                }
                let words = format!("{what}: starts");
                self.starts.insert((lease.id, lease.fence), what);
                self.open.insert(lease.id, lease.fence);
                Some(words)
            }
            What::HandlerEnded { lease, end, .. } if self.subjects.executions.contains(&lease.id) => {
                Some(format!("{}: ends, {}", self.started(lease), format!("{end:?}").to_lowercase()))
            }
            What::Applied { request, result: Ok(Reply::Settled(settled)), .. } => {
                self.settled(&request.verb, settled)
            }
            What::Applied { result: Ok(Reply::Claimed(claimed)), .. } => self.claimed(claimed),
            What::EffectSent { effect, .. } if self.subjects.keys.contains(&*effect.key) => {
                Some(format!("asks for {:?}", effect.key))
            }
            What::CallReceived { call, answer, .. } if self.subjects.keys.contains(&*call.key) => {
                let did = match answer {
                    CallAnswer::Done => "does",
                    CallAnswer::Duplicate => "has done, and does not do again,",
                    CallAnswer::Fenced => "refuses, as its fence is old,",
                    CallAnswer::Failed => "fails to do",
                };
                let shown = Shown("idempotency key", call.idempotency.as_ref());
                Some(format!("{did} {:?}{shown}{}", call.key, Shown("epoch", call.epoch.as_ref())))
            }
            other if proves && !matches!(other, What::EffectReceived { .. } | What::Ended { .. }) => {
                Some(plainly(other))
            }
            _ => None,
        }
    }

    fn started(&self, lease: &LeaseRef) -> String {
        let known = self.starts.get(&(lease.id, lease.fence));
        known.cloned().unwrap_or_else(|| format!("the attempt under fence {}", lease.fence))
    }

    /// A claim of what another attempt held: why there is another one.
    fn claimed(&self, claimed: &Claimed) -> Option<String> {
        let again = claimed.executions.iter().find_map(|row| {
            let open = self.open.get(&row.id).filter(|fence| **fence < row.fence)?;
            self.starts.get(&(row.id, *open))
        })?;
        Some(format!("gives it to another attempt: no end of {again} was recorded, and its lease is over"))
    }

    fn settled(&mut self, verb: &Verb, settled: &Settled) -> Option<String> {
        let Verb::Settle(settle) = verb else { return None };
        let ours = settle.settlements.iter().zip(&settled.outcomes);
        let mut ours = ours.filter(|(settlement, _)| self.subjects.executions.contains(&settlement.lease.id));
        let (settlement, outcome) = ours.next()?;
        let what = self.started(&settlement.lease);
        if outcome.is_ok() {
            self.open.remove(&settlement.lease.id);
        }
        Some(match outcome {
            Ok(state) => format!("records of {what}: {state}"),
            Err(_) => format!("refuses the end of {what}: its lease is lost"),
        })
    }
}

/// ` (name value)`, or nothing.
struct Shown<'a, T>(&'a str, Option<&'a T>);

impl<T: std::fmt::Display> std::fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(name, value) = self;
        value.map_or(Ok(()), |value| write!(f, " ({name} {value})"))
    }
}

/// An event that proves something and has no words of its own: as the history has it, cut to a line.
fn plainly(what: &What) -> String {
    const WIDTH: usize = 160;
    let text = serde_json::to_string(what).unwrap_or_default();
    if text.chars().count() <= WIDTH { text } else { text.chars().take(WIDTH).chain(['…']).collect() }
}
