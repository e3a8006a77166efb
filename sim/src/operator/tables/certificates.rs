//! Certificates: which end soon, which have ended (loops 1 and 8). Issuing is the jobs' business.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tourbillon::model::Timestamp;

use super::{Audit, Change, Channel, Operator, Reply, Told, after, count, no_row};

/// A certificate that ends sooner than this is renewed.
pub(crate) const RENEWAL_WINDOW: Duration = Duration::from_secs(2 * 3600);
/// How long a certificate lives from its renewal.
pub(crate) const LIFETIME: Duration = Duration::from_secs(6 * 3600);
/// Alerts go out this long before the end.
const THRESHOLDS_MIN: [u32; 2] = [120, 60];

/// What a certificate is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CertState {
    /// In use.
    Active,
    /// Taken back before its end.
    Revoked,
    /// Replaced by another one.
    Renewed,
    /// Past its end.
    Expired,
}

/// A certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Cert {
    /// What it is.
    pub(crate) state: CertState,
    /// When it ends.
    pub(crate) expires_at: Timestamp,
    /// Short-lived ones are not renewed by a job; they expire.
    pub(crate) short_lived: bool,
    /// How often it was renewed.
    pub(crate) renewals: u32,
}

/// An alert: sent once per certificate, renewal, threshold and channel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// Which certificate.
    pub(crate) cert: u32,
    /// In which of its lives.
    pub(crate) renewals: u32,
    /// Minutes before its end.
    pub(crate) threshold_min: u32,
    /// Where to.
    pub(crate) channel: Channel,
}

impl Alert {
    /// What its receiver counts by.
    pub(crate) fn key(&self) -> String {
        format!("alert {} life {} at {} min by {:?}", self.cert, self.renewals, self.threshold_min, self.channel)
    }
}

impl Operator {
    fn due_for_renewal(&self, now: Timestamp) -> Vec<u32> {
        let due = |cert: &Cert| {
            cert.state == CertState::Active && !cert.short_lived && cert.expires_at <= after(now, RENEWAL_WINDOW)
        };
        let under_way = |id: u32| self.jobs.values().any(|job| job.cert == id && job.is_active());
        self.certs.iter().filter(|(id, cert)| due(cert) && !under_way(**id)).map(|(id, _)| *id).collect()
    }

    fn alerts_due(&self, now: Timestamp) -> Vec<Alert> {
        let mut due = Vec::new();
        for (id, cert) in self.certs.iter().filter(|(_, cert)| cert.state == CertState::Active && !cert.short_lived) {
            for threshold_min in THRESHOLDS_MIN {
                let alert = Alert { cert: *id, renewals: cert.renewals, threshold_min, channel: Channel::Pager };
                let wait = Duration::from_secs(u64::from(threshold_min) * 60);
                if cert.expires_at <= after(now, wait) && !self.alerts.contains(&alert) {
                    due.push(alert);
                }
            }
        }
        due
    }

    pub(super) fn read_renewals(&self, now: Timestamp) -> Told {
        Ok(Reply::Renewals { certs: self.due_for_renewal(now), alerts: self.alerts_due(now) })
    }

    pub(super) fn record_alert(&mut self, alert: Alert, changes: &mut Vec<Change>) -> Told {
        self.alerts.push(alert);
        changes.push(Change::Alert { alert });
        Ok(Reply::Done)
    }

    pub(super) fn ensure_renewals(&mut self, now: Timestamp, changes: &mut Vec<Change>) -> Told {
        let certs = self.due_for_renewal(now);
        for cert in &certs {
            self.insert_job(*cert, changes)?;
        }
        let alerts = self.alerts_due(now);
        for alert in &alerts {
            self.record_alert(*alert, changes)?;
            self.insert_notice(now, alert.channel, Some(alert.key()), Some(changes));
        }
        Ok(count(certs.len() + alerts.len()))
    }

    fn ended(&self, now: Timestamp) -> Vec<u32> {
        let ended = |cert: &Cert| cert.state == CertState::Active && cert.short_lived && cert.expires_at <= now;
        self.certs.iter().filter(|(_, cert)| ended(cert)).map(|(id, _)| *id).collect()
    }

    pub(super) fn read_ended(&self, now: Timestamp) -> Told {
        Ok(Reply::Ids(self.ended(now)))
    }

    /// `UPDATE … WHERE id = $1`: whatever the certificate is by now.
    pub(super) fn set_expired(&mut self, id: u32, changes: &mut Vec<Change>) -> Told {
        let cert = self.certs.get_mut(&id).ok_or_else(|| no_row("certificate", id))?;
        let from = std::mem::replace(&mut cert.state, CertState::Expired);
        changes.push(Change::Cert { id, from, to: CertState::Expired });
        Ok(Reply::Done)
    }

    pub(super) fn expire_ended(&mut self, now: Timestamp, changes: &mut Vec<Change>) -> Told {
        let ended = self.ended(now);
        for id in &ended {
            self.set_expired(*id, changes)?;
            changes.push(Change::Audit { audit: expiry_audit(*id) });
        }
        Ok(count(ended.len()))
    }
}

/// The audit event of an expiry.
pub(crate) fn expiry_audit(id: u32) -> Audit {
    Audit { subject: format!("certificate {id}"), action: "short_lived_expiry".to_owned(), nth: 0 }
}
