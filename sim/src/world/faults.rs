//! What each kind of fault does: how it begins, how it ends, and what it leaves standing.

use std::time::Duration;

use super::{
    controller::{Act, Controller, Standing},
    lane::LinkState,
    strikes::{Leaky, NoticeFate, Pulled},
};
use crate::{
    fault::{Bad, Fault, FaultKind, Then},
    history::{CrashKind, HostId, What},
};

/// How long handlers may finish before a deploy replaces their process.
const DEPLOY_GRACE: Duration = Duration::from_secs(5);

impl Controller {
    fn began(&self, host: HostId, kind: FaultKind, detail: String) {
        self.world.strikes.count(kind);
        self.record(host, What::FaultBegan { kind: kind.name().to_owned(), detail });
    }

    fn ended(&self, host: HostId, kind: FaultKind) {
        self.record(host, What::FaultEnded { kind: kind.name().to_owned() });
    }

    pub(super) fn standing(&mut self, replica: u8) -> &mut Standing {
        &mut self.standing[usize::from(replica)]
    }

    pub(super) fn strike(&mut self, fault: &Fault) {
        let Ok(count) = u8::try_from(self.replicas.len()) else { return };
        let replica = fault.replica % count;
        let host = HostId::Replica(replica);
        let kind = fault.bad.kind();
        let lasts = fault.lasts_s;
        let leaky = |leak: Leaky, detail: String| (leak, detail);
        match fault.bad {
            Bad::ClockOffset { by_ms } | Bad::ClockJump { by_ms } => {
                self.began(host, kind, format!("by {by_ms} ms"));
                self.replicas[usize::from(replica)].clock.jump(by_ms.saturating_mul(1000));
                self.clock_set(replica);
            }
            Bad::ClockDrift { ppm } => {
                self.began(host, kind, format!("{ppm} ppm"));
                self.replicas[usize::from(replica)].clock.set_drift(ppm);
                self.clock_set(replica);
            }
            Bad::DatabaseClockStep { by_ms } => self.database_clock_step(by_ms),
            Bad::Pause => self.pause(replica, lasts),
            Bad::FreezeMonotonic => self.freeze(replica, lasts),
            Bad::Crash => self.crash(replica, lasts),
            Bad::PowerLoss => self.power_loss(replica, lasts),
            Bad::Shutdown { grace_s } => self.shutdown(replica, grace_s, lasts),
            Bad::Partition => self.cut(replica, LinkState::Down, kind, lasts),
            Bad::PartitionToDatabase => self.cut(replica, LinkState::DownForth, kind, lasts),
            Bad::PartitionFromDatabase => self.cut(replica, LinkState::DownBack, kind, lasts),
            Bad::Hold => self.cut(replica, LinkState::Held, kind, lasts),
            Bad::DatabaseRestart => self.database_restart(lasts),
            Bad::Refuse { percent } => {
                self.leak(replica, kind, lasts, leaky(Leaky::Refuse { percent }, format!("{percent} %")));
            }
            Bad::LoseReply { percent } => {
                self.leak(replica, kind, lasts, leaky(Leaky::LoseReply { percent }, format!("{percent} %")));
            }
            Bad::ApplyLate { percent, delay_s } => {
                let delay = Duration::from_secs(delay_s.into());
                let detail = format!("{percent} %, {delay_s} s late");
                self.leak(replica, kind, lasts, leaky(Leaky::ApplyLate { percent, delay }, detail));
            }
            Bad::FailOver { commits, by_ms } => self.fail_over(commits, by_ms, lasts),
            Bad::RestartAll => self.restart_all(lasts),
            Bad::Deploy => self.begin_deploy(lasts),
            Bad::SessionDrop => {
                if self.database.drop_sessions(replica) {
                    self.began(host, kind, "once".to_owned());
                }
            }
            Bad::Busy { times } => {
                // Counted when a request is refused.
                let detail = format!("{times} requests");
                self.record(host, What::FaultBegan { kind: kind.name().to_owned(), detail });
                self.world.strikes.be_busy(replica, times);
            }
            Bad::Slow { percent, delay_ms } => {
                let delay = Duration::from_millis(delay_ms.into());
                let detail = format!("{percent} %, {delay_ms} ms late");
                self.leak(replica, kind, lasts, leaky(Leaky::Slow { percent, delay }, detail));
            }
            Bad::PoolExhaustion { connections } => {
                // Counted when a request has to wait.
                let detail = format!("{connections} connections");
                self.record(host, What::FaultBegan { kind: kind.name().to_owned(), detail });
                self.replicas[usize::from(replica)].pool.limit(connections);
                self.schedule_in(lasts, Act::Unlimit(replica, connections));
            }
            Bad::NoticesLost { percent } => {
                let leak = Leaky::Notices { percent, fate: NoticeFate::Lose };
                self.leak(replica, kind, lasts, leaky(leak, format!("{percent} %")));
            }
            Bad::NoticesDoubled { percent } => {
                let leak = Leaky::Notices { percent, fate: NoticeFate::Double };
                self.leak(replica, kind, lasts, leaky(leak, format!("{percent} %")));
            }
            Bad::NoticesLate { percent, delay_ms } => {
                let fate = NoticeFate::Delay(Duration::from_millis(delay_ms.into()));
                let detail = format!("{percent} %, {delay_ms} ms late");
                self.leak(replica, kind, lasts, leaky(Leaky::Notices { percent, fate }, detail));
            }
            Bad::LoseEffectReply { percent } => {
                self.leak(replica, kind, lasts, leaky(Leaky::LoseEffectReply { percent }, format!("{percent} %")));
            }
        }
    }

