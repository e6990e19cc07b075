//! A placement, explained: the nodes that might do a run, best first, and why the others might not.

use std::collections::BTreeMap;

use protocol::NodeId;
use protocol::placement::{Candidate, Considered, Explanation, Placement, Refused, Warmth};
use sycamore::prelude::*;

use super::copy::id_chip;
use super::lane::lane_why;
use super::page::badge;
use crate::format;

/// So many refused nodes are named.
const REFUSED_SHOWN: usize = 12;

/// What a policy's name means.
fn policy_words(policy: &str) -> &str {
    match policy {
        "learned" => "learned: shortest predicted time first, by a model of past runs",
        "fallback" => "fallback: warm nodes first, as no model is trusted yet",
        "warm_first" => "warm first: nodes that have it loaded, then the least busy",
        other => other,
    }
}

/// A node by its name, or by its id where the account may not see that.
pub(crate) fn node_name(node: NodeId, names: &BTreeMap<NodeId, String>) -> View {
    match names.get(&node) {
        Some(name) => {
            let (name, id) = (name.clone(), node.to_string());
            view! { b(title=id) { (name) } }
        }
        None => id_chip(&node.to_string()),
    }
}

fn warmth(warmth: Warmth) -> View {
    match warmth {
        Warmth::Warm => badge("good", "warm"),
        Warmth::Cached => badge("", "on disk"),
        Warmth::Cold => badge("", "cold"),
    }
}

/// What was predicted of a run on a node: its time, and the chance that it fails, where that is worth a word.
fn predicted(one: &Considered) -> String {
    let time = one.predicted_us.map_or_else(|| "–".to_owned(), format::micros);
    match one.predicted_failure_permille {
        Some(fails @ 10..) => format!("{time}, fails {} %", fails.div_ceil(10)),
        _ => time,
    }
}

/// How far away it is, where that is worth a word.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time, not below zero")]
fn away(distance_s: Option<f32>) -> String {
    let micros = |away: f32| format::micros((f64::from(away.max(0.0)) * 1_000_000.0) as u64);
    distance_s.map_or_else(String::new, |away| format!(" + {} away", micros(away)))
}

/// The whole of it. `chosen`: the node that the run went to.
pub(crate) fn placement_view(placement: &Placement, names: &BTreeMap<NodeId, String>, chosen: Option<NodeId>) -> View {
    let predicts = placement.ranked.iter().any(|one| one.predicted_s.is_some());
    let rows: Vec<View> = placement
        .ranked
        .iter()
        .enumerate()
        .map(|(place, one)| candidate(place, one, names, chosen == Some(one.node), predicts))
        .collect();
    let head = predicts.then(|| view! { th(scope="col", class="number") { "Predicted" } });
    let table = match rows.is_empty() {
        true => {
            let summary = placement.summary();
            view! { p(class="nothing") { "No node can take it: " (summary) "." } }
        }
        false => view! {
            table(class="rows") {
                thead {
                    tr {
                        th(scope="col") { "Node" }
                        th(scope="col") { "Lane" }
                        th(scope="col") { "Loaded" }
                        th(scope="col", class="number") { "Runs there" }
                        th(scope="col", class="number spare") { "Work per core" }
                        (head)
                        th(scope="col", class="number") { "Score" }
                    }
                }
                tbody { (rows) }
            }
        },
    };
    let refused = refused(&placement.refused, names);
    let policy = policy_words(&placement.policy).to_owned();
    view! {
        (table)
        (refused)
        p(class="hint table-foot") { "Best first; a lower score is better. Ordered by " (policy) "." }
    }
}

fn candidate(place: usize, one: &Candidate, names: &BTreeMap<NodeId, String>, chosen: bool, predicts: bool) -> View {
    let rank = format!("{}. ", place + 1);
    let name = node_name(one.node, names);
    let here = chosen.then(|| badge("good", "chosen"));
    let (lane, loaded) = (lane_why(one.lane, Some(one.lane_reason)), warmth(one.warmth));
    let (pressure, score) = (format!("{:.2}", one.pressure), format!("{:.2}", one.score));
    let running = one.running;
    let predicted = predicts.then(|| {
        let words = predicted(&Considered::from(one)) + &away(one.distance_s);
        view! { td(data-label="Predicted", class="number") { (words) } }
    });
    view! {
        tr {
            td(data-label="Node") { span(class="soft") { (rank) } (name) " " (here) }
            td(data-label="Lane", class="wrap") { (lane) }
            td(data-label="Loaded") { (loaded) }
            td(data-label="Runs there", class="number") { (running) }
            td(data-label="Work per core", class="number spare") { (pressure) }
            (predicted)
            td(data-label="Score", class="number") { (score) }
        }
    }
}

fn refused(refused: &[Refused], names: &BTreeMap<NodeId, String>) -> View {
    if refused.is_empty() {
        return view! {};
    }
    let shown = refused.iter().take(REFUSED_SHOWN).map(|one| {
        let (name, why) = (node_name(one.node, names), one.to_string());
        view! { li { (name) " " span(class="soft") { (why) } } }
    });
    let shown: Vec<View> = shown.collect();
    let more = refused.len().saturating_sub(REFUSED_SHOWN);
    let more = (more > 0).then(|| view! { li(class="soft") { "and " (more) " more" } });
    view! {
        h3(class="refused-head") { "Not thought of" }
        ul(class="refused") { (shown) (more) }
    }
}

/// What is kept of a placement with its run.
pub(crate) fn explanation_view(kept: &Explanation, names: &BTreeMap<NodeId, String>, chosen: Option<NodeId>) -> View {
    let rows: Vec<View> = kept
        .candidates
        .iter()
        .enumerate()
        .map(|(place, one)| {
            let rank = format!("{}. ", place + 1);
            let name = node_name(one.node, names);
            let here = (chosen == Some(one.node)).then(|| badge("good", "chosen"));
            let (loaded, running, predicted) = (warmth(one.warmth), one.running, predicted(one));
            view! {
                tr {
                    td(data-label="Node") { span(class="soft") { (rank) } (name) " " (here) }
                    td(data-label="Loaded") { (loaded) }
                    td(data-label="Runs there", class="number") { (running) }
                    td(data-label="Predicted", class="number") { (predicted) }
                }
            }
        })
        .collect();
    let others = kept.refused.iter().map(|one| format!("{} {one}", format::count(one.nodes, "node")));
    let others: Vec<String> = others.collect();
    let others = (!others.is_empty()).then(|| {
        let words = format!("Not thought of: {}. ", others.join(", "));
        view! { (words) }
    });
    let policy = policy_words(&kept.policy).to_owned();
    let waited = format::micros(u64::from(kept.waited_ms) * 1_000);
    view! {
        table(class="rows") {
            thead {
                tr {
                    th(scope="col") { "Node" }
                    th(scope="col") { "Loaded" }
                    th(scope="col", class="number") { "Runs there" }
                    th(scope="col", class="number") { "Predicted" }
                }
            }
            tbody { (rows) }
        }
        p(class="hint table-foot") { (others) "Waited " (waited) " for a node. Ordered by " (policy) "." }
    }
}
