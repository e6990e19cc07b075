//! The end of an account. Each step may be taken again, so that one that broke off goes on with the next housekeeping.
//!
//! ```text
//! there --owner deletes it--> deleted ------------> idle ------------------> erased
//!                             nobody gets in,       its functions are gone,  what it had is gone; sums of
//!                             keys have ended,      its jobs have ended      usage stay, under its id alone
//!                             its nodes have left
//! ```
//! Halves of runs that come after that are void (`settlement`), and so are lines that runs wrote (`logs`).

use std::time::Duration;

use protocol::api::Role;
use protocol::node::NodeState;
use protocol::{AccountId, Code, JobId, MessageId, Name, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{
    accounts, artifacts, functions, invitations, job_counts, jobs, members, messages, queues, revoked_keys, triggers,
    upload_quotas,
};
use crate::db::{Actor, Mutation, loops};
use crate::error::{Error, Result, refuse};
use crate::functions::route;
use crate::identity::caller::Caller;
use crate::identity::keys;
use crate::jobs::cancel_in;
use crate::nodes::{records, standing};

/// Pause between two looks for accounts of which something is left.
const EVERY: Duration = Duration::from_secs(60);
/// Functions that end in one transaction.
const FUNCTIONS_AT_ONCE: u64 = 50;
/// Other rows that go in one transaction.
const ROWS_AT_ONCE: u64 = 500;
/// Accounts that one housekeeping works on.
const ACCOUNTS_AT_ONCE: u64 = 10;

/// `DELETE /accounts/{name}`: for its owners. It answers once nothing of the account can be called any more.
pub(crate) async fn delete(app: &App, caller: &Caller, name: &str) -> Result<()> {
    let user = caller.user()?.id;
    let missing = || refuse(Code::NotFound, format!("You have no account `{}`.", name.escape_debug()));
    let named = name.parse::<Name>().map_err(|_| missing())?;
    let mut mutation = app.db.mutation().await?;
    let row = accounts::Entity::find().filter(accounts::Column::Name.eq(Col(named))).one(mutation.tx()).await?;
    let row = row.filter(|row| row.deleted.is_none()).ok_or_else(missing)?;
    let member = members::Entity::find_by_id((row.id, user)).one(mutation.tx()).await?.ok_or_else(missing)?;
    if *member.role != Role::Owner {
        return Err(refuse(Code::Forbidden, "Only an owner deletes an account."));
    }
    accounts::Entity::update_many()
        .set(accounts::ActiveModel { deleted: Set(Some(mutation.at().into())), ..Default::default() })
        .filter(accounts::Column::Id.eq(row.id))
        .exec(mutation.tx())
        .await?;
    keys::revoke_of_account(&mut mutation, row.id.0).await?;
    invitations::Entity::delete_many().filter(invitations::Column::AccountId.eq(row.id)).exec(mutation.tx()).await?;
    triggers::Entity::delete_many().filter(triggers::Column::AccountId.eq(row.id)).exec(mutation.tx()).await?;
    members::Entity::delete_many().filter(members::Column::AccountId.eq(row.id)).exec(mutation.tx()).await?;
    let left = records::end_with_account(&mut mutation, row.id.0, &caller.actor).await?;
    let committed = mutation.commit(&caller.actor, Some(row.id.0), "account.delete", &row.name.0).await?;
    let mut told = JoinSet::new();
    for node in left {
        let app = app.clone();
        told.spawn(async move {
            if let Some(why) = standing::refusal(NodeState::Left, Some(records::ACCOUNT_DELETED)) {
                app.cut_off(node, &why).await;
            }
        });
    }
    app.announce(committed).await;
    // The caller is no member any more: the platform goes on by itself, also when nobody waits for it.
    let (app, account) = (app.clone(), row.id.0);
    let idle = tokio::spawn(async move {
        let ended = make_idle(&app, account).await.map(drop);
        while told.join_next().await.is_some() {}
        ended
    });
    idle.await.map_err(|error| Error::Internal(format!("deleting an account: {error}")))?
}

/// Goes on with accounts that were deleted, until it is stopped.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        if let Some(Err(error)) = stop.run_until_cancelled(Box::pin(go_on(&app, Timestamp::now()))).await {
            tracing::warn!(%error, "erasing accounts failed");
        }
    }
}

/// Takes the next steps of all accounts that were deleted.
pub(crate) async fn go_on(app: &App, now: Timestamp) -> Result<()> {
    for row in loops::accounts_to_erase(ACCOUNTS_AT_ONCE).all(app.db.read()).await? {
        let Some(deleted) = row.deleted else { continue };
        // Halves of its last runs are still on their way: they are settled first.
        let settled = deleted.plus(2 * app.config.settle_wait_max.duration());
        if make_idle(app, row.id.0).await? && now >= settled {
            erase(app, row.id.0, now).await?;
        }
    }
    Ok(())
}

