//! One node in full: for whom the account's list has it, and more of it for its owner and the operator.

use protocol::api::{Availability, NodeCheck, NodeDetails};
use protocol::node::{NodeState, NodeStatus};
use protocol::route::Scope;
use protocol::{AccountId, Code, NodeId, PlacementClass, Timestamp, UserId};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};

use super::{registry, trust, wishes};
use crate::App;
use crate::audit;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{node_checks, nodes, users};
use crate::error::{Result, refuse};
use crate::identity::caller::Caller;

/// Newest checks that are shown of a node.
const CHECKS_SHOWN: u64 = 50;
/// Nodes of the same machine that are shown.
const SAME_MACHINE_SHOWN: u64 = 20;

/// Who looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Viewer {
    pub(super) account: AccountId,
    pub(super) operator: bool,
}

impl Viewer {
    pub(super) fn of(caller: &Caller, scope: Scope) -> Result<Self> {
        let account = caller.require(scope)?;
        Ok(Self { account, operator: caller.user.as_ref().is_some_and(|user| user.operator) })
    }

    fn owns(self, row: &nodes::Model) -> bool {
        row.account_id == Some(Col(self.account))
    }

    /// Whether caps and what it did are theirs to see.
    fn sees_whole(self, row: &nodes::Model) -> bool {
        self.operator || self.owns(row)
    }
}

/// `GET /nodes/{id}`: of the account's own nodes and those that the operator answers for; the operator sees all. Those too
/// that have left or were revoked, as long as the row is there.
pub(crate) async fn show(app: &App, caller: &Caller, node: NodeId) -> Result<NodeDetails> {
    let viewer = Viewer::of(caller, Scope::Read)?;
    let row = nodes::Entity::find_by_id(Col(node)).one(app.db.read()).await?;
    let seen = |row: &nodes::Model| viewer.sees_whole(row) || row.class.0 == PlacementClass::Operator;
    let row = row.filter(seen).ok_or_else(|| refuse(Code::NotFound, "The account has no such node."))?;
    let now = if viewer.sees_whole(&row) { wishes::status(app, &row).await } else { None };
    of(app, row, viewer, now).await
}

/// A node's details; `now` is what it says of itself.
pub(super) async fn of(app: &App, row: nodes::Model, viewer: Viewer, now: Option<NodeStatus>) -> Result<NodeDetails> {
    let checks = node_checks::Entity::find()
        .filter(node_checks::Column::NodeId.eq(row.id))
        .order_by_desc(node_checks::Column::At)
        .limit(CHECKS_SHOWN)
        .all(app.db.read())
        .await?;
    let (report, _) = app.nodes.last_of(app, row.id.0);
    let report = report.filter(|_| row.state.is_member());
    let record = trust::record(&row, &trust::vouched(app.db.read()).await?);
    let missing = if row.state.is_member() { record.missing(Timestamp::now()) } else { Vec::new() };
    let owners = if viewer.operator {
        registry::owners(app, std::slice::from_ref(&row)).await?
    } else {
        std::collections::HashMap::new()
    };
    let whole = viewer.sees_whole(&row);
    let by = by(app, &row, viewer).await?;
    let same_machine = if viewer.operator { same_machine(app, &row).await? } else { Vec::new() };
    Ok(NodeDetails {
        node: app.nodes.view(app, &row, viewer.account, &owners),
        fingerprint: trust::fingerprint(&row),
        joined: row.created.0,
        since: Some(row.state_since.0),
        by,
        same_machine,
        confirmed: row.confirmed.map(|at| at.0),
        proven: row.proven.map(|at| at.0),
        vouched: record.vouched,
        lied: row.lied.map(|at| at.0),
        missing,
        availability: Availability { asked: trust::count(row.asked), answered: trust::count(row.answered) },
        turns_per_ms: row.speed.map(trust::count),
        lending: report.and_then(|report| report.lending),
        checks: checks.into_iter().map(check).collect(),
        agreed: row.caps.filter(|_| whole).map(|caps| caps.0),
        etag: whole.then(|| wishes::etag(&row)),
        wish: row.wish.filter(|_| whole).map(|wish| wish.0.wish),
        now,
        os: row.os,
        software: row.software,
    })
}

/// Who has shut it out or ended it. Of the operator an owner learns no more than that.
async fn by(app: &App, row: &nodes::Model, viewer: Viewer) -> Result<Option<String>> {
    let Some(actor) = row.state_by.as_deref().filter(|_| viewer.sees_whole(row)) else { return Ok(None) };
    if actor == row.id.to_string() {
        return Ok(Some("the machine".to_owned()));
    }
    if let (Ok(user), false) = (actor.parse::<UserId>(), viewer.operator) {
        let user = users::Entity::find_by_id(Col(user)).one(app.db.read()).await?;
        if user.is_some_and(|user| user.operator) {
            return Ok(Some("the operator".to_owned()));
        }
    }
    Ok(Some(audit::named(&app.db, actor).await?.unwrap_or_else(|| actor.to_owned())))
}

/// Other nodes of the same machine, by the id that it has told.
async fn same_machine(app: &App, row: &nodes::Model) -> Result<Vec<NodeId>> {
    let Some(machine) = row.machine else { return Ok(Vec::new()) };
    let others = nodes::Entity::find()
        .filter(nodes::Column::Machine.eq(machine))
        .filter(nodes::Column::Id.ne(row.id))
        .filter(nodes::Column::State.is_not_in(NodeState::GONE.map(Col)))
        .order_by_asc(nodes::Column::Id)
        .limit(SAME_MACHINE_SHOWN);
    Ok(others.all(app.db.read()).await?.into_iter().map(|row| row.id.0).collect())
}

fn check(row: node_checks::Model) -> NodeCheck {
    NodeCheck {
        run: row.run_id.0,
        at: row.at.0,
        outcome: row.outcome.0,
        wall_us: row.wall_us.map(unsigned),
        detail: row.detail,
    }
}
