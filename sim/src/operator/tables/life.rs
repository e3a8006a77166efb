//! Life outside: certificates are issued and revoked, agents report or die, notifications and sessions come about.
//! A function of seed and database time alone, so that it is the same whatever the operator does.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tourbillon::model::Timestamp;

use super::{Agent, Cert, CertState, Channel, Check, Operator, Perishable, Shelf, after};
use crate::chance;

/// Who gets a digest.
pub(crate) const RECIPIENTS: u32 = 3;
/// Networks that are scanned.
pub(crate) const TARGETS: u32 = 4;
/// Clouds that are asked.
pub(crate) const SOURCES: u32 = 3;
/// Endpoints that are probed.
pub(crate) const CHECKS: u32 = 5;

const LONG_LIVED: u32 = 24;
const AGENTS: u32 = 8;
/// Life moves in steps of this length.
const STEP: Duration = Duration::from_secs(10);

/// How far life is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Life {
    seed: u64,
    epoch: Timestamp,
    /// Steps lived.
    steps: u64,
}

impl Life {
    pub(super) fn new(seed: u64, epoch: Timestamp) -> Self {
        Self { seed, epoch, steps: 0 }
    }

    fn draw(&self, what: &str, which: u32, n: u64) -> u64 {
        chance::draw(self.seed, what, which.into(), n)
    }

    fn seconds(&self, what: &str, which: u32, (low, high): (u64, u64)) -> Duration {
        Duration::from_secs(chance::between(self.draw(what, which, self.steps), low, high))
    }

    /// Whether something that comes about every `every` steps on average does so in this one.
    fn comes(&self, what: &str, every: u64) -> bool {
        self.draw(what, 0, self.steps).is_multiple_of(every)
    }

    /// An agent is dead for twelve minutes of some hours.
    fn is_dead(&self, agent: u32) -> bool {
        let minute = self.steps * STEP.as_secs() / 60;
        let (hour, minute) = (minute / 60, minute % 60);
        let drawn = self.draw("agent", agent, hour);
        drawn.is_multiple_of(3) && (drawn >> 8) % 48 <= minute && minute < (drawn >> 8) % 48 + 12
    }
}

impl Operator {
    /// What there is at the start.
    pub(super) fn found(&mut self, seed: u64, epoch: Timestamp) {
        for id in 0..LONG_LIVED {
            let left_s = chance::between(chance::draw(seed, "certificate", id.into(), 0), 3_900, 8 * 3600);
            let expires_at = after(epoch, Duration::from_secs(left_s));
            self.certs.insert(id, Cert { state: CertState::Active, expires_at, short_lived: false, renewals: 0 });
        }
        self.agents = (0..AGENTS).map(|id| (id, Agent { reported_at: epoch, online: true })).collect();
        self.checks = (0..CHECKS).map(|id| (id, Check { failures: 0, probes: 0, slots: Vec::new() })).collect();
        self.revoked = 2;
    }

    /// Lives until `now`. A database clock that stepped back finds that life has been there already.
    pub(super) fn live_until(&mut self, now: Timestamp) {
        let steps = now.since(self.life.epoch).as_micros() / STEP.as_micros();
        while u128::from(self.life.steps) < steps {
            self.life.steps += 1;
            self.live_step();
        }
    }

    fn live_step(&mut self) {
        let life = self.life;
        let at =
            life.epoch.offset_micros(i64::try_from(u128::from(life.steps) * STEP.as_micros()).unwrap_or(i64::MAX));
        if life.steps.is_multiple_of(6) {
            for (id, agent) in self.agents.iter_mut().filter(|(id, _)| !life.is_dead(**id)) {
                // Not all at once.
                agent.reported_at = at.offset_micros(-i64::from(*id) * 1_100_000);
                agent.online = true;
            }
        }
        if life.comes("notice", 4) {
            let channel = match life.draw("channel", 0, life.steps) % 10 {
                0..=4 => Channel::Mail,
                5..=7 => Channel::Hook,
                _ => Channel::Pager,
            };
            self.insert_notice(at, channel, None, None);
        }
        if life.comes("revocation", 120) {
            self.revoked += 1;
        }
        self.live_short_lived(life, at);
        self.live_shelves(life, at);
    }

    /// Short-lived certificates are issued; around their end some are renewed by their owners, some revoked.
    fn live_short_lived(&mut self, life: Life, at: Timestamp) {
        if life.comes("short-lived", 30) {
            let expires_at = after(at, life.seconds("short-lived ttl", 0, (300, 1_800)));
            let id = 1_000 + u32::try_from(life.steps).unwrap_or(u32::MAX - 1_000);
            self.certs.insert(id, Cert { state: CertState::Active, expires_at, short_lived: true, renewals: 0 });
        }
        for (id, cert) in self.certs.range_mut(1_000..) {
            if cert.state != CertState::Active || at.since(cert.expires_at) > STEP || at < cert.expires_at {
                continue;
            }
            match life.draw("fate", *id, 0) % 10 {
                0..=2 => cert.state = CertState::Renewed,
                3..=4 => cert.state = CertState::Revoked,
                _ => {}
            }
        }
    }

    /// Rows come about; sessions in use are extended shortly before their end.
    fn live_shelves(&mut self, life: Life, at: Timestamp) {
        let id = u32::try_from(life.steps).unwrap_or(u32::MAX);
        for (shelf, what, every, ttl) in [
            (Shelf::Acme, "acme", 6, (60, 600)),
            (Shelf::Session, "session", 30, (1_200, 3_600)),
            (Shelf::Key, "key", 180, (1_800, 7_200)),
        ] {
            if life.comes(what, every) {
                let expires_at = after(at, life.seconds(what, 1, ttl));
                self.shelves.push(Perishable { shelf, id, expires_at });
            }
        }
        for row in self.shelves.iter_mut().filter(|row| row.shelf == Shelf::Session) {
            let is_ending = row.expires_at > at && row.expires_at.since(at) <= STEP;
            if is_ending && life.draw("in use", row.id, 0).is_multiple_of(3) {
                row.expires_at = after(row.expires_at, Duration::from_secs(1_800));
            }
        }
    }
}
