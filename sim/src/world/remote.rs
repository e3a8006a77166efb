//! The store as a replica sees it: over a network, with connections that can hang, break and lie fallow.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tourbillon::{
    model::{LeaseRef, RequestId},
    store::{BoxFuture, ErrorKind, Listener, Reply, Request, Store, StoreError, Verb},
};

use super::{
    application::{ApplicationReply, ApplicationRequest},
    net::BoxConnection,
    notices,
    process::Process,
    wire::{self, APPLICATION, Answered, Ask, Asked, Told},
};
use crate::fault::FaultKind;
use crate::history::{Answer, HostId, What};

/// Idle connections kept; more are closed.
const MAX_IDLE: usize = 8;

pub(super) struct RemoteStore {
    process: Arc<Process>,
    idle: Mutex<Vec<BoxConnection>>,
}

impl RemoteStore {
    pub(super) fn new(process: Arc<Process>) -> Self {
        Self { process, idle: Mutex::default() }
    }

    async fn connection(&self) -> io::Result<BoxConnection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => self.process.world.net.dial(HostId::Replica(self.process.replica), HostId::Database).await,
        }
    }

    /// One transmission. A connection goes back to the idle ones only after a complete answer: one that timed out
    /// is dropped with this future, since a late answer would be taken for that of the next request.
    async fn transmit(&self, asked: Asked) -> Told {
        let unreachable =
            |error: io::Error| StoreError::new(ErrorKind::Unavailable, format!("cannot connect: {error}"));
        let broken = |error: io::Error| StoreError::new(ErrorKind::Unknown, format!("connection broke: {error}"));
        if self.process.pool.is_full() {
            self.process.world.strikes.count(FaultKind::PoolExhaustion);
        }
        let _place = Arc::clone(&self.process.pool).enter().await;
        let mut connection = self.connection().await.map_err(unreachable)?;
        wire::send(&mut connection, Ask { replica: self.process.replica, asked }).await.map_err(broken)?;
        let told: Told = wire::receive(&mut connection).await.map_err(broken)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
        told
    }

    /// Calls an application verb, alone or with a store request in the same transaction.
    pub(super) async fn call_application(&self, request: ApplicationRequest) -> Result<ApplicationReply, StoreError> {
        self.process.holds_back().await;
        // Strikes know the transaction by the id that is invoked first.
        let mut answered = self.invoke(request.id, APPLICATION, Vec::new());
        let mut beside = request.with.as_ref().map(|with| self.invoke(with.id, with.verb.name(), leases(&with.verb)));
        let result = self.transmit(Asked::Application(request.into())).await;
        answered.end(&result);
        if let Some(beside) = &mut beside {
            beside.end(&result);
        }
        match result? {
            Answered::Application(reply) => Ok(reply),
            _ => Err(mistaken()),
        }
    }

    /// Records that a request is sent; the returned guard records how that ended.
    fn invoke(&self, request: RequestId, verb: &'static str, leases: Vec<LeaseRef>) -> OnDrop<'_> {
        let incarnation = self.process.incarnation();
        self.process.record(What::Invoked { incarnation, request, verb: verb.into(), leases });
        self.process.world.strikes.sends(self.process.replica, request);
        #[cfg(feature = "zoo")]
        crate::zoo::asked(request, self.process.wall_ahead_us());
        OnDrop { process: &self.process, request, verb, answer: None }
    }
}

fn mistaken() -> StoreError {
    StoreError::new(ErrorKind::Corrupt, "the database answered another question than it was asked")
}

impl Store for RemoteStore {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply, StoreError>> {
        Box::pin(async move {
            self.process.holds_back().await;
            let mut answered = self.invoke(request.id, request.verb.name(), leases(&request.verb));
            let result = self.transmit(Asked::Store(request.into())).await;
            answered.end(&result);
            match result? {
                Answered::Store(reply) => Ok(reply),
                _ => Err(mistaken()),
            }
        })
    }

    fn listen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Listener>>, StoreError>> {
        Box::pin(async {
            let listener = notices::listen(Arc::clone(&self.process)).await?;
            Ok(Some(Box::new(listener) as Box<dyn Listener>))
        })
    }
}

/// Records how a transmission ended, also when its caller gave up and dropped it.
struct OnDrop<'a> {
    process: &'a Process,
    request: RequestId,
    verb: &'static str,
    answer: Option<Answer>,
}

impl OnDrop<'_> {
    fn end(&mut self, told: &Told) {
        self.answer = Some(match told {
            Ok(_) => Answer::Reply,
            Err(error) => Answer::Error(error.kind(), error.message().to_owned()),
        });
    }
}

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        let given_up = || Answer::Error(ErrorKind::Unknown, "given up".to_owned());
        let answer = self.answer.take().unwrap_or_else(given_up);
        let incarnation = self.process.incarnation();
        self.process.record(What::Answered { incarnation, request: self.request, verb: self.verb.into(), answer });
    }
}

pub(super) fn leases(verb: &Verb) -> Vec<LeaseRef> {
    match verb {
        Verb::Start(verb) => verb.leases.clone(),
        Verb::Heartbeat(verb) => verb.leases.clone(),
        Verb::Settle(verb) => verb.settlements.iter().map(|settlement| settlement.lease).collect(),
        _ => Vec::new(),
    }
}
