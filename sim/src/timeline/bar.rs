//! What lasts: opened and closed as the history goes by, then laid on tracks. Judges nothing: a bar that overlaps
//! another one is drawn as it was.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::model::{ExecutionId, Fence, Incarnation, LockName, RequestId, Timestamp};

use super::Bar;

/// What a bar is of, while it is open.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Handle {
    Lease(ExecutionId),
    Lock(LockName),
    Attempt(Incarnation, ExecutionId, Fence),
    Tick(Incarnation, RequestId),
    Leader(Incarnation, LockName),
    Unit(Incarnation, String, String),
    Call(Incarnation, RequestId),
    Fault(usize, String),
    Down(usize),
    Paused(usize),
}

impl Handle {
    /// The process with which it ends.
    const fn process(&self) -> Option<Incarnation> {
        match self {
            Self::Attempt(process, ..)
            | Self::Tick(process, _)
            | Self::Leader(process, _)
            | Self::Unit(process, ..)
            | Self::Call(process, _) => Some(*process),
            Self::Lease(_) | Self::Lock(_) | Self::Fault(..) | Self::Down(_) | Self::Paused(_) => None,
        }
    }
}

struct Open {
    bar: usize,
    /// By the database clock.
    expires_at: Option<Timestamp>,
}

/// Bars in the making.
#[derive(Default)]
pub(super) struct Bars {
    bars: Vec<Bar>,
    /// What each bar is drawn on: the lease of an attempt, the lock of a leader.
    on: BTreeMap<usize, usize>,
    open: BTreeMap<Handle, Open>,
    /// Leases and locks by the event that ended them: a fail-over may take it back.
    ended_by: BTreeMap<usize, Vec<(Handle, usize, Timestamp)>>,
}

/// When, and by which event.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) at_us: u64,
    pub(super) event: usize,
    /// What the database clock adds to true time: its instant at true time zero, and its steps so far.
    pub(super) database_us: i64,
}

impl Moment {
    /// The true time at which the database clock reads `at`, as it goes now.
    fn true_us(&self, at: Timestamp) -> u64 {
        u64::try_from(at.as_micros().saturating_sub(self.database_us)).unwrap_or(0)
    }
}

impl Bars {
    /// Opens a bar; one that is open under the same handle ends.
    pub(super) fn begin(&mut self, handle: Handle, bar: Bar, now: Moment) {
        self.end(&handle, now, "superseded");
        self.open.insert(handle, Open { bar: self.bars.len(), expires_at: None });
        self.bars.push(bar);
    }

    /// The same, for what ends by itself when the database clock is past `expires_at`.
    pub(super) fn begin_until(&mut self, handle: Handle, bar: Bar, now: Moment, expires_at: Option<Timestamp>) {
        self.end(&handle, now, "taken by the next");
        self.open.insert(handle, Open { bar: self.bars.len(), expires_at });
        self.bars.push(bar);
    }

    /// Draws the newest bar on the track of `holder`, if that is open and in the same lane: a handler may run under a
    /// lease that somebody else has by now.
    pub(super) fn put_on(&mut self, holder: &Handle) {
        let (Some(open), Some(newest)) = (self.open.get(holder), self.bars.len().checked_sub(1)) else { return };
        if self.bars[open.bar].lane == self.bars[newest].lane {
            self.on.insert(newest, open.bar);
        }
    }

    pub(super) fn renew(&mut self, handle: &Handle, expires_at: Timestamp) {
        if let Some(open) = self.open.get_mut(handle) {
            open.expires_at = Some(expires_at);
        }
    }

    /// Ends a bar, if it is open. One that had expired before ended then.
    pub(super) fn end(&mut self, handle: &Handle, now: Moment, note: &str) {
        let Some(open) = self.open.remove(handle) else { return };
        let bar = &mut self.bars[open.bar];
        let expired_us = open.expires_at.map(|at| now.true_us(at).max(bar.from_us));
        if let Some(expired_us) = expired_us.filter(|expired_us| *expired_us < now.at_us) {
            bar.to_us = expired_us;
            "expired".clone_into(&mut bar.note);
            return;
        }
        bar.to_us = now.at_us;
        note.clone_into(&mut bar.note);
        bar.last = Some(now.event);
        if let Some(expires_at) = open.expires_at {
            self.ended_by.entry(now.event).or_default().push((handle.clone(), open.bar, expires_at));
        }
    }

    /// Ends whatever this process did.
    pub(super) fn end_process(&mut self, process: Incarnation, now: Moment, note: &str) {
        self.end_all(now, note, |handle| handle.process() == Some(process));
    }