    /// Carries out what a trigger began within the step.
    pub(super) fn carry_out(&mut self, pulled: Pulled) {
        let Pulled { then, replica, lasts_s } = pulled;
        match then {
            Then::PowerLoss => self.power_loss(replica, lasts_s),
            Then::Crash => self.crash(replica, lasts_s),
            Then::Pause => self.pause(replica, lasts_s),
            Then::Partition => self.cut(replica, LinkState::Down, FaultKind::Partition, lasts_s),
            Then::Shutdown => self.shutdown(replica, 0, lasts_s),
            Then::DatabaseRestart => self.database_restart(lasts_s),
            Then::FailOver => self.fail_over(1, 0, lasts_s),
            Then::PartitionToDatabase => {
                self.cut(replica, LinkState::DownForth, FaultKind::PartitionToDatabase, lasts_s);
            }
            Then::PartitionFromDatabase => {
                self.cut(replica, LinkState::DownBack, FaultKind::PartitionFromDatabase, lasts_s);
            }
            Then::Hold => self.cut(replica, LinkState::Held, FaultKind::Hold, lasts_s),
            Then::DatabaseClockBack => self.database_clock_step(-1000 * i64::from(lasts_s)),
            Then::DatabaseClockForward => self.database_clock_step(1000 * i64::from(lasts_s)),
            // Done where it was pulled.
            Then::LoseReply | Then::Refuse | Then::Busy | Then::SessionDrop | Then::ApplyLate | Then::Slow => {}
        }
    }

    pub(super) fn clock_set(&self, replica: u8) {
        let (offset_us, drift_ppm) = self.replicas[usize::from(replica)].clock.error();
        self.record(HostId::Replica(replica), What::ClockSet { offset_us, drift_ppm });
    }

    fn database_clock_step(&self, by_ms: i64) {
        self.began(HostId::Database, FaultKind::DatabaseClockStep, format!("by {by_ms} ms"));
        self.step_database_clock(by_ms);
    }

    fn step_database_clock(&self, by_ms: i64) {
        self.database.clock.step(by_ms.saturating_mul(1000));
        let offset_us = self.database.clock.offset_us();
        self.record(HostId::Database, What::ClockSet { offset_us, drift_ppm: 0 });
    }

