//! Requests and jobs, told apart by one thing: status, function, version, lane, what made them, or on whose behalf.

use sycamore::prelude::*;

use super::asked::Asked;
use super::columns::{OTHER, Part, column_of, columns, parts, spans, top};
use super::data::{Subject, Told};
use super::grid::{Grid, Line, count};
use crate::charts::model::{self, Kind};
use crate::charts::{Card, Chart, Unit, shown};
use crate::load::Load;
use crate::session::Here;
use crate::state;
use crate::ui::form::select;
use crate::ui::period::Span;

/// So many parts are told apart; the rest is one.
const PARTS_MAX: usize = model::COLOURS;

/// What the runs are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum By {
    #[default]
    Status,
    Function,
    Version,
    Lane,
    Source,
    Principal,
    Member,
}

impl By {
    const ALL: [Self; 7] =
        [Self::Status, Self::Function, Self::Version, Self::Lane, Self::Source, Self::Principal, Self::Member];

    /// As the API and the URL call it.
    const fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Function => "function",
            Self::Version => "version",
            Self::Lane => "lane",
            Self::Source => "source",
            Self::Principal => "principal",
            Self::Member => "member",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Status => "Status",
            Self::Function => "Function",
            Self::Version => "Version",
            Self::Lane => "Lane",
            Self::Source => "Trigger",
            Self::Principal => "Key or user",
            Self::Member => "Member",
        }
    }

    /// Several of them.
    const fn plural(self) -> &'static str {
        match self {
            Self::Status => "statuses",
            Self::Function => "functions",
            Self::Version => "versions",
            Self::Lane => "lanes",
            Self::Source => "triggers",
            Self::Principal => "keys and users",
            Self::Member => "members",
        }
    }

    fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|by| by.word() == word).unwrap_or_default()
    }

    /// The colour of the nth part.
    fn colour(self, part: &Part, number: usize) -> String {
        let own = match (self, part.key.as_str()) {
            (_, OTHER) => model::OTHER,
            (Self::Status, "2xx") => "good",
            (Self::Status, "3xx") => "accent",
            (Self::Status, "4xx") => "warn",
            (Self::Status, "5xx") => "bad",
            (Self::Status, "none") => "chart-8",
            (Self::Lane, "wasm") => "wasm",
            (Self::Lane, "vm") => "vm",
            _ => return model::colour(number),
        };
        own.to_owned()
    }

    /// What the list of runs is asked for to be of just this part; none where it cannot be.
    fn filter(self, part: &Part) -> Option<Vec<(&'static str, String)>> {
        if [OTHER, "unknown"].contains(&part.key.as_str()) {
            return None;
        }
        match self {
            Self::Status => part.key.ends_with("xx").then(|| vec![("status", part.key.clone())]),
            Self::Function => Some(vec![("function", part.name.clone())]),
            Self::Version => {
                let (function, number) = part.name.rsplit_once("@v")?;
                number.parse::<u32>().ok()?;
                Some(vec![("function", function.to_owned()), ("version", number.to_owned())])
            }
            Self::Lane => Some(vec![("lane", part.key.clone())]),
            Self::Source => Some(vec![("source", part.key.clone())]),
            // With their keys; triggers and the public are members of nothing.
            Self::Member if part.key.starts_with("user_") => Some(vec![("member", part.key.clone())]),
            Self::Principal | Self::Member => Some(vec![("principal", part.key.clone())]),
        }
    }
}

/// The chart.
pub(super) fn breakdown(subject: &Subject) -> View {
    let word = state::param("by", By::default().word());
    let by = create_selector(move || word.with(|word| By::parse(word)));
    let told =
        subject.usage(move |asked| format!("{},{}", asked.period.by(), by.get().word()), |asked| asked.period.span());
    let before = subject.compared(|asked| asked.period.by().to_owned(), Asked::whole_before);
    let of = subject.clone();
    let both = create_selector(move || match (told.data.get_clone(), before.data.get_clone()) {
        (Load::Ready(told), Load::Ready(before)) => Load::Ready((told, before)),
        (Load::Failed(trouble), _) | (_, Load::Failed(trouble)) => Load::Failed(trouble),
        _ => Load::Waiting,
    });
    let chart = shown(both, move |(told, before)| draw(&of, by.get(), &told, before.as_ref()));
    let options = By::ALL.map(|by| (by.word().to_owned(), by.label().to_owned())).to_vec();
    let menu = select("by", word, options);
    let controls = view! { label(class="field") { span(class="field-label") { "By" } (menu) } };
    Card {
        id: "breakdown",
        title: "Request job breakdown",
        definition: "Settled runs, of calls and of jobs, in the time in which they began.",
        controls,
        nothing: "Nothing ran in this period.",
        below: view! {},
    }
    .view(chart)
}

