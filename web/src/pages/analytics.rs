//! Where the account's usage went: what ran, how it ended, how long it took, what it used. Every figure is of `GET /usage`
//! or `GET /jobs/summary`, and leads to the rows that it counts where there is a list of just these.

mod asked;
mod breakdown;
mod columns;
mod data;
mod filters;
mod grid;
mod kept;
mod latency;
mod metrics;
mod months;
mod of_function;
mod outcomes;
mod states;
mod utilization;
mod versions;

use sycamore::prelude::*;

use self::asked::Controls;
use self::data::Subject;
pub(crate) use self::of_function::of_function;
use crate::session::Here;
use crate::ui::page;
use crate::ui::period;

/// The page.
pub(crate) fn analytics() -> View {
    let here = Here::get();
    let controls = Controls::of_url();
    let subject = Subject::of(&here, controls.asked());
    let head = page::head("Analytics", "", period::period_choice(controls.period));
    let filters = filters::filters(&here, controls);
    let metrics = metrics::metrics(&subject);
    let breakdown = breakdown::breakdown(&subject);
    let states = states::states(&subject);
    let months = months::months(&subject);
    let utilization = utilization::utilization(&subject);
    let latency = latency::latency(&subject);
    let kept = kept::kept(&subject);
    view! {
        (head)
        (filters)
        (metrics)
        (breakdown)
        div(class="chart-pair") { (states) (months) }
        (utilization)
        (latency)
        (kept)
    }
}
