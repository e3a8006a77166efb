//! Connections of the event lane as hosts hold them. What passes between their ends is the fabric's.

use std::{future::poll_fn, io, sync::Arc};

use tourbillon::store::BoxFuture;

use super::fabric::{EndId, Fabric};
use crate::{
    history::HostId,
    world::{
        net::{BoxConnection, Connection, Listener, Net},
        wire::Message,
    },
};

pub(super) struct EventNet {
    fabric: Arc<Fabric>,
}

impl EventNet {
    pub(super) const fn new(fabric: Arc<Fabric>) -> Self {
        Self { fabric }
    }
}

impl Net for EventNet {
    fn dial(&self, from: HostId, to: HostId) -> BoxFuture<'static, io::Result<BoxConnection>> {
        let fabric = Arc::clone(&self.fabric);
        Box::pin(async move {
            let end = End { id: fabric.dial(from, to), fabric };
            poll_fn(|cx| end.fabric.poll_opened(end.id, cx)).await?;
            Ok(Box::new(end) as BoxConnection)
        })
    }

    fn listen(&self, at: HostId) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let fabric = Arc::clone(&self.fabric);
        Box::pin(async move {
            let number = fabric.listen(at);
            Ok(Box::new(Listening { fabric, at, number }) as Box<dyn Listener>)
        })
    }
}

/// One end of a connection.
struct End {
    fabric: Arc<Fabric>,
    id: EndId,
}

impl Connection for End {
    fn send(&mut self, message: Box<Message>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move { self.fabric.send(self.id, message) })
    }

    fn receive(&mut self) -> BoxFuture<'_, io::Result<Box<Message>>> {
        Box::pin(poll_fn(|cx| self.fabric.poll_received(self.id, cx)))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.fabric.close(self.id);
    }
}

struct Listening {
    fabric: Arc<Fabric>,
    at: HostId,
    number: u64,
}

impl Listener for Listening {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxConnection>> {
        Box::pin(async {
            let id = poll_fn(|cx| self.fabric.poll_accepted(self.at, cx)).await;
            Ok(Box::new(End { fabric: Arc::clone(&self.fabric), id }) as BoxConnection)
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.fabric.unlisten(self.at, self.number);
    }
}
