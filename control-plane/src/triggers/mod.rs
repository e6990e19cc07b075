//! Triggers: at their times, or for each message of a queue, they submit a job: once, whichever control plane looks
//! first.

mod queue;
mod schedule;

use std::time::Duration;

use protocol::api::Page;
use protocol::job::{JobState, SubmitJob};
use protocol::route::Scope;
use protocol::trigger::{SetTrigger, Trigger};
use protocol::{AccountId, Code, Field, JobId, Name, Problem, RunSource, Timestamp, UserId};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::db::columns::Col;
use crate::db::entities::triggers;
use crate::db::loops;
use crate::db::{Actor, Mutation};
use crate::error::{Error, Result, invalid, refuse};
use crate::identity::accounts::parse_name;
use crate::identity::caller::Caller;
use crate::identity::members::emails;
use crate::jobs;
use crate::paging::{Paging, page};

use schedule::Schedule;

const EVERY: Duration = Duration::from_millis(500);
const AT_ONCE: u64 = 32;
/// Triggers of an account.
const TRIGGERS_MAX: u64 = 100;
const ZONE: &str = "UTC";

/// The label that tells a job's trigger.
const LABEL: &str = "trigger";

async fn views(app: &App, rows: Vec<triggers::Model>) -> Result<Vec<Trigger>> {
    let emails = emails(&app.db, rows.iter().filter_map(|row| row.user_id)).await?;
    let view = |row: triggers::Model| Trigger {
        name: row.name.0,
        cron: row.cron,
        queue: row.queue.map(|queue| queue.0),
        zone: row.zone,
        missed: row.missed.0,
        paused: row.paused,
        job: row.job.0,
        next: row.next.map(|at| at.0),
        last: row.last.map(|at| at.0),
        last_job: row.last_job.map(|id| id.0),
        error: row.error,
        set_by: row.user_id.and_then(|user| emails.get(&user).cloned()),
        created: row.created.0,
    };
    Ok(rows.into_iter().map(view).collect())
}

async fn view(app: &App, row: triggers::Model) -> Result<Trigger> {
    let shown = views(app, vec![row]).await?.pop();
    shown.ok_or_else(|| Error::Internal("a trigger is not shown".to_owned()))
}

/// Names of the account's triggers that this user set last.
pub(crate) async fn set_by(app: &App, account: AccountId, user: UserId) -> Result<Vec<Name>> {
    let rows = triggers::Entity::find()
        .filter(triggers::Column::AccountId.eq(Col(account)))
        .filter(triggers::Column::UserId.eq(Col(user)))
        .order_by_asc(triggers::Column::Name)
        .all(app.db.read())
        .await?;
    Ok(rows.into_iter().map(|row| row.name.0).collect())
}

/// The triggers of a member who leaves are somebody else's from now on.
pub(crate) async fn taken_over(
    mutation: &Mutation,
    (account, user): (AccountId, UserId),
    heir: Option<UserId>,
) -> Result<()> {
    triggers::Entity::update_many()
        .set(triggers::ActiveModel { user_id: Set(heir.map(Col)), ..Default::default() })
        .filter(triggers::Column::AccountId.eq(Col(account)))
        .filter(triggers::Column::UserId.eq(Col(user)))
        .exec(mutation.tx())
        .await?;
    Ok(())
}

/// Triggers name the function of their jobs: those of one that is renamed follow it.
pub(crate) async fn follow_rename(mutation: &Mutation, account: AccountId, from: &Name, to: &Name) -> Result<()> {
    let rows = triggers::Entity::find().filter(triggers::Column::AccountId.eq(Col(account))).all(mutation.tx()).await?;
    for mut row in rows {
        let job = &mut row.job.0;
        let (name, reference) = match job.function.split_once('@') {
            Some((name, reference)) => (name, format!("@{reference}")),
            None => (job.function.as_str(), String::new()),
        };
        if name == from.as_str() {
            job.function = format!("{to}{reference}");
            write(mutation, &row).await?;
        }
    }
    Ok(())
}

