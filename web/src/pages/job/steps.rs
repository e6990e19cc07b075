//! Every step of a job's life: when, for how long, where and why.

use std::collections::BTreeMap;

use protocol::NodeId;
use protocol::job::{Job, Transition};
use sycamore::prelude::*;

use crate::format;
use crate::pages::jobs::table::state_badge;
use crate::session::Here;
use crate::ui::copy::short_id;
use crate::ui::job_bar::step_us;
use crate::ui::why::node_name;

/// The table.
pub(super) fn steps(here: &Here, job: ReadSignal<Job>, names: ReadSignal<BTreeMap<NodeId, String>>) -> View {
    let here = here.clone();
    let rows = View::from_dynamic(move || {
        let (job, names) = (job.get_clone(), names.get_clone());
        let steps = job.transitions.iter().enumerate();
        let rows = steps.map(|(place, step)| row(&here, &job, place, step, &names));
        rows.collect::<Vec<View>>()
    });
    view! {
        table(class="rows steps-table") {
            thead {
                tr {
                    th(scope="col") { "State" }
                    th(scope="col") { "Why" }
                    th(scope="col") { "Node" }
                    th(scope="col", class="spare") { "Run" }
                    th(scope="col", class="number") { "For" }
                    th(scope="col", class="number") { "At (UTC)" }
                }
            }
            tbody { (rows) }
        }
    }
}

fn row(here: &Here, job: &Job, place: usize, step: &Transition, names: &BTreeMap<NodeId, String>) -> View {
    let badge = state_badge(&Job { state: step.state, cancelling: false, ..job.clone() });
    let reason = step.reason.clone();
    let node = step.node.map(|node| node_name(node, names));
    let run = step.run.map(|run| {
        let id = run.to_string();
        let (href, short) = (here.path(&format!("runs/{id}")), short_id(&id));
        view! { a(class="mono", href=href, title=id) { (short) } }
    });
    // The last one lasts.
    let last = place + 1 == job.transitions.len();
    let lasted = if last { String::new() } else { format::micros(step_us(job, place, 0)) };
    let (at, clock) = (step.at.to_string(), format::clock(step.at));
    view! {
        tr {
            td(data-label="State") { (badge) }
            td(data-label="Why", class="wrap") { (reason) }
            td(data-label="Node") { (node) }
            td(data-label="Run", class="soft spare") { (run) }
            td(data-label="For", class="number") { (lasted) }
            td(data-label="At (UTC)", class="number soft", title=at) { (clock) }
        }
    }
}
