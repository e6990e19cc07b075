//! The NATS connection as the exchanges see it: publish bytes, hear bytes.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{FabricConfig, FabricError};

/// A message from NATS.
pub(crate) struct Inbound<'a> {
    pub(crate) subject: &'a str,
    pub(crate) reply: Option<&'a str>,
    /// NATS says that nobody listens.
    pub(crate) no_responders: bool,
    pub(crate) payload: Bytes,
}

pub(crate) type Handler = Arc<dyn Fn(Inbound<'_>) + Send + Sync>;

/// Ends a subscription when dropped.
pub(crate) struct Subscription {
    _guard: DropGuard,
}

#[derive(Clone)]
pub(crate) struct Wire {
    nats: async_nats::Client,
}

/// The connection is down.
#[derive(Debug)]
pub(crate) struct Down;

impl Wire {
    pub(crate) async fn connect(config: &FabricConfig) -> Result<Self, FabricError> {
        let pair =
            nkeys::KeyPair::from_seed(&config.credentials.seed).map_err(|e| FabricError::Credentials(e.to_string()))?;
        let pair = Arc::new(pair);
        let options = async_nats::ConnectOptions::with_jwt(config.credentials.jwt.clone(), move |nonce| {
            let pair = pair.clone();
            async move { pair.sign(&nonce).map_err(async_nats::AuthError::new) }
        })
        .name(&config.name)
        .ping_interval(Duration::from_secs(2))
        .client_capacity(4096)
        .reconnect_delay_callback(|attempt| if attempt == 0 { Duration::ZERO } else { Duration::from_millis(100) });
        let servers: Vec<&str> = config.url.split(',').map(str::trim).collect();
        let nats = options
            .connect(servers)
            .await
            .map_err(|e| FabricError::Connect { url: config.url.clone(), reason: e.to_string() })?;
        Ok(Self { nats })
    }

    pub(crate) fn client(&self) -> &async_nats::Client {
        &self.nats
    }

    pub(crate) fn is_up(&self) -> bool {
        self.nats.connection_state() == State::Connected
    }

    pub(crate) async fn publish(&self, subject: &str, reply: Option<String>, payload: Bytes) -> Result<(), Down> {
        if !self.is_up() {
            return Err(Down);
        }
        let sent = match reply {
            Some(reply) => self.nats.publish_with_reply(subject.to_owned(), reply, payload).await,
            None => self.nats.publish(subject.to_owned(), payload).await,
        };
        sent.map_err(|_| Down)
    }

    /// Publishes now or not at all.
    pub(crate) fn try_publish(&self, subject: &str, payload: Bytes) -> bool {
        matches!(self.publish(subject, None, payload).now_or_never(), Some(Ok(())))
    }

    pub(crate) async fn subscribe(
        &self,
        subject: String,
        queue: Option<&str>,
        handler: Handler,
    ) -> Result<Subscription, FabricError> {
        let mut subscriber = match queue {
            Some(queue) => self.nats.queue_subscribe(subject, queue.to_owned()).await,
            None => self.nats.subscribe(subject).await,
        }
        .map_err(|e| FabricError::Subscribe(e.to_string()))?;
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    biased;
                    () = ended.cancelled() => break,
                    message = subscriber.next() => message,
                };
                let Some(message) = message else { break };
                handler(Inbound {
                    subject: &message.subject,
                    reply: message.reply.as_deref(),
                    no_responders: message.status == Some(async_nats::StatusCode::NO_RESPONDERS),
                    payload: message.payload,
                });
            }
            drop(subscriber.unsubscribe().await);
        });
        Ok(Subscription { _guard: guard })
    }

    /// The server has seen everything up to now.
    pub(crate) async fn flush(&self) -> Result<(), Down> {
        self.nats.flush().await.map_err(|_| Down)
    }

    pub(crate) async fn close(&self) {
        drop(tokio::time::timeout(Duration::from_secs(1), self.nats.drain()).await);
    }
}