    /// Ends all faults that are open, also those that nothing ended by name.
    pub(super) fn end_faults(&mut self, now: Moment, note: &str) {
        self.end_all(now, note, |handle| matches!(handle, Handle::Fault(..)));
    }

    /// Before the database clock is set: ends what has expired by now.
    pub(super) fn expire(&mut self, now: Moment) {
        let is_over = |open: &Open| open.expires_at.is_some_and(|at| now.true_us(at) < now.at_us);
        let over: Vec<_> =
            self.open.iter().filter(|(_, open)| is_over(open)).map(|(handle, _)| handle.clone()).collect();
        for handle in over {
            self.end(&handle, now, "expired");
        }
    }

    /// After the database clock was set: what has expired by the new time and had not by the old one expires now.
    pub(super) fn leap(&mut self, now: Moment) {
        self.open.retain(|_, open| {
            let is_over = open.expires_at.is_some_and(|at| now.true_us(at) < now.at_us);
            if is_over {
                let bar = &mut self.bars[open.bar];
                bar.to_us = now.at_us;
                bar.last = Some(now.event);
                "expired: the database clock was set".clone_into(&mut bar.note);
            }
            !is_over
        });
    }

    fn end_all(&mut self, now: Moment, note: &str, is_meant: impl Fn(&Handle) -> bool) {
        let meant: Vec<_> = self.open.keys().filter(|handle| is_meant(handle)).cloned().collect();
        for handle in meant {
            self.end(&handle, now, note);
        }
    }

    /// The database goes on without these commits: leases and locks that they made are gone, and those that they ended
    /// are held again.
    pub(super) fn fail_over(&mut self, lost: &BTreeSet<usize>, now: Moment) {
        let gone = |open: &Open| open.expires_at.is_some() && lost.contains(&self.bars[open.bar].first);
        let gone: Vec<_> =
            self.open.iter().filter(|(_, open)| gone(open)).map(|(handle, _)| handle.clone()).collect();
        for handle in gone {
            self.end(&handle, now, "lost by the fail-over");
        }
        for event in lost.iter().rev() {
            for (handle, bar, expires_at) in self.ended_by.remove(event).into_iter().flatten() {
                let was = &self.bars[bar];
                if lost.contains(&was.first)
                    || now.true_us(expires_at) <= now.at_us
                    || self.open.contains_key(&handle)
                {
                    continue;
                }
                let label = format!("{}, again after the fail-over", was.label);
                let again =
                    Bar { from_us: now.at_us, to_us: now.at_us, label, first: now.event, last: None, ..was.clone() };
                self.begin_until(handle, again, now, Some(expires_at));
            }
        }
    }

    /// Closes what is open, and gives every bar a track.
    pub(super) fn finish(mut self, end: Moment) -> Vec<Bar> {
        for (_, open) in std::mem::take(&mut self.open) {
            let bar = &mut self.bars[open.bar];
            let expired_us = open.expires_at.map_or(u64::MAX, |at| end.true_us(at));
            bar.to_us = expired_us.clamp(bar.from_us, end.at_us.max(bar.from_us));
            let note = if expired_us < end.at_us { "expired" } else { "" };
            note.clone_into(&mut bar.note);
        }
        self.lay();
        let mut bars = self.bars;
        bars.sort_by_key(|bar| (bar.lane, bar.kind.group(), bar.track, bar.kind, bar.from_us, bar.first));
        bars
    }

    /// First fit by beginning, each group of each lane to itself. What runs on a holder's line keeps the line until it
    /// ends, also when the holder ended first: that is what one wants to see.
    fn lay(&mut self) {
        let mut until_us: Vec<_> = self.bars.iter().map(|bar| bar.to_us).collect();
        for (rider, holder) in &self.on {
            until_us[*holder] = until_us[*holder].max(self.bars[*rider].to_us);
        }
        let mut order: Vec<_> = (0..self.bars.len()).filter(|bar| !self.on.contains_key(bar)).collect();
        order.sort_by_key(|bar| (self.bars[*bar].from_us, *bar));
        let mut free_from: BTreeMap<(usize, usize), Vec<u64>> = BTreeMap::new();
        for bar in order {
            let tracks = free_from.entry((self.bars[bar].lane, self.bars[bar].kind.group())).or_default();
            let free = tracks.iter().position(|free_from| *free_from <= self.bars[bar].from_us);
            let track = free.unwrap_or_else(|| {
                tracks.push(0);
                tracks.len() - 1
            });
            // A bar of no length takes its instant all the same.
            tracks[track] = until_us[bar].max(self.bars[bar].from_us + 1);
            self.bars[bar].track = track;
        }
        for (rider, holder) in &self.on {
            self.bars[*rider].track = self.bars[*holder].track;
        }
    }
}
