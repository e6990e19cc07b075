//! Nodes that report: the last word of each, for the API and for choosing one that prepares.

use std::collections::{HashMap, HashSet};
use std::sync::RwLock;
use std::time::{Duration, Instant};

use protocol::api;
use protocol::node::{NodeReport, NodeState};
use protocol::placement::{Refusal, Refused};
use protocol::{AccountId, ByteSize, Lane, Limits, NodeId, PlacementClass, Timestamp, text};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, DbErr, EntityTrait as _, ExprTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{hello, trust};
use crate::App;
use crate::db::Db;
use crate::db::columns::Col;
use crate::db::entities::{accounts, nodes};
use crate::error::Result;
use crate::identity::caller::Caller;
use crate::paging::{Paging, page};

const NODES_MAX: usize = 100_000;
/// What a node said last is kept so long; when it was there its row says, too.
const SILENT_KEPT: Duration = Duration::from_secs(600);
/// A lender's machine that has not said hello for so long is not being restarted: it says so each minute.
const AWAITED: Duration = Duration::from_secs(120);
/// When nodes were heard last is noted this often, of those that are silent now or shut out.
const NOTE_EVERY: Duration = Duration::from_secs(5);
/// Rows that are noted in one transaction.
const NOTED_AT_ONCE: usize = 500;

/// So many nodes that are away are named.
const AWAY_MAX: usize = 5;

struct Last {
    /// None of a node that has left or was shut out meanwhile.
    report: Option<NodeReport>,
    heard: Instant,
    /// By the clock. It never falls, but from far ahead.
    at: Timestamp,
    /// The row says that, too.
    noted: bool,
}

/// Which nodes are listed.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct NodesQuery {
    /// Only those that are called so.
    #[serde(default)]
    name: Option<String>,
    /// `true`: those too that have left, or were revoked.
    #[serde(default)]
    all: Option<bool>,
}

/// What nodes said last.
#[derive(Default)]
pub(crate) struct Nodes {
    last: RwLock<HashMap<NodeId, Last>>,
    pub(crate) changed: Notify,
}

/// What a prepare needs of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Whose version it is.
    pub account: AccountId,
    /// Whose nodes it trusts.
    pub placement: PlacementClass,
    /// The lane.
    pub lane: Lane,
    /// What a run may use.
    pub limits: Limits,
}

impl Wanted {
    /// Whether an idle node like this could do it.
    pub(crate) fn fits(&self, report: &NodeReport) -> bool {
        scheduler::lacks(&self.limits, self.lane, report).is_none()
    }

    /// Whether a version of this account may be on that node: as placement has it.
    fn trusts(&self, row: &nodes::Model) -> bool {
        row.state.is_member() && self.distrusts(row).is_none()
    }

    /// Why it may not.
    fn distrusts(&self, row: &nodes::Model) -> Option<Refusal> {
        let own = row.account_id == Some(Col(self.account));
        scheduler::distrusts(self.placement, own, trust::of(row))
    }
}

/// A live node that a version may be on.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// What it is called, where that is the asker's to see: of their own nodes and the operator's.
    pub name: Option<String>,
    /// What it said last.
    pub report: NodeReport,
}

impl Nodes {
    /// Takes a report that has been checked.
    pub(crate) fn heard(&self, report: &NodeReport, now: Instant) {
        let mut last = self.last.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = last.get(&report.node).map(|last| last.at);
        if before.is_none() {
            // Whoever left while another control plane was asked is forgotten here, too.
            last.retain(|_, last| !last.noted || last.heard.elapsed() < SILENT_KEPT);
        }
        if last.len() < NODES_MAX || before.is_some() {
            let at = hello::not_before(before, Timestamp::now());
            last.insert(report.node, Last { report: Some(report.clone()), heard: now, at, noted: false });
        }
    }

    /// A node has left, or was shut out. When it was heard last is known still.
    pub(crate) fn forget(&self, node: NodeId) {
        let mut all = self.last.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(last) = all.get_mut(&node) {
            last.report = None;
        }
    }