    fn pause(&mut self, replica: u8, lasts: u32) {
        if self.is_gone(replica) {
            return;
        }
        self.began(HostId::Replica(replica), FaultKind::Pause, format!("for {lasts} s"));
        self.stand_still(replica);
        self.standing(replica).pauses += 1;
        self.schedule_in(lasts, Act::Resume(replica));
    }

    pub(super) fn resume(&mut self, replica: u8) {
        if self.standing(replica).pauses == 0 {
            return;
        }
        self.standing(replica).pauses -= 1;
        self.ended(HostId::Replica(replica), FaultKind::Pause);
        self.go_on(replica);
    }

    /// The machine is suspended: its process stands still, and so does what it measures time by.
    fn freeze(&mut self, replica: u8, lasts: u32) {
        if self.is_gone(replica) {
            return;
        }
        self.began(HostId::Replica(replica), FaultKind::FreezeMonotonic, format!("for {lasts} s"));
        self.stand_still(replica);
        self.standing(replica).freezes += 1;
        self.set_frozen(replica, true);
        self.schedule_in(lasts, Act::Thaw(replica));
    }

    pub(super) fn thaw(&mut self, replica: u8) {
        if self.standing(replica).freezes == 0 {
            return;
        }
        self.standing(replica).freezes -= 1;
        self.ended(HostId::Replica(replica), FaultKind::FreezeMonotonic);
        if self.standing(replica).freezes == 0 {
            self.set_frozen(replica, false);
        }
        self.go_on(replica);
    }

    fn set_frozen(&self, replica: u8, is_frozen: bool) {
        self.replicas[usize::from(replica)].clock.freeze(is_frozen);
        self.clock_set(replica);
    }

    /// Its process is dead. One that is shutting down can still be paused; a trigger has closed its gate already, and
    /// somebody has to open it again.
    fn is_gone(&mut self, replica: u8) -> bool {
        self.standing(replica).down && !self.carrier.is_running(HostId::Replica(replica))
    }

    /// Before one more reason to stand still is noted.
    fn stand_still(&mut self, replica: u8) {
        if let Some(gate) = self.replicas[usize::from(replica)].gate() {
            gate.pause();
        }
        if !self.standing(replica).stands_still() {
            self.record(HostId::Replica(replica), What::Paused);
        }
    }

    /// After one reason to stand still has gone.
    fn go_on(&mut self, replica: u8) {
        if self.standing(replica).stands_still() {
            return;
        }
        self.record(HostId::Replica(replica), What::Resumed);
        if let Some(gate) = self.replicas[usize::from(replica)].gate() {
            gate.resume();
        }
    }

    /// A process is gone: so is all that made it stand still.
    fn gone(&mut self, replica: u8) {
        let standing = self.standing(replica);
        let (was_frozen, stood_still) = (standing.freezes > 0, standing.stands_still());
        (standing.pauses, standing.freezes) = (0, 0);
        standing.down = true;
        if was_frozen {
            self.set_frozen(replica, false);
        }
        if stood_still {
            self.record(HostId::Replica(replica), What::Resumed);
        }
    }

    fn crash(&mut self, replica: u8, lasts: u32) {
        let host = HostId::Replica(replica);
        if self.is_gone(replica) {
            return;
        }
        self.began(host, FaultKind::Crash, format!("for {lasts} s"));
        // Destructors run and connections say goodbye, so the gate must let them.
        self.drop_tasks(replica);
        self.crashed(replica, CrashKind::Polite);
        self.schedule_in(lasts, Act::Restart(replica));
    }

    pub(super) fn power_loss(&mut self, replica: u8, lasts: u32) {
        let host = HostId::Replica(replica);
        if self.is_gone(replica) {
            return;
        }
        self.began(host, FaultKind::PowerLoss, format!("for {lasts} s"));
        self.cut_power(replica);
        self.schedule_in(lasts, Act::Restart(replica));
    }

