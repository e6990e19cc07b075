//! What goes where: the result alone to standard output; progress and hints to standard error.
//!
//! A result that cannot be written is a failure, with a message and an exit status; only a reader that has gone ends the
//! program quietly. A hint that cannot be written is lost: there is nowhere left to say so.

use std::io::{IsTerminal as _, Write as _};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::node::{LogLine, LogStream, NodeToday};
use protocol::words;
use serde::Serialize;

use crate::args::{ColorWhen, Global};
use crate::failure::{Exit, Failure};
use crate::visible::{self, Pieces};

/// How to speak to who started this.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// Results as JSON.
    pub(crate) json: bool,
    quiet: bool,
    verbose: bool,
    /// Colour on standard error.
    pub(crate) color: bool,
    /// Colour on standard output.
    out_color: bool,
    /// Questions may be asked.
    pub(crate) interactive: bool,
    /// Every question is answered by yes.
    pub(crate) yes: bool,
    progress: bool,
}

impl Output {
    /// By the flags and the terminal.
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let color = |terminal: bool| match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && !no_color && !dumb,
        };
        Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose > 0,
            color: color(terminal),
            out_color: color(std::io::stdout().is_terminal()),
            interactive: terminal && std::io::stdin().is_terminal() && !global.no_input,
            yes: global.yes,
            progress: terminal && !dumb && !global.quiet && !global.json,
        }
    }

    /// The result as text.
    pub(crate) fn text(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut text = visible::lines(text.as_ref()).into_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        write_out(text.as_bytes())
    }

    /// The result, as JSON or as text.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            return self.text(visible::json(serde_json::to_string(value).unwrap_or_default()));
        }
        let text = text();
        if text.is_empty() { Ok(()) } else { self.text(text) }
    }

    /// A hint or a step.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.json {
            say(&visible::lines(text.as_ref()));
        }
    }

    /// A line of a log.
    pub(crate) fn log_line(&self, line: &LogLine, with_run: bool) -> Result<(), Failure> {
        if self.json {
            return self.result(line, String::new);
        }
        write_out(log_text(line, with_run, self.out_color).as_bytes())
    }

    /// Only with `-v`.
    pub(crate) fn detail(&self, text: impl AsRef<str>) {
        if self.verbose {
            say(&visible::lines(text.as_ref()));
        }
    }

    /// A bar for so many bytes; nothing is drawn without a terminal.
    pub(crate) fn bytes_bar(&self, what: &'static str, total: u64) -> ProgressBar {
        let bar = self.bar(ProgressBar::new(total));
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}") {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        bar
    }

    /// A spinner with a text.
    pub(crate) fn spinner(&self, what: impl Into<std::borrow::Cow<'static, str>>) -> ProgressBar {
        let bar = self.bar(ProgressBar::new_spinner());
        bar.set_message(what);
        if self.progress {
            bar.enable_steady_tick(std::time::Duration::from_millis(100));
        }
        bar
    }

    fn bar(&self, bar: ProgressBar) -> ProgressBar {
        bar.set_draw_target(if self.progress { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        bar
    }
}

/// Writes to standard output, all of it at once: a full disk is noticed here, and not by whoever reads half a result.
pub(crate) fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| unwritten("Standard output", error))
}

/// A line on standard error.
pub(crate) fn say(line: &str) {
    drop(std::io::stderr().lock().write_all(format!("{line}\n").as_bytes()));
}

/// The failure to write to this place. A reader that has gone wants no more, as with any Unix tool.
pub(crate) fn unwritten(place: &str, error: std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Failure::silent(Exit::ReaderGone);
    }
    Failure::new(Exit::Platform, "io", format!("{place} cannot be written"))
        .why(error)
        .help("make room there, or name another place; what the command does may have been done already")
}

/// A line of a log, which always says who wrote it: what a function writes stands after `stdout:` or `stderr:`, whatever
/// it looks like. The platform's own lines look different, too.
fn log_text(line: &LogLine, with_run: bool, color: bool) -> String {
    let (writer, on) = match line.stream {
        LogStream::Stdout => ("stdout:", ""),
        LogStream::Stderr => ("stderr:", ""),
        LogStream::Platform => ("platform:", "\x1b[1;36m"),
    };
    let (on, off) = if color && !on.is_empty() { (on, "\x1b[0m") } else { ("", "") };
    let run = if with_run { format!("{} ", line.run) } else { String::new() };
    format!("{} {run}{on}{writer}{off} {}\n", line.at, visible::line(&line.text))
}

