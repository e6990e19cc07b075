//! A control plane under load: gateways and nodes that feed it, clients that ask it meanwhile, and what that costs it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::try_join_all;
use protocol::NodeId;
use tokio_util::sync::CancellationToken;

use super::api::{Api, Heard, Tenant};
use super::control_plane::{ControlPlane, Programs};
use super::cuts::Cuts;
use super::generator::{Done, Known, Lane, NODES, Pace, Until};
use crate::threads;

/// Gateways, each with nodes of its own. With all that they may have on its way at once they stay below the halves that a
/// control plane lets wait.
pub(super) const GATEWAYS: usize = 2;
/// As fast as they are settled; batches as full as a gateway's and a node's.
pub(super) const FULL: Pace = Pace { batch: 512, every: None };
/// 2,000 runs a second of all gateways together.
pub(super) const HELD: Pace = Pace { batch: 200, every: Some(Duration::from_millis(200)) };

/// A control plane, and everybody who speaks with it.
pub(super) struct World {
    pub(super) plane: ControlPlane,
    pub(super) api: Api,
    pub(super) tenants: Arc<[Tenant]>,
    lanes: Vec<Lane>,
    /// The process of its database, where that is one.
    database: Option<u32>,
    /// Runs that it has settled.
    pub(super) runs: u64,
}

/// What was found of some seconds of load.
pub(super) struct Round {
    /// From the first batch to the last acknowledgement.
    pub(super) runs_per_second: f64,
    /// CPU time of the control plane for each run, what clients asked included.
    pub(super) cpu_us: f64,
    /// The same of a database's server.
    pub(super) database_us: Option<f64>,
    pub(super) cuts: Cuts,
    pub(super) runs_per_cut: f64,
    pub(super) heard: Heard,
    /// How often something was sent again.
    pub(super) again: f64,
}

impl World {
    /// Starts one on this database, with so many accounts.
    pub(super) async fn start(
        programs: Programs<'_>,
        folder: &Path,
        url: String,
        database: Option<u32>,
        accounts: usize,
    ) -> anyhow::Result<Self> {
        let nodes = (0..GATEWAYS * NODES).map(|_| NodeId::new()).collect();
        let plane = ControlPlane::start(programs, folder, url, nodes).await?;
        let api = Api::sign_up(plane.core("a client").await?).await?;
        let tenants = api.tenants(accounts).await?.into();
        let mut lanes = Vec::with_capacity(GATEWAYS);
        for nodes in plane.nodes().chunks(NODES) {
            lanes.push(Lane::open(&plane, nodes).await?);
        }
        Ok(Self { plane, api, tenants, lanes, database, runs: 0 })
    }

    /// The same after another start of the control plane, with these flags.
    pub(super) async fn again(self, flags: &[&str]) -> anyhow::Result<Self> {
        Ok(Self { plane: self.plane.again(flags).await?, ..self })
    }

    /// Load at this pace for so long, until all of it is acknowledged; and whether clients ask meanwhile.
    pub(super) async fn load(&mut self, pace: Pace, sent: Duration, asked: bool) -> anyhow::Result<Round> {
        let (cpu, of_database, cuts) = (self.plane.cpu(), self.cpu_of_database(), self.plane.cuts().await?);
        let stop = CancellationToken::new();
        let client = asked.then(|| tokio::spawn(self.api.clone().ask_until(Arc::clone(&self.tenants), stop.clone())));
        let stop = stop.drop_guard();
        let begun = Instant::now();
        let done = self.send(pace, Until { ends: begun + sent, runs: u64::MAX }).await?;
        let last = done.iter().map(|done| done.at).max().context("nothing was sent")?;
        drop(stop);
        let heard = match client {
            Some(client) => client.await.context("the client broke")??,
            None => Heard::default(),
        };
        let cuts = self.plane.cuts().await?.since(&cuts);
        let runs = count(done.iter().map(|done| done.runs).sum());
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / runs;
        let database =
            self.cpu_of_database().zip(of_database).map(|(after, before)| each(after.saturating_sub(before)));
        Ok(Round {
            runs_per_second: runs / (last - begun).as_secs_f64(),
            cpu_us: each(self.plane.cpu().saturating_sub(cpu)),
            database_us: database,
            runs_per_cut: runs / cuts.count,
            cuts,
            heard,
            again: count(done.iter().map(|done| done.again).sum()),
        })
    }

    /// Settles so many runs, if that takes no longer than this; how many it were in each second, and how often something
    /// was sent again.
    pub(super) async fn fill(&mut self, runs: u64, within: Duration) -> anyhow::Result<(f64, f64)> {
        let begun = Instant::now();
        let runs = runs.div_ceil(GATEWAYS as u64);
        let done = self.send(FULL, Until { ends: begun + within, runs }).await?;
        let rate = count(done.iter().map(|done| done.runs).sum()) / begun.elapsed().as_secs_f64();
        Ok((rate, count(done.iter().map(|done| done.again).sum())))
    }

    /// All gateways at this pace; what was committed.
    pub(super) async fn send(&mut self, pace: Pace, until: Until) -> anyhow::Result<Vec<Done>> {
        let tenants = &self.tenants;
        let done = try_join_all(self.lanes.iter_mut().map(|lane| lane.load(tenants, pace, until))).await?;
        let done: Vec<Done> = done.into_iter().flatten().collect();
        self.runs += done.iter().map(|done| done.runs).sum::<u64>();
        Ok(done)
    }

    /// Runs and flagged runs of all accounts, as the control plane tells them.
    pub(super) async fn told(&self) -> anyhow::Result<(u64, u64)> {
        let (mut runs, mut flagged) = (0, 0);
        for tenant in self.tenants.iter() {
            let usage = self.api.usage(tenant).await?;
            (runs, flagged) = (runs + usage.runs, flagged + usage.flagged);
        }
        Ok((runs, flagged))
    }

    /// Runs of all its history, one of each batch, the oldest first.
    pub(super) fn known(&self) -> Vec<Known> {
        let mut known: Vec<Known> = self.lanes.iter().flat_map(|lane| &lane.known).copied().collect();
        known.sort_unstable_by_key(|known| known.run);
        known
    }

    /// What a gateway says of one run, as text.
    pub(super) fn text(&self) -> anyhow::Result<String> {
        let (lane, tenant) = self.lanes.first().zip(self.tenants.first()).context("nobody is there")?;
        lane.text(tenant)
    }

    fn cpu_of_database(&self) -> Option<Duration> {
        self.database.map(threads::whole)
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn count(number: u64) -> f64 {
    number as f64
}
