//! Renewal jobs: pending, running, completed or failed (loops 2, 3 and 4). The number of the attempt is the fence:
//! it grows with every claim.
//!
//! ```text
//!            claim              finish
//! pending ──────────▶ running ─────────▶ completed
//!    ▲                   │ finish, stalled
//!    └────── retry ── failed ◀┘
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tourbillon::model::Timestamp;

use super::{Audit, Change, Operator, Reply, STALL, Told, after, certificates::LIFETIME, count, no_row};

/// Attempts of a job.
pub(crate) const MAX_ATTEMPTS: u32 = 5;

/// Where a job is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    /// Waits.
    Pending,
    /// Somebody works on it.
    Running,
    /// Issued.
    Completed,
    /// Not issued; retried while attempts remain.
    Failed,
}

/// A renewal job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Which certificate it renews.
    pub(crate) cert: u32,
    /// Where it is.
    pub(crate) state: JobState,
    /// Attempts begun.
    pub(crate) attempts: u32,
    /// Start of the last attempt.
    pub(crate) began_at: Option<Timestamp>,
    /// Until when its claim is exclusive; `None` without leases.
    pub(crate) lease_until: Option<Timestamp>,
}

impl Job {
    /// Whether it may still lead to a certificate.
    pub(crate) fn is_active(&self) -> bool {
        match self.state {
            JobState::Pending | JobState::Running => true,
            JobState::Failed => self.attempts < MAX_ATTEMPTS,
            JobState::Completed => false,
        }
    }

    /// Whether whoever had it is taken for dead.
    fn is_stalled(&self, now: Timestamp) -> bool {
        let until = self.lease_until.or_else(|| self.began_at.map(|began| after(began, STALL)));
        self.state == JobState::Running && until.is_some_and(|until| until < now)
    }

    fn moved(&mut self, id: u32, to: JobState, changes: &mut Vec<Change>) {
        let from = std::mem::replace(&mut self.state, to);
        let (cert, attempt, began_at) = (self.cert, self.attempts, self.began_at);
        changes.push(Change::Job { id, cert, from: Some(from), to, attempt, began_at });
    }
}

impl Operator {
    pub(super) fn insert_job(&mut self, cert: u32, changes: &mut Vec<Change>) -> Told {
        let id = self.next_job;
        self.next_job += 1;
        let job = Job { cert, state: JobState::Pending, attempts: 0, began_at: None, lease_until: None };
        self.jobs.insert(id, job);
        changes.push(Change::Job { id, cert, from: None, to: JobState::Pending, attempt: 0, began_at: None });
        Ok(Reply::Done)
    }

    /// `FOR UPDATE SKIP LOCKED` and `UPDATE`, in one transaction.
    pub(super) fn claim_jobs(
        &mut self,
        now: Timestamp,
        limit: u32,
        lease_ms: Option<u64>,
        changes: &mut Vec<Change>,
    ) -> Told {
        let free = |job: &Job| {
            let expired = lease_ms.is_some() && job.attempts < MAX_ATTEMPTS && job.is_stalled(now);
            job.state == JobState::Pending || expired
        };
        let mut claimed = Vec::new();
        let free = self.jobs.iter_mut().filter(|(_, job)| free(job));
        for (id, job) in free.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            job.attempts += 1;
            job.began_at = Some(now);
            job.lease_until = lease_ms.map(|ms| after(now, Duration::from_millis(ms)));
            job.moved(*id, JobState::Running, changes);
            claimed.push((*id, job.attempts));
        }
        Ok(Reply::Jobs(claimed))
    }

    pub(super) fn finish_job(
        &mut self,
        now: Timestamp,
        id: u32,
        attempt: Option<u32>,
        issued: bool,
        changes: &mut Vec<Change>,
    ) -> Told {
        let job = self.jobs.get_mut(&id).ok_or_else(|| no_row("job", id))?;
        if attempt.is_some_and(|attempt| job.attempts != attempt || job.state != JobState::Running) {
            return Ok(Reply::Refused);
        }
        job.moved(id, if issued { JobState::Completed } else { JobState::Failed }, changes);
        if issued && let Some(cert) = self.certs.get_mut(&job.cert) {
            cert.renewals += 1;
            cert.expires_at = after(now, LIFETIME);
        }
        Ok(Reply::Done)
    }

    pub(super) fn retry_jobs(&mut self, audited: bool, changes: &mut Vec<Change>) -> Told {
        let mut retried = Vec::new();
        for (id, job) in &mut self.jobs {
            if job.state == JobState::Failed && job.attempts < MAX_ATTEMPTS {
                job.moved(*id, JobState::Pending, changes);
                let audit = retry_audit(*id, job.attempts);
                if audited {
                    changes.push(Change::Audit { audit: audit.clone() });
                }
                retried.push(audit);
            }
        }
        Ok(Reply::Retried(retried))
    }

    pub(super) fn fail_stalled(&mut self, now: Timestamp, changes: &mut Vec<Change>) -> Told {
        let stalled = self.jobs.iter_mut().filter(|(_, job)| job.is_stalled(now));
        let failed = stalled.map(|(id, job)| job.moved(*id, JobState::Failed, changes)).count();
        Ok(count(failed))
    }
}

/// The audit event of a retry after so many attempts.
pub(crate) fn retry_audit(id: u32, attempts: u32) -> Audit {
    Audit { subject: format!("job {id}"), action: "job_retry".to_owned(), nth: attempts }
}