    /// Notes when nodes were heard last that have been silent for so long, or are shut out: what is forgotten here, the row
    /// still says. True where there are more of them.
    pub(crate) async fn note_seen(&self, db: &Db, silence: Duration) -> std::result::Result<bool, DbErr> {
        let mut to_note: Vec<(NodeId, Timestamp)> = {
            let all = self.last.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            let silent = |last: &Last| last.report.is_none() || last.heard.elapsed() >= silence;
            let wanted = all.iter().filter(|(_, last)| !last.noted && silent(last));
            wanted.map(|(node, last)| (*node, last.at)).take(NOTED_AT_ONCE + 1).collect()
        };
        let is_more = to_note.len() > NOTED_AT_ONCE;
        to_note.truncate(NOTED_AT_ONCE);
        if to_note.is_empty() {
            return Ok(false);
        }
        // Another control plane may note some of them now, in the same order.
        to_note.sort_unstable();
        let tx = db.begin_bulk().await?;
        for (node, at) in &to_note {
            let (node, at) = (Col(*node), Col(*at));
            let earlier = nodes::Column::Seen.is_null().or(nodes::Column::Seen.lt(at));
            let wrong = nodes::Column::Seen.gt(Col(at.0.plus(hello::AHEAD_MAX)));
            nodes::Entity::update_many()
                .col_expr(nodes::Column::Seen, Expr::value(Some(at)))
                .filter(nodes::Column::Id.eq(node))
                // Another control plane may have heard it later.
                .filter(earlier.or(wrong))
                .exec(&tx)
                .await?;
        }
        tx.commit().await?;
        let mut all = self.last.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (node, at) in to_note {
            if let Some(last) = all.get_mut(&node).filter(|last| last.at == at) {
                last.noted = true;
            }
        }
        Ok(is_more)
    }

    /// The records in the KV bucket must be written again.
    pub(crate) fn records_changed(&self) {
        self.changed.notify_one();
    }

    fn fresh<T>(&self, silence_max: Duration, view: impl Fn(&NodeReport) -> T) -> HashMap<NodeId, T> {
        let last = self.last.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fresh = last.iter().filter(|(_, last)| last.heard.elapsed() <= silence_max);
        fresh.filter_map(|(node, last)| Some((*node, view(last.report.as_ref()?)))).collect()
    }

