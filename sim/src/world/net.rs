//! The part of a network that hosts see: dial, listen, bytes. One implementation per lane.

use std::{io, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tourbillon::store::BoxFuture;

use crate::history::HostId;

/// A byte stream that behaves like TCP.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) type BoxStream = Box<dyn Stream>;

/// Accepts connections.
pub(super) trait Listener: Send {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>>;
}

/// What the hosts of a lane share.
pub(super) trait Net: Send + Sync {
    /// Connects the calling host to another one.
    fn dial(&self, to: HostId) -> BoxFuture<'static, io::Result<BoxStream>>;
    /// Starts to accept on the calling host.
    fn listen(&self) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;
}

pub(super) type SharedNet = Arc<dyn Net>;
