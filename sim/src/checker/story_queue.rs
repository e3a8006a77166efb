//! Hand-written histories of one queue: what the narrator of `story` says of its items, and of what
//! operators do with them. Everything is accepted.

use tourbillon::{
    model::{Execution, JobName, NewExecution, Policy, Scope, State, Supersede},
    store::{
        CleanItems, Counts, DeleteItems, DeleteOutcome, Due, Enqueue, EnqueueOutcome, Enqueued, ItemUpdated,
        ItemsCleaned, ItemsDeleted, JobTriggered, NewItem, Reply, TriggerJob, TriggerOutcome, Unique, UpdateItem,
        UpdateOutcome, Verb,
    },
};

use super::story::{Story, execution, job};
use crate::history::{HostId, What};

pub(super) fn queue() -> JobName {
    JobName::new("queue").unwrap()
}

impl Story {
    /// Enqueues execution `n`, due now, under a unique key.
    pub(super) fn enqueue(&mut self, n: u8, key: &str, counts: Counts) -> &mut Self {
        let now = self.now();
        let item = self.item(n, key, counts);
        self.insert(n, &item, Some(key.to_owned()));
        let outcomes = vec![EnqueueOutcome::Enqueued(item.id)];
        let enqueue = Enqueue { queue: queue(), max_items: None, items: vec![item] };
        self.exchange(&[], enqueue, Reply::Enqueued(Enqueued { now, outcomes }))
    }

    /// Enqueues execution `n` as the item that `change` makes of it.
    pub(super) fn enqueue_as(&mut self, n: u8, change: impl FnOnce(&mut NewItem)) -> &mut Self {
        self.enqueue(n, &format!("key {n}"), Counts::Live).forge(|verb, _| {
            if let Verb::Enqueue(enqueue) = verb {
                change(&mut enqueue.items[0]);
            }
        })
    }

    /// An operator makes execution `n` of the job, beside its slots.
    pub(super) fn trigger_as(&mut self, n: u8, outcome: TriggerOutcome) -> &mut Self {
        let (now, item) = (self.now(), self.item(n, "", Counts::Live));
        if outcome == TriggerOutcome::Triggered {
            self.insert(n, &item, None);
        }
        let NewItem { id, policy, scope, .. } = item;
        let trigger =
            TriggerJob { job: job(), scope, id, priority: 0, payload: None, policy, actor: None, trace: None };
        self.exchange(&[], trigger, Reply::JobTriggered(JobTriggered { now, outcome }))
    }

    /// What the database holds of an item that is due now.
    fn insert(&mut self, n: u8, item: &NewItem, unique_key: Option<String>) {
        let now = self.now();
        let new = NewExecution {
            id: item.id,
            slot_at: None,
            due_at: now,
            expires_at: None,
            priority: 0,
            payload: None,
            unique_key,
            policy: item.policy.clone(),
        };
        self.rows.insert(n, Execution::fresh(queue(), Scope::global(), new, now));
    }

    /// Execution `n` is refused as a duplicate of `existing`.
    pub(super) fn duplicate(&mut self, n: u8, key: &str, existing: u8, counts: Counts) -> &mut Self {
        let (now, item) = (self.now(), self.item(n, key, counts));
        let outcomes = vec![EnqueueOutcome::Duplicate(execution(existing))];
        let enqueue = Enqueue { queue: queue(), max_items: None, items: vec![item] };
        self.exchange(&[], enqueue, Reply::Enqueued(Enqueued { now, outcomes }))
    }

    /// The first enqueue reaches the database again, and is carried out again.
    pub(super) fn enqueue_again(&mut self) -> &mut Self {
        let now = self.now();
        let first = self.history.events.iter().find_map(|event| match &event.what {
            What::Applied { request, result: Ok(Reply::Enqueued(first)), .. } => {
                Some((request.clone(), first.clone()))
            }
            _ => None,
        });
        let (request, first) = first.expect("something was enqueued");
        let result = Ok(Reply::Enqueued(Enqueued { now, ..first }));
        self.record(HostId::Database, What::Applied { request, now, result })
    }

    /// Executions of these numbers, without keys, enqueued into a queue of so many at most, and a last item with another
    /// outcome.
    pub(super) fn enqueue_within(&mut self, max: u64, made: &[u8], last: Option<EnqueueOutcome>) -> &mut Self {
        let now = self.now();
        let (mut items, mut outcomes) = (Vec::new(), Vec::new());
        for n in made {
            let item = NewItem { unique: None, ..self.item(*n, "", Counts::Live) };
            self.insert(*n, &item, None);
            outcomes.push(EnqueueOutcome::Enqueued(item.id));
            items.push(item);
        }
        if let Some(outcome) = last {
            let n = if let EnqueueOutcome::Duplicate(_) = outcome { made[0] } else { 99 };
            items.push(NewItem { unique: None, ..self.item(n, "", Counts::Live) });
            outcomes.push(outcome);
        }
        let enqueue = Enqueue { queue: queue(), max_items: Some(max), items };
        self.exchange(&[], enqueue, Reply::Enqueued(Enqueued { now, outcomes }))
    }

    /// An operator removes execution `n`.
    pub(super) fn delete(&mut self, n: u8) -> &mut Self {
        let now = self.now();
        self.rows.remove(&n);
        let delete = DeleteItems { queue: queue(), ids: vec![execution(n)], actor: None };
        let outcomes = vec![DeleteOutcome::Deleted];
        self.exchange(&[], delete, Reply::ItemsDeleted(ItemsDeleted { now, outcomes }))
    }

    /// A cleaning removes execution `n`.
    pub(super) fn clean(&mut self, n: u8) -> &mut Self {
        let now = self.now();
        self.rows.remove(&n);
        let clean = CleanItems { queue: queue(), states: vec![State::Dead], finished_ms: 0, limit: 10 };
        self.exchange(&[], clean, Reply::ItemsCleaned(ItemsCleaned { now, removed: vec![execution(n)] }))
    }

    /// An operator puts execution `n` off, or brings it forward.
    pub(super) fn put_off(&mut self, n: u8, ms: u64) -> &mut Self {
        let now = self.now();
        let at = now.offset_micros(i64::try_from(ms).unwrap() * 1_000);
        let row = self.row(n);
        (row.claimable_at, row.updated_at) = (Some(at), now);
        let update = UpdateItem {
            queue: queue(),
            id: execution(n),
            payload: None,
            priority: None,
            due: Some(Due::AfterMs(ms)),
        };
        self.exchange(&[], update, Reply::ItemUpdated(ItemUpdated { now, outcome: UpdateOutcome::Updated }))
    }

    /// The last update was of other things, too, or was to another time.
    pub(super) fn with_due(&mut self, due: Option<Due>) -> &mut Self {
        self.forge(|verb, _| {
            if let Verb::UpdateItem(update) = verb {
                update.due = due;
            }
        })
    }

    fn item(&self, n: u8, key: &str, counts: Counts) -> NewItem {
        let facts = &self.facts().jobs[0];
        NewItem {
            id: execution(n),
            scope: Scope::global(),
            due: Due::AfterMs(0),
            ttl_ms: None,
            priority: 0,
            payload: None,
            unique: Some(Unique { key: key.to_owned(), period_ms: None, counts }),
            policy: Policy {
                max_attempts: facts.max_attempts,
                lease_ms: facts.lease_ms,
                reentry: facts.reentry,
                supersede: Supersede::Never,
                limit: None,
                audit: self.audit,
            },
            trace: None,
        }
    }
}
