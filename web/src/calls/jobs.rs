//! Calls about jobs and triggers.

use protocol::JobId;
use protocol::api::{LogPage, Page};
use protocol::job::{Job, JobArray, JobLimits, JobWhy, SubmitArray, SubmitJob};
use protocol::queue::{Queue, SetQueue};
use protocol::trigger::{SetTrigger, Trigger};

use super::{LIVE_ROWS, ROWS_MAX};
use crate::api::{Call, Result, Whole};
use crate::events::Events;
use crate::nav::encode;

/// `query` is what of the jobs is asked for, such as `&state=running`.
pub(crate) async fn list(account: &str, query: &str) -> Result<Page<Job>> {
    Call::get(&format!("/jobs?limit={LIVE_ROWS}{query}")).of(account).send().await
}

/// The newest few.
pub(crate) async fn newest(account: &str, count: u32) -> Result<Page<Job>> {
    Call::get(&format!("/jobs?limit={count}")).of(account).send().await
}

/// Changes of all the account's jobs, from now on.
pub(crate) async fn changes(account: &str) -> Result<Events<Job>> {
    Events::open(Call::get("/jobs/events").of(account)).await
}

/// One job as it is, and each change until its end.
pub(crate) async fn changes_of(account: &str, job: JobId) -> Result<Events<Job>> {
    Events::open(Call::get(&format!("/jobs/{job}/events")).of(account)).await
}

pub(crate) async fn show(account: &str, job: JobId) -> Result<Job> {
    Call::get(&format!("/jobs/{job}")).of(account).send().await
}

pub(crate) async fn limits() -> Result<JobLimits> {
    Call::get("/jobs/limits").send().await
}

/// `once` is the same for the same wish: then it has one effect, however often it is sent.
pub(crate) async fn submit(account: &str, once: &str, body: &SubmitJob) -> Result<Job> {
    Call::post("/jobs").of(account).header("idempotency-key", once).json(body).await
}

pub(crate) async fn submit_array(account: &str, once: &str, body: &SubmitArray) -> Result<JobArray> {
    Call::post("/jobs/arrays").of(account).header("idempotency-key", once).json(body).await
}

pub(crate) async fn output(account: &str, job: JobId) -> Result<Whole> {
    Call::get(&format!("/jobs/{job}/output")).of(account).whole().await
}

pub(crate) async fn logs(account: &str, job: JobId) -> Result<LogPage> {
    Call::get(&format!("/jobs/{job}/logs")).of(account).send().await
}

pub(crate) async fn why(account: &str, job: JobId) -> Result<JobWhy> {
    Call::get(&format!("/jobs/{job}/why")).of(account).send().await
}

pub(crate) async fn cancel(account: &str, job: JobId) -> Result<Job> {
    Call::post(&format!("/jobs/{job}/cancel")).of(account).send().await
}

pub(crate) async fn retry(account: &str, job: JobId) -> Result<Job> {
    Call::post(&format!("/jobs/{job}/retry")).of(account).send().await
}

pub(crate) async fn triggers(account: &str) -> Result<Page<Trigger>> {
    Call::get(&format!("/triggers?limit={ROWS_MAX}")).of(account).send().await
}

pub(crate) async fn set_trigger(account: &str, name: &str, body: &SetTrigger) -> Result<Trigger> {
    Call::put(&format!("/triggers/{}", encode(name))).of(account).json(body).await
}

pub(crate) async fn queues(account: &str) -> Result<Page<Queue>> {
    Call::get(&format!("/queues?limit={ROWS_MAX}")).of(account).send().await
}

/// With the platform's own settings.
pub(crate) async fn make_queue(account: &str, name: &str) -> Result<Queue> {
    Call::put(&format!("/queues/{}", encode(name))).of(account).json(&SetQueue::default()).await
}

pub(crate) async fn delete_trigger(account: &str, name: &str) -> Result<()> {
    Call::delete(&format!("/triggers/{}", encode(name))).of(account).send().await
}
