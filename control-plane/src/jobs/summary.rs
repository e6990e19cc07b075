//! How many jobs are in each state. Both counts read an index alone (`jobs_states`), and of an account no more jobs than
//! may be open and are kept.

use protocol::job::{JobCounts, JobState, JobSummary};
use protocol::route::Scope;
use protocol::{AccountId, Code, FunctionId, Timestamp};
use sea_orm::sea_query::{Asterisk, Expr};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, ExprTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};
use serde::Deserialize;

use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::jobs;
use crate::db::now;
use crate::error::{Result, refuse_field};
use crate::identity::caller::Caller;

/// Which jobs are counted.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SummaryQuery {
    /// Of those that ended, only those that did so at this time or later (RFC 3339).
    #[serde(default)]
    from: Option<Timestamp>,
    /// Of those that ended, only those that did so before this time (RFC 3339).
    #[serde(default)]
    to: Option<Timestamp>,
    /// Only of this function.
    #[serde(default)]
    function: Option<String>,
    /// Only of versions with this number.
    #[serde(default)]
    version: Option<u32>,
}

/// Whose jobs.
#[derive(Clone, Copy)]
struct Of {
    account: AccountId,
    function: Option<FunctionId>,
    version: Option<u32>,
}

impl Of {
    fn jobs(self) -> Select<jobs::Entity> {
        let mut query = jobs::Entity::find().filter(jobs::Column::AccountId.eq(Col(self.account)));
        if let Some(function) = self.function {
            query = query.filter(jobs::Column::FunctionId.eq(Col(function)));
        }
        if let Some(version) = self.version {
            query = query.filter(jobs::Column::VersionNumber.eq(i32::try_from(version).unwrap_or(i32::MAX)));
        }
        query
    }
}

/// `GET /jobs/summary`
pub(crate) async fn summary(app: &App, caller: &Caller, query: &SummaryQuery) -> Result<JobSummary> {
    let (account, function) = match &query.function {
        Some(name) => {
            let function = caller.function(app, name, Scope::Read).await.map_err(|error| error.at("function"))?;
            (function.account_id.0, Some(function.id.0))
        }
        None => (caller.require(Scope::Read)?, None),
    };
    if query.from.zip(query.to).is_some_and(|(from, to)| to < from) {
        return Err(refuse_field(Code::InvalidRequest, "to", "`to` is before `from`."));
    }
    let of = Of { account, function, version: query.version };
    let open = of.jobs().filter(jobs::Column::Ended.is_null());
    let mut ended = of.jobs().filter(jobs::Column::Ended.is_not_null());
    if let Some(from) = query.from {
        ended = ended.filter(jobs::Column::Ended.gte(Col(from)));
    }
    if let Some(to) = query.to {
        ended = ended.filter(jobs::Column::Ended.lt(Col(to)));
    }
    let mut counts = JobCounts::default();
    for (state, count) in by_state(app, open).await?.into_iter().chain(by_state(app, ended).await?) {
        *counts.of_mut(state) += count;
    }
    let waiting_since = if counts.queued == 0 { None } else { waiting_since(app, of).await? };
    Ok(JobSummary { from: query.from, to: query.to, counts, waiting_since })
}

async fn by_state(app: &App, query: Select<jobs::Entity>) -> Result<Vec<(JobState, u64)>> {
    let rows: Vec<(Col<JobState>, i64)> = query
        .select_only()
        .column(jobs::Column::State)
        .expr(Expr::col(Asterisk).count())
        .group_by(jobs::Column::State)
        .into_tuple()
        .all(app.db.read())
        .await?;
    Ok(rows.into_iter().map(|(state, count)| (state.0, unsigned(count))).collect())
}

/// Since when the first of the queued jobs could have run.
async fn waiting_since(app: &App, of: Of) -> Result<Option<Timestamp>> {
    let first: Option<Col<Timestamp>> = of
        .jobs()
        .select_only()
        .column(jobs::Column::Due)
        // Word for word as the index has it.
        .filter(Expr::cust("state = 'queued'"))
        .filter(jobs::Column::Due.lte(Col(now(app.db.read()).await?)))
        .order_by_asc(jobs::Column::Due)
        .limit(1)
        .into_tuple()
        .one(app.db.read())
        .await?;
    Ok(first.map(|due| due.0))
}
