//! Calibration: small runs with known results, which nodes are sent soon after they are online and then now and then. Their
//! results say whether a node tells the truth, their time how fast it is.
//!
//! ```text
//! due, reports --> claim (its next time) --> ticket, run --> result compared by digest --> noted --> level
//! ```
//! Until its first checks have had an answer a node is `calibrating`; then it is online.
//!
//! A node sees a run like any other: a ticket, a version's description, an artifact that it fetches and compiles. The leader
//! of this office looks for nodes that are due; a claim in the database keeps two from checking the same node at once.
//! Nobody pays for these runs, and nothing of them is settled: their accounts have no rows. Which tickets are theirs is told
//! by their ids, which are derived from the root secret, the node and the day.

mod program;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric::Fabric;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::{HeaderValue, Method, Request, header};
use http_body_util::BodyExt as _;
use placing::{Attempt, Concluded, Fate, Placing, ResponseBody, RunFacts};
use protocol::node::{CheckOutcome, NodeEvent, NodeState, VersionSpec};
use protocol::ticket::Ticket;
use protocol::{ByteSize, Code, Digest, InstanceId, Lane, NodeId, RunId, Timestamp, VersionId};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use tokio_util::sync::CancellationToken;

use super::records::{self, Change};
use super::trust::{self, Check};
use super::{Nodes, standing};
use crate::config::Config;
use crate::db::columns::Col;
use crate::db::entities::nodes;
use crate::db::{Actor, Committed, Db, loops};
use crate::error::{Error, Result};
use crate::leader::{self, Office};
use crate::routes_outbox::Routes;
use crate::tickets::Tickets;
use program::{Ids, Program, TURNS};

/// Between two looks for nodes that are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Checks at once, and in one look.
const AT_ONCE: usize = 8;
/// A node has so long for a check, a compilation included.
const CHECK_WITHIN: Duration = Duration::from_secs(20);
/// The first checks of a node come so soon after each other, and later each time that it gives no answer.
const FIRST_EVERY: Duration = Duration::from_secs(2);
/// So many answers, right or wrong, and it is calibrated.
const FIRST_CHECKS: u32 = 3;
/// A node that is full is asked again after this.
const BUSY_FOR: Duration = Duration::from_secs(30);
/// One that is proven is checked so many times less often.
const PROVEN_RARER: u32 = 6;
/// No result is longer; what is read of one.
const RESULT_MAX: ByteSize = ByteSize::kib(1);

/// What calibration needs of the control plane.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) instance: InstanceId,
    pub(crate) config: &'a Config,
    pub(crate) db: &'a Db,
    pub(crate) nodes: &'a Nodes,
    pub(crate) placing: &'a Arc<Placing>,
    pub(crate) routes: &'a Routes,
    pub(crate) fabric: &'a Fabric,
}

impl Means<'_> {
    /// Gateways hear of a level by the outbox.
    fn announce(&self, committed: Option<Committed>) {
        if committed.is_some_and(|committed| committed.events) {
            self.routes.wake();
        }
    }
}

/// The runs whose results are known. All control planes make the same ones.
#[derive(Clone)]
pub(crate) struct Calibration {
    secret: [u8; 32],
}

impl Calibration {
    pub(crate) fn new(tickets: &Tickets) -> Self {
        Self { secret: tickets.secret("nodes: calibration") }
    }

    /// Whether this ticket, which is one of ours, is for a check. Nobody pays for that.
    pub(crate) fn is_check(&self, ticket: &Ticket) -> bool {
        self.day_of(ticket).is_some()
    }

    /// Of which day its program is; none where it is for something else.
    fn day_of(&self, ticket: &Ticket) -> Option<i64> {
        // Midnight may have passed before it was given.
        let day = program::day(ticket.issued);
        [day, day - 1].into_iter().find(|day| Ids::of(&self.secret, ticket.node, *day).are_of(ticket))
    }

    fn of_ticket(&self, ticket: &Ticket) -> Result<Option<Program>> {
        self.day_of(ticket).map(|day| self.program(ticket.node, day)).transpose()
    }

    fn program(&self, node: NodeId, day: i64) -> Result<Program> {
        Program::of(&self.secret, node, day).map_err(|error| Error::Internal(format!("calibration: {error}")))
    }

    /// What comes out of this ticket's check for this input.
    #[cfg(test)]
    pub(crate) fn answer(&self, ticket: &Ticket, seed: u64) -> [u8; 8] {
        self.of_ticket(ticket).unwrap().unwrap().result(seed)
    }

    /// The description of a check's version.
    pub(crate) fn spec(&self, ticket: &Ticket) -> Result<Option<VersionSpec>> {
        Ok(self.of_ticket(ticket)?.map(|program| program.spec()))
    }

    /// The artifact of a check.
    pub(crate) fn artifact(&self, ticket: &Ticket) -> Result<Option<Vec<u8>>> {
        let program = self.of_ticket(ticket)?.filter(|program| program.digest == ticket.artifact);
        Ok(program.map(|program| program.wasm))
    }