/// `PUT /triggers/{name}`: made, or changed. It is due from now on.
pub(crate) async fn set(app: &App, caller: &Caller, name: &str, asked: SetTrigger) -> Result<Trigger> {
    let account = caller.require(Scope::Deploy)?;
    let name = parse_name(name, "name")?;
    let zone = asked.zone.unwrap_or_else(|| ZONE.to_owned());
    let schedule = match (&asked.cron, &asked.queue) {
        (Some(cron), None) => Some(Schedule::parse(cron, &zone)?),
        (None, Some(queue)) => {
            crate::queues::find(app, account, queue.as_str()).await.map_err(|error| error.at("queue"))?;
            if asked.job.input.is_some() {
                return Err(invalid("job.input", "job.input must be left out: each message of the queue is an input"));
            }
            None
        }
        _ => return Err(invalid("cron", "exactly one of `cron` and `queue` must be set")),
    };
    if asked.job.not_before.is_some() {
        return Err(invalid("job.not_before", "job.not_before must be left out: the trigger says when"));
    }
    // What would be refused each time is refused now.
    jobs::check(app, account, &asked.job).await.map_err(|error| error.under(&Field::from("job")))?;
    let mutation = app.db.mutation().await?;
    let there = find_in(&mutation, account, &name).await?;
    let of_account = triggers::Entity::find().filter(triggers::Column::AccountId.eq(Col(account)));
    if there.is_none() && of_account.count(mutation.tx()).await? >= TRIGGERS_MAX {
        let problem = Problem::new(Code::LimitReached, format!("An account may have {TRIGGERS_MAX} triggers."));
        return Err(problem
            .with_help("Delete a trigger that is not needed: `crowdcloud triggers delete NAME`.")
            .into());
    }
    let row = triggers::Model {
        account_id: account.into(),
        name: name.into(),
        cron: asked.cron,
        queue: asked.queue.map(Col),
        zone,
        missed: asked.missed.into(),
        paused: asked.paused,
        job: asked.job.into(),
        next: schedule.and_then(|schedule| schedule.after(mutation.at())).map(Col),
        last: there.as_ref().and_then(|row| row.last),
        last_job: there.as_ref().and_then(|row| row.last_job),
        error: None,
        user_id: caller.behind.map(Col),
        created: there.as_ref().map_or(mutation.at().into(), |row| row.created),
    };
    match there {
        Some(_) => write(&mutation, &row).await?,
        None => {
            triggers::Entity::insert(triggers::ActiveModel::from(row.clone()))
                .exec_without_returning(mutation.tx())
                .await?;
        }
    }
    let committed = mutation.commit(&caller.actor, Some(account), "trigger.set", &row.name.0).await?;
    app.announce(committed).await;
    view(app, row).await
}

async fn find_in(mutation: &Mutation, account: AccountId, name: &Name) -> Result<Option<triggers::Model>> {
    Ok(triggers::Entity::find_by_id((Col(account), Col(name.clone()))).one(mutation.tx()).await?)
}

async fn write(mutation: &Mutation, row: &triggers::Model) -> Result<()> {
    triggers::Entity::update_many()
        .set(triggers::ActiveModel::from(row.clone()).reset_all())
        .filter(triggers::Column::AccountId.eq(row.account_id))
        .filter(triggers::Column::Name.eq(row.name.clone()))
        .exec(mutation.tx())
        .await?;
    Ok(())
}

/// `GET /triggers`
pub(crate) async fn list(app: &App, caller: &Caller, paging: &Paging) -> Result<Page<Trigger>> {
    let mut query = triggers::Entity::find()
        .filter(triggers::Column::AccountId.eq(Col(caller.require(Scope::Read)?)))
        .order_by_asc(triggers::Column::Name)
        .limit(paging.fetch());
    if let Some(after) = paging.after::<Name>()? {
        query = query.filter(triggers::Column::Name.gt(Col(after)));
    }
    let rows = page(query.all(app.db.read()).await?, paging, |row| row.name.to_string());
    Ok(Page { items: views(app, rows.items).await?, next: rows.next })
}

fn missing(name: &str) -> Error {
    refuse(Code::NotFound, format!("The account has no trigger `{}`.", name.escape_debug()))
}

