//! The dispatcher: holds jobs back until a node has room, and brings them there.
//!
//! ```text
//! follow --lease is free--> lead: take back what nobody has --> place, record, cancel, renew --+
//!    ^                                                                                         |
//!    +------- lease lost, epoch passed on, or something failed: all tries are dropped ---------+
//! ```

mod choose;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use placing::Reservation;
use protocol::job::JobState;
use protocol::placement::{Candidate, Placement};
use protocol::route::VersionRoute;
use protocol::words::count;
use protocol::{AccountId, FunctionId, JobId, Name, RunId, RunSource, Timestamp, VersionId};
use scheduler::part_of_slots;
use sea_orm::DbErr;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attempt::{self, Event, Try};
use super::queue::{self, OnNodes};
use super::recorder::{RecordError, abandon, record};
use super::rows::{self, Step};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::jobs;
use crate::db::{loops, now};
use crate::error::Error;
use crate::leader::{self, Office};

/// Jobs that are placed in one transaction, or end there because their function is gone.
const PLACED_AT_ONCE: usize = 64;
/// Accounts that are looked at in one round.
const ACCOUNTS_AT_ONCE: usize = 64;
/// What happened that is recorded in one transaction.
const RECORDED_AT_ONCE: usize = 128;
const EVENTS_WAITING_MAX: usize = 4096;
/// Names and versions that are remembered: then all are read anew.
const REMEMBERED_MAX: usize = 10_000;
const RECORDS_EVERY: Duration = Duration::from_secs(1);
/// An account that holds its share of a node is passed over for so long.
const REST_FOR: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum DispatchError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Other(#[from] Error),
    #[error("a try broke: {0}")]
    Broke(tokio::task::JoinError),
}

/// Dispatches while this instance leads, until it is stopped.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    if app.fabrics.is_none() {
        return;
    }
    let lease = app.config.lease.duration();
    while !stop.is_cancelled() {
        match leader::lead(&app.db, Office::Jobs, app.instance, lease).await {
            Ok(Some(epoch)) => {
                if let Err(error) = Box::pin(Session::new(&app, epoch).run(&stop)).await {
                    tracing::warn!(%error, epoch, "job dispatch failed; retrying");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "leader election of the job dispatcher failed"),
        }
        stop.run_until_cancelled(tokio::time::sleep(app.config.jobs_poll.duration())).await;
    }
    if let Err(error) = leader::resign(&app.db, Office::Jobs, app.instance).await {
        tracing::warn!(%error, "release of the job dispatcher's lease failed");
    }
}

/// A job that is on a node.
struct Flight {
    account: AccountId,
    function: FunctionId,
    cancel: CancellationToken,
}

/// A job that was chosen, and where it goes.
struct Chosen {
    row: jobs::Model,
    version: VersionRoute,
    host: String,
    to: Candidate,
    reserved: Reservation,
    placement: Placement,
}

/// One term as the leader. When it is dropped, so are all tries: nodes stop them.
struct Session<'a> {
    app: &'a App,
    epoch: i64,
    flights: HashMap<JobId, Flight>,
    on_nodes: OnNodes,
    tries: JoinSet<()>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    versions: HashMap<VersionId, Option<VersionRoute>>,
    accounts: HashMap<AccountId, Name>,
    /// Accounts that hold their share of a node, by their calls perhaps, and until when they rest. For as long again one
    /// of their jobs is tried in each round: most would only be refused, and written down.
    resting: HashMap<AccountId, Instant>,
    /// Slots that nodes have for jobs.
    slots: u64,
    renewed: Instant,
    known: Option<Instant>,
}

