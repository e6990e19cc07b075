//! The run bar: queued, placed, started, ran, settled; the same wherever a run is shown.

use protocol::Lane;
use protocol::receipt::Outcome;
use sycamore::prelude::*;

use crate::format;

/// Lists draw no bar of what took less: it would be nearly all "placed".
pub(crate) const LISTED_US_MIN: u64 = 50_000;

/// What the bar shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Phases {
    /// From the request's head to the answer's end.
    pub(crate) wall_us: u64,
    /// Of that, on the node.
    pub(crate) ran_us: u64,
    /// The sandbox.
    pub(crate) lane: Lane,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Both halves of the bill agree.
    pub(crate) settled: bool,
    /// The duration that fills the bar.
    pub(crate) full_us: u64,
}

/// Places of the bar's parts, in thousandths of its width.
#[derive(Debug, PartialEq, Eq)]
struct Widths {
    placed: u64,
    ran: u64,
}

/// A part that is there can be seen: at least so many thousandths.
const PART_MIN: u64 = 12;
/// What the tick at the end takes.
pub(super) const TICK: u64 = 40;

fn widths(phases: &Phases) -> Widths {
    let full = phases.full_us.max(phases.wall_us).max(1);
    let room = 1_000 - TICK - 2 * PART_MIN;
    let ran = phases.ran_us.min(phases.wall_us);
    let share = |us: u64| us.saturating_mul(room) / full;
    Widths { placed: PART_MIN + share(phases.wall_us - ran), ran: if ran == 0 { 0 } else { PART_MIN + share(ran) } }
}

/// A width.
pub(super) fn percent(thousandths: u64) -> String {
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

/// The bar.
pub(crate) fn run_bar(phases: Phases) -> View {
    let Widths { placed, ran } = widths(&phases);
    let platform_us = phases.wall_us.saturating_sub(phases.ran_us);
    let settled = if phases.settled { "settled" } else { "settling" };
    let title = format!(
        "queued and placed {} · ran {} ({}) · {settled}",
        format::micros(platform_us),
        format::micros(phases.ran_us),
        phases.lane,
    );
    let ran_class = match (phases.outcome, phases.lane) {
        (Outcome::Succeeded, Lane::Wasm) => "bar-wasm",
        (Outcome::Succeeded, Lane::Vm) => "bar-vm",
        (Outcome::Cancelled, _) => "bar-cancelled",
        (Outcome::Failed | Outcome::TimedOut | Outcome::PlatformFailed, _) => "bar-bad",
    };
    let tick_class = if phases.settled { "bar-settled" } else { "bar-open" };
    let (placed_width, ran_x, ran_width) = (percent(placed), percent(placed), percent(ran));
    let tick_x = percent(placed + ran + 8);
    let label = title.clone();
    view! {
        svg(class="run-bar", "role"="img", aria-label=label) {
            svg_title { (title) }
            rect(class="bar-track", x="0", y="7", width="100%", height="2") {}
            rect(class="bar-placed", x="0", y="4", width=placed_width, height="8") {}
            rect(class=ran_class, x=ran_x, y="2", width=ran_width, height="12") {}
            rect(class=tick_class, x=tick_x, y="4", width="3", height="8") {}
        }
    }
}

/// What the bar's colours mean, once on a page.
pub(crate) fn legend() -> View {
    view! {
        p(class="legend", aria-hidden="true") {
            span(class="key-placed") { "placed" }
            span(class="key-wasm") { "ran, wasm" }
            span(class="key-vm") { "ran, vm" }
            span(class="key-bad") { "failed" }
            span(class="key-settled") { "settled" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PART_MIN, Phases, TICK, widths};
    use protocol::Lane;
    use protocol::receipt::Outcome;

    fn phases(wall_us: u64, ran_us: u64, full_us: u64) -> Phases {
        Phases { wall_us, ran_us, lane: Lane::Wasm, outcome: Outcome::Succeeded, settled: true, full_us }
    }

    #[test]
    fn parts_fit_and_can_be_seen() {
        for (wall, ran, full) in [(0, 0, 0), (10, 10, 1_000_000), (1_000, 400, 1_000), (5, 9, 1), (u64::MAX, 1, 1)] {
            let bar = widths(&phases(wall, ran, full));
            assert!(bar.placed >= PART_MIN, "{bar:?}");
            assert!(bar.placed + bar.ran + TICK <= 1_000, "{bar:?}");
        }
        assert_eq!(widths(&phases(100, 0, 100)).ran, 0, "what never ran has no such part");
    }
}