/// Ends its functions and jobs; whether all of them have.
async fn make_idle(app: &App, account: AccountId) -> Result<bool> {
    while end_functions(app, account).await? {}
    while cancel_jobs(app, account).await? {}
    let open = job_counts::Entity::find_by_id(Col(account)).one(app.db.read()).await?;
    Ok(open.is_none_or(|row| row.open <= 0))
}

async fn end_functions(app: &App, account: AccountId) -> Result<bool> {
    let there = || {
        functions::Entity::find()
            .filter(functions::Column::AccountId.eq(Col(account)))
            .filter(functions::Column::Deleted.is_null())
            .limit(FUNCTIONS_AT_ONCE)
    };
    if there().one(app.db.read()).await?.is_none() {
        return Ok(false);
    }
    let mut mutation = app.db.mutation().await?;
    for row in there().all(mutation.tx()).await? {
        functions::Entity::update_many()
            .set(functions::ActiveModel { deleted: Set(Some(mutation.at().into())), ..Default::default() })
            .filter(functions::Column::Id.eq(row.id))
            .exec(mutation.tx())
            .await?;
        route::changed(&mut mutation, row.id.0).await?;
    }
    done(app, mutation, account, "account.end_functions").await?;
    Ok(true)
}

/// Those that wait end, and nodes stop the others.
async fn cancel_jobs(app: &App, account: AccountId) -> Result<bool> {
    let open = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::Id)
        .filter(jobs::Column::AccountId.eq(Col(account)))
        .filter(jobs::Column::Ended.is_null())
        .filter(jobs::Column::Cancelling.eq(false))
        .limit(ROWS_AT_ONCE);
    let ids: Vec<Col<JobId>> = open.into_tuple().all(app.db.read()).await?;
    if ids.is_empty() {
        return Ok(false);
    }
    let mutation = app.db.mutation().await?;
    let revision = cancel_in(&mutation, ids, "its account was deleted").await?;
    done(app, mutation, account, "account.cancel_jobs").await?;
    app.jobs.committed(revision);
    Ok(true)
}

async fn done(app: &App, mutation: Mutation, account: AccountId, action: &'static str) -> Result<()> {
    let committed = mutation.commit(&Actor::platform(), Some(account), action, account).await?;
    app.announce(committed).await;
    Ok(())
}

/// Deletes what the account had, in bounded steps. Sums of usage, and what the audit says, stay.
async fn erase(app: &App, account: AccountId, now: Timestamp) -> Result<()> {
    while forget_jobs(app, account).await? {}
    while forget_messages(app, account).await? {}
    queues::Entity::delete_many().filter(queues::Column::AccountId.eq(Col(account))).exec(app.db.write()).await?;
    crate::logs::erase(&app.db, account).await?;
    let revoked = revoked_keys::Entity::delete_many().filter(revoked_keys::Column::AccountId.eq(Col(account)));
    revoked.exec(app.db.write()).await?;
    artifacts::Entity::delete_many().filter(artifacts::Column::AccountId.eq(Col(account))).exec(app.db.write()).await?;
    upload_quotas::Entity::delete_by_id(Col(account)).exec(app.db.write()).await?;
    // At the end: it notes that nothing is left.
    if crate::settlement::erase(&app.db, account, now).await? {
        // Lines that came before that note.
        crate::logs::erase(&app.db, account).await?;
        tracing::info!(%account, "account erased");
    }
    Ok(())
}

async fn forget_jobs(app: &App, account: AccountId) -> Result<bool> {
    let ids = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::Id)
        .filter(jobs::Column::AccountId.eq(Col(account)))
        .limit(ROWS_AT_ONCE);
    let ids: Vec<Col<JobId>> = ids.into_tuple().all(app.db.read()).await?;
    let more = !ids.is_empty();
    if more {
        crate::jobs::forget(app, ids).await?;
    }
    Ok(more)
}

async fn forget_messages(app: &App, account: AccountId) -> Result<bool> {
    let ids = messages::Entity::find()
        .select_only()
        .column(messages::Column::Id)
        .filter(messages::Column::AccountId.eq(Col(account)))
        .limit(ROWS_AT_ONCE);
    let ids: Vec<Col<MessageId>> = ids.into_tuple().all(app.db.read()).await?;
    let more = !ids.is_empty();
    if more {
        let gone = messages::Entity::delete_many().filter(messages::Column::Id.is_in(ids));
        gone.exec(app.db.write()).await?;
    }
    Ok(more)
}