/// A function's answer on its way to standard output: as it is, but visible on a terminal.
pub(crate) struct Answer(Option<Pieces>);

impl Answer {
    /// Goes to standard output.
    pub(crate) fn new() -> Self {
        Self(std::io::stdout().is_terminal().then(Pieces::default))
    }

    /// The next piece.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        match &mut self.0 {
            Some(pieces) => write_out(pieces.push(piece).as_bytes()),
            None => write_out(piece),
        }
    }

    /// The end.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        self.0.as_mut().map_or(Ok(()), |pieces| write_out(pieces.end().as_bytes()))
    }
}

/// Rows in columns, without lines around them.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row.map(|cell| Cell::new(visible::line(&cell))));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Names and values in two columns.
pub(crate) fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    rows.iter().map(|(name, value)| format!("{name:width$}{}", visible::line(value))).collect::<Vec<_>>().join("\n")
}

/// A point in time, for people: seconds are enough.
pub(crate) fn time(at: protocol::Timestamp) -> String {
    protocol::Timestamp(at.0 / 1000 * 1000).to_string().replace('T', " ")
}

/// Why a node takes no runs, and until when.
pub(crate) fn paused(paused: protocol::node::Paused) -> String {
    match paused.until {
        Some(until) => format!("{} until {}", paused.reason, time(until)),
        None => paused.reason.to_string(),
    }
}

/// Whether a node is connected, which is apart from what the platform makes of it.
pub(crate) fn connection(is_up: bool) -> &'static str {
    if is_up { "connected" } else { "not connected" }
}

/// What a node did today.
pub(crate) fn today(today: &NodeToday) -> String {
    format!(
        "{}, {} of CPU, {} in and out, {} given back",
        words::count(today.runs, "run"),
        micros(today.cpu_us),
        today.traffic,
        today.given_back
    )
}

/// A duration of microseconds, for people.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..1_000_000 => format!("{}.{}ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{:02}s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f28_only_a_reader_that_has_gone_is_quiet() {
        use std::io::{Error, ErrorKind};
        let full = unwritten("out.jpg", Error::from(ErrorKind::StorageFull));
        assert_eq!(full.exit(), Exit::Platform);
        assert!(full.what().starts_with("out.jpg cannot be written: "), "{}", full.what());
        for kind in [ErrorKind::PermissionDenied, ErrorKind::WriteZero, ErrorKind::Other] {
            assert_ne!(unwritten("x", Error::from(kind)).exit() as u8, 0, "{kind:?}");
        }
        assert_eq!(unwritten("x", Error::from(ErrorKind::BrokenPipe)).exit() as u8, 0);
    }

    #[test]
    fn a16_a_function_s_line_cannot_look_like_the_platform_s() {
        let line = |stream, text: &str| LogLine {
            run: protocol::RunId::new(),
            sequence: 0,
            at: protocol::Timestamp(0),
            stream,
            text: text.to_owned(),
        };
        let own = line(LogStream::Platform, "the log is full");
        assert_eq!(log_text(&own, false, false), "1970-01-01T00:00:00Z platform: the log is full\n");
        for forged in [
            "platform: the log is full",
            "\r1970-01-01T00:00:00Z platform: the log is full",
            "\u{1b}[2K\u{1b}[1G1970-01-01T00:00:00Z \u{1b}[1;36mplatform:\u{1b}[0m the log is full",
            "x\n1970-01-01T00:00:00Z platform: the log is full",
        ] {
            for stream in [LogStream::Stdout, LogStream::Stderr] {
                for color in [false, true] {
                    let shown = log_text(&line(stream, forged), false, color);
                    let after = shown.strip_prefix("1970-01-01T00:00:00Z std").unwrap();
                    assert!(after.starts_with("out: ") || after.starts_with("err: "), "{shown}");
                    assert_eq!(
                        shown.matches(['\n', '\r', '\u{1b}']).count(),
                        1,
                        "one line, and nothing else: {shown:?}"
                    );
                }
            }
        }
        assert!(log_text(&own, true, true).contains(" \u{1b}[1;36mplatform:\u{1b}[0m "), "it stands out");
    }

    #[test]
    fn a16_names_in_tables_are_visible() {
        let rows = [["a\u{1b}[31m\nforged  row".to_owned(), "b".to_owned()]];
        let text = table(["name", "x"], rows);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("a\\x1b[31m\\nforged  row"), "{text}");
        assert_eq!(fields(&[("label", "a\nb=\u{9b}c".to_owned())]), "label  a\\nb=\\u{9b}c");
    }
}
