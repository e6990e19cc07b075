//! Lines that runs wrote.

use protocol::api::LogPage;
use protocol::node::{LogLine, LogStream};
use sycamore::prelude::*;

use super::copy::short_id;
use super::time::time;
use crate::format;

/// The lines in their order, and how far back they are complete. With `runs`, each names its run: the place of a run's
/// page, without its id.
pub(crate) fn log(page: LogPage, runs: Option<&str>) -> View {
    let since = page.since.map(|since| {
        let since = time(since);
        view! { p(class="hint table-foot") { "Lines are kept since " (since) "." } }
    });
    let lines = lines(page.items, runs);
    view! { (lines) (since) }
}

fn lines(mut lines: Vec<LogLine>, runs: Option<&str>) -> View {
    if lines.is_empty() {
        return view! { p(class="nothing") { "Nothing was written." } };
    }
    lines.sort_by_key(|line| (line.at, line.run, line.sequence));
    let lines: Vec<View> = lines.into_iter().map(|line| log_line(line, runs)).collect();
    view! { div(class="log", role="log", tabindex="0", aria-label="Output") { (lines) } }
}

fn log_line(line: LogLine, runs: Option<&str>) -> View {
    let (class, source) = match line.stream {
        LogStream::Stdout => ("log-line", "out"),
        LogStream::Stderr => ("log-line err", "err"),
        LogStream::Platform => ("log-line platform", "platform"),
    };
    let (at, clock) = (line.at.to_string(), format::clock(line.at));
    let run = runs.map(|runs| {
        let id = line.run.to_string();
        let href = format!("{runs}{id}");
        let short = short_id(&id);
        view! { a(class="log-run", href=href) { (short) } }
    });
    let text = line.text;
    view! {
        div(class=class) {
            span(class="log-at", title=at) { (clock) }
            (run)
            span(class="log-stream") { (source) }
            span(class="log-text") { (text) }
        }
    }
}
