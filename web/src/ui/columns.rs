//! Stacked columns over time, as SVG of our own: each column leads to the rows that it counts.

use sycamore::prelude::*;

use crate::format;
use crate::nav;

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    /// When, and what, in words.
    pub(crate) title: String,
    /// From the bottom: a colour (see `charts::Segment`) and an amount.
    pub(crate) parts: Vec<(&'static str, u64)>,
    /// The rows that it counts.
    pub(crate) href: String,
}

/// The width of one column with its gap, in units of the drawing.
const STEP: usize = 10;
/// The height of the drawing, in its units.
const HIGH: f64 = 100.0;

/// The columns. `axis` are words below the first, the middle and the last; the table behind them stands elsewhere.
pub(crate) fn columns(label: String, bars: Vec<Bar>, axis: [String; 3]) -> View {
    let most = bars.iter().map(|bar| bar.parts.iter().map(|(_, amount)| amount).sum()).max().unwrap_or(0);
    let top = round_up(most);
    let view_box = format!("0 0 {} {HIGH}", bars.len().max(1) * STEP);
    let drawn: Vec<View> = bars.into_iter().enumerate().map(|(place, bar)| column(place, bar, top)).collect();
    let [first, middle, last] = axis;
    view! {
        div(class="columns") {
            div(class="columns-top soft", aria-hidden="true") { (format::compact(top)) }
            svg(class="columns-drawing", "role"="img", aria-label=label, "viewBox"=view_box, "preserveAspectRatio"="none") {
                (drawn)
            }
            div(class="columns-axis soft", aria-hidden="true") { span { (first) } span { (middle) } span { (last) } }
        }
    }
}

fn column(place: usize, bar: Bar, top: u64) -> View {
    let Bar { title, parts, href } = bar;
    let x = (place * STEP + 1).to_string();
    let width = (STEP - 2).to_string();
    let mut below = 0.0;
    let rects: Vec<View> = parts
        .into_iter()
        .filter(|(_, amount)| *amount > 0)
        .map(|(class, amount)| {
            // What is there can be seen.
            let high = (format::wide(amount) / format::wide(top) * HIGH).max(1.0);
            let y = (HIGH - below - high).max(0.0);
            below += high;
            let class = format!("part-{class}");
            let (x, width) = (x.clone(), width.clone());
            view! { rect(class=class, x=x, y=format!("{y:.2}"), width=width, height=format!("{high:.2}")) {} }
        })
        .collect();
    let all = (place * STEP).to_string();
    // The drawing is a picture to those who do not see it; the table behind it has the links.
    view! {
        g(class="column", on:click=move |_| nav::go(&href)) {
            svg_title { (title) }
            rect(class="column-ground", x=all, y="0", width=STEP.to_string(), height=HIGH.to_string()) {}
            (rects)
        }
    }
}

/// The next number that reads well: 1, 2 or 5 and noughts.
fn round_up(most: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for step in [1, 2, 5] {
            let top = unit.saturating_mul(step);
            if top >= most || top == u64::MAX {
                return top;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::round_up;

    #[test]
    fn axes_end_at_numbers_that_read_well() {
        assert_eq!([0, 1, 3, 7, 10, 11, 41_250].map(round_up), [1, 1, 5, 10, 10, 20, 50_000]);
        assert!(round_up(u64::MAX) == u64::MAX);
    }
}
