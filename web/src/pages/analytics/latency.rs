//! How long runs took, by version; and whether they found their artifact loaded.

use sycamore::prelude::*;

use protocol::api::{Latency, UsageSums};

use super::asked::Asked;
use super::columns::{Part, columns, parts, spans, whole};
use super::data::{Subject, Told};
use super::grid::{Grid, Line, count};
use crate::charts::model::{self, Kind};
use crate::charts::{Card, Chart, Unit, shown};
use crate::format::wide;
use crate::state;
use crate::ui::period::Period;

/// So many versions have a line.
const VERSIONS_MAX: usize = model::COLOURS;

/// Of the runs, which part took no longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Quantile {
    P50,
    #[default]
    P95,
    P99,
}

impl Quantile {
    const ALL: [Self; 3] = [Self::P50, Self::P95, Self::P99];

    const fn word(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    const fn of(self, latency: Latency) -> u64 {
        match self {
            Self::P50 => latency.p50_us,
            Self::P95 => latency.p95_us,
            Self::P99 => latency.p99_us,
        }
    }

    fn figure(self) -> fn(&UsageSums) -> Option<f64> {
        match self {
            Self::P50 => |sums| Some(wide(Self::P50.of(sums.latency?))),
            Self::P95 => |sums| Some(wide(Self::P95.of(sums.latency?))),
            Self::P99 => |sums| Some(wide(Self::P99.of(sums.latency?))),
        }
    }

    fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|quantile| quantile.word() == word).unwrap_or_default()
    }
}

/// Quantiles have no sum: a column is as long as the groups that the API gives.
const fn column_ms(period: Period) -> i64 {
    match period {
        Period::Week => 3_600_000,
        _ => period.column_ms(),
    }
}

/// Both charts.
pub(super) fn latency(subject: &Subject) -> View {
    let word = state::param("quantile", Quantile::default().word());
    let quantile = create_selector(move || word.with(|word| Quantile::parse(word)));
    let told = subject.usage(|asked| format!("{},version", asked.period.by()), |asked| asked.period.span());
    let of = subject.clone();
    let lines = shown(*told.data, move |told| draw_latency(&of, &told, quantile.get()));
    let of = subject.clone();
    let starts = shown(*told.data, move |told| draw_starts(&of, &told));
    let buttons: Vec<View> = Quantile::ALL
        .into_iter()
        .map(|choice| {
            let pressed = move || (quantile.get() == choice).to_string();
            view! {
                button(
                    r#type="button", aria-pressed=pressed(), on:click=move |_| word.set(choice.word().to_owned()),
                ) { (choice.word()) }
            }
        })
        .collect();
    let lines = Card {
        id: "latency",
        title: "Latency by version",
        definition: "From the request's head to the response's end, of runs that the function ended: half of them took no \
                     longer than p50, 95 of 100 no longer than p95. At most 3.2 % beside the true value.",
        controls: view! { div(class="segmented", role="group", aria-label="Quantile") { (buttons) } },
        nothing: "No function ended a run in this period.",
        below: view! {},
    }
    .view(lines);
    let starts = Card {
        id: "starts",
        title: "Cold and warm starts",
        definition: "Warm: the artifact was loaded. Cached: it was on disk. Cold: it was fetched and prepared first.",
        controls: view! {},
        nothing: "Nothing ran in this period.",
        below: view! {},
    }
    .view(starts);
    view! { div(class="chart-pair") { (lines) (starts) } }
}

fn draw_latency(subject: &Subject, told: &Told, quantile: Quantile) -> Chart {
    let Told { asked, span, report } = told;
    let spans = spans(*span, column_ms(asked.period));
    let columns = columns(asked.period, &spans);
    let all = parts(&report.items, &spans);
    let left_out = all.len().saturating_sub(VERSIONS_MAX);
    let lines = all
        .iter()
        .take(VERSIONS_MAX)
        .enumerate()
        .map(|(number, part)| {
            let links = spans.iter().map(|span| version_rows(subject, asked, part, *span)).collect();
            Line { links, ..Line::of(part, model::colour(number), quantile.figure()) }
        })
        .collect();
    let grid = Grid {
        kind: Kind::Lines,
        title: "Latency",
        when: "Began",
        unit: Unit::Micros,
        columns: &columns,
        marks: subject.marks(&spans),
    };
    let note = match left_out {
        0 => String::new(),
        _ => format!("The {VERSIONS_MAX} versions with most runs; {left_out} more are left out."),
    };
    Chart { note, ..grid.chart(lines, false) }
}

fn version_rows(subject: &Subject, asked: &Asked, part: &Part, span: crate::ui::period::Span) -> Option<String> {
    let (function, number) = part.name.rsplit_once("@v")?;
    number.parse::<u32>().ok()?;
    Some(asked.runs(&subject.here, span, &[("function", function), ("version", number)]))
}

fn draw_starts(subject: &Subject, told: &Told) -> Chart {
    let Told { asked, span, report } = told;
    let spans = spans(*span, asked.period.column_ms());
    let columns = columns(asked.period, &spans);
    let sums = whole(&report.items, &spans, |_| true);
    let line = |name: &str, colour: &str, figure: super::grid::Figure| {
        let part = Part { key: name.to_owned(), name: name.to_owned(), sums: sums.clone() };
        Line::of(&part, colour.to_owned(), figure)
    };
    let lines = vec![
        line("warm", "chart-1", |sums| count(sums.warm)),
        line("cached", "chart-5", |sums| count(sums.cached)),
        line("cold", "chart-6", |sums| count(sums.cold)),
    ];
    let grid = Grid {
        kind: Kind::Bars,
        title: "Starts",
        when: "Began",
        unit: Unit::Count,
        columns: &columns,
        marks: subject.marks(&spans),
    };
    grid.chart(lines, true)
}

#[cfg(test)]
mod tests {
    use protocol::api::{Latency, UsageSums};

    use super::Quantile;

    #[test]
    fn a_quantile_is_drawn_where_it_is_known() {
        let latency = Some(Latency { p50_us: 1, p95_us: 2, p99_us: 3 });
        let sums = UsageSums { latency, ..UsageSums::default() };
        let drawn = Quantile::ALL.map(|quantile| quantile.figure()(&sums));
        assert_eq!(drawn, [Some(1.0), Some(2.0), Some(3.0)]);
        assert_eq!(Quantile::P95.figure()(&UsageSums::default()), None);
        assert!(Quantile::ALL.into_iter().all(|quantile| Quantile::parse(quantile.word()) == quantile));
    }
}
