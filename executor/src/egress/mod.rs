//! The way out of a function, whichever lane it runs in: to the hosts that its version names, at public addresses, and
//! nothing else. The address is checked after the name is resolved, and that very address is connected to.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use wasm_host::NOT_NAMED;

/// Longer waits end with the run's own deadline anyway.
pub(crate) const PHASE_MAX: Duration = Duration::from_secs(600);
/// Of the addresses that a name has, so many are tried.
const ADDRESSES_MAX: usize = 4;
/// Names looked up at one time: each takes a thread, also when nobody waits for it any more.
static LOOKUPS: Semaphore = Semaphore::const_new(32);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{NOT_NAMED}")]
    NotNamed,
    #[error("that name is not known: {0}")]
    Unknown(io::Error),
    #[error("that host has no public address")]
    NotPublic,
    #[error("that host takes no connection: {0}")]
    Unreachable(io::Error),
}

/// Which hosts a version may call: `api.example.com`, `*.example.com`, each with `:port` or without.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EgressRules {
    rules: Vec<Rule>,
    /// Only for tests, whose servers are on this machine.
    pub(crate) private_addresses: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    /// With a leading dot for a wildcard.
    host: String,
    port: Option<u16>,
}

impl EgressRules {
    pub(crate) fn parse(hosts: &[String]) -> Self {
        let rules = hosts.iter().map(|text| {
            let (host, port) = match text.rsplit_once(':') {
                Some((host, digits)) if !host.ends_with(':') && digits.bytes().all(|b| b.is_ascii_digit()) => {
                    (host, digits.parse().ok())
                }
                _ => (text.as_str(), None),
            };
            Rule { host: host.strip_prefix('*').unwrap_or(host).to_ascii_lowercase(), port }
        });
        Self { rules: rules.collect(), private_addresses: false }
    }

    /// No host may be called.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn allow(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        self.rules.iter().any(|rule| {
            let same_host = if rule.host.starts_with('.') { host.ends_with(&rule.host) } else { host == rule.host };
            same_host && rule.port.is_none_or(|only| only == port)
        })
    }
}

/// Connects to a host, where the rules allow it.
pub(crate) async fn connect(rules: &EgressRules, host: &str, port: u16) -> Result<TcpStream, Refused> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if !rules.allow(host, port) {
        return Err(Refused::NotNamed);
    }
    let found = resolve(host, port).await.map_err(Refused::Unknown)?;
    let allowed = found.iter().filter(|address| rules.private_addresses || protocol::address::is_public(address.ip()));
    let mut last = Refused::NotPublic;
    for address in allowed.take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(Refused::Unreachable)?;
                return Ok(stream);
            }
            Err(error) => last = Refused::Unreachable(error),
        }
    }
    Err(last)
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let permit = LOOKUPS.acquire().await.map_err(io::Error::other)?;
    let host = host.to_owned();
    let lookup = tokio::task::spawn_blocking(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        drop(permit);
        found
    });
    lookup.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
