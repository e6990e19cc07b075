//! The small charts: a line without axes, and shares of one whole. Drawn with attributes and classes, because the content
//! security policy allows no styles in markup.

use sycamore::prelude::*;

use super::unit::Unit;
use crate::format;

/// The sparkline's own units: it is stretched to its place.
const WIDTH: f64 = 100.0;
const HEIGHT: f64 = 24.0;
/// Room for half of the stroke.
const EDGE: f64 = 1.5;

/// A part that is there can be seen: at least so many thousandths of the bar.
const PART_MIN: f64 = 8.0;

/// One part of a stacked bar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    /// What it counts.
    pub(crate) name: String,
    /// How much.
    pub(crate) value: f64,
    /// Its colour: `good`, `bad`, `warn`, `soft`, `accent`, `wasm`, `vm`, `waited`, `placed`.
    pub(crate) class: &'static str,
    /// The rows that it counts.
    pub(crate) href: Option<String>,
}

/// A line without axes: how a figure moved. `label` says what it is; the range is added.
pub(crate) fn sparkline(values: Vec<f64>, label: &str) -> View {
    let about = match range(&values) {
        Some((least, most)) => format!("{label}: {} to {}", amount(least), amount(most)),
        None => format!("{label}: nothing yet"),
    };
    let (line, area) = paths(&values);
    let title = about.clone();
    view! {
        svg(class="sparkline", "role"="img", aria-label=about, "viewBox"="0 0 100 24", "preserveAspectRatio"="none") {
            svg_title { (title) }
            path(class="sparkline-area", d=area) {}
            path(class="sparkline-line", d=line) {}
        }
    }
}

/// An amount as people read it: what is whole has no point.
fn amount(value: f64) -> String {
    Unit::of_amount(value).write_whole(value)
}

/// Least and most of what is a number.
fn range(values: &[f64]) -> Option<(f64, f64)> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let least = finite().reduce(f64::min)?;
    Some((least, finite().reduce(f64::max)?))
}

/// The line, and the area below it, from nothing to the most. One value is a level line.
fn paths(values: &[f64]) -> (String, String) {
    let values: Vec<f64> = values.iter().map(|value| if value.is_finite() { value.max(0.0) } else { 0.0 }).collect();
    let most = values.iter().copied().fold(0.0, f64::max);
    let y = |value: f64| {
        let share = if most > 0.0 { value / most } else { 0.0 };
        HEIGHT - EDGE - share * (HEIGHT - 2.0 * EDGE)
    };
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return Default::default() };
    if values.len() == 1 {
        let line = format!("M0 {:.2}H{WIDTH}", y(*first));
        return (line.clone(), format!("{line}V{HEIGHT}H0Z"));
    }
    let steps = format::wide(u64::try_from(values.len() - 1).unwrap_or(u64::MAX));
    let mut line = format!("M0 {:.2}", y(*first));
    for (number, value) in (1_u64..).zip(values.iter().skip(1)) {
        line.push_str(&format!("L{:.2} {:.2}", format::wide(number) * WIDTH / steps, y(*value)));
    }
    debug_assert!(last.is_finite());
    (line.clone(), format!("{line}V{HEIGHT}H0Z"))
}

/// Shares of one whole, side by side. A segment with rows leads to them.
pub(crate) fn stacked_bar(segments: Vec<Segment>) -> View {
    let about = |part: &Segment| format!("{} {}", amount(part.value), part.name);
    let all = segments.iter().filter(|part| part.value > 0.0).map(about).collect::<Vec<_>>().join(", ");
    let label = if all.is_empty() { "Nothing".to_owned() } else { all };
    let values: Vec<f64> = segments.iter().map(|part| part.value).collect();
    let linked = segments.iter().any(|part| part.href.is_some());
    let parts: Vec<View> = segments
        .into_iter()
        .zip(widths(&values))
        .filter(|(_, (_, width))| *width > 0.0)
        .map(|(part, (x, width))| {
            let class = format!("part-{}", part.class);
            let (x, width, title) = (percent(x), percent(width), about(&part));
            let name = title.clone();
            let shape = view! { rect(class=class, x=x, y="0", width=width, height="12") { svg_title { (title) } } };
            match part.href {
                Some(href) => view! { svg_a("href"=href, aria-label=name) { (shape) } },
                None => shape,
            }
        })
        .collect();
    // What holds links is no picture to those who hear it, but a group of them.
    let role = if linked { "group" } else { "img" };
    view! {
        svg(class="stacked-bar", "role"=role, aria-label=label) {
            rect(class="part-track", x="0", y="0", width="100%", height="12") {}
            (parts)
        }
    }
}

