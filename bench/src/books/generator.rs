//! Plays gateways and their nodes: each run's two halves as the platform's own parts write them, in numbered batches and
//! signed checkpoints. A gateway and the nodes that it sends its runs to are a lane.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use fabric::{CoreService, Fabric, NodeService, Target};
use futures::future::try_join_all;
use protocol::batch::{BatchAck, BatchHead};
use protocol::node::{Hello, HelloReply, PROTOCOL_MAX, PROTOCOL_MIN};
use protocol::placement::{Considered, Explanation, Warmth};
use protocol::receipt::{Checkpoint, CheckpointAck, NodeReceipt, Observation, Outcome, RunEnd, Usage};
use protocol::ticket::{IssuerKeys, RunTicket};
use protocol::{
    ByteSize, Code, Digest, InstanceId, Lane as RunLane, Limits, NodeId, RunId, RunPrincipal, RunSource, Timestamp,
};
use rand::Rng as _;
use tokio::task::JoinSet;

use super::api::{Tenant, call, post};
use super::control_plane::ControlPlane;

/// Batches of a gateway on their way at once, as of the gateway's own spool.
pub(super) const IN_FLIGHT_MAX: usize = 32;
/// Nodes of a gateway: each batch has as many receipts of each as fit into a checkpoint.
pub(super) const NODES: usize = 2;
/// One run in so many fails; no multiple of the accounts' number, so that each has some.
const FAILS_EVERY: u64 = 1009;
/// The pauses before something is sent again, as of a gateway's spool and a node's journal.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Those send for ever; here something that is not committed for so long ends the measurement.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(120);
/// Tickets last so long.
const TICKET: Duration = Duration::from_secs(10);

/// How fast a lane sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Runs of a batch.
    pub(super) batch: usize,
    /// From one batch to the next; as soon as there may be another on its way where nothing is said.
    pub(super) every: Option<Duration>,
}

/// When a lane stops to send: whichever comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    pub(super) ends: Instant,
    pub(super) runs: u64,
}

/// A batch of observations that is committed, and with it the receipts of its runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) runs: u64,
    pub(super) at: Instant,
    /// How often something was sent again.
    pub(super) again: u64,
}

/// A run that was settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) run: RunId,
    pub(super) received: Timestamp,
    /// The place of its account.
    pub(super) tenant: usize,
}

/// A gateway, and its nodes.
pub(super) struct Lane {
    gateway: Fabric,
    instance: InstanceId,
    keys: IssuerKeys,
    /// The last batch.
    number: u64,
    nodes: Vec<Node>,
    made: u64,
    /// The first run of each batch.
    pub(super) known: Vec<Known>,
}

/// A node, and the last checkpoint that it has signed.
struct Node {
    fabric: Fabric,
    id: NodeId,
    key: SigningKey,
    sequence: u64,
    digest: Digest,
}

/// What is on its way.
struct Parcel {
    fabric: Fabric,
    to: Target,
    path: String,
    body: Bytes,
    number: u64,
}

impl Lane {
    /// A gateway with keys of its own, and these nodes, which say hello.
    pub(super) async fn open(plane: &ControlPlane, nodes: &[NodeId]) -> anyhow::Result<Self> {
        let gateway = plane.core("a gateway").await?;
        let asked = post("/internal/ticket-keys", Bytes::new())?;
        let keys = call(&gateway, Target::Core(CoreService::ControlPlane), asked).await?;
        let keys: IssuerKeys = serde_json::from_slice(keys.body()).context("a gateway's keys")?;
        let mut greeted = Vec::with_capacity(nodes.len());
        for id in nodes {
            greeted.push(Node::greet(plane.node(*id).await?, *id).await?);
        }
        let (instance, known) = (InstanceId::new(), Vec::new());
        Ok(Self { gateway, instance, keys, number: 0, nodes: greeted, made: 0, known })
    }

