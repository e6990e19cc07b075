//! The jobs API, for one account; patient, because processes die.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use protocol::api::Page;
use protocol::job::{Job, JobArray, JobWhy, SubmitArray, SubmitJob};
use protocol::{JobId, Timestamp};
use serde::de::DeserializeOwned;

use crate::http::{self, Target};
use crate::platform::Platform;

/// Whatever died is back by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// An account's jobs.
pub(super) struct Jobs<'a> {
    platform: &'a Platform,
    key: String,
}

impl<'a> Jobs<'a> {
    pub(super) fn of(platform: &'a Platform) -> anyhow::Result<Self> {
        Ok(Self { platform, key: platform.command(&["token"], "")?.trim().to_owned() })
    }

    pub(super) fn at(&self, path: &str) -> Target {
        self.platform.at(&format!("/api/v1{path}")).with_key(&self.key)
    }

    async fn ask<T: DeserializeOwned>(&self, target: Target) -> anyhow::Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            let refused = match http::get(&target).await {
                Ok(answer) if answer.status().is_success() => {
                    return serde_json::from_slice(answer.body()).context("an answer of the API");
                }
                Ok(answer) => format!("{}: {}", answer.status(), String::from_utf8_lossy(answer.body())),
                Err(error) => error.to_string(),
            };
            if Instant::now() > until {
                bail!("{}: {refused}", target.path);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(super) async fn submit(&self, job: &SubmitJob) -> anyhow::Result<Job> {
        self.ask(self.at("/jobs").with_json(job)?).await
    }

    pub(super) async fn submit_array(&self, array: &SubmitArray) -> anyhow::Result<JobArray> {
        self.ask(self.at("/jobs/arrays").with_json(array)?).await
    }

    pub(super) async fn show(&self, id: JobId) -> anyhow::Result<Job> {
        self.ask(self.at(&format!("/jobs/{id}"))).await
    }

    /// Why it went where it went, as soon as it has ended.
    pub(super) async fn why_after(&self, id: JobId) -> anyhow::Result<JobWhy> {
        let began = Instant::now();
        loop {
            let job: Job = self.ask(self.at(&format!("/jobs/{id}?wait=10s"))).await?;
            if job.state.ended() {
                return self.ask(self.at(&format!("/jobs/{id}/why"))).await;
            }
            ensure!(began.elapsed() < PATIENCE, "{id} does not end: {}", job.reason);
        }
    }

    /// All that the query names.
    pub(super) async fn all(&self, query: &str) -> anyhow::Result<Vec<Job>> {
        let (mut jobs, mut cursor) = (Vec::new(), String::new());
        loop {
            let page: Page<Job> = self.ask(self.at(&format!("/jobs?limit=200&{query}{cursor}"))).await?;
            jobs.extend(page.items);
            match page.next {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(jobs),
            }
        }
    }

    /// Whether some are still open.
    pub(super) async fn open(&self) -> anyhow::Result<bool> {
        for state in ["queued", "placed", "running"] {
            let page: Page<Job> = self.ask(self.at(&format!("/jobs?limit=1&state={state}"))).await?;
            if !page.items.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Seconds from one time to a later one.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64()
}
