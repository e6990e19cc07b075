//! `bench floods`: what the platform still holds in memory after strangers and nodes have flooded it.
//!
//! Each flood comes anew in each round. What it leaves may be a bounded table; it must not grow with the rounds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use fabric::{Authority, UserKey, subjects};
use futures::future::join_all;
use protocol::{NodeId, Timestamp};
use rand::distr::{Alphanumeric, SampleString as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::checks::Check;
use crate::figures::{Figure, Report};
use crate::http::{Connection, Target};
use crate::machine::{self, Machine};
use crate::nats;
use crate::platform::{Parts, Platform};
use crate::{Options, say};

/// Connections of strangers at once, and clients that they seem to be.
const STRANGERS: u32 = 16;
/// Connections with slow bodies at once; no client may have so many.
const SLOW: u32 = 1000;
const SLOW_CLIENTS: u32 = 20;
/// What a slow body announces, and how often a byte of it comes.
const SLOW_BYTES: usize = 60_000;
const SLOW_EVERY: Duration = Duration::from_millis(500);
/// Nodes that send garbage.
const NODES: usize = 16;
/// After a flood, before memory is looked at.
const CALM: Duration = Duration::from_secs(5);
/// From the first round's end to the last one's, so much may be noise.
const GROWTH_MAX_MIB: f64 = 32.0;

/// What comes.
#[derive(Debug, Clone, Copy)]
enum Flood {
    /// Log-ins with addresses of 60 KB and of 200 bytes, and calls with keys that were made up.
    Strangers,
    /// Bodies of sign-ups and uploads, a byte now and then.
    SlowBodies,
    /// Reports and frames that are none.
    Nodes,
}

impl Flood {
    const ALL: [Self; 3] = [Self::Strangers, Self::SlowBodies, Self::Nodes];

    fn name(self) -> &'static str {
        match self {
            Self::Strangers => "log-ins and made-up keys",
            Self::SlowBodies => "slow bodies",
            Self::Nodes => "garbage from nodes",
        }
    }
}

/// Measures everything.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let parts = Parts::from_environment()?;
    let folder = tempfile::tempdir()?;
    let at = Timestamp::now().to_string();
    say("starting the platform");
    let platform = Platform::start(&parts, folder.path()).await?;
    platform.deploy()?;
    tokio::time::sleep(CALM).await;
    let mut figures = vec![Figure::new("crowdcloud", "resident_before_mib", None, vec![resident_mib(&platform)])];
    let mut checks = Vec::new();
    for flood in Flood::ALL {
        let (mut sent, mut resident) = (Vec::new(), Vec::new());
        for round in 1..=options.rounds {
            say(&format!("round {round} of {}: {}", options.rounds, flood.name()));
            sent.push(send(flood, &platform, Duration::from_secs_f64(options.seconds)).await?);
            tokio::time::sleep(CALM).await;
            resident.push(resident_mib(&platform));
        }
        let (first, last) = (resident.first().copied(), resident.last().copied());
        let growth = last.unwrap_or_default() - first.unwrap_or_default();
        checks.push(Check::new(
            format!("{}: the last round leaves what the first one left", flood.name()),
            growth < GROWTH_MAX_MIB,
            format!("{growth:+.1} MiB"),
        ));
        figures.push(Figure::new(flood.name(), "sent_per_round", None, sent));
        figures.push(Figure::new(flood.name(), "resident_after_mib", None, resident));
    }
    let called = platform.at("/readyz");
    checks.push(Check::new(
        "the platform is ready after all of it",
        crate::http::get(&called).await.is_ok_and(|answer| answer.status().is_success()),
        "",
    ));
    let settings = serde_json::json!({
        "rounds": options.rounds,
        "seconds": options.seconds,
        "crowdcloud_version": machine::version(&parts.program),
    });
    platform.stop().await?;
    Ok(Report { benchmark: "floods", at, machine: Machine::here(), settings, figures, goals: Vec::new(), checks })
}

