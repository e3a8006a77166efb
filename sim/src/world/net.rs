//! The part of a network that hosts see: dial, listen, messages. One implementation per lane.

use std::{io, sync::Arc};

use tourbillon::store::BoxFuture;

use super::wire::Message;
use crate::history::HostId;

/// One end of a connection that behaves like TCP: messages arrive in order or not at all, and nobody is told of
/// those that are lost. Dropping it says goodbye, if the link lets it.
pub(super) trait Connection: Send {
    /// Sends; returns without knowing whether it arrives.
    fn send(&mut self, message: Box<Message>) -> BoxFuture<'_, io::Result<()>>;
    /// The next message; an error when the other end is gone.
    fn receive(&mut self) -> BoxFuture<'_, io::Result<Box<Message>>>;
}

pub(super) type BoxConnection = Box<dyn Connection>;

/// Accepts connections.
pub(super) trait Listener: Send {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxConnection>>;
}

/// What the hosts of a lane share.
pub(super) trait Net: Send + Sync {
    /// Connects a host to another one.
    fn dial(&self, from: HostId, to: HostId) -> BoxFuture<'static, io::Result<BoxConnection>>;
    /// Starts to accept on a host.
    fn listen(&self, at: HostId) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;
}

pub(super) type SharedNet = Arc<dyn Net>;
