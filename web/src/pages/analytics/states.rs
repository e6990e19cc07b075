//! How jobs ended, and where those are that have not.

use protocol::job::{JobState, JobSummary};
use sycamore::prelude::*;

use super::asked::Asked;
use super::data::Subject;
use crate::calls;
use crate::charts::model::{Kind, Model, Series};
use crate::charts::{Card, Cell, Chart, Segment, Sheet, Unit, legend, shown, stacked_bar};
use crate::format;
use crate::load::Resource;
use crate::session::Here;
use crate::ui::job_bar::state_words;
use crate::ui::period::Span;

/// Jobs by state, and what was asked for.
#[derive(Clone, Debug, PartialEq)]
struct Counted {
    asked: Asked,
    span: Span,
    summary: JobSummary,
}

/// The chart.
pub(super) fn states(subject: &Subject) -> View {
    let (account, asked) = (subject.here.account.clone(), subject.asked);
    let counted = Resource::every(
        move || asked.with(|asked| asked.period.refresh_ms()),
        move || {
            let (account, asked) = (account.clone(), asked.get_clone());
            async move {
                let span = asked.period.span();
                let summary = calls::usage::jobs_of(&account, span, &asked.jobs_query()).await?;
                Ok(Counted { asked, span, summary })
            }
        },
    );
    let here = subject.here.clone();
    let chart = shown(*counted.data, move |counted| draw(&here, &counted));
    let here = subject.here.clone();
    let open = View::from_dynamic(move || Some(open(&here, &counted.ready()?)));
    Card {
        id: "states",
        title: "Job status distribution",
        definition: "Jobs that ended in the period, by how they did. Lane and key do not narrow them.",
        controls: view! {},
        nothing: "No job ended in this period.",
        below: open,
    }
    .view(chart)
}

const fn colour(state: JobState) -> &'static str {
    match state {
        JobState::Succeeded => "good",
        JobState::Failed => "bad",
        JobState::TimedOut => "warn",
        JobState::Dead => "chart-7",
        JobState::Cancelled | JobState::Queued | JobState::Placed => "chart-other",
        JobState::Running => "accent",
    }
}

fn draw(here: &Here, counted: &Counted) -> Chart {
    let Counted { asked, span, summary } = counted;
    let ended = || JobState::ALL.into_iter().filter(|state| state.ended());
    let href = |state: JobState| (summary.counts.of(state) > 0).then(|| asked.jobs(here, state.as_str(), Some(*span)));
    let series = ended()
        .filter(|state| summary.counts.of(*state) > 0)
        .map(|state| {
            let value = Some(format::wide(summary.counts.of(state)));
            Series::new(state_words(state), colour(state), vec![value]).linked()
        })
        .collect();
    let links = ended().filter_map(|state| Some(vec![Some(href(state)?)])).collect();
    let count = |count: u64| Cell::of(format::thousands(count), count.to_string());
    let all = summary.counts.ended();
    let row = |state: JobState| {
        let number = summary.counts.of(state);
        let share = Cell::new(format::percent(number, all));
        vec![Cell::of(state_words(state), state.as_str()), count(number).leading(href(state)), share]
    };
    Chart {
        model: Model {
            kind: Kind::Ring,
            name: "Ended jobs".to_owned(),
            text: "Ended jobs by state. The figures stand in the table below.".to_owned(),
            series,
            whole: true,
            ..Model::default()
        },
        unit: Unit::Count,
        sheet: Sheet {
            columns: ["State", "Jobs", "Share"].map(str::to_owned).to_vec(),
            rows: ended().map(row).collect(),
            foot: vec![Cell::new("All"), count(all), Cell::new(format::percent(all, all))],
        },
        links,
        note: String::new(),
    }
}

/// Those that have not ended, whatever the period.
fn open(here: &Here, counted: &Counted) -> View {
    let counts = counted.summary.counts;
    if counts.open() == 0 {
        return view! { p(class="soft open-jobs") { "No job is open now." } };
    }
    let segment = |state: JobState, class| Segment {
        name: state_words(state).to_owned(),
        value: format::wide(counts.of(state)),
        class,
        href: Some(counted.asked.jobs(here, state.as_str(), None)),
    };
    let segments = vec![
        segment(JobState::Queued, "waited"),
        segment(JobState::Placed, "placed"),
        segment(JobState::Running, "accent"),
    ];
    let (words, bar) = (legend(&segments), stacked_bar(segments));
    view! { div(class="open-jobs") { h3 { "Open now" } (bar) (words) } }
}
