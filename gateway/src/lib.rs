//! The one public door: functions, the API proxy, the portal's files, and nodes, over HTTP/1.1 or HTTPS.
//!
//! ```text
//! accept -> handle -> address -+-> run        (functions: the run path, a story)
//!                              +-> api        (proxied to the control plane)
//!                              +-> artifacts, test_call
//!                              +-> portal     (embedded files)
//!                              +-> install    (this program, and the script that fetches it)
//!                              +-> connect_node -> splice    (nodes, to NATS)
//! beside it: mirror (routes, nodes, models), issuer (keys of tickets), epochs (of what it stores), learning, pulse, spool
//! ```
//!
//! Nothing here touches a database, and no key, cookie or session of ours goes towards a node.

#![allow(clippy::result_large_err, reason = "a refusal is rare and ends the request; a box would only hide it")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod accept;
mod address;
mod api;
mod artifacts;
mod clients;
mod concurrency;
mod config;
mod connect_node;
mod core_client;
mod encoding;
mod epochs;
mod error;
pub mod finite;
mod half_close;
mod handle;
mod headers;
mod hosts;
mod install;
mod issuer;
mod keys;
mod linger;
mod meters;
mod mirror;
mod models;
mod node_connections;
mod nodes;
mod pieces;
mod portal;
mod proxies;
mod pulse;
mod quiet;
mod quota;
mod refusals;
mod relief;
mod respond_async;
mod response;
mod routes;
mod run;
mod serve;
mod single_flight;
mod splice;
mod spool;
mod stall;
mod state;
mod stranger;
mod test_call;
mod tls;
mod unreadable;
mod upload;

pub use config::Config;
pub use error::Error;
pub use meters::recorder;
pub use proxies::TrustedProxy;
pub use serve::serve;
pub use state::Fabrics;