    /// Sends batches of new runs of these accounts, one account after the other, and waits until all are committed.
    pub(super) async fn load(&mut self, tenants: &[Tenant], pace: Pace, until: Until) -> anyhow::Result<Vec<Done>> {
        let (mut flight, mut done) = (JoinSet::new(), Vec::new());
        let (last, mut next) = (self.made.saturating_add(until.runs), tokio::time::Instant::now());
        while self.made < last && Instant::now() < until.ends {
            if let Some(every) = pace.every {
                tokio::time::sleep_until(next).await;
                next += every;
            }
            if flight.len() >= IN_FLIGHT_MAX
                && let Some(one) = flight.join_next().await
            {
                done.push(one??);
            }
            flight.spawn(commit(self.next(tenants, pace.batch)?, pace.batch as u64));
            // Another lane may have its turn.
            tokio::task::yield_now().await;
        }
        while let Some(one) = flight.join_next().await {
            done.push(one??);
        }
        Ok(done)
    }

    /// The next batch, and the checkpoints of its runs' nodes.
    fn next(&mut self, tenants: &[Tenant], runs: usize) -> anyhow::Result<Vec<Parcel>> {
        let mut seen = Vec::with_capacity(runs);
        let mut receipts: Vec<Vec<NodeReceipt>> = self.nodes.iter().map(|_| Vec::new()).collect();
        for index in 0..runs {
            let place = usize::try_from(self.made).unwrap_or(0) % tenants.len();
            let node = index % self.nodes.len();
            let (receipt, observation) = self.run(&tenants[place], node);
            if index == 0 {
                let Observation { run, received, .. } = observation;
                self.known.push(Known { run, received, tenant: place });
            }
            receipts[node].push(receipt);
            seen.push(observation);
            self.made += 1;
        }
        self.number += 1;
        let body = Bytes::from(serde_json::to_vec(&seen)?);
        let head =
            BatchHead { epoch: self.keys.epoch, number: self.number, digest: Digest::of(&body), acknowledged: 0 };
        let mut parcels = vec![Parcel {
            fabric: self.gateway.clone(),
            to: Target::Core(CoreService::Settlement),
            path: format!("/internal/observations?{}", head.query()),
            body,
            number: self.number,
        }];
        for (node, receipts) in self.nodes.iter_mut().zip(receipts) {
            parcels.push(node.sign(receipts)?);
        }
        Ok(parcels)
    }

    /// What it says of a run, as text.
    pub(super) fn text(&self, tenant: &Tenant) -> anyhow::Result<String> {
        Ok(serde_json::to_string(&self.run(tenant, 0).1)?)
    }

    /// Both halves of a run that a node has done.
    fn run(&self, tenant: &Tenant, node: usize) -> (NodeReceipt, Observation) {
        let (run, now, node) = (RunId::new(), Timestamp::now(), self.nodes[node].id);
        let Tenant { account, function, version, key, .. } = *tenant;
        let wall_us: u64 = rand::rng().random_range(1_000..20_000);
        let (limits, lane) = (Limits::default(), RunLane::Wasm);
        let artifact = Digest([7; 32]);
        let ticket = RunTicket { run, node, lane, account, function, version, artifact, limits };
        let (outcome, code, status) = match self.made % FAILS_EVERY {
            0 => (Outcome::Failed, Some(Code::Trap), 502),
            _ => (Outcome::Succeeded, None, 200),
        };
        let (bytes_in, bytes_out) = (ByteSize(120), ByteSize(1_500));
        let usage = Usage {
            wall_us: wall_us - 300,
            cpu_us: wall_us / 3,
            fuel: None,
            memory_peak: ByteSize::mib(9),
            bytes_in,
            bytes_out,
            egress_bytes: ByteSize(0),
        };
        let end = RunEnd { outcome, code, detail: None, usage, warm: true, cached: false, running: 3 };
        let receipt = NodeReceipt { run, ticket: self.keys.run(ticket, now, TICKET), started: now, end: end.clone() };
        let observation = Observation {
            run,
            gateway: self.instance,
            account,
            function,
            version,
            version_number: 1,
            node: Some(node),
            lane,
            received: now,
            head_us: wall_us - 200,
            wall_us,
            outcome,
            status,
            code,
            method: "GET".to_owned(),
            path: format!("/orders/{}", self.made % 1_000),
            bytes_in,
            bytes_out,
            end: Some(end),
            placement: Some(self.placement(wall_us)),
            job: None,
            limits: Some(limits),
            source: Some(RunSource::Call),
            principal: Some(RunPrincipal::Key(key)),
        };
        (receipt, observation)
    }

