//! What runs wrote: of one run, or the newest of a function; `-f` goes on with what comes.

use std::collections::HashMap;
use std::time::Duration;

use protocol::RunId;
use protocol::Timestamp;
use protocol::api::Page;
use protocol::node::{LogLine, LogStream};

use super::functions::path;
use crate::args::Logs;
use crate::client::{Client, segment};
use crate::context::Context;
use crate::failure::Failure;

/// How often `-f` asks.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Lines asked for at once.
const PAGE_LINES: u32 = 500;
/// Lines remembered by `-f`, so that none is shown twice.
const SEEN_MAX: usize = 20_000;
/// `-f` asks for lines a little older than the newest: nodes send at their own pace.
const OVERLAP: Duration = Duration::from_secs(10);

/// `logs`
pub(crate) async fn logs(context: &Context, args: &Logs) -> Result<(), Failure> {
    let client = context.client()?;
    let run: Option<RunId> = args.target.parse().ok();
    let base = match run {
        Some(run) => format!("/invocations/{run}/logs"),
        None => format!("{}/logs", path(&args.target)),
    };
    let mut since = args.since.map(|age| Timestamp(Timestamp::now().0.saturating_sub_unsigned(age.0)));
    let mut seen = HashMap::new();
    loop {
        for line in fetch(&client, &base, since).await? {
            if seen.insert((line.run, line.sequence), line.at).is_none() {
                show(context, run.is_none(), &line);
                since = since.max(Some(line.at));
            }
        }
        if !args.follow {
            if seen.is_empty() {
                context.output.note("nothing there yet");
            }
            return Ok(());
        }
        let overlap = u64::try_from(OVERLAP.as_millis()).unwrap_or(0);
        since = since.map(|newest| newest.min(Timestamp(Timestamp::now().0.saturating_sub_unsigned(overlap))));
        if seen.len() > SEEN_MAX {
            seen.retain(|_, at| Some(*at) >= since);
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// All lines since then, oldest first.
async fn fetch(client: &Client, base: &str, since: Option<Timestamp>) -> Result<Vec<LogLine>, Failure> {
    let mut lines = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut at = format!("{base}?limit={PAGE_LINES}");
        if let Some(since) = since {
            at.push_str(&format!("&since={}", segment(&since.to_string())));
        }
        if let Some(cursor) = &cursor {
            at.push_str(&format!("&cursor={}", segment(cursor)));
        }
        let page: Page<LogLine> = client.get(&at).await?;
        lines.extend(page.items);
        match page.next {
            Some(next) if lines.len() < SEEN_MAX => cursor = Some(next),
            _ => break,
        }
    }
    lines.sort_by_key(|line| (line.at, line.run, line.sequence));
    Ok(lines)
}

/// One line: as NDJSON, or for people.
fn show(context: &Context, with_run: bool, line: &LogLine) {
    context.output.result(line, || {
        let mark = match line.stream {
            LogStream::Stdout => "",
            LogStream::Stderr => "stderr: ",
            LogStream::Platform => "platform: ",
        };
        let run = if with_run { format!("{} ", line.run) } else { String::new() };
        format!("{} {run}{mark}{}", line.at, line.text)
    });
}
