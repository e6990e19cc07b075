//! `bench fabric`: a large body on its way through a function, up and down, beside what raw NATS publishes between two
//! connections. Rounds alternate.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::StreamExt as _;
use protocol::Timestamp;

use crate::checks::{Bound, Goal};
use crate::figures::{Figure, Report};
use crate::http::{Connection, Target};
use crate::machine::{self, Machine};
use crate::nats::connect_bare;
use crate::platform::{Parts, Platform};
use crate::process::{Process, free_address};
use crate::{Options, say};

/// Bytes of each body.
const BODY: usize = 100 << 20;
/// Pieces of raw publishing: about a frame of the fabric.
const PIECE: usize = 128 << 10;
const SUBJECT: &str = "pieces";
const RATIO_MIN: f64 = 0.5;
/// More than enough for one body.
const WITHIN: Duration = Duration::from_secs(60);

/// A server of its own, one connection that publishes and one that takes.
struct Raw {
    publisher: async_nats::Client,
    pieces: async_nats::Subscriber,
    _server: Process,
}

impl Raw {
    async fn start(binary: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(binary);
        command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]);
        let server = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let url = format!("nats://{address}");
        let taker = connect_bare(&url).await?;
        let pieces = taker.subscribe(SUBJECT).await?;
        taker.flush().await?;
        Ok(Self { publisher: connect_bare(&url).await?, pieces, _server: server })
    }

    /// From the first piece to the last one's arrival.
    async fn publish(&mut self) -> anyhow::Result<f64> {
        let piece = Bytes::from(vec![b'x'; PIECE]);
        let began = Instant::now();
        let publisher = self.publisher.clone();
        let publishing = async {
            for _ in 0..BODY / PIECE {
                publisher.publish(SUBJECT, piece.clone()).await?;
            }
            publisher.flush().await?;
            anyhow::Ok(())
        };
        let taking = async {
            let mut taken = 0;
            while taken < BODY {
                taken += self.pieces.next().await.context("the subscription ended")?.payload.len();
            }
            anyhow::Ok(())
        };
        let both = async { tokio::try_join!(publishing, taking) };
        tokio::time::timeout(WITHIN, both).await.context("raw publishing takes too long")??;
        Ok(mib_per_second(began.elapsed()))
    }
}

fn mib_per_second(took: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "mebibytes are far below 2^52")]
    let mib = (BODY >> 20) as f64;
    mib / took.as_secs_f64()
}

/// One request; how fast its body, or its answer's of so many bytes, went.
async fn transfer(target: &Target, expected: usize) -> anyhow::Result<f64> {
    let mut connection = Connection::open(target.address).await?;
    let began = Instant::now();
    let answer = tokio::time::timeout(WITHIN, connection.count(target)).await.context("it takes too long")??;
    let took = began.elapsed();
    ensure!(answer.status().is_success(), "{}", answer.status());
    ensure!(*answer.body() == expected, "another body of {} bytes came", answer.body());
    Ok(mib_per_second(took))
}

/// Measures it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let parts = Parts::from_environment()?;
    let at = Timestamp::now().to_string();
    let folder = tempfile::tempdir()?;
    say("starting the platform");
    let platform = Platform::start(&parts, folder.path()).await?;
    platform.deploy()?;
    let probe = parts.component.parent().and_then(Path::parent).and_then(Path::parent);
    let probe = probe.context("the examples have no folder")?.join("probe/dist/probe.wasm");
    let target = platform.deploy_more(&probe, "probe", &["--body", "128MiB"])?;
    let down = target.at(&format!("bytes?n={BODY}"));
    let up = target.at("count").with_bytes(vec![b'x'; BODY].into());
    let mut raw = Raw::start(&parts.nats_server).await?;
    let counted = format!("{BODY}\n").len();
    // What is done once is not measured.
    raw.publish().await?;
    transfer(&down, BODY).await?;
    transfer(&up, counted).await?;
    let (mut raws, mut downs, mut ups) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds {
        say(&format!("round {} of {}", round + 1, options.rounds));
        raws.push(raw.publish().await?);
        downs.push(transfer(&down, BODY).await?);
        ups.push(transfer(&up, counted).await?);
    }
    platform.stop().await?;
    let figure = |of: &str, rounds| Figure::new(of, "mib_per_second", None, rounds);
    let (raw, down, up) = (figure("nats publish", raws), figure("response", downs), figure("request", ups));
    let (down_ratio, up_ratio) = (down.over(&raw, "throughput_ratio"), up.over(&raw, "throughput_ratio"));
    let goal = |what: &str, of: &Figure| Goal::new(what, Bound::AtLeast, RATIO_MIN, of.median);
    Ok(Report {
        benchmark: "fabric",
        at,
        machine: Machine::here(),
        settings: serde_json::json!({
            "rounds": options.rounds,
            "body_bytes": BODY,
            "piece_bytes": PIECE,
            "crowdcloud_version": machine::version(&parts.program),
            "nats_server": machine::version(&parts.nats_server),
        }),
        goals: vec![
            goal("a response's bytes over raw publishing's", &down_ratio),
            goal("a request's bytes over raw publishing's", &up_ratio),
        ],
        figures: vec![raw, down, up, down_ratio, up_ratio],
        // Whatever does not come as it should ends the benchmark.
        checks: Vec::new(),
    })
}
