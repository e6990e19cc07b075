//! Waiting for a job's end, by its server-sent events; with a view of how far it is.

use std::time::Duration;

use futures::StreamExt as _;
use indicatif::ProgressBar;
use protocol::job::{Job, JobState};
use protocol::{ByteSize, JobId, Timestamp};
use reqwest::Method;
use tokio::time::Instant;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::visible;

/// A platform that is away for longer has gone.
const AWAY_MAX: Duration = Duration::from_secs(60);
const AGAIN_AFTER: Duration = Duration::from_millis(300);
/// A stream is renewed so often.
const STREAM_MAX: Duration = Duration::from_secs(600);
const EVENT_MAX: usize = 4 * 1024 * 1024;

/// The job, once it has ended.
pub(super) async fn until_ended(
    context: &Context,
    client: &Client,
    id: JobId,
    until: Option<Instant>,
) -> Result<Job, Failure> {
    let bar = context.output.spinner(format!("{id}"));
    let waiting = watch(client, id, &bar);
    let ended = match until {
        None => waiting.await,
        Some(until) => tokio::time::timeout_at(until, waiting).await.unwrap_or_else(|_| {
            let what = format!("{id} has not ended in time");
            Err(Failure::new(Exit::Timeout, "timeout", what).help(format!("crowdcloud jobs why {id}")))
        }),
    };
    bar.finish_and_clear();
    ended
}

/// Over as many streams as it takes.
async fn watch(client: &Client, id: JobId, bar: &ProgressBar) -> Result<Job, Failure> {
    let mut heard = Instant::now();
    loop {
        match stream(client, id, bar, &mut heard).await {
            Ok(Some(job)) => return Ok(job),
            Ok(None) => {}
            Err(failure) if failure.exit() == Exit::Platform && heard.elapsed() < AWAY_MAX => {}
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// One stream; none where it broke off.
async fn stream(client: &Client, id: JobId, bar: &ProgressBar, heard: &mut Instant) -> Result<Option<Job>, Failure> {
    let request = client.api(Method::GET, &format!("/jobs/{id}/events"))?.timeout(STREAM_MAX);
    let response = client.send(request).await?;
    let mut pieces = response.bytes_stream();
    let mut text = Vec::new();
    while let Some(piece) = pieces.next().await {
        let Ok(piece) = piece else { return Ok(None) };
        *heard = Instant::now();
        text.extend_from_slice(&piece);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            let Ok(job) = serde_json::from_slice::<Job>(data.trim_ascii()) else { continue };
            if job.state.ended() {
                return Ok(Some(job));
            }
            bar.set_message(progress(&job));
        }
        if text.len() > EVENT_MAX {
            let what = format!("A line of the job's events is longer than {}", ByteSize(EVENT_MAX as u64));
            return Err(Failure::new(Exit::Platform, "unexpected_answer", what));
        }
    }
    Ok(None)
}

/// How far it is, on one line.
fn progress(job: &Job) -> String {
    let since = job.transitions.last().map_or(job.created, |step| step.at);
    let time = Timestamp::now().since(since).as_secs();
    let current = job.attempts + u32::from(job.state != JobState::Running);
    let tries = if current > 1 { format!(", try {current}") } else { String::new() };
    format!("{} {} since {time}s{tries}: {}", job.id, job.state, visible::line(&job.reason))
}
