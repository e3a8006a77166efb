//! The seam between the world and what carries it: the few things that differ from lane to lane.

use std::time::Duration;

use tourbillon::store::BoxFuture;

use crate::history::HostId;

/// What can be wrong with the link between two hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LinkState {
    /// Messages pass.
    Up,
    /// Nothing passes; what is under way is lost.
    Down,
    /// Nothing passes from the first host to the second.
    DownForth,
    /// Nothing passes from the second host to the first.
    DownBack,
    /// Messages wait and are delivered when the link is up again.
    Held,
}

/// Starts a host's software; called again at each restart.
pub(super) type Software = Box<dyn Fn() -> BoxFuture<'static, ()>>;

/// A lane: runs hosts, carries messages, moves time.
pub(super) trait Lane {
    /// Adds a host and starts it.
    fn add(&mut self, host: HostId, software: Software);
    /// Moves time by one tick.
    fn step(&mut self) -> Result<(), String>;
    /// True time since the start.
    fn elapsed(&self) -> Duration;
    /// Drops a host's tasks.
    fn crash(&mut self, host: HostId);
    /// Starts a crashed or finished host again.
    fn restart(&mut self, host: HostId);
    /// Whether a host's software has not ended.
    fn is_running(&mut self, host: HostId) -> bool;
    /// Changes a link.
    fn link(&mut self, a: HostId, b: HostId, from: LinkState, to: LinkState);
}