impl<'a> Session<'a> {
    fn new(app: &'a App, epoch: i64) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        Self {
            app,
            epoch,
            flights: HashMap::new(),
            on_nodes: OnNodes::default(),
            tries: JoinSet::new(),
            sender,
            events,
            versions: HashMap::new(),
            accounts: HashMap::new(),
            resting: HashMap::new(),
            slots: 0,
            renewed: Instant::now(),
            known: None,
        }
    }

    async fn run(mut self, stop: &CancellationToken) -> Result<(), DispatchError> {
        let taken_back = abandon(self.app, self.epoch).await?;
        tracing::info!(epoch = self.epoch, taken_back, "job dispatcher is leader");
        let result = self.term(stop).await;
        // Whoever stays of the tries is stopped before their jobs are given to others.
        self.tries.shutdown().await;
        // What was counted of their loads is void with them.
        self.app.placing.nodes.clear();
        if result.is_ok() {
            abandon(self.app, self.epoch).await?;
        }
        result
    }

    /// Until it is stopped, or something fails.
    async fn term(&mut self, stop: &CancellationToken) -> Result<(), DispatchError> {
        let mut events = Vec::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                event = self.events.recv() => events.extend(event),
                () = self.app.jobs.wake.notified() => {}
                () = tokio::time::sleep(self.app.config.jobs_poll.duration()) => {}
            }
            while events.len() < RECORDED_AT_ONCE
                && let Ok(event) = self.events.try_recv()
            {
                events.push(event);
            }
            self.keep_the_lead().await?;
            if !events.is_empty() {
                self.landed(&events);
                record(self.app, self.epoch, std::mem::take(&mut events)).await?;
            }
            while let Some(ended) = self.tries.try_join_next() {
                ended.map_err(DispatchError::Broke)?;
            }
            self.cancel().await?;
            self.place().await?;
        }
    }

    async fn keep_the_lead(&mut self) -> Result<(), DispatchError> {
        let lease = self.app.config.lease.duration();
        if self.renewed.elapsed() < lease / 4 {
            return Ok(());
        }
        match leader::lead(&self.app.db, Office::Jobs, self.app.instance, lease).await? {
            Some(epoch) if epoch == self.epoch => {
                self.renewed = Instant::now();
                Ok(())
            }
            _ => Err(RecordError::NotLeading.into()),
        }
    }

    /// Tries that are over make room.
    fn landed(&mut self, events: &[Event]) {
        for event in events {
            let Event::Finished(finished) = event else { continue };
            if let Some(flight) = self.flights.remove(&finished.job) {
                if finished.share_exceeded {
                    self.resting.insert(flight.account, Instant::now() + REST_FOR);
                }
                self.on_nodes.remove(flight.account, flight.function);
            }
        }
    }

    /// Stops on their nodes what somebody has cancelled.
    async fn cancel(&mut self) -> Result<(), DispatchError> {
        if self.flights.is_empty() {
            return Ok(());
        }
        let rows = loops::jobs_cancelling().all(self.app.db.read()).await?;
        for row in rows {
            if let Some(flight) = self.flights.get(&row.id.0) {
                flight.cancel.cancel();
            }
        }
        Ok(())
    }

    /// Brings to nodes what has room there.
    async fn place(&mut self) -> Result<(), DispatchError> {
        if self.known.is_none_or(|known| known.elapsed() > RECORDS_EVERY) {
            self.app.jobs.know(crate::nodes::records::all(&self.app.db).await?);
            self.known = Some(Instant::now());
        }
        let (mut room, mut slots, share) = (false, 0, self.app.config.jobs_slots_share);
        let nodes = &self.app.placing.nodes;
        nodes.pass(Instant::now());
        nodes.look(|nodes| {
            for node in nodes.iter().filter(|node| node.age < scheduler::SILENT_AFTER) {
                let Some(report) = &node.report else { continue };
                let for_jobs = part_of_slots(report.slots, share);
                room |= node.running() < report.slots && node.own_running < for_jobs;
                slots += u64::from(for_jobs);
            }
        });
        self.slots = slots;
        if !room {
            return Ok(());
        }
        let now = now(self.app.db.read()).await?;
        let at = Instant::now();
        self.resting.retain(|_, until| at < *until + REST_FOR);
        let mut accounts = queue::accounts(self.app, now, &self.on_nodes, ACCOUNTS_AT_ONCE).await?;
        accounts.retain(|account| self.resting.get(account).is_none_or(|until| *until <= at));
        if accounts.is_empty() {
            return Ok(());
        }
        let (chosen, dead) = self.choose(accounts, now).await?;
        let more = chosen.len() + dead.len() == PLACED_AT_ONCE;
        if !chosen.is_empty() || !dead.is_empty() {
            self.commit(chosen, dead).await?;
        }
        if more {
            self.app.jobs.wake.notify_one();
        }
        Ok(())
    }

    /// The jobs are placed, where the epoch still leads; then they go.
    async fn commit(&mut self, chosen: Vec<Chosen>, dead: Vec<jobs::Model>) -> Result<(), DispatchError> {
        let tx = self.app.db.begin().await?;
        if !leader::holds(&tx, Office::Jobs, self.epoch).await? {
            return Err(RecordError::NotLeading.into());
        }
        let mut revision = rows::revisions(&tx, chosen.len() + dead.len()).await?;
        let at = Timestamp::now();
        let mut placed = Vec::with_capacity(chosen.len());
        for one in chosen {
            // Somebody may have cancelled it meanwhile.
            let row = rows::locked(&tx, one.row.id.0).await?.filter(|row| row.state.0 == JobState::Queued);
            let Some(mut row) = row else {
                self.on_nodes.remove(one.row.account_id.0, one.row.function_id.0);
                continue;
            };
            let run = RunId::new();
            (row.run_id, row.node_id, row.lane) = (Some(Col(run)), Some(Col(one.to.node)), Some(Col(one.to.lane)));
            (row.epoch, row.started) = (self.epoch, Some(Col(at)));
            row.placement = Some(Col(one.placement.clone()));
            let reason = reason(&one.placement, &one.to);
            let step = Step { state: JobState::Placed, node: Some(one.to.node), run: Some(run), reason, at };
            rows::step(&tx, &mut row, step, revision).await?;
            rows::write(&tx, &row).await?;
            revision += 1;
            placed.push((one, run));
        }
        for row in dead {
            if let Some(mut row) = rows::locked(&tx, row.id.0).await?.filter(|row| row.state.0 == JobState::Queued) {
                let reason = "the function or its version was deleted".to_owned();
                let step = Step { state: JobState::Dead, node: None, run: None, reason, at };
                rows::step(&tx, &mut row, step, revision).await?;
                rows::write(&tx, &row).await?;
            }
            revision += 1;
        }
        tx.commit().await?;
        fabric::fault::point("jobs.placed");
        for (one, run) in placed {
            self.send(one, run);
        }
        self.app.jobs.committed(revision - 1);
        Ok(())
    }

    fn send(&mut self, one: Chosen, run: RunId) {
        let Chosen { row, version, host, reserved, placement, .. } = one;
        let (job, account, function) = (row.id.0, row.account_id.0, row.function_id.0);
        let waited = Timestamp::now().since(row.due.0);
        let cancel = CancellationToken::new();
        self.flights.insert(job, Flight { account, function, cancel: cancel.clone() });
        let one = Try {
            job,
            account,
            function,
            version,
            run,
            method: row.method,
            path: row.path,
            source: row.source.map_or(RunSource::Job, |source| source.0),
            principal: row.principal.map(|principal| principal.0),
            host,
            input_size: row.input_size.0,
            placement: placement.explain(waited),
            cancel,
        };
        self.tries.spawn(attempt::run(self.app.clone(), one, reserved, self.sender.clone()));
    }
}

/// For people.
fn reason(placement: &Placement, to: &Candidate) -> String {
    let others = placement.ranked.len().saturating_sub(1) + placement.refused.len();
    format!(
        "{}: a {} node with {}, in the {} lane; {}",
        placement.policy,
        to.warmth,
        count(to.running, "run"),
        to.lane,
        count(others, "other")
    )
}
