//! Monthly tracking: twelve months of what will have a price, and what this one may come to.

use protocol::Timestamp;
use protocol::api::{UsageReport, UsageSums};
use sycamore::prelude::*;

use super::asked::Asked;
use super::columns::utc_month;
use super::data::{Subject, Told};
use super::grid::plain;
use crate::charts::model::{Kind, Model, Place, Series};
use crate::charts::{Card, Cell, Chart, Sheet, Unit, shown};
use crate::format::wide;
use crate::session::Here;
use crate::state;
use crate::ui::period::Span;
use crate::ui::time::now_ms;

const MONTHS: i64 = 12;
/// What has passed of a month before it says anything about the rest.
const FORECAST_AFTER_MS: i64 = 6 * 3_600_000;

/// What a month is told by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Component {
    #[default]
    Cpu,
    Memory,
    Out,
}

impl Component {
    const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Out];

    const fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Out => "out",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Cpu => "CPU-hours",
            Self::Memory => "GiB-hours",
            Self::Out => "GiB out",
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::Cpu => Unit::CpuHours,
            Self::Memory => Unit::GibHours,
            Self::Out => Unit::GIB,
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Cpu => "chart-1",
            Self::Memory => "chart-2",
            Self::Out => "chart-3",
        }
    }

    fn of(self, sums: &UsageSums) -> f64 {
        match self {
            Self::Cpu => wide(sums.cpu_us) / 3.6e9,
            Self::Memory => wide(sums.memory_kib_ms) / (1_048_576.0 * 3.6e6),
            Self::Out => wide(sums.bytes_out.0) / 1_073_741_824.0,
        }
    }

    fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|component| component.word() == word).unwrap_or_default()
    }
}

/// The chart.
pub(super) fn months(subject: &Subject) -> View {
    let word = state::param("component", Component::default().word());
    let component = create_selector(move || word.with(|word| Component::parse(word)));
    let told = subject.usage(|_| "month".to_owned(), |_| year_at(now_ms()));
    let of = subject.clone();
    let chart = shown(*told.data, move |told| draw(&of, &told, component.get()));
    let buttons: Vec<View> = Component::ALL
        .into_iter()
        .map(|choice| {
            let pressed = move || (component.get() == choice).to_string();
            view! {
                button(
                    r#type="button", aria-pressed=pressed(), on:click=move |_| word.set(choice.word().to_owned()),
                ) { (choice.label()) }
            }
        })
        .collect();
    Card {
        id: "months",
        title: "Monthly usage tracking",
        definition: "What settled runs used in each month, in UTC. The forecast goes on as the month did so far.",
        controls: view! { div(class="segmented", role="group", aria-label="Component") { (buttons) } },
        nothing: "Nothing ran in the last twelve months.",
        below: view! {},
    }
    .view(chart)
}

/// When the month began, so many months later.
fn month_start(at_ms: i64, later: i64) -> Timestamp {
    let text = Timestamp(at_ms).to_string();
    let number = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<i64>().ok()).unwrap_or(1);
    let months = number(0, 4) * 12 + number(5, 7) - 1 + later;
    let start = format!("{:04}-{:02}-01T00:00:00Z", months.div_euclid(12), months.rem_euclid(12) + 1);
    start.parse().unwrap_or(Timestamp(at_ms))
}

/// This month, and those before it.
fn year_at(now_ms: i64) -> Span {
    Span { from: month_start(now_ms, 1 - MONTHS), to: month_start(now_ms, 1) }
}

/// The months of a span.
fn months_of(span: Span) -> Vec<Span> {
    let mut months = Vec::new();
    let mut from = span.from;
    while from < span.to && months.len() < 120 {
        let to = month_start(from.0, 1);
        months.push(Span { from, to });
        from = to;
    }
    months
}

/// What the rest of a month adds, if it goes on so.
fn rest(so_far: f64, month: Span, now_ms: i64) -> Option<f64> {
    let (passed, left) = (now_ms - month.from.0, month.to.0 - now_ms);
    if passed < FORECAST_AFTER_MS || left <= 0 {
        return None;
    }
    let wide = |ms: i64| wide(u64::try_from(ms).unwrap_or(0));
    Some(so_far * wide(left) / wide(passed))
}

