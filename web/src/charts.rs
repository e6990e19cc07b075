//! Charts: small ones as SVG of our own.

use sycamore::prelude::*;

/// One part of a stacked bar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    /// What it counts.
    pub(crate) name: String,
    /// How much.
    pub(crate) value: f64,
    /// Its colour: `good`, `bad`, `warn`, `soft`, `accent`, `wasm`, `vm`.
    pub(crate) class: &'static str,
    /// The rows that it counts.
    pub(crate) href: Option<String>,
}

/// A line without axes: how a figure moved.
pub(crate) fn sparkline(values: Vec<f64>, label: &str) -> View {
    let (label, _) = (label.to_owned(), values);
    view! { svg(class="sparkline", role="img", aria-label=label) {} }
}

/// Shares of one whole, side by side.
pub(crate) fn stacked_bar(segments: Vec<Segment>) -> View {
    let label = segments.iter().map(|part| format!("{} {}", part.value, part.name)).collect::<Vec<_>>().join(", ");
    view! { svg(class="stacked-bar", role="img", aria-label=label) {} }
}
