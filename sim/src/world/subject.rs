//! Which jobs a request was about, so that a trigger can aim at one of them. Leases name executions only; who claimed
//! them learnt their jobs.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::ExecutionId,
    store::{Reply, Verb},
};

use super::remote;

/// What the database host remembers of claims.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    jobs: BTreeMap<ExecutionId, String>,
}

impl Subjects {
    /// Learns from a reply, and says which jobs the request was about, in order of their names.
    pub(super) fn of(&mut self, executions: &[ExecutionId], reply: &Reply) -> BTreeSet<String> {
        if let Reply::Claimed(claimed) = reply {
            for execution in &claimed.executions {
                self.jobs.entry(execution.id).or_insert_with(|| execution.job.to_string());
            }
            return claimed.executions.iter().map(|execution| execution.job.to_string()).collect();
        }
        executions.iter().filter_map(|id| self.jobs.get(id).cloned()).collect()
    }
}

/// The executions that a request names, in its order.
pub(super) fn executions(verb: &Verb) -> Vec<ExecutionId> {
    remote::leases(verb).iter().map(|lease| lease.id).collect()
}