    fn placement(&self, predicted_us: u64) -> Explanation {
        let considered = |node: &Node| Considered {
            node: node.id,
            warmth: Warmth::Warm,
            running: 3,
            predicted_us: Some(predicted_us),
            predicted_failure_permille: Some(1),
        };
        let candidates = self.nodes.iter().map(considered).collect();
        Explanation { policy: Cow::Borrowed("learned"), candidates, refused: Vec::new(), waited_ms: 0 }
    }
}

impl Node {
    /// Says hello; goes on where its chain is.
    async fn greet(fabric: Fabric, id: NodeId) -> anyhow::Result<Self> {
        // The same each time: the platform has its public half by then.
        let key = SigningKey::from_bytes(&Digest::of(id.to_string().as_bytes()).0);
        let hello = Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            software: "bench".to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            os: std::env::consts::OS.to_owned(),
            name: "bench".to_owned(),
            cores: 2,
            memory: ByteSize::mib(1024),
            lanes: vec![RunLane::Wasm],
            slots: 8,
            public_key: URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes()),
            keys: None,
            boot: Some(fabric.boot().clone()),
            agreed: None,
            confinement: None,
            fingerprint: None,
            disks: Vec::new(),
        };
        let request = post("/hello", serde_json::to_vec(&hello)?)?;
        let answer = call(&fabric, Target::FromNode(NodeService::Api), request).await?;
        ensure!(answer.status().is_success(), "hello: {}", String::from_utf8_lossy(answer.body()));
        let reply: HelloReply = serde_json::from_slice(answer.body())?;
        Ok(Self { fabric, id, key, sequence: reply.checkpoint, digest: reply.checkpoint_digest })
    }

    fn sign(&mut self, receipts: Vec<NodeReceipt>) -> anyhow::Result<Parcel> {
        let checkpoint = Checkpoint::sign(self.id, self.sequence + 1, self.digest, receipts, &self.key);
        (self.sequence, self.digest) = (checkpoint.sequence, checkpoint.digest);
        Ok(Parcel {
            fabric: self.fabric.clone(),
            to: Target::FromNode(NodeService::Receipt),
            path: "/checkpoints".to_owned(),
            body: serde_json::to_vec(&checkpoint)?.into(),
            number: checkpoint.sequence,
        })
    }
}

/// Sends all of it until it is committed.
async fn commit(parcels: Vec<Parcel>, runs: u64) -> anyhow::Result<Done> {
    let again = try_join_all(parcels.into_iter().map(Parcel::commit)).await?;
    Ok(Done { runs, at: Instant::now(), again: again.iter().sum() })
}

impl Parcel {
    /// How often it was sent again. Whatever comes back is no reason to stop: nobody leads for a moment, the leader has
    /// forgotten what it had, what comes before this is on its way.
    async fn commit(self) -> anyhow::Result<u64> {
        let (begun, mut again, mut pause) = (Instant::now(), 0, RETRY.0);
        loop {
            let why = match self.send().await {
                Ok(committed) if committed >= self.number => return Ok(again),
                Ok(committed) => format!("all up to {committed} are"),
                Err(error) => format!("{error:#}"),
            };
            if begun.elapsed() > GIVEN_UP_AFTER {
                bail!("{} {} is not committed, sent {again} times again: {why}", self.path, self.number);
            }
            tokio::time::sleep(pause).await;
            (again, pause) = (again + 1, (pause * 2).min(RETRY.1));
        }
    }

    /// The number up to which all are committed.
    async fn send(&self) -> anyhow::Result<u64> {
        let answer = call(&self.fabric, self.to, post(&self.path, self.body.clone())?).await?;
        let text = || String::from_utf8_lossy(answer.body()).into_owned();
        ensure!(answer.status().is_success(), "{}: {}", answer.status(), text());
        if matches!(self.to, Target::FromNode(_)) {
            return Ok(serde_json::from_slice::<CheckpointAck>(answer.body())?.sequence);
        }
        let ack: BatchAck = serde_json::from_slice(answer.body())?;
        ensure!(ack.void == 0, "{} observations cannot be read", ack.void);
        Ok(ack.committed)
    }
}