    /// Checks nodes while this instance leads, until it is stopped.
    pub(crate) async fn run(&self, means: Means<'_>, stop: &CancellationToken) {
        let lease = means.config.lease.duration();
        while !stop.is_cancelled() {
            match leader::lead(means.db, Office::Checks, means.instance, lease).await {
                Ok(Some(_)) => {
                    if let Some(Err(error)) = stop.run_until_cancelled(Box::pin(self.turn(means))).await {
                        tracing::warn!(%error, "nodes could not be checked; retrying");
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "leader election of node checks failed"),
            }
            stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
        }
        if let Err(error) = leader::resign(means.db, Office::Checks, means.instance).await {
            tracing::warn!(%error, "release of the node checks' lease failed");
        }
    }

    /// One look: levels that time has changed, and checks that are due.
    pub(crate) async fn turn(&self, means: Means<'_>) -> Result<()> {
        let now = Timestamp::now();
        let rows = loops::nodes_all().all(means.db.read()).await?;
        let vouched = trust::vouched(means.db.read()).await?;
        let members = || rows.iter().filter(|row| row.state.is_member());
        let risen = members().filter(|row| trust::record(row, &vouched).level(now) != row.level.0);
        let risen: Vec<NodeId> = risen.map(|row| row.id.0).collect();
        for node in risen {
            means.announce(trust::settle(means.db, node, now).await?);
        }
        let every = means.config.node_checks_every.duration();
        if every.is_zero() {
            return Ok(());
        }
        let ready = means.nodes.ready(means.config.silence_max.duration(), Lane::Wasm);
        let due = members()
            .filter(|row| trust::fixed(row.class.0).is_none() && row.check_due.0 <= now && ready.contains(&row.id.0));
        let due: Vec<&nodes::Model> = due.take(AT_ONCE).collect();
        let checks = due.into_iter().map(|row| Box::pin(self.check(means, row, every)));
        let mut checks: FuturesUnordered<_> = checks.collect();
        while let Some(checked) = checks.next().await {
            checked?;
        }
        Ok(())
    }

    /// One check of a node that is due.
    async fn check(&self, means: Means<'_>, row: &nodes::Model, every: Duration) -> Result<()> {
        let now = Timestamp::now();
        if !claim(means.db, row, now.plus(pause(row, every))).await? {
            return Ok(());
        }
        let (node, day) = (row.id.0, program::day(now));
        let (program, learned_as) = (self.program(node, day)?, program::learned_as(&self.secret, day));
        let Some(check) = Box::pin(ask(means, program, learned_as, node)).await? else {
            // It had no room: that says nothing of it.
            return postpone(means.db, node, Timestamp::now().plus(BUSY_FOR.min(every))).await;
        };
        if check.outcome != CheckOutcome::Agreed {
            let detail = check.detail.as_deref().unwrap_or_default();
            tracing::warn!(%node, run = %check.run, outcome = check.outcome.as_str(), detail, "node check not agreed");
        }
        // It may have been shut out meanwhile.
        if standing::of(means.db.read(), node).await.is_err() {
            return Ok(());
        }
        means.announce(trust::note(means.db, check).await?);
        if row.state.0 == NodeState::Calibrating {
            means.announce(calibrated(means.db, node, every).await?);
        }
        means.announce(trust::settle(means.db, node, Timestamp::now()).await?);
        means.nodes.records_changed();
        Ok(())
    }
}

/// Whether a node has been measured, or never is: it is online once it says hello.
pub(super) fn is_done(row: &nodes::Model, every: Duration) -> bool {
    every.is_zero() || trust::fixed(row.class.0).is_some() || trust::count(row.answered) >= FIRST_CHECKS
}

/// A node whose first checks have had an answer is online from now on; nothing where that is not so.
async fn calibrated(db: &Db, node: NodeId, every: Duration) -> Result<Option<Committed>> {
    let mutation = db.mutation().await?;
    let row = nodes::Entity::find_by_id(Col(node)).one(mutation.tx()).await?;
    let Some(row) = row.filter(|row| row.state.0 == NodeState::Calibrating && is_done(row, every)) else {
        return Ok(None);
    };
    let (event, actor) = (NodeEvent::Calibrated, Actor::platform());
    let change = Change { event, reason: None, actor: &actor, action: "node.calibrated" };
    Ok(Some(records::change(mutation, &row, change).await?.committed))
}

/// When a node is checked again; chance keeps it from knowing when.
fn pause(row: &nodes::Model, every: Duration) -> Duration {
    let (asked, answered) = (trust::count(row.asked), trust::count(row.answered));
    let base = if answered + 1 < FIRST_CHECKS {
        (FIRST_EVERY * (1 + asked.saturating_sub(answered))).min(every)
    } else if row.proven.is_some() {
        every * PROVEN_RARER
    } else {
        every
    };
    base.mul_f64(rand::random_range(0.5..1.5))
}

/// Notes when the node is due again; false where another control plane was faster.
async fn claim(db: &Db, row: &nodes::Model, next: Timestamp) -> Result<bool> {
    let claimed = nodes::Entity::update_many()
        .set(nodes::ActiveModel { check_due: Set(next.into()), ..Default::default() })
        .filter(nodes::Column::Id.eq(row.id))
        .filter(nodes::Column::CheckDue.eq(row.check_due))
        .exec(db.write())
        .await?;
    Ok(claimed.rows_affected == 1)
}

async fn postpone(db: &Db, node: NodeId, next: Timestamp) -> Result<()> {
    nodes::Entity::update_many()
        .set(nodes::ActiveModel { check_due: Set(next.into()), ..Default::default() })
        .filter(nodes::Column::Id.eq(Col(node)))
        .exec(db.write())
        .await?;
    Ok(())
}

/// Has a node do it, and compares. None: it has not taken the run.
async fn ask(means: Means<'_>, program: Program, learned_as: VersionId, node: NodeId) -> Result<Option<Check>> {
    let (run, seed) = (RunId::new(), rand::random::<u64>());
    let (program, expected) = tokio::task::spawn_blocking(move || {
        let expected = program.result(seed);
        (program, expected)
    })
    .await
    .map_err(|error| Error::Internal(error.to_string()))?;
    let route = program.route();
    let of_run = RunFacts::of(run, program.ids.account, program.ids.function, &route);
    let facts = RunFacts { method: "POST", path: "/", ..of_run };
    let mut attempt = means.placing.begin(&facts, program.digest, Instant::now());
    attempt.bytes_in(ByteSize(8));
    let to = means.placing.reserve(node, Lane::Wasm, &route.limits);
    let request = request(seed, &means.config.functions_domain);
    let sent = attempt.send(means.fabric, to, request, Instant::now() + CHECK_WITHIN, || ()).await;
    let (attempt, said) = match sent {
        Err(verdict) if verdict.surely_not_started() => return Ok(None),
        Err(verdict) => {
            attempt.fail(verdict);
            (attempt, None)
        }
        Ok(response) => {
            let status = response.status();
            let (attempt, body) = read(response.into_body(), attempt).await;
            (attempt, body.filter(|_| status == http::StatusCode::OK))
        }
    };
    let Concluded { seen, verdict } = conclude(attempt, learned_as).await;
    let agreed = |said: &[u8]| Digest::of(said) == Digest::of(&expected);
    let outcome = match &said {
        Some(said) if verdict.fate == Fate::Answered && agreed(said) => CheckOutcome::Agreed,
        Some(_) if verdict.fate == Fate::Answered => CheckOutcome::Differed,
        _ if verdict.code == Some(Code::ResponseTooLarge) => CheckOutcome::Differed,
        _ => CheckOutcome::Failed,
    };
    let wall = (outcome != CheckOutcome::Failed).then(|| Duration::from_micros(seen.wall_us));
    let detail = match outcome {
        CheckOutcome::Agreed => None,
        CheckOutcome::Differed => Some("another result than the known one".to_owned()),
        CheckOutcome::Failed => Some(failure(&verdict, seen.status)),
    };
    // The clock is ours: what a node says of its time does not count.
    let speed = wall.map(speed_of);
    Ok(Some(Check { node, run, outcome, with_operator: true, wall, speed, detail }))
}

fn failure(verdict: &placing::Verdict, status: u16) -> String {
    match verdict.code {
        Some(code) => format!("{code}: {}", verdict.detail),
        None => format!("status {status}"),
    }
}

/// Turns in a millisecond.
fn speed_of(wall: Duration) -> u32 {
    let us = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX).max(1);
    u32::try_from(TURNS.saturating_mul(1000) / us).unwrap_or(u32::MAX)
}

/// As any job's.
fn request(seed: u64, domain: &str) -> Request<fabric::Body> {
    let mut request = Request::new(fabric::full(seed.to_le_bytes().to_vec()));
    *request.method_mut() = Method::POST;
    let head = request.headers_mut();
    if let Ok(host) = HeaderValue::try_from(domain) {
        head.insert(header::HOST, host);
    }
    head.insert(header::CONTENT_LENGTH, HeaderValue::from_static("8"));
    request
}

/// The response's body, as far as it can be a result; none where it broke off.
async fn read(body: fabric::Body, attempt: Attempt) -> (Attempt, Option<Vec<u8>>) {
    let mut body = ResponseBody::new(body, VecDeque::new(), RESULT_MAX, attempt);
    let mut said = Vec::new();
    let whole = loop {
        match body.frame().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => said.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
    };
    (body.into_holder(), whole.then_some(said))
}

async fn conclude(mut attempt: Attempt, learned_as: VersionId) -> Concluded {
    attempt.leave();
    attempt.learned_as(learned_as);
    attempt.last_word().await;
    attempt.conclude()
}
