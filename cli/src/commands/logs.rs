//! What runs wrote: of one run, or of a function's runs; `-f` goes on with what comes.

use std::time::Duration;

use futures::StreamExt as _;
use protocol::api::LogPage;
use protocol::node::LogLine;
use protocol::{Millis, RunId, Timestamp, headers};
use reqwest::Method;

use super::functions::path;
use crate::args::Logs;
use crate::client::{Client, segment};
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// How often `-f` asks for a run's lines.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// How long a stream of lines may last.
const FOLLOW_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest line that is read.
const LINE_MAX: usize = 1024 * 1024;

/// `logs`
pub(crate) async fn logs(context: &Context, args: &Logs) -> Result<(), Failure> {
    let client = context.client()?;
    match args.target.parse::<RunId>() {
        Ok(run) => of_run(context, &client, run, args.follow).await,
        Err(_) => of_function(context, &client, args).await,
    }
}

/// One run's lines; they may come a little after its end.
async fn of_run(context: &Context, client: &Client, run: RunId, follow: bool) -> Result<(), Failure> {
    let mut shown = 0;
    loop {
        let page: LogPage = client.get(&format!("/invocations/{run}/logs")).await?;
        for line in page.items.iter().skip(shown) {
            show(context, false, line)?;
        }
        shown = shown.max(page.items.len());
        if !follow {
            if shown == 0 {
                context.output.note(match page.since {
                    Some(since) if began(run) < since => {
                        format!("nothing there: the account's logs are kept since {since}")
                    }
                    _ => "nothing there yet".to_owned(),
                });
            }
            return Ok(());
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// When the run began, by its id.
fn began(run: RunId) -> Timestamp {
    let (time, _) = run.uuid().as_u64_pair();
    Timestamp(i64::try_from(time >> 16).unwrap_or(i64::MAX))
}

/// Where lines are asked for that are older than what is kept: since when it is.
fn older_than_kept(asked: Option<Millis>, since: Option<&str>, now: Timestamp) -> Option<Timestamp> {
    let since: Timestamp = since?.parse().ok()?;
    let asked = now.0.saturating_sub(i64::try_from(asked?.0).unwrap_or(i64::MAX));
    (asked < since.0).then_some(since)
}

/// A function's lines, as a stream.
async fn of_function(context: &Context, client: &Client, args: &Logs) -> Result<(), Failure> {
    let mut at = format!("{}/logs?follow={}", path(&args.target), args.follow);
    if let Some(since) = args.since {
        at.push_str(&format!("&since={}", segment(&since.to_string())));
    }
    let response = client.send(client.api(Method::GET, &at)?.timeout(FOLLOW_MAX)).await?;
    let since = response.headers().get(headers::LOGS_SINCE).and_then(|since| since.to_str().ok());
    if let Some(since) = older_than_kept(args.since, since, Timestamp::now()) {
        context.output.note(format!("the account's logs are kept since {since}"));
    }
    let mut pieces = response.bytes_stream();
    let mut text = Vec::new();
    let mut none = true;
    while let Some(piece) = pieces.next().await {
        text.extend_from_slice(&piece.map_err(|error| client.lost(&error))?);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            if let Ok(line) = serde_json::from_slice::<LogLine>(&line) {
                none = false;
                show(context, true, &line)?;
            }
        }
        if text.len() > LINE_MAX {
            return Err(Failure::new(Exit::Platform, "unexpected_answer", "A line of the log does not end"));
        }
    }
    if none {
        context.output.note("nothing there yet");
    }
    Ok(())
}

/// One line: as NDJSON, or for people.
pub(super) fn show(context: &Context, with_run: bool, line: &LogLine) -> Result<(), Failure> {
    context.output.log_line(line, with_run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_what_is_kept() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let kept = |asked, since| older_than_kept(asked, since, now);
        let since = Some("2026-11-30T11:00:00Z");
        assert_eq!(kept(Some(Millis::seconds(7200)), since).map(|since| since.to_string()).as_deref(), since);
        assert_eq!(kept(Some(Millis::seconds(600)), since), None);
        assert_eq!(kept(None, since), None, "the last lines");
        assert_eq!(kept(Some(Millis::seconds(7200)), None), None, "of an earlier release");
    }

    #[test]
    fn a_run_began_when_its_id_says() {
        let before = Timestamp::now();
        assert!(began(RunId::new()) >= before);
    }
}
