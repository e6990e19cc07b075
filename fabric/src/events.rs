//! Plain messages beside the exchanges: reports and pulses. Lost when nobody listens, and when a listener is slow.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::client::Fabric;
use crate::error::FabricError;
use crate::wire::{Inbound, Subscription};

/// Messages that wait for a slow listener; more are dropped.
const WAITING_MAX: usize = 4096;

/// A message on a subject of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub subject: String,
    pub payload: Bytes,
}

/// Events as they come. Dropping it ends the subscription.
pub struct Events {
    waiting: mpsc::Receiver<Event>,
    _subscription: Subscription,
    /// The connection lives as long as its events are wanted.
    _fabric: Fabric,
}

impl Events {
    /// The next event. Goes on over reconnections.
    pub async fn next(&mut self) -> Option<Event> {
        self.waiting.recv().await
    }
}

impl futures::Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.waiting.poll_recv(cx)
    }
}

impl Fabric {
    /// Publishes an event. An error: not connected, and so it is lost.
    pub async fn publish(&self, subject: &str, payload: impl AsRef<[u8]>) -> Result<(), FabricError> {
        self.wire()
            .publish(subject, None, &[payload.as_ref()])
            .await
            .map_err(|_| FabricError::Server("not connected to NATS: the event is lost".to_owned()))
    }

    /// Listens to events. What nodes publish must be listened to here and never with [`Fabric::nats`]: a general
    /// client ends its whole connection when a node sends a malformed header.
    pub async fn events(&self, subject: &str) -> Result<Events, FabricError> {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let handler = Arc::new(move |inbound: Inbound<'_>| {
            if let Ok(place) = sender.try_reserve() {
                place.send(Event { subject: inbound.subject.to_owned(), payload: inbound.bytes() });
            }
        });
        let subscription = self.wire().subscribe(subject, None, handler);
        self.wire().flush().await.map_err(|_| FabricError::Subscribe("the connection is down".to_owned()))?;
        Ok(Events { waiting, _subscription: subscription, _fabric: self.clone() })
    }
}