fn percent(thousandths: f64) -> String {
    format!("{:.2}%", thousandths / 10.0)
}

/// Where each part begins and how wide it is, in thousandths. Small ones are widened, and all together fill the bar.
fn widths(values: &[f64]) -> Vec<(f64, f64)> {
    let values: Vec<f64> = values.iter().map(|value| if value.is_finite() { value.max(0.0) } else { 0.0 }).collect();
    let total: f64 = values.iter().sum();
    if total <= 0.0 {
        return vec![(0.0, 0.0); values.len()];
    }
    let wide = |value: f64| if value > 0.0 { (value / total * 1_000.0).max(PART_MIN) } else { 0.0 };
    let needed: f64 = values.iter().map(|value| wide(*value)).sum();
    let mut x = 0.0;
    values
        .into_iter()
        .map(|value| {
            let width = wide(value) * 1_000.0 / needed;
            let place = (x, width);
            x += width;
            place
        })
        .collect()
}

/// What the colours of a stacked bar mean, with their figures and rows.
pub(crate) fn legend(segments: &[Segment]) -> View {
    let parts: Vec<View> = segments
        .iter()
        .map(|part| {
            let class = format!("swatch part-{}", part.class);
            let (name, value) = (part.name.clone(), amount(part.value));
            let words = view! { (name) " " b { (value) } };
            let words = match part.href.clone() {
                Some(href) => view! { a(href=href) { (words) } },
                None => words,
            };
            view! { li { svg(class=class, aria-hidden="true") { rect(width="10", height="10", rx="2") {} } (words) } }
        })
        .collect();
    view! { ul(class="chart-legend") { (parts) } }
}

#[cfg(test)]
mod tests {
    use super::{PART_MIN, paths, range, widths};

    #[test]
    fn a_line_goes_from_edge_to_edge() {
        let (line, area) = paths(&[0.0, 5.0, 10.0]);
        assert_eq!(line, "M0 22.50L50.00 12.00L100.00 1.50");
        assert_eq!(area, format!("{line}V24H0Z"));
        assert_eq!(paths(&[7.0]).0, "M0 1.50H100");
        assert_eq!(paths(&[0.0, 0.0]).0, "M0 22.50L100.00 22.50");
        assert_eq!(paths(&[]), Default::default());
        assert!(!paths(&[f64::NAN, f64::INFINITY, -1.0]).0.contains("NaN"));
        assert_eq!(range(&[f64::NAN, 2.0, 1.0]), Some((1.0, 2.0)));
    }

    #[test]
    fn parts_fill_the_bar_and_can_be_seen() {
        for values in [vec![1.0], vec![1.0, 999_999.0], vec![0.0, 3.0, 1.0], vec![1.0; 50]] {
            let parts = widths(&values);
            let sum: f64 = parts.iter().map(|(_, width)| width).sum();
            assert!((sum - 1_000.0).abs() < 0.001, "{parts:?}");
            for ((_, width), value) in parts.iter().zip(&values) {
                assert!((*value == 0.0) == (*width == 0.0) && (*value == 0.0 || *width > PART_MIN / 2.0), "{parts:?}");
            }
        }
        assert_eq!(widths(&[0.0, f64::NAN]), [(0.0, 0.0), (0.0, 0.0)]);
    }
}
