//! Nodes that report: the last word of each, for the API and for choosing one that prepares.

use std::collections::HashMap;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use protocol::api;
use protocol::node::NodeReport;
use protocol::{AccountId, ByteSize, Lane, Limits, NodeId, PlacementClass, Timestamp};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, ExprTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::db::columns::Col;
use crate::db::entities::nodes;
use crate::error::Result;
use crate::identity::caller::Caller;
use crate::paging::{Paging, page};

const NODES_MAX: usize = 100_000;

struct Last {
    report: NodeReport,
    heard: Instant,
    at: Timestamp,
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
        let owner = row.account_id.map(|account| account.0);
        scheduler::trusts(self.placement, self.account, owner, *row.class)
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
        if last.len() < NODES_MAX || last.contains_key(&report.node) {
            last.insert(report.node, Last { report: report.clone(), heard: now, at: Timestamp::now() });
        }
    }

    /// The records in the KV bucket must be written again.
    pub(crate) fn records_changed(&self) {
        self.changed.notify_one();
    }

    fn fresh<T>(&self, silence_max: Duration, view: impl Fn(&NodeReport) -> T) -> HashMap<NodeId, T> {
        let last = self.last.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fresh = last.iter().filter(|(_, last)| last.heard.elapsed() <= silence_max);
        fresh.map(|(node, last)| (*node, view(&last.report))).collect()
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
                fit.filter_map(|row| fresh.get(&row.id.0)).filter(|report| !report.draining && wanted.fits(report));
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
        for row in rows {
            let Some(node) = fresh.get(&row.id.0) else { continue };
            let total = if row.account_id == Some(Col(account)) { &mut own } else { &mut operator };
            *total = add(*total, node);
        }
        Ok((own, operator))
    }

    /// `GET /nodes`: the account's own nodes and those that the operator answers for.
    pub(crate) async fn list(&self, app: &App, caller: &Caller, paging: &Paging) -> Result<api::Page<api::Node>> {
        let account = caller.require(protocol::route::Scope::Read)?;
        let operator = caller.user.as_ref().is_some_and(|user| user.operator);
        let mut query = nodes::Entity::find().order_by_asc(nodes::Column::Id).limit(paging.fetch());
        if let Some(after) = paging.after::<NodeId>()? {
            query = query.filter(nodes::Column::Id.gt(Col(after)));
        }
        if !operator {
            let own = nodes::Column::AccountId.eq(Col(account));
            query = query.filter(own.or(nodes::Column::Class.eq(Col(PlacementClass::Operator))));
        }
        let rows = page(query.all(app.db.read()).await?, paging, |row| row.id.to_string());
        let fresh = self.fresh(app.config.silence_max.duration(), Clone::clone);
        let seen: HashMap<NodeId, Timestamp> = {
            let last = self.last.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            last.iter().map(|(node, last)| (*node, last.at)).collect()
        };
        let view = |row: nodes::Model| view(&row, fresh.get(&row.id.0), seen.get(&row.id.0).copied());
        Ok(api::Page { items: rows.items.into_iter().map(view).collect(), next: rows.next })
    }
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
    let count = |column: i32| u32::try_from(column).unwrap_or(0);
    api::Node {
        id: row.id.0,
        name: row.name.clone(),
        online: report.is_some(),
        class: row.class.0,
        arch: report.map_or_else(|| row.arch.clone(), |report| report.arch.clone()),
        lanes: report.map_or_else(|| row.lanes.0.clone(), |report| report.lanes.clone()),
        cores: report.map_or(count(row.cores), |report| report.cores),
        memory: report.map_or(row.memory.0, |report| report.memory_total),
        memory_free: report.map_or(ByteSize(0), |report| report.memory_free),
        load: report.map_or(0.0, |report| report.load),
        slots: report.map_or(count(row.slots), |report| report.slots),
        running: report.map_or(0, |report| report.running),
        draining: report.is_some_and(|report| report.draining),
        last_seen: last_seen.or(row.hello.map(|at| at.0)),
        vm: report.and_then(|report| report.vm.clone()),
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
