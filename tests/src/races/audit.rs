//! Owns the verdict on the audit log of a whole race (G9), from the listing and the log at its end: for rows that tell
//! everything, the events of an execution are one chain from its making to its end, with a link for each claim.
//! Knows no store.

use std::collections::BTreeMap;

use tourbillon::model::{Audit, AuditAction, AuditEvent, Execution, ExecutionId, Generation, State};

/// Findings; empty: it holds. `end` is the listing with all executions terminal, `log` is ordered by key.
pub(crate) fn check(end: &[Execution], log: &[AuditEvent]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut told: BTreeMap<ExecutionId, Vec<&AuditEvent>> = BTreeMap::new();
    for event in log {
        told.entry(event.key.execution).or_default().push(event);
    }
    let mut lives: BTreeMap<ExecutionId, Vec<&Execution>> = BTreeMap::new();
    for row in end {
        lives.entry(row.id).or_default().push(row);
    }
    let mut whole = 0;
    for (id, rows) in &lives {
        let events = told.remove(id).unwrap_or_default();
        let audit = rows[0].policy.audit;
        if let Some(event) = events.iter().find(|event| !audit.wants(event.action)) {
            findings.push(format!("G9: execution {id} tells {} although it is {audit:?}", event.action));
        }
        if audit == Audit::All {
            whole += 1;
            findings.extend(chain(rows, &events).map_err(|why| format!("G9: execution {id}: {why}")).err());
        }
    }
    findings.extend(told.keys().map(|id| format!("G9: execution {id} is told of, and is nowhere")));
    if whole == 0 {
        findings.push("G9: no execution told everything: the race showed nothing".to_owned());
    }
    findings
}

/// Every event begins where the one before ended, every fence is one claim, and every generation ends as listed.
fn chain(rows: &[&Execution], events: &[&AuditEvent]) -> Result<(), String> {
    let (mut state, mut attempts, mut generation, mut fence) = (None, 0, Generation::FIRST, 0);
    for event in events {
        let (key, details) = (&event.key, &event.details);
        let is_claim = matches!(event.action, AuditAction::Claim | AuditAction::Reclaim);
        let expected = match event.action {
            AuditAction::Requeue => 0,
            AuditAction::Start => attempts + 1,
            // Told with the claim where that charges; given back where it was charged.
            AuditAction::Claim | AuditAction::Reclaim if details.attempts == attempts + 1 => attempts + 1,
            AuditAction::Release | AuditAction::Snooze if details.attempts + 1 == attempts => details.attempts,
            _ => attempts,
        };
        fence += u64::from(is_claim);
        generation = if event.action == AuditAction::Requeue { generation.next() } else { generation };
        if (details.old_status, details.attempts, key.generation, key.fence.0) != (state, expected, generation, fence)
        {
            return Err(format!("after {state:?}, attempt {attempts}, fence {fence} came {event:?}"));
        }
        (state, attempts) = (Some(details.new_status), details.attempts);
        let ended = rows.iter().find(|row| row.generation == key.generation).map(|row| (row.state, row.attempt));
        if details.new_status.is_terminal() && ended != Some((details.new_status, attempts)) {
            return Err(format!("the listing says {ended:?}, told was {event:?}"));
        }
    }
    let last = rows.last().map(|row| (row.generation, row.fence.0));
    if last != Some((generation, fence)) || !state.is_some_and(State::is_terminal) {
        return Err(format!("told up to {generation}, fence {fence}, {state:?}; listed is {last:?}"));
    }
    Ok(())
}
