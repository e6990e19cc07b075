//! The figures of one function, as a tab of its page.

use sycamore::prelude::*;

use super::asked::Asked;
use super::data::Subject;
use super::{latency, metrics, outcomes, utilization, versions};
use crate::load::Load;
use crate::session::Here;
use crate::ui::code::code_block;
use crate::ui::page;
use crate::ui::period::{self, Period};

/// What there is to show.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// Figures, or what they wait for.
    Figures,
    /// Nothing ran.
    Nothing(Period),
}

/// The tab.
pub(crate) fn of_function(here: &Here, function: &str) -> View {
    let period = period::of_url();
    let name = function.to_owned();
    let asked = create_selector(move || Asked {
        period: period.with(|word| Period::parse(word)),
        function: name.clone(),
        compares: true,
        ..Asked::default()
    });
    let subject = Subject::of(here, asked);
    let moved = subject.moved;
    let stage = create_selector(move || {
        moved.data.with(|told| match told {
            Load::Ready(told) if told.report.total.runs == 0 => Stage::Nothing(told.asked.period),
            _ => Stage::Figures,
        })
    });
    let command = format!("crowdcloud invoke {function} --account {}", here.account);
    let body = View::from_dynamic(move || match stage.get() {
        Stage::Nothing(period) => {
            let command = code_block(command.clone(), "command");
            let about =
                format!("Nothing ran in {}. A run counts once it is settled: some seconds after it.", period.words());
            page::empty("No runs", about, command)
        }
        Stage::Figures => figures(&subject),
    });
    view! {
        div(class="tab-head") { (period::period_choice(period)) }
        (body)
    }
}

fn figures(subject: &Subject) -> View {
    let metrics = metrics::metrics(subject);
    let outcomes = outcomes::outcomes(subject);
    let versions = versions::versions(subject);
    let latency = latency::latency(subject);
    let utilization = utilization::utilization(subject);
    view! { (metrics) (outcomes) (versions) (latency) (utilization) }
}