    fn cut_power(&mut self, replica: u8) {
        if let Some(gate) = self.replicas[usize::from(replica)].gate() {
            gate.kill();
        }
        // Cut off before its sockets are dropped: there is no farewell.
        self.isolate(replica);
        self.drop_tasks(replica);
        self.crashed(replica, CrashKind::PowerLoss);
    }

    /// All at once, and all boot at once: also those that were down before.
    fn restart_all(&mut self, lasts: u32) {
        self.began(HostId::World, FaultKind::RestartAll, format!("for {lasts} s"));
        for replica in 0..self.facts.replicas {
            if !self.is_gone(replica) {
                self.cut_power(replica);
            }
            self.schedule_in(lasts, Act::Restart(replica));
        }
    }

    fn begin_deploy(&mut self, lasts: u32) {
        self.version += 1;
        let version = self.version;
        self.began(HostId::World, FaultKind::Deploy, format!("version {version}, over {lasts} s"));
        let last = u32::from(self.facts.replicas.saturating_sub(1)).max(1);
        for replica in 0..self.facts.replicas {
            self.schedule_in(lasts * u32::from(replica) / last, Act::Deploy(replica, version));
        }
    }

    /// Its next boot runs that version; a process that runs another one is replaced.
    pub(super) fn deploy(&mut self, replica: u8, version: u32) {
        if self.replicas[usize::from(replica)].version() >= version {
            return;
        }
        self.replicas[usize::from(replica)].set_version(version);
        if !self.standing(replica).down {
            let detail = format!("version {version}");
            let kind = FaultKind::Deploy.name().to_owned();
            self.record(HostId::Replica(replica), What::FaultBegan { kind, detail });
            self.stop(replica, DEPLOY_GRACE, 1);
        }
    }

    pub(super) fn unlimit(&mut self, replica: u8, connections: u8) {
        if self.replicas[usize::from(replica)].pool.unlimit(connections) {
            self.ended(HostId::Replica(replica), FaultKind::PoolExhaustion);
        }
    }

    fn drop_tasks(&mut self, replica: u8) {
        if let Some(gate) = self.replicas[usize::from(replica)].gate() {
            self.carrier.crash(HostId::Replica(replica), &gate);
        }
    }

    fn crashed(&mut self, replica: u8, kind: CrashKind) {
        if let Some(process) = self.replicas[usize::from(replica)].process() {
            let incarnation = process.incarnation();
            self.record(HostId::Replica(replica), What::Crashed { incarnation, kind });
            // Nothing of it is recorded any more, and its gate opens for nobody.
            process.gate.kill();
        }
        self.gone(replica);
    }

    pub(super) fn shutdown(&mut self, replica: u8, grace_s: u32, lasts: u32) {
        if self.standing(replica).down {
            return;
        }
        self.began(HostId::Replica(replica), FaultKind::Shutdown, format!("grace {grace_s} s"));
        self.stop(replica, Duration::from_secs(grace_s.into()), lasts);
    }

    fn stop(&mut self, replica: u8, grace: Duration, lasts: u32) {
        self.replicas[usize::from(replica)].order_shutdown(grace);
        self.standing(replica).down = true;
        self.schedule_in(lasts, Act::Restart(replica));
    }

    pub(super) fn restart(&mut self, replica: u8) {
        let host = HostId::Replica(replica);
        if !self.standing(replica).down {
            return;
        }
        if self.carrier.is_running(host) {
            // A shutdown that is still under way; a supervisor would wait too.
            return self.schedule_in(1, Act::Restart(replica));
        }
        self.standing(replica).isolated = false;
        for receiver in self.receiver_numbers() {
            self.carrier.link(host, HostId::Receiver(receiver), LinkState::Down, LinkState::Up);
        }
        self.standing(replica).down = false;
        self.standing(replica).pauses = 0;
        self.relink(replica);
        let left = self.replicas[usize::from(replica)].gate();
        self.carrier.restart(host, left.as_ref());
    }

