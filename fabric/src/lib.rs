//! HTTP over NATS: a `tower::Service` mounted on a subject, and callers that send it an `http::Request`.
//!
//! Nothing here knows what the requests mean. Nothing outside builds or parses a subject or a frame.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod address;
mod body;
mod boots;
mod call;
mod client;
mod credentials;
mod dropped;
mod error;
mod events;
mod exchange;
pub mod fault;
mod frame;
mod hop;
mod lists;
pub mod metric_names;
mod nats_server;
pub mod profile;
mod reports;
mod seal;
mod serve;
pub mod shares;
mod shut_out;
pub mod subjects;
mod uplink;
mod wire;

pub use address::{CoreService, Identity, Mount, NodeEndpoint, NodeService, Peer, Target};
pub use body::{Body, BodyError, empty, full};
pub use call::{CallOptions, End, EndFuture, EndKind, Reply};
pub use client::{Fabric, FabricConfig};
pub use credentials::{Authority, Credentials, NonceKey, Registrar, SignNonce, UserKey};
pub use dropped::Dropped;
pub use error::{CallError, FabricError};
pub use events::{Event, Events};
pub use hop::{strip_hop_by_hop, wants_trailers};
pub use nats_server::{NatsServer, NatsServerConfig};
pub use serve::{Admit, Busy, EndSender, Exchange, Permit, ServeOptions, Serving};
pub use uplink::{FirstHop, HttpProxy, Seen, Sign, Trust, Trusted, Uplink};