#[allow(clippy::cast_precision_loss, reason = "kilobytes are far below 2^52")]
fn resident_mib(platform: &Platform) -> f64 {
    platform.resident().iter().map(|(_, kib)| *kib).sum::<u64>() as f64 / 1024.0
}

/// One flood for so long; how many requests, connections or messages it was.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
async fn send(flood: Flood, platform: &Platform, lasts: Duration) -> anyhow::Result<f64> {
    let until = Instant::now() + lasts;
    let sent: u64 = match flood {
        Flood::Strangers => {
            let all = (0..STRANGERS).map(|number| stranger(platform.at("/").address, number, until));
            join_all(all).await.into_iter().sum()
        }
        Flood::SlowBodies => {
            let address = platform.at("/").address;
            join_all((0..SLOW).map(|number| slow(address, number, until))).await.into_iter().sum()
        }
        Flood::Nodes => {
            let (url, keys) = (platform.nats_url(), platform.keys());
            let authority = Authority::open(&keys)?;
            let all = (0..NODES).map(|_| node(&url, &authority, until));
            join_all(all).await.into_iter().collect::<anyhow::Result<Vec<u64>>>()?.into_iter().sum()
        }
    };
    Ok(sent as f64)
}

/// An address of loopback for each client.
fn client(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + number))
}

async fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// One request after the other, each with words that nobody has sent before.
async fn stranger(address: SocketAddr, number: u32, until: Instant) -> u64 {
    let mut sent = 0;
    let mut connection = None;
    while Instant::now() < until {
        let word = |length| Alphanumeric.sample_string(&mut rand::rng(), length);
        let login = |length| {
            let login = serde_json::json!({"email": format!("{}@example.com", word(length)), "password": word(12)});
            Target::new(address, "/api/v1/sessions").with_json(&login).unwrap_or_else(|_| Target::new(address, "/"))
        };
        let target = match sent % 3 {
            0 => login(60_000),
            1 => login(200),
            _ => Target::new(address, "/f/bench/hello/").with_key(&format!("cck_{}", word(43))),
        };
        sent += 1;
        // Whoever is refused comes again, as another client.
        let mut open = match connection.take() {
            Some(open) => open,
            None => {
                let from = client(number + STRANGERS * u32::try_from(sent % 1000).unwrap_or_default());
                let Ok(open) = connect(from, address).await else { continue };
                let Ok(open) = Connection::over(open).await else { continue };
                open
            }
        };
        if open.send(&target).await.is_ok() && sent % 16 != 0 {
            connection = Some(open);
        }
    }
    sent
}

/// A body that hardly comes; whenever it is refused, the next one.
async fn slow(address: SocketAddr, number: u32, until: Instant) -> u64 {
    let path = ["/api/v1/signup", "/api/v1/artifacts"][number as usize % 2];
    let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {SLOW_BYTES}\r\n\r\n");
    let mut sent = 0;
    while Instant::now() < until {
        sent += 1;
        let Ok(mut stream) = connect(client(number % SLOW_CLIENTS), address).await else { continue };
        if stream.write_all(head.as_bytes()).await.is_err() {
            continue;
        }
        let mut answer = [0; 1024];
        while Instant::now() < until && stream.write_all(b"x").await.is_ok() {
            // An answer, or the connection's end: refused.
            if let Ok(read) = tokio::time::timeout(SLOW_EVERY, stream.read(&mut answer)).await {
                let _: std::io::Result<usize> = read;
                break;
            }
        }
    }
    sent
}

/// A node with good credentials, and nothing but garbage to say.
async fn node(url: &str, authority: &Authority, until: Instant) -> anyhow::Result<u64> {
    let id = NodeId::new();
    let client = nats::connect_as(url, &UserKey::generate().of_node(authority.registrar(), id)?).await?;
    let mut sent = 0;
    while Instant::now() < until {
        for payload in [&b"garbage"[..], br#"{"v":1,"load":1e39}"#, &[0xff; 1024]] {
            client.publish(subjects::report(id), Bytes::copy_from_slice(payload)).await?;
            sent += 1;
        }
        client.flush().await.context("nats-server does not answer")?;
    }
    Ok(sent)
}
