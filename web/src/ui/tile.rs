//! A figure with its change, how it moved, and the rows that it sums.

use sycamore::prelude::*;

use crate::charts;
use crate::format;

/// Whether more of it is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    /// Less is better: failures.
    IsBad,
    /// It says nothing: traffic.
    IsNeutral,
}

/// The change against the period before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Delta {
    /// `+12 %`
    pub(crate) text: String,
    /// `good`, `bad` or empty.
    pub(crate) tone: &'static str,
    /// What it is against, on hover.
    pub(crate) against: String,
}

impl Delta {
    /// In percent of what it was; none where it was nothing.
    pub(crate) fn of(now: f64, before: f64, more: More, against: impl Into<String>) -> Option<Self> {
        let text = format::change(now, before)?;
        let tone = match more {
            More::IsBad if now > before => "bad",
            More::IsBad if now < before => "good",
            _ => "",
        };
        Some(Self { text, tone, against: against.into() })
    }

    /// Of a failure rate, in percentage points.
    pub(crate) fn points(now: f64, before: f64, against: impl Into<String>) -> Self {
        let apart = now - before;
        let (text, tone) = match apart {
            apart if apart >= 0.05 => (format!("+{apart:.1} points"), "bad"),
            apart if apart <= -0.05 => (format!("−{:.1} points", -apart), "good"),
            _ => ("±0 points".to_owned(), ""),
        };
        Self { text, tone, against: against.into() }
    }
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tile {
    /// What it is.
    pub(crate) title: &'static str,
    /// The figure, with its unit.
    pub(crate) figure: String,
    /// A line beneath.
    pub(crate) note: String,
    pub(crate) delta: Option<Delta>,
    /// How it moved; none is drawn where there are fewer than two.
    pub(crate) moved: Vec<f64>,
    /// A bar of its parts, in place of the line.
    pub(crate) parts: Vec<charts::Segment>,
    /// The rows that it sums.
    pub(crate) href: String,
}

/// The tile. All of it is the link.
pub(crate) fn tile(tile: Tile) -> View {
    let Tile { title, figure, note, delta, moved, parts, href } = tile;
    let delta = delta.map(|Delta { text, tone, against }| {
        let class = format!("delta {tone}");
        view! { span(class=class, title=against) { (text) } }
    });
    let picture = if parts.is_empty() {
        (moved.len() > 1).then(|| charts::sparkline(moved, &format!("{title} over time")))
    } else {
        // A link holds no links: the segments' own go.
        let parts = parts.into_iter().map(|part| charts::Segment { href: None, ..part }).collect();
        Some(charts::stacked_bar(parts))
    };
    let note = (!note.is_empty()).then(|| view! { span(class="tile-note") { (note) } });
    view! {
        a(class="tile", href=href) {
            span(class="tile-title") { (title) }
            span(class="tile-figure") { b { (figure) } (delta) }
            (note)
            span(class="tile-picture") { (picture) }
        }
    }
}

/// Tiles side by side; two by two on phones.
pub(crate) fn tiles(all: Vec<Tile>) -> View {
    let all: Vec<View> = all.into_iter().map(tile).collect();
    view! { div(class="tiles") { (all) } }
}

#[cfg(test)]
mod tests {
    use super::{Delta, More};

    #[test]
    fn more_failures_are_bad_news_and_more_traffic_is_none() {
        let delta = |now, more| Delta::of(now, 10.0, more, "").unwrap();
        assert_eq!((delta(12.0, More::IsBad).text.as_str(), delta(12.0, More::IsBad).tone), ("+20 %", "bad"));
        assert_eq!(delta(8.0, More::IsBad).tone, "good");
        assert_eq!(delta(12.0, More::IsNeutral).tone, "");
        let points = |now, before| (Delta::points(now, before, "").text, Delta::points(now, before, "").tone);
        assert_eq!(points(4.0, 5.5), ("−1.5 points".to_owned(), "good"));
        assert_eq!(points(5.0, 5.0), ("±0 points".to_owned(), ""));
        assert_eq!(Delta::of(12.0, 0.0, More::IsNeutral, ""), None, "a share of nothing");
    }
}
