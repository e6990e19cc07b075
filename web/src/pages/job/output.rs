//! What a job answered, and what its runs wrote.

use protocol::job::{Job, JobState};
use sycamore::prelude::*;

use crate::api::Whole;
use crate::calls;
use crate::format;
use crate::load::{Resource, seen, sleep};
use crate::session::Here;
use crate::ui::body::{body_view, headers_view, status_badge};
use crate::ui::log::log;
use crate::ui::page;

/// A larger answer is fetched only when it is asked for.
const AT_ONCE_MAX: u64 = 2 << 20;
/// How often new lines are looked for.
const LINES_EVERY_MS: i32 = 1_500;
/// After a job's end its last lines may still be on their way.
const LOOKS_AFTER_END: u32 = 6;

/// What the page shows of the answer.
#[derive(Clone, PartialEq, Eq)]
enum Stage {
    /// None yet.
    Open,
    /// None.
    Cancelled,
    /// One of so many bytes, as of this revision.
    There(u64, u64),
}

/// The answer, once there is one.
pub(super) fn output(here: &Here, job: ReadSignal<Job>) -> View {
    let stage = create_selector(move || {
        job.with(|job| match job.state {
            JobState::Cancelled => Stage::Cancelled,
            state if state.ended() => Stage::There(job.output_size.0, job.ended.map_or(0, |at| at.0.unsigned_abs())),
            _ => Stage::Open,
        })
    });
    let here = here.clone();
    let body = View::from_dynamic(move || match stage.get_clone() {
        Stage::Open => view! { p(class="nothing") { "The response appears here: status, headers, body." } },
        Stage::Cancelled => view! { p(class="nothing") { "It was cancelled before it answered." } },
        Stage::There(bytes, _) if bytes <= AT_ONCE_MAX => fetched(&here, job),
        Stage::There(bytes, _) => asked_for(&here, job, bytes),
    });
    page::section("Output", "", view! { div(aria-live="polite") { (body) } })
}

fn asked_for(here: &Here, job: ReadSignal<Job>, bytes: u64) -> View {
    let wanted = create_signal(false);
    let here = here.clone();
    let label = format!("Fetch {}", format::bytes(bytes));
    View::from_dynamic(move || {
        if wanted.get() {
            return fetched(&here, job);
        }
        let label = label.clone();
        view! { button(class="secondary", r#type="button", on:click=move |_| wanted.set(true)) { (label) } }
    })
}

fn fetched(here: &Here, job: ReadSignal<Job>) -> View {
    let (account, id) = (here.account.clone(), job.with_untracked(|job| job.id));
    let answer = Resource::new(move || {
        let account = account.clone();
        async move { calls::jobs::output(&account, id).await }
    });
    answer.view(3, |answer: Whole| {
        let body = body_view(answer.media_type(), &answer.body);
        let size = format::bytes(answer.body.len() as u64);
        let status = status_badge(answer.status);
        let headers = headers_view(answer.headers);
        view! {
            div(class="answer") {
                p(class="answer-line") { (status) span(class="soft") { (size) } }
                (body)
                (headers)
            }
        }
    })
}

/// The lines of all its runs; they come while it runs.
pub(super) fn logs(here: &Here, job: ReadSignal<Job>) -> View {
    let (account, id) = (here.account.clone(), job.with_untracked(|job| job.id));
    let lines = Resource::fed();
    sycamore::futures::spawn_local_scoped(async move {
        let mut looks = 0;
        loop {
            let ended = job.with_untracked(|job| job.state.ended());
            looks = if ended { looks + 1 } else { 0 };
            if looks <= LOOKS_AFTER_END {
                lines.put(calls::jobs::logs(&account, id).await);
            }
            sleep(LINES_EVERY_MS).await;
            seen().await;
        }
    });
    let runs = here.path("runs/");
    let several = create_selector(move || job.with(|job| job.attempts + job.losses > 1));
    let body = lines.view(2, move |lines| log(lines, several.get().then_some(runs.as_str())));
    page::section("Logs", "What its runs wrote to stdout and stderr.", body)
}
