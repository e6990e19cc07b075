//! The way out of an instance: its outgoing HTTP, by the rules of all lanes.

use wasm_host::{Connect, NoConnection};
use wasmtime_wasi_http::Error;

use crate::egress::{self, Connection, EgressRules, Refused};

impl Connect for EgressRules {
    type Stream = Connection;

    async fn connect(&self, host: &str, port: u16) -> Result<Connection, NoConnection> {
        egress::connect(self, host, port).await.map_err(|refused| {
            let why = refused.to_string();
            let error = match refused {
                Refused::NotNamed | Refused::NotLent => Error::HttpRequestDenied,
                Refused::Unknown(_) => Error::DnsError { rcode: None, info_code: None },
                Refused::NotPublic => Error::DestinationIpProhibited,
                Refused::Unreachable(error) => Error::Connect(error),
                Refused::TooMany => Error::ConnectionLimitReached,
            };
            NoConnection { error, why }
        })
    }
}
