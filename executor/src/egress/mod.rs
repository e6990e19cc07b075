//! The way out of a function, whichever lane it runs in: to the hosts that its version names, at public addresses, and
//! nothing else. The address is checked after the name is resolved, and that very address is connected to.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use fabric::shares::{Held, Shares};
use protocol::{AccountId, Code, Problem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use wasm_host::NOT_NAMED;

use crate::config::Config;
use crate::finite;

/// Longer waits end with the run's own deadline anyway.
pub(crate) const PHASE_MAX: Duration = Duration::from_secs(600);
/// Of the addresses that a name has, so many are tried.
const ADDRESSES_MAX: usize = 4;
/// Look-ups that wait for their turn.
const LOOKUPS_WAITING_MAX: u64 = 4096;

/// The ways out that a lane has.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    connections: Shares<AccountId>,
    /// Names looked up at one time: each takes a thread, also when nobody waits for it any more.
    lookups: Shares<AccountId>,
    lent: Arc<AtomicBool>,
}

impl Ways {
    pub(crate) fn new(config: &Config, lent: Arc<AtomicBool>) -> Self {
        let lookups = finite::lookups(config).shares_with_lines(LOOKUPS_WAITING_MAX);
        Self { connections: finite::connections(config).shares(), lookups, lent }
    }

    /// Whether runs of a version with this egress may begin: another node may let them.
    pub(crate) fn allow(&self, egress: &[String]) -> Result<(), Problem> {
        if egress.is_empty() || self.lent.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Problem::new(Code::Overloaded, Refused::NotLent.to_string()))
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{NOT_NAMED}")]
    NotNamed,
    #[error("this node lends no connections to other hosts")]
    NotLent,
    #[error("that name is not known: {0}")]
    Unknown(io::Error),
    #[error("that host has no public address")]
    NotPublic,
    #[error("that host takes no connection: {0}")]
    Unreachable(io::Error),
    #[error("the account holds its share of this node's connections to other hosts")]
    TooMany,
}

/// Which hosts a version may call: `api.example.com`, `*.example.com`, each with `:port` or without.
#[derive(Debug, Default)]
pub(crate) struct EgressRules {
    rules: Vec<Rule>,
    /// Whose share of which connections it takes from. Tests alone have none.
    of: Option<(AccountId, Ways)>,
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
        Self { rules: rules.collect(), of: None, private_addresses: false }
    }

    /// The same, which takes from this account's share.
    pub(crate) fn of(self, account: AccountId, ways: &Ways) -> Self {
        Self { of: Some((account, ways.clone())), ..self }
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
pub(crate) async fn connect(rules: &EgressRules, host: &str, port: u16) -> Result<Connection, Refused> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if !rules.allow(host, port) {
        return Err(Refused::NotNamed);
    }
    if rules.of.as_ref().is_some_and(|(_, ways)| !ways.lent.load(Ordering::Relaxed)) {
        return Err(Refused::NotLent);
    }
    let share = match &rules.of {
        Some((account, ways)) => Some(ways.connections.try_take(*account, 1).map_err(|_| Refused::TooMany)?),
        None => None,
    };
    let found = resolve(rules, host, port).await?;
    let allowed = found.iter().filter(|address| rules.private_addresses || protocol::address::is_public(address.ip()));
    let mut last = Refused::NotPublic;
    for address in allowed.take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(Refused::Unreachable)?;
                return Ok(Connection { stream, _share: share });
            }
            Err(error) => last = Refused::Unreachable(error),
        }
    }
    Err(last)
}

async fn resolve(rules: &EgressRules, host: &str, port: u16) -> Result<Vec<SocketAddr>, Refused> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let turn = match &rules.of {
        Some((account, ways)) => Some(ways.lookups.take(*account).await.map_err(|_| Refused::TooMany)?),
        None => None,
    };
    let host = host.to_owned();
    let lookup = tokio::task::spawn_blocking(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        drop(turn);
        found
    });
    lookup.await.map_err(io::Error::other).flatten().map_err(Refused::Unknown)
}

/// A connection, and the share that it takes for as long as it is open.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    _share: Option<Held<AccountId>>,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