    /// The least loaded fit node that is not in `tried`. Where there is none yet, it waits a moment: a node that
    /// has just been restarted reports within a second.
    pub(crate) async fn pick(&self, app: &App, wanted: &Wanted, tried: &[NodeId]) -> Result<Option<NodeId>> {
        let until = Instant::now() + app.config.silence_max.duration();
        loop {
            let rows = nodes::Entity::find().all(app.db.read()).await?;
            let fresh = self.fresh(app.config.silence_max.duration(), Clone::clone);
            let fit = rows.iter().filter(|row| !tried.contains(&row.id.0) && wanted.trusts(row));
            let fit =
                fit.filter_map(|row| fresh.get(&row.id.0)).filter(|report| report.takes_runs() && wanted.fits(report));
            if let Some(best) = fit.min_by(|a, b| a.load.total_cmp(&b.load).then(a.node.cmp(&b.node))) {
                return Ok(Some(best.node));
            }
            if !tried.is_empty() || Instant::now() >= until || app.fabrics.is_none() {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The live nodes that a version may be on.
    pub(crate) async fn trusted(&self, app: &App, wanted: &Wanted) -> Result<Vec<Known>> {
        let rows = nodes::Entity::find().all(app.db.read()).await?;
        let mut fresh = self.fresh(app.config.silence_max.duration(), Clone::clone);
        let trusted = rows.into_iter().filter(|row| wanted.trusts(row));
        let known = trusted.filter_map(|row| {
            let own = row.account_id.is_some_and(|account| account.0 == wanted.account);
            let seen = own || *row.class == PlacementClass::Operator;
            Some(Known { report: fresh.remove(&row.id.0)?, name: seen.then_some(row.name) })
        });
        Ok(known.collect())
    }

    /// Why live nodes may not have a version that no node is trusted with, be it one that is silent now and will come back.
    pub(crate) async fn distrusted(&self, app: &App, wanted: &Wanted) -> Result<Vec<Refused>> {
        let (rows, now) = (nodes::Entity::find().all(app.db.read()).await?, Timestamp::now());
        let fresh = self.fresh(app.config.silence_max.duration(), |_| ());
        let awaited = |row: &nodes::Model| fresh.contains_key(&row.id.0) || comes_back(row, now);
        if rows.iter().any(|row| wanted.trusts(row) && awaited(row)) {
            return Ok(Vec::new());
        }
        let live = rows.iter().filter(|row| row.state.is_member() && fresh.contains_key(&row.id.0));
        let refused = live.filter_map(|row| {
            let why = wanted.distrusts(row)?;
            let agreed = (why == Refusal::New).then(|| trust::of(row).agreed);
            Some(Refused { node: row.id.0, why, agreed })
        });
        Ok(refused.collect())
    }

    /// Why no node of the account's own takes runs now: some of them with the reason of each; none where one does.
    pub(crate) async fn own_away(&self, app: &App, account: AccountId) -> Result<Option<Vec<String>>> {
        let own = nodes::Column::AccountId.eq(Col(account));
        let rows = nodes::Entity::find().filter(own).order_by_asc(nodes::Column::Name).all(app.db.read()).await?;
        let trusted = |row: &&nodes::Model| scheduler::distrusts(PlacementClass::Own, true, trust::of(row)).is_none();
        let mut away = Vec::new();
        for row in rows.iter().filter(|row| row.state.is_member()).filter(trusted) {
            let why = match self.last_of(app, row.id.0).0 {
                Some(report) => match report.paused() {
                    Some(paused) => paused.to_string(),
                    None => return Ok(None),
                },
                None => "offline".to_owned(),
            };
            away.push(format!("{}: {why}", row.name));
        }
        let more = away.len().saturating_sub(AWAY_MAX);
        away.truncate(AWAY_MAX);
        away.extend((more > 0).then(|| format!("{more} more")));
        Ok(Some(away))
    }

    /// The live nodes that take runs of this lane.
    pub(crate) fn ready(&self, silence_max: Duration, lane: Lane) -> HashSet<NodeId> {
        let fresh = self.fresh(silence_max, |report| report.takes_runs() && report.lanes.contains(&lane));
        fresh.into_iter().filter_map(|(node, ready)| ready.then_some(node)).collect()
    }

    /// What live nodes lend: an account's own, and the operator's.
    pub(crate) async fn totals(&self, app: &App, account: AccountId) -> Result<(api::NodesNow, api::NodesNow)> {
        let own = nodes::Column::AccountId.eq(Col(account));
        let seen = own.or(nodes::Column::Class.eq(Col(PlacementClass::Operator)));
        let rows = nodes::Entity::find().filter(seen).all(app.db.read()).await?;
        let fresh = self.fresh(app.config.silence_max.duration(), |report| api::NodesNow {
            nodes: 1,
            cores: report.cores.into(),
            busy_cores: f64::from(report.load) * f64::from(report.cores),
            memory: report.memory_total,
            reserved_memory: ByteSize(report.memory_total.0.saturating_sub(report.memory_free.0)),
            slots: report.slots.into(),
            running: report.running.into(),
        });
        let (mut own, mut operator) = (api::NodesNow::default(), api::NodesNow::default());
        for row in rows.into_iter().filter(|row| row.state.is_member()) {
            let Some(node) = fresh.get(&row.id.0) else { continue };
            let total = if row.account_id == Some(Col(account)) { &mut own } else { &mut operator };
            *total = add(*total, node);
        }
        Ok((own, operator))
    }

    /// `GET /nodes`: the account's own nodes and those that the operator answers for.
    pub(crate) async fn list(
        &self,
        app: &App,
        caller: &Caller,
        wanted: &NodesQuery,
        paging: &Paging,
    ) -> Result<api::Page<api::Node>> {
        let account = caller.require(protocol::route::Scope::Read)?;
        let operator = caller.user.as_ref().is_some_and(|user| user.operator);
        let mut query = nodes::Entity::find().order_by_asc(nodes::Column::Id).limit(paging.fetch());
        if wanted.all != Some(true) {
            query = query.filter(nodes::Column::State.is_not_in(NodeState::GONE.map(Col)));
        }
        if let Some(name) = &wanted.name {
            text::check("name", name)?;
            query = query.filter(nodes::Column::Name.eq(name.as_str()));
        }
        if let Some(after) = paging.after::<NodeId>()? {
            query = query.filter(nodes::Column::Id.gt(Col(after)));
        }
        if !operator {
            let own = nodes::Column::AccountId.eq(Col(account));
            query = query.filter(own.or(nodes::Column::Class.eq(Col(PlacementClass::Operator))));
        }
        let rows = page(query.all(app.db.read()).await?, paging, |row| row.id.to_string());
        let owners = if operator { owners(app, &rows.items).await? } else { HashMap::new() };
        let view = |row: &nodes::Model| self.view(app, row, account, &owners);
        Ok(api::Page { items: rows.items.iter().map(view).collect(), next: rows.next })
    }

    /// One node, as this account sees it; `owners` are the names of those whose nodes they are.
    pub(super) fn view(
        &self,
        app: &App,
        row: &nodes::Model,
        account: AccountId,
        owners: &HashMap<AccountId, String>,
    ) -> api::Node {
        let (report, last_seen) = self.last_of(app, row.id.0);
        let owner = row.account_id.map(|owner| owner.0);
        api::Node {
            own: owner == Some(account),
            owner: owner.and_then(|owner| owners.get(&owner).cloned()),
            ..view(row, report.as_ref(), last_seen)
        }
    }

    /// What a node said last, where that is not long ago; and when.
    pub(super) fn last_of(&self, app: &App, node: NodeId) -> (Option<NodeReport>, Option<Timestamp>) {
        let all = self.last.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = all.get(&node);
        let fresh = last.filter(|last| last.heard.elapsed() <= app.config.silence_max.duration());
        (fresh.and_then(|last| last.report.clone()), last.map(|last| last.at))
    }
}

/// Whether a silent node may be one that is being restarted. Those that are configured always come back; no deploy waits for
/// a lender's machine that was turned off.
fn comes_back(row: &nodes::Model, now: Timestamp) -> bool {
    let last = row.hello.unwrap_or(row.created);
    trust::fixed(row.class.0).is_some() || now.since(last.0) <= AWAITED
}

/// The names of the accounts whose nodes these are.
pub(super) async fn owners(app: &App, rows: &[nodes::Model]) -> Result<HashMap<AccountId, String>> {
    let ids: HashSet<AccountId> = rows.iter().filter_map(|row| row.account_id).map(|account| account.0).collect();
    let of = accounts::Column::Id.is_in(ids.into_iter().map(Col));
    let rows = accounts::Entity::find().filter(of).all(app.db.read()).await?;
    Ok(rows.into_iter().map(|account| (account.id.0, account.name.to_string())).collect())
}

fn add(total: api::NodesNow, node: &api::NodesNow) -> api::NodesNow {
    api::NodesNow {
        nodes: total.nodes + node.nodes,
        cores: total.cores + node.cores,
        busy_cores: total.busy_cores + node.busy_cores,
        memory: total.memory.saturating_add(node.memory),
        reserved_memory: total.reserved_memory.saturating_add(node.reserved_memory),
        slots: total.slots + node.slots,
        running: total.running + node.running,
    }
}

fn view(row: &nodes::Model, report: Option<&NodeReport>, last_seen: Option<Timestamp>) -> api::Node {
    // Who was shut out may say what it likes.
    let report = report.filter(|_| row.state.is_member());
    let count = |column: i32| u32::try_from(column).unwrap_or(0);
    api::Node {
        id: row.id.0,
        name: row.name.clone(),
        state: row.state.seen(report),
        state_reason: row.state_reason.clone(),
        paused: report.and_then(NodeReport::paused),
        class: row.level.class(),
        level: row.state.is_member().then_some(row.level.0),
        own: false,
        owner: None,
        arch: report.map_or_else(|| row.arch.clone(), |report| report.arch.clone()),
        lanes: report.map_or_else(|| row.lanes.0.clone(), |report| report.lanes.clone()),
        cores: report.map_or(count(row.cores), |report| report.cores),
        memory: report.map_or(row.memory.0, |report| report.memory_total),
        memory_free: report.map_or(ByteSize(0), |report| report.memory_free),
        load: report.map_or(0.0, |report| report.load),
        slots: report.map_or(count(row.slots), |report| report.slots),
        running: report.map_or(0, |report| report.running),
        last_seen: [last_seen, row.seen.map(|at| at.0), row.hello.map(|at| at.0)].into_iter().flatten().max(),
        vm: report.and_then(|report| report.vm.clone()),
        confinement: report.and_then(|report| report.confinement.clone()),
    }
}

/// Notes when silent nodes were heard last, until it is stopped; then of all.
pub(crate) async fn note_seen(app: App, stop: CancellationToken) {
    let mut goes_on = true;
    while goes_on {
        goes_on = stop.run_until_cancelled(tokio::time::sleep(NOTE_EVERY)).await.is_some();
        let silence = if goes_on { app.config.silence_max.duration() } else { Duration::ZERO };
        loop {
            match app.nodes.note_seen(&app.db, silence).await {
                // At the stop there is no later turn for them.
                Ok(true) if !goes_on => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "when nodes were heard last could not be noted");
                    break;
                }
            }
        }
    }
}

/// Listens to reports until it is stopped.
pub(crate) async fn listen(app: App, stop: CancellationToken) {
    let Some(fabrics) = &app.fabrics else { return };
    let heard = |report: NodeReport, now| {
        app.nodes.heard(&report, now);
        app.jobs.heard(report, now);
    };
    placing::hear_reports(fabrics.nodes.clone(), heard, stop).await;
}
