//! What is done to a job: cancel, and try again.

use protocol::job::{Job, JobState};
use protocol::route::Scope;
use protocol::{Code, JobId, Problem};

use super::rows::{self, Step};
use super::views;
use crate::App;
use crate::db::Mutation;
use crate::db::columns::Col;
use crate::db::entities::jobs;
use crate::error::{Error, Result, refuse};
use crate::identity::caller::Caller;

fn gone() -> Error {
    refuse(Code::NotFound, "The job was deleted.")
}

/// `POST /jobs/{id}/cancel`: one that waits ends at once, one on a node as soon as that has stopped it.
pub(crate) async fn cancel(app: &App, caller: &Caller, id: JobId) -> Result<Job> {
    let found = views::find(app, caller, id, &[Scope::Invoke, Scope::Deploy]).await?;
    let mutation = app.db.mutation().await?;
    let revision = rows::revisions(mutation.tx(), 1).await?;
    let mut row = rows::locked(mutation.tx(), id).await?.ok_or_else(gone)?;
    if row.state.ended() {
        return Err(refuse(Code::JobEnded, format!("The job ended as `{}` at {}.", row.state.0, ended(&row))));
    }
    end(&mutation, &mut row, format!("cancelled by {}", caller.label), revision).await?;
    let committed = mutation.commit(&caller.actor, Some(found.account_id.0), "job.cancel", id).await?;
    app.announce(committed).await;
    app.jobs.committed(revision);
    views::whole(app, row).await
}

/// One that waits ends; one on a node is to be stopped.
async fn end(mutation: &Mutation, row: &mut jobs::Model, reason: String, revision: i64) -> Result<()> {
    if row.state.0 == JobState::Queued {
        let step = Step { state: JobState::Cancelled, node: None, run: None, reason, at: mutation.at() };
        rows::step(mutation.tx(), row, step, revision).await?;
    } else {
        row.cancelling = true;
        row.revision = revision;
    }
    rows::write(mutation.tx(), row).await?;
    Ok(())
}

/// Cancels these jobs, as far as they have not ended, in a mutation of the platform's own; its last revision.
pub(crate) async fn cancel_in(mutation: &Mutation, ids: Vec<Col<JobId>>, reason: &str) -> Result<i64> {
    let mut revision = rows::revisions(mutation.tx(), ids.len()).await?;
    for id in ids {
        if let Some(mut row) = rows::locked(mutation.tx(), id.0).await?.filter(|row| !row.state.ended()) {
            end(mutation, &mut row, reason.to_owned(), revision).await?;
        }
        revision += 1;
    }
    Ok(revision - 1)
}

fn ended(row: &jobs::Model) -> String {
    row.ended.map_or_else(String::new, |at| at.to_string())
}

/// `POST /jobs/{id}/retry`: as if it had just been submitted.
pub(crate) async fn retry(app: &App, caller: &Caller, id: JobId) -> Result<Job> {
    let found = views::find(app, caller, id, &[Scope::Invoke, Scope::Deploy]).await?;
    let mutation = app.db.mutation().await?;
    let revision = rows::revisions(mutation.tx(), 1).await?;
    let mut row = rows::locked(mutation.tx(), id).await?.ok_or_else(gone)?;
    if !row.state.ended() {
        return Err(refuse(Code::JobNotEnded, format!("The job is `{}`.", row.state.0)));
    }
    if !row.state.may_become(JobState::Queued) {
        let problem = Problem::new(Code::JobEnded, "The job has succeeded, and is not tried again.");
        return Err(problem.with_help("Submit a new job: `crowdcloud jobs submit FUNCTION`.").into());
    }
    let at = mutation.at();
    row.due = Col(at);
    row.place = row.place.max(at.0);
    (row.attempts, row.losses, row.turns) = (0, 0, 0);
    (row.run_id, row.node_id, row.lane, row.started) = (None, None, None, None);
    (row.status, row.code, row.usage, row.placement) = (None, None, None, None);
    (row.webhook_tries, row.webhook_due, row.webhook_delivered, row.webhook_error) = (0, None, None, None);
    row.output_size = Col(protocol::ByteSize(0));
    let reason = format!("tried again by {}", caller.label);
    let step = Step { state: JobState::Queued, node: None, run: None, reason, at };
    rows::step(mutation.tx(), &mut row, step, revision).await?;
    rows::write(mutation.tx(), &row).await?;
    let committed = mutation.commit(&caller.actor, Some(found.account_id.0), "job.retry", id).await?;
    app.announce(committed).await;
    app.jobs.committed(revision);
    views::whole(app, row).await
}
