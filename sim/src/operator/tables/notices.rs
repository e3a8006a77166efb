//! Notifications (loops 6 and 7). The number of the attempt is the fence of a claim.
//!
//! ```text
//!              send                     due again
//! pending ──────────▶ sent     failed ────────────▶ sent, failed or dead
//!    └── could not ─────────────▲
//! ```
//!
//! Between the two a claim makes them `sending`, under a lease. The naive operator knows no such state.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tourbillon::model::Timestamp;

use super::{Change, Operator, Reply, Sending, Told, after, no_row};

/// Attempts of a notification.
pub(crate) const MAX_SENDS: u32 = 6;
/// From a failure to the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(120);

/// Where a notification goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Channel {
    /// E-mail: knows no idempotency key.
    Mail,
    /// A web hook that deduplicates.
    Hook,
    /// A pager that deduplicates.
    Pager,
}

/// Where a notification is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NoticeState {
    /// Waits.
    Pending,
    /// Taken, under a lease.
    Sending,
    /// Done.
    Sent,
    /// Could not be sent; tried again when it is due.
    Failed,
    /// Given up.
    Dead,
}

/// A notification.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Notice {
    /// Where to.
    pub(crate) channel: Channel,
    /// What its receiver counts by.
    pub(crate) key: String,
    /// Where it is.
    pub(crate) state: NoticeState,
    /// Attempts: of claims when there are any, else of failures.
    pub(crate) attempts: u32,
    /// When it came about.
    pub(crate) created_at: Timestamp,
    /// Of a failed one: when it is due. Of a taken one: when its lease ends.
    pub(crate) until: Option<Timestamp>,
}

impl Notice {
    fn moved(&mut self, id: u32, to: NoticeState, changes: &mut Vec<Change>) {
        let from = std::mem::replace(&mut self.state, to);
        changes.push(Change::Notice { id, key: self.key.clone(), from: Some(from), to, attempt: self.attempts });
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    fn sending(&self, id: u32) -> Sending {
        Sending { id, channel: self.channel, key: self.key.clone(), attempt: self.attempts }
    }
}

impl Operator {
    /// A key of its own unless `key` is given; in the changes unless life made it.
    pub(super) fn insert_notice(
        &mut self,
        created_at: Timestamp,
        channel: Channel,
        key: Option<String>,
        changes: Option<&mut Vec<Change>>,
    ) {
        let id = self.next_notice;
        self.next_notice += 1;
        let key = key.unwrap_or_else(|| format!("notice {id}"));
        if let Some(changes) = changes {
            changes.push(Change::Notice { id, key: key.clone(), from: None, to: NoticeState::Pending, attempt: 0 });
        }
        let notice = Notice { channel, key, state: NoticeState::Pending, attempts: 0, created_at, until: None };
        self.notices.insert(id, notice);
    }

    pub(super) fn read_notices(&self, now: Timestamp, retries: bool) -> Told {
        let wanted = if retries { NoticeState::Failed } else { NoticeState::Pending };
        let due = self.notices.iter().filter(|(_, notice)| notice.state == wanted && notice.is_due(now));
        Ok(Reply::Notices(due.map(|(id, notice)| notice.sending(*id)).collect()))
    }

    /// Loop 6 takes the pending ones, loop 7 the failed ones that are due and those whose lease has expired: whoever
    /// had them may have sent them, and the attempt is charged. Whatever has no attempt left is dead.
    pub(super) fn claim_notices(
        &mut self,
        now: Timestamp,
        retries: bool,
        (limit, lease_ms): (u32, u64),
        changes: &mut Vec<Change>,
    ) -> Told {
        let wanted = |notice: &Notice| match notice.state {
            NoticeState::Pending => !retries,
            NoticeState::Failed => retries && notice.is_due(now),
            NoticeState::Sending => retries && notice.until.is_some_and(|until| until < now),
            NoticeState::Sent | NoticeState::Dead => false,
        };
        let mut claimed = Vec::new();
        let free = self.notices.iter_mut().filter(|(_, notice)| wanted(notice));
        for (id, notice) in free.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            if notice.attempts >= MAX_SENDS {
                notice.moved(*id, NoticeState::Dead, changes);
                continue;
            }
            notice.attempts += 1;
            notice.until = Some(after(now, Duration::from_millis(lease_ms)));
            notice.moved(*id, NoticeState::Sending, changes);
            claimed.push(notice.sending(*id));
        }
        Ok(Reply::Notices(claimed))
    }

    pub(super) fn mark_notice(
        &mut self,
        now: Timestamp,
        id: u32,
        attempt: Option<u32>,
        sent: bool,
        changes: &mut Vec<Change>,
    ) -> Told {
        let notice = self.notices.get_mut(&id).ok_or_else(|| no_row("notification", id))?;
        match attempt {
            Some(attempt) if notice.attempts != attempt || notice.state != NoticeState::Sending => {
                return Ok(Reply::Refused);
            }
            Some(_) => {}
            None => notice.attempts += 1,
        }
        notice.until = (!sent).then(|| after(now, RETRY_AFTER));
        let failed = if notice.attempts < MAX_SENDS { NoticeState::Failed } else { NoticeState::Dead };
        notice.moved(id, if sent { NoticeState::Sent } else { failed }, changes);
        Ok(Reply::Done)
    }
}
