//! What events are about, named once: executions by job, scope and slot, locks, effects. Judges nothing.

use std::{collections::BTreeMap, fmt::Display};

use tourbillon::{
    model::{ExecutionId, Incarnation, Timestamp},
    store::{Reply, Request, Verb},
};

use crate::history::HostId;

/// Names, interned.
#[derive(Default)]
pub(super) struct Subjects {
    names: Vec<String>,
    executions: BTreeMap<ExecutionId, usize>,
    others: BTreeMap<String, usize>,
    replicas: BTreeMap<Incarnation, HostId>,
}

/// Enough of an id for a person to tell it from others.
pub(super) fn short(id: impl Display) -> String {
    id.to_string().chars().take(8).collect()
}

impl Subjects {
    pub(super) fn finish(self) -> Vec<String> {
        self.names
    }

    pub(super) fn booted(&mut self, incarnation: Incarnation, host: HostId) {
        self.replicas.insert(incarnation, host);
    }

    /// Where a process runs, or ran.
    pub(super) fn host(&self, incarnation: Incarnation) -> Option<HostId> {
        self.replicas.get(&incarnation).copied()
    }

    /// The host by name; by its own id when no boot of it was recorded.
    pub(super) fn runner(&self, incarnation: Incarnation) -> String {
        self.host(incarnation).map_or_else(|| short(incarnation), |host| host.to_string())
    }

    pub(super) fn execution(&mut self, id: ExecutionId) -> usize {
        let next = self.names.len();
        let index = *self.executions.entry(id).or_insert(next);
        if index == next {
            self.names.push(format!("execution {}", short(id)));
        }
        index
    }

    pub(super) fn name_of(&mut self, id: ExecutionId) -> &str {
        let index = self.execution(id);
        &self.names[index]
    }

    /// Learns what an execution is.
    fn describe(&mut self, id: ExecutionId, series: impl Display, slot_at: Option<Timestamp>) {
        let index = self.execution(id);
        let slot = slot_at.map_or_else(String::new, |slot| format!(" {slot}"));
        self.names[index] = format!("{series}{slot} · {}", short(id));
    }

    /// Anything that has one name.
    pub(super) fn other(&mut self, name: String) -> usize {
        let next = self.names.len();
        let index = *self.others.entry(name.clone()).or_insert(next);
        if index == next {
            self.names.push(name);
        }
        index
    }

    pub(super) fn lock(&mut self, name: impl Display) -> usize {
        self.other(format!("lock {name}"))
    }

    /// What a request is about, once it was applied; learns the names of what it made.
    pub(super) fn of_request(&mut self, request: &Request, reply: Option<&Reply>) -> Vec<usize> {
        let mut about = Vec::new();
        match (&request.verb, reply) {
            (Verb::Plan(plan), _) => {
                for entry in &plan.entries {
                    for slot in &entry.slots {
                        self.describe(slot.id, format_args!("{} {}", entry.job, entry.scope), slot.slot_at);
                        about.push(self.execution(slot.id));
                    }
                }
            }
            (Verb::Enqueue(enqueue), _) => {
                for item in &enqueue.items {
                    self.describe(item.id, format_args!("{} {}", enqueue.queue, item.scope), None);
                    about.push(self.execution(item.id));
                }
            }
            (Verb::Claim(_), Some(Reply::Claimed(claimed))) => {
                for row in &claimed.executions {
                    self.describe(row.id, format_args!("{} {}", row.job, row.scope), row.slot_at);
                    about.push(self.execution(row.id));
                }
                about.extend(claimed.skipped.iter().map(|(id, _)| self.execution(*id)));
            }
            (Verb::Rescue(_), Some(Reply::Rescued(rescued))) => {
                about.extend(rescued.ended.iter().map(|(id, _)| self.execution(*id)));
                about.extend(rescued.clamped.iter().map(|id| self.execution(*id)));
                about.extend(rescued.clamped_locks.iter().map(|name| self.lock(name)));
            }
            (Verb::Start(verb), _) => about.extend(verb.leases.iter().map(|lease| self.execution(lease.id))),
            (Verb::Heartbeat(verb), _) => about.extend(verb.leases.iter().map(|lease| self.execution(lease.id))),
            (Verb::Settle(verb), _) => {
                about.extend(verb.settlements.iter().map(|settlement| self.execution(settlement.lease.id)));
            }
            (Verb::Cancel(verb), _) => about.extend(verb.ids.iter().map(|id| self.execution(*id))),
            (Verb::Requeue(verb), _) => about.extend(verb.ids.iter().map(|id| self.execution(*id))),
            (Verb::DeleteItems(verb), _) => about.extend(verb.ids.iter().map(|id| self.execution(*id))),
            (Verb::UpdateItem(verb), _) => about.push(self.execution(verb.id)),
            (Verb::AcquireLock(verb), _) => about.push(self.lock(&verb.name)),
            (Verb::RenewLock(verb), _) => about.push(self.lock(&verb.lock.name)),
            (Verb::ReleaseLock(verb), _) => about.push(self.lock(&verb.lock.name)),
            _ => {}
        }
        about
    }
}