    fn isolate(&mut self, replica: u8) {
        self.standing(replica).isolated = true;
        self.relink(replica);
        for receiver in self.receiver_numbers() {
            self.carrier.link(HostId::Replica(replica), HostId::Receiver(receiver), LinkState::Up, LinkState::Down);
        }
    }

    pub(super) fn cut(&mut self, replica: u8, cause: LinkState, kind: FaultKind, lasts: u32) {
        self.began(HostId::Replica(replica), kind, format!("for {lasts} s"));
        self.standing(replica).links.push(cause);
        self.relink(replica);
        self.schedule_in(lasts, Act::Unlink(replica, cause, kind));
    }

    pub(super) fn unlink(&mut self, replica: u8, cause: LinkState, kind: FaultKind) {
        let links = &mut self.standing(replica).links;
        if let Some(index) = links.iter().position(|held| *held == cause) {
            links.remove(index);
            self.ended(HostId::Replica(replica), kind);
            self.relink(replica);
        }
    }

    /// Makes the link what the causes add up to.
    pub(super) fn relink(&mut self, replica: u8) {
        let standing = self.standing(replica);
        let has = |cause| standing.links.contains(&cause);
        let forth = has(LinkState::DownForth);
        let back = has(LinkState::DownBack);
        let wanted = if standing.isolated || has(LinkState::Down) || (forth && back) {
            LinkState::Down
        } else if forth {
            LinkState::DownForth
        } else if back {
            LinkState::DownBack
        } else if has(LinkState::Held) {
            LinkState::Held
        } else {
            LinkState::Up
        };
        let present = standing.link.replace(wanted).unwrap_or(LinkState::Up);
        if present != wanted {
            self.carrier.link(HostId::Replica(replica), HostId::Database, present, wanted);
        }
    }

    fn leak(&mut self, replica: u8, kind: FaultKind, lasts: u32, (leak, detail): (Leaky, String)) {
        // Counted when a message is struck, not when the leak begins.
        self.record(HostId::Replica(replica), What::FaultBegan { kind: kind.name().to_owned(), detail });
        let number = self.next_leak;
        self.next_leak += 1;
        self.world.strikes.begin(replica, number, leak);
        self.standing(replica).leaks.push(number);
        self.schedule_in(lasts, Act::EndLeak(replica, number, kind));
    }

    pub(super) fn end_leak(&mut self, replica: u8, number: u32, kind: FaultKind) {
        self.world.strikes.end(replica, number);
        self.standing(replica).leaks.retain(|held| *held != number);
        self.ended(HostId::Replica(replica), kind);
    }

    fn database_restart(&mut self, lasts: u32) {
        if self.database_down.is_none() {
            self.began(HostId::Database, FaultKind::DatabaseRestart, format!("for {lasts} s"));
            self.stop_database(FaultKind::DatabaseRestart, lasts);
        }
    }

    /// What a fail-over takes longer for is another server's time to notice; to replicas both are an outage.
    fn fail_over(&mut self, commits: u32, by_ms: i64, lasts: u32) {
        if self.database_down.is_some() {
            return;
        }
        let detail = format!("{commits} commits lost, {by_ms} ms off, for {lasts} s");
        self.began(HostId::Database, FaultKind::FailOver, detail);
        self.stop_database(FaultKind::FailOver, lasts);
        match self.database.fail_over(commits) {
            Ok(lost) => self.record(HostId::Database, What::FailedOver { lost }),
            Err(error) => self.broken = Some(format!("cannot fail over: {error}")),
        }
        self.step_database_clock(by_ms);
    }

    fn stop_database(&mut self, kind: FaultKind, lasts: u32) {
        self.database_down = Some(kind);
        let sessions = self.database.replace_gate();
        self.carrier.crash(HostId::Database, &sessions);
        self.schedule_in(lasts, Act::DatabaseUp);
    }

    pub(super) fn database_up(&mut self) {
        if let Some(kind) = self.database_down.take() {
            self.carrier.restart(HostId::Database, None);
            self.ended(HostId::Database, kind);
        }
    }
}