fn draw(subject: &Subject, by: By, told: &Told, before: Option<&Told>) -> Chart {
    let Told { asked, span, report } = told;
    let spans = spans(*span, asked.period.column_ms());
    let columns = columns(asked.period, &spans);
    let parts = top(parts(&report.items, &spans), PARTS_MAX, by.plural());
    let mut lines: Vec<Line> = parts
        .iter()
        .enumerate()
        .map(|(number, part)| {
            let links = links(&subject.here, asked, by, part, &spans);
            Line { links, ..Line::of(part, by.colour(part, number), |sums| count(sums.runs)) }
        })
        .collect();
    if let Some(before) = before {
        let values = earlier(before, &spans, asked.period.length_ms());
        let links = vec![None; values.len()];
        lines.push(Line {
            name: "the period before".to_owned(),
            colour: "soft".to_owned(),
            values,
            links,
            compared: true,
        });
    }
    let grid = Grid {
        kind: Kind::Bars,
        title: "Runs",
        when: "Began",
        unit: Unit::Count,
        marks: subject.marks(&spans),
        columns: &columns,
    };
    let chart = grid.chart(lines, true);
    // The API answers so many groups, and no more are asked for.
    let note = report.next.as_ref().map_or("", |_| "These are not all: choose a function or a shorter period.");
    Chart { note: note.to_owned(), ..chart }
}

/// The rows behind each column of a part.
fn links(here: &Here, asked: &Asked, by: By, part: &Part, spans: &[Span]) -> Vec<Option<String>> {
    let filter = by.filter(part);
    let link = |(span, runs): (&Span, u64)| {
        let more: Vec<(&str, &str)> = filter.as_ref()?.iter().map(|(name, value)| (*name, value.as_str())).collect();
        (runs > 0).then(|| asked.runs(here, *span, &more))
    };
    spans.iter().zip(part.sums.iter().map(|sums| sums.runs)).map(link).collect()
}

/// The sums of the period before, so much later.
fn earlier(before: &Told, spans: &[Span], later_ms: i64) -> Vec<Option<f64>> {
    let mut runs = vec![0_u64; spans.len()];
    for group in &before.report.items {
        let at = group.at.map(|at| protocol::Timestamp(at.0 + later_ms));
        if let Some(sum) = at.and_then(|at| column_of(at, spans)).and_then(|place| runs.get_mut(place)) {
            *sum = sum.saturating_add(group.usage.runs);
        }
    }
    runs.into_iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::{By, Part};

    fn filter(by: By, key: &str, name: &str) -> Option<String> {
        let part = Part { key: key.to_owned(), name: name.to_owned(), sums: Vec::new() };
        let pairs = by.filter(&part)?;
        Some(pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"))
    }

    #[test]
    fn a_part_leads_to_its_rows_where_a_list_has_just_these() {
        assert_eq!(filter(By::Status, "4xx", "4xx").unwrap(), "status=4xx");
        assert_eq!(filter(By::Function, "fn_1", "thumbs").unwrap(), "function=thumbs");
        assert_eq!(filter(By::Version, "fn_1@v3", "thumbs@v3").unwrap(), "function=thumbs&version=3");
        assert_eq!(filter(By::Principal, "key_1", "ci").unwrap(), "principal=key_1");
        assert_eq!(filter(By::Member, "user_1", "ada@example.org").unwrap(), "member=user_1");
        assert_eq!(filter(By::Member, "trigger:nightly", "trigger:nightly").unwrap(), "principal=trigger:nightly");
        for (by, key) in [(By::Status, "none"), (By::Version, "fn_1@other"), (By::Lane, "unknown")] {
            assert_eq!(filter(by, key, key), None, "{key}");
        }
        assert!(By::ALL.into_iter().all(|by| By::parse(by.word()) == by));
    }
}