/// `GET /triggers/{name}`
pub(crate) async fn show(app: &App, caller: &Caller, name: &str) -> Result<Trigger> {
    let account = caller.require(Scope::Read)?;
    let name_read = name.parse::<Name>().map_err(|_| missing(name))?;
    let row = triggers::Entity::find_by_id((Col(account), Col(name_read))).one(app.db.read()).await?;
    view(app, row.ok_or_else(|| missing(name))?).await
}

/// `DELETE /triggers/{name}`
pub(crate) async fn delete(app: &App, caller: &Caller, name: &str) -> Result<()> {
    let account = caller.require(Scope::Deploy)?;
    let name_read = name.parse::<Name>().map_err(|_| missing(name))?;
    let mutation = app.db.mutation().await?;
    let deleted =
        triggers::Entity::delete_by_id((Col(account), Col(name_read))).exec(mutation.tx()).await?.rows_affected;
    if deleted == 0 {
        return Err(missing(name));
    }
    let committed = mutation.commit(&caller.actor, Some(account), "trigger.delete", name).await?;
    app.announce(committed).await;
    Ok(())
}

/// Looks until it is stopped.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Some(Err(error)) = stop.run_until_cancelled(Box::pin(once(&app, Timestamp::now()))).await {
            tracing::warn!(%error, "trigger evaluation failed");
        }
        stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
    }
}

/// All that is due.
pub(crate) async fn once(app: &App, now: Timestamp) -> Result<()> {
    for row in loops::triggers_due(now, AT_ONCE).all(app.db.read()).await? {
        fire(app, row, now).await?;
    }
    for row in loops::triggers_of_queues().all(app.db.read()).await? {
        queue::drain(app, row, now).await?;
    }
    Ok(())
}

/// What a trigger submits.
fn job_of(row: &triggers::Model) -> SubmitJob {
    let mut asked = row.job.0.clone();
    asked.labels.insert(LABEL.to_owned(), row.name.0.to_string());
    asked
}

/// Submits what a trigger asks for, and sets its next time, in one transaction.
async fn fire(app: &App, seen: triggers::Model, now: Timestamp) -> Result<()> {
    let (account, name) = (seen.account_id.0, seen.name.0.clone());
    let asked = job_of(&seen);
    // Outside of the transaction: it may put the input into the store.
    let prepared = jobs::prepare(app, account, &asked, Some((&name, RunSource::Schedule))).await;
    let mutation = app.db.mutation().await?;
    let row = find_in(&mutation, account, &name).await?;
    // Another control plane was faster, or somebody has changed it.
    let row = row.filter(|row| row.next == seen.next && !row.paused && row.job == seen.job);
    let (Some(mut row), Some(next)) = (row, seen.next) else { return Ok(()) };
    let schedule = Schedule::parse(row.cron.as_deref().unwrap_or_default(), &row.zone);
    let (times, following) = match &schedule {
        Ok(schedule) => schedule.due(next.0, now, row.missed.0),
        Err(_) => (Vec::new(), None),
    };
    row.next = following.map(Col);
    let mut made: Vec<JobId> = Vec::new();
    row.error = match &prepared {
        _ if times.is_empty() => schedule.err().map(|invalid| invalid.why),
        Err(error) => Some(error.problem().to_string()),
        Ok(prepared) => match jobs::insert_in(app, &mutation, prepared, times.len()).await {
            Ok(ids) => {
                made = ids;
                None
            }
            // What the database says ends the transaction; what we say ends this time alone.
            Err(error @ Error::Refused(_)) => Some(error.problem().to_string()),
            Err(error) => return Err(error),
        },
    };
    if !times.is_empty() {
        row.last = Some(Col(now));
        row.last_job = made.last().copied().map(Col);
    }
    write(&mutation, &row).await?;
    let committed = mutation.commit(&Actor::platform(), Some(account), "trigger.fire", &name).await?;
    app.announce(committed).await;
    jobs::inserted(app);
    tracing::debug!(%account, %name, jobs = made.len(), state = %JobState::Queued, "trigger fired");
    Ok(())
}
