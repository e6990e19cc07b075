//! Messages become jobs: a message is taken out of its queue in the transaction that submits its job.

use protocol::job::SubmitJob;
use protocol::{JobId, RunSource, Timestamp};

use super::{find_in, job_of, write};
use crate::App;
use crate::db::Actor;
use crate::db::columns::Col;
use crate::db::entities::triggers;
use crate::error::{Error, Result};
use crate::functions::upload_quota;
use crate::{jobs, queues};

/// Messages of one transaction.
const AT_ONCE: usize = 64;
/// Transactions of one look: then other triggers have their turn.
const TURNS_MAX: usize = 16;
/// The label that tells a job's message.
const LABEL: &str = "message";

/// Submits a job for each message that waits.
pub(super) async fn drain(app: &App, seen: triggers::Model, now: Timestamp) -> Result<()> {
    for _ in 0..TURNS_MAX {
        if turn(app, &seen, now).await? < AT_ONCE {
            break;
        }
    }
    Ok(())
}

/// How many messages it has taken.
async fn turn(app: &App, seen: &triggers::Model, now: Timestamp) -> Result<usize> {
    let (account, name) = (seen.account_id.0, seen.name.0.clone());
    let Some(queue) = &seen.queue else { return Ok(0) };
    let waiting = queues::waiting(app, (account, &queue.0), now, AT_ONCE as u64).await?;
    if waiting.is_empty() {
        return Ok(0);
    }
    let asked = job_of(seen);
    // While no job can be made at all, messages stay.
    match jobs::check(app, account, &asked).await {
        Err(error @ Error::Refused(_)) => return complain(app, seen, &error).await.map(|()| 0),
        checked => checked?,
    }
    let mut prepared = Vec::with_capacity(waiting.len());
    for message in waiting {
        let mut asked = SubmitJob { input: Some(message.body.0.clone()), ..asked.clone() };
        asked.labels.insert(LABEL.to_owned(), message.id.to_string());
        let job = match jobs::prepare(app, account, &asked, Some((&name, RunSource::Queue))).await {
            Err(error @ Error::Refused(_)) => Err(error),
            prepared => Ok(prepared?),
        };
        prepared.push((message, job));
    }
    let mutation = app.db.mutation().await?;
    let row = find_in(&mutation, account, &name).await?;
    // Somebody has changed it.
    let row = row.filter(|row| row.queue == seen.queue && !row.paused && row.job == seen.job);
    let Some(mut row) = row else { return Ok(0) };
    let mut made: Vec<JobId> = Vec::with_capacity(prepared.len());
    row.error = None;
    // What they have put is held until the commit.
    for (message, job) in &prepared {
        match job {
            Err(error) => {
                queues::bury_in(mutation.tx(), message).await?;
                row.error = Some(format!("{}: {}", message.id.0, error.problem()));
            }
            Ok(job) if queues::remove_in(mutation.tx(), message).await? => {
                let counted = match job.stored.0 {
                    0 => Ok(()),
                    _ => upload_quota::charge_in(app, mutation.tx(), account, job.stored).await,
                };
                let made_of_it = match counted {
                    Ok(()) => jobs::insert_in(app, &mutation, job, 1).await,
                    Err(error) => Err(error),
                };
                match made_of_it {
                    // All of them go back to the queue.
                    Err(error @ Error::Refused(_)) => {
                        drop(mutation);
                        return complain(app, seen, &error).await.map(|()| 0);
                    }
                    ids => made.extend(ids?),
                }
            }
            // Somebody was faster.
            Ok(_) => {}
        }
    }
    let taken = made.len();
    if let Some(last) = made.last() {
        (row.last, row.last_job) = (Some(Col(now)), Some(Col(*last)));
    }
    write(&mutation, &row).await?;
    let committed = mutation.commit(&Actor::platform(), Some(account), "trigger.fire", &name).await?;
    app.announce(committed).await;
    jobs::inserted(app);
    tracing::debug!(%account, %name, jobs = taken, "queue trigger fired");
    Ok(taken)
}

/// Says in the trigger why it brings no job.
async fn complain(app: &App, seen: &triggers::Model, error: &Error) -> Result<()> {
    let why = error.problem().to_string();
    if seen.error.as_deref() == Some(why.as_str()) {
        return Ok(());
    }
    let mutation = app.db.mutation().await?;
    let Some(mut row) = find_in(&mutation, seen.account_id.0, &seen.name.0).await? else { return Ok(()) };
    row.error = Some(why);
    write(&mutation, &row).await?;
    let account = Some(seen.account_id.0);
    let committed = mutation.commit(&Actor::platform(), account, "trigger.fail", &seen.name.0).await?;
    app.announce(committed).await;
    Ok(())
}
