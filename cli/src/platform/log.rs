//! The platform's own log, on standard error. What outsiders cause goes there at a bounded rate, whatever the source,
//! and what libraries say of a guest's doings goes to the guest's log instead.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter};
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args::Global;

/// Warnings, and what whoever lends a machine wants to know: that guests are slow, that the node pauses and goes on.
const DEFAULT: &str = "warn,microvm::accelerator=info,executor::keeper=info";
/// One place in the code writes so many lines...
const LINES_MAX: u32 = 100;
/// ...in so long; what was left out is counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Logs to standard error: `RUST_LOG`, else warnings and a few facts, else more with `-v`.
pub(crate) fn start(global: &Global) {
    let default = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) => DEFAULT,
        (_, 1) => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(color);
    let lines = lines.with_filter(filter.and(Bounded::default()));
    drop(tracing_subscriber::registry().with(Guests.with_filter(LevelFilter::WARN)).with(lines).try_init());
}

/// Hands what libraries say of guests to the guests' logs.
struct Guests;

impl<S: Subscriber> Layer<S> for Guests {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        executor::remark(event);
    }
}

/// Leaves out what is for a guest's log, and what comes too often.
#[derive(Default)]
struct Bounded(Mutex<HashMap<Identifier, Window>>);

/// The lines of one place in the code.
struct Window {
    since: Instant,
    lines: u32,
}

impl Window {
    /// Whether one more line may be written; and how many were left out in the window that has ended.
    fn take(&mut self, now: Instant) -> (bool, u32) {
        let mut left_out = 0;
        if now.saturating_duration_since(self.since) >= WINDOW {
            left_out = self.lines.saturating_sub(LINES_MAX);
            *self = Self { since: now, lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        (self.lines <= LINES_MAX, left_out)
    }
}

impl Bounded {
    fn admits(&self, metadata: &Metadata<'_>) -> bool {
        // Who asks for more than that wants all of it.
        if *metadata.level() > Level::INFO {
            return true;
        }
        let now = Instant::now();
        let mut windows = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let window = windows.entry(metadata.callsite()).or_insert(Window { since: now, lines: 0 });
        let (admitted, left_out) = window.take(now);
        drop(windows);
        if left_out > 0 {
            let lines = protocol::words::count(left_out, "more line");
            crate::output::say(&format!("Left out: {lines} like the next ({}).", metadata.target()));
        }
        admitted
    }
}

impl<S> Filter<S> for Bounded {
    fn enabled(&self, _metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _metadata: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // None would make each disabled message of every library ask here.
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        !executor::is_about_a_guest(event.metadata()) && self.admits(event.metadata())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f44_one_place_in_the_code_cannot_fill_the_log() {
        let start = Instant::now();
        let mut window = Window { since: start, lines: 0 };
        let mut lines = 0;
        let mut left_out = 0;
        for n in 0..100_000 {
            let (admitted, before) = window.take(start + Duration::from_micros(n * 250));
            lines += u32::from(admitted);
            left_out += before;
        }
        assert_eq!((lines, left_out), (3 * LINES_MAX, 2 * (40_000 - LINES_MAX)));
    }
}
