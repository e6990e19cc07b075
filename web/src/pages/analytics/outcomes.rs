//! How the runs ended, over time.

use sycamore::prelude::*;

use super::columns::{Part, columns, spans, whole};
use super::data::{Subject, Told};
use super::grid::{Figure, Grid, Line, count};
use crate::charts::model::Kind;
use crate::charts::{Card, Chart, Unit, shown};

/// Each outcome as the list of runs is asked for it, with its name, its colour and its figure.
const OUTCOMES: [(&str, &str, &str, Figure); 5] = [
    ("succeeded", "succeeded", "good", |sums| count(sums.succeeded)),
    ("failed", "failed", "bad", |sums| count(sums.failed)),
    ("timed_out", "timed out", "warn", |sums| count(sums.timed_out)),
    ("cancelled", "cancelled", "chart-other", |sums| count(sums.cancelled)),
    ("platform_failed", "the platform failed", "chart-8", |sums| count(sums.platform_failed)),
];

/// The chart.
pub(super) fn outcomes(subject: &Subject) -> View {
    let of = subject.clone();
    let chart = shown(*subject.moved.data, move |told| draw(&of, &told));
    Card {
        id: "outcomes",
        title: "Requests by outcome",
        definition: "Settled runs, of calls and of jobs, in the time in which they began. The failure rate is of failed and \
                     timed out, among all but those that were cancelled.",
        controls: view! {},
        nothing: "Nothing ran in this period.",
        below: view! {},
    }
    .view(chart)
}

fn draw(subject: &Subject, told: &Told) -> Chart {
    let Told { asked, span, report } = told;
    let spans = spans(*span, asked.period.column_ms());
    let columns = columns(asked.period, &spans);
    let sums = whole(&report.items, &spans, |_| true);
    let line = |(word, name, colour, figure): (&str, &str, &str, Figure)| {
        let part = Part { key: word.to_owned(), name: name.to_owned(), sums: sums.clone() };
        let links = spans.iter().map(|span| Some(asked.runs(&subject.here, *span, &[("outcome", word)]))).collect();
        Line { links, ..Line::of(&part, colour.to_owned(), figure) }
    };
    let lines = OUTCOMES.into_iter().map(line).collect();
    let grid = Grid {
        kind: Kind::Bars,
        title: "Runs",
        when: "Began",
        unit: Unit::Count,
        columns: &columns,
        marks: subject.marks(&spans),
    };
    grid.chart(lines, true)
}