fn sums_of(report: &UsageReport, month: Span) -> UsageSums {
    let group = report.items.iter().find(|group| group.at == Some(month.from));
    group.map(|group| group.usage).unwrap_or_default()
}

fn draw(subject: &Subject, told: &Told, component: Component) -> Chart {
    let now = now_ms();
    let months = months_of(told.span);
    let of = |component: Component, month: &Span| component.of(&sums_of(&told.report, *month));
    let used = months.iter().map(|month| Some(of(component, month))).collect();
    let forecast: Vec<Option<f64>> = months.iter().map(|month| rest(of(component, month), *month, now)).collect();
    let links: Vec<Option<String>> =
        months.iter().map(|month| Some(rows(&subject.here, &told.asked, *month))).collect();
    let mut series = vec![Series::new(component.label(), component.colour(), used).linked()];
    if forecast.iter().flatten().any(|value| *value > 0.0) {
        let forecast = Series::new("forecast for the rest of the month", component.colour(), forecast);
        series.push(Series { hatched: true, ..forecast });
    }
    let place = |month: &Span| Place { short: utc_month(month.from), long: format!("{} (UTC)", utc_month(month.from)) };
    Chart {
        model: Model {
            kind: Kind::Bars,
            name: component.label().to_owned(),
            text: format!("{} of the last twelve months. The figures stand in the table below.", component.label()),
            places: months.iter().map(place).collect(),
            series,
            marks: subject.marks(&months),
            whole: false,
        },
        unit: component.unit(),
        sheet: sheet(told, &months, &links, now),
        links: vec![links],
        note: String::new(),
    }
}

/// A month's runs, as far as they are kept.
fn rows(here: &Here, asked: &Asked, month: Span) -> String {
    asked.runs(here, month, &[])
}

/// All components of all months that have any.
fn sheet(told: &Told, months: &[Span], links: &[Option<String>], now_ms: i64) -> Sheet {
    let mut columns = vec!["Month".to_owned()];
    for component in Component::ALL {
        columns.extend([component.label().to_owned(), format!("{}, forecast", component.label())]);
    }
    let cell = |component: Component, value: f64| Cell::of(component.unit().write(value), plain(value));
    let rows = months.iter().zip(links).filter_map(|(month, link)| {
        let sums = sums_of(&told.report, *month);
        (sums.runs > 0).then(|| {
            let name = utc_month(month.from);
            let raw = month.from.to_string().get(..7).unwrap_or_default().to_owned();
            let mut row = vec![Cell::of(name, raw)];
            for component in Component::ALL {
                let used = component.of(&sums);
                row.push(cell(component, used).leading(link.clone()));
                row.push(match rest(used, *month, now_ms) {
                    Some(rest) => cell(component, used + rest),
                    None => Cell::of("–", ""),
                });
            }
            row
        })
    });
    Sheet { columns, rows: rows.collect(), foot: Vec::new() }
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;

    use super::{months_of, rest, year_at};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_year_is_twelve_months_with_this_one() {
        let months = months_of(year_at(at("2026-01-31T23:59:59Z").0));
        assert_eq!(months.len(), 12);
        assert_eq!((months[0].from, months[0].to), (at("2025-02-01T00:00:00Z"), at("2025-03-01T00:00:00Z")));
        assert_eq!(months[11].to, at("2026-02-01T00:00:00Z"));
    }

    #[test]
    fn the_forecast_goes_on_as_the_month_did() {
        let november = months_of(year_at(at("2026-11-11T00:00:00Z").0))[11];
        assert_eq!(rest(10.0, november, at("2026-11-11T00:00:00Z").0), Some(20.0));
        assert_eq!(rest(10.0, november, at("2026-11-01T05:59:59Z").0), None, "too early to say");
        assert_eq!(rest(10.0, november, november.to.0), None, "it is over");
    }
}
