//! Why a job is where it is: the nodes that were thought of, and why the others were not.

use std::collections::BTreeMap;

use protocol::job::{Job, JobState, JobWhy};
use protocol::{Lane, NodeId};
use sycamore::prelude::*;

use crate::calls;
use crate::load::{POLL_MS, Resource, seen, sleep};
use crate::session::Here;
use crate::ui::why::placement_view;

/// Asks whenever the job has changed, and again and again while it waits.
pub(super) fn asked(here: &Here, job: ReadSignal<Job>) -> Resource<JobWhy> {
    let revision = create_selector(move || job.with(|job| job.revision));
    let account = here.account.clone();
    let why = Resource::new(move || {
        revision.track();
        let (account, id) = (account.clone(), job.with_untracked(|job| job.id));
        async move { calls::jobs::why(&account, id).await }
    });
    sycamore::futures::spawn_local_scoped(async move {
        loop {
            sleep(POLL_MS).await;
            seen().await;
            if job.with_untracked(|job| job.state == JobState::Queued) {
                why.reload();
            }
        }
    });
    why
}

/// The lane that the job's node runs it in, where that is known.
pub(super) fn lane(why: Resource<JobWhy>, job: ReadSignal<Job>) -> ReadSignal<Option<Lane>> {
    create_selector(move || {
        let node = job.with(|job| job.node);
        let placement = why.ready()?.placement?;
        let chosen = placement.ranked.iter().find(|one| node.is_none_or(|node| node == one.node));
        chosen.map(|one| one.lane)
    })
}

/// Names of the nodes, as far as they are known.
pub(super) fn names(why: Resource<JobWhy>) -> ReadSignal<BTreeMap<NodeId, String>> {
    create_selector(move || why.ready().map(|why| why.names).unwrap_or_default())
}

/// The explanation.
pub(super) fn part(why: Resource<JobWhy>, job: ReadSignal<Job>) -> View {
    let node = create_selector(move || job.with(|job| job.node));
    let waits = create_selector(move || job.with(|job| job.state == JobState::Queued));
    let title = View::from_dynamic(move || {
        if waits.get() {
            view! { "Where it may go" }
        } else {
            view! { "Why this node" }
        }
    });
    let body = why.view(2, move |why| shown(&why, node.get(), waits.get()));
    view! { section(class="section") { div(class="section-head") { h2 { (title) } } (body) } }
}

fn shown(why: &JobWhy, node: Option<NodeId>, waits: bool) -> View {
    let reason = waits.then(|| {
        let reason = why.reason.clone();
        let ahead = match why.ahead {
            Some(0) | None => String::new(),
            Some(1) => "One of your jobs comes before it.".to_owned(),
            Some(ahead) => format!("{ahead} of your jobs come before it."),
        };
        view! { p(class="why-line") { (reason) ". " (ahead) } }
    });
    let body = match &why.placement {
        Some(placement) => {
            // What waits again was somewhere before: that is no answer to where it goes next.
            placement_view(placement, &why.names, node.filter(|_| !waits))
        }
        None => view! { p(class="nothing") { "It was never placed." } },
    };
    view! { (reason) (body) }
}
