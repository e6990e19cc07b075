//! What goes where: the result alone to standard output; progress and hints to standard error.

use std::io::{IsTerminal as _, Write as _};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::args::{ColorWhen, Global};

/// How to speak to who started this.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// Results as JSON.
    pub(crate) json: bool,
    quiet: bool,
    verbose: bool,
    /// Colour on standard error.
    pub(crate) color: bool,
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
        Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose > 0,
            color: match global.color {
                ColorWhen::Always => true,
                ColorWhen::Never => false,
                ColorWhen::Auto => terminal && !no_color && !dumb,
            },
            interactive: terminal && std::io::stdin().is_terminal() && !global.no_input,
            yes: global.yes,
            progress: terminal && !dumb && !global.quiet && !global.json,
        }
    }

    /// The result as text.
    pub(crate) fn text(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        write_out(text.as_bytes());
        if !text.ends_with('\n') {
            write_out(b"\n");
        }
    }

    /// The result, as JSON or as text.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json {
            self.text(serde_json::to_string(value).unwrap_or_default());
        } else {
            let text = text();
            if !text.is_empty() {
                self.text(text);
            }
        }
    }

    /// A hint or a step.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.json {
            eprintln!("{}", text.as_ref());
        }
    }

    /// Only with `-v`.
    pub(crate) fn detail(&self, text: impl AsRef<str>) {
        if self.verbose {
            eprintln!("{}", text.as_ref());
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

/// Writes to standard output; a closed pipe ends the program quietly, as with any Unix tool.
pub(crate) fn write_out(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Rows in columns, without lines around them.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row.map(Cell::new));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Names and values in two columns.
pub(crate) fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    rows.iter().map(|(name, value)| format!("{name:width$}{value}")).collect::<Vec<_>>().join("\n")
}

/// A point in time, for people: seconds are enough.
pub(crate) fn time(at: protocol::Timestamp) -> String {
    protocol::Timestamp(at.0 / 1000 * 1000).to_string().replace('T', " ")
}

/// A duration of microseconds, for people.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..1_000_000 => format!("{}.{}ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{:02}s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}
