//! What a function answered to a test call: as text, as a picture, or as a file. Never as a page.

use protocol::RunId;
use protocol::api::{Invocation, TestAnswer};
use sycamore::prelude::*;

use crate::api::media_type;
use crate::base64;
use crate::calls;
use crate::format;
use crate::load::sleep;
use crate::pages::function::Subject;
use crate::pages::run::output;
use crate::ui::body::{body_view, headers_view, status_badge};
use crate::ui::copy::id_chip;
use crate::ui::lane::{cpu_used, lane_why, memory_used};

/// The answer.
pub(crate) fn answer_view(subject: &Subject, answer: TestAnswer) -> View {
    let body = base64::decode(&answer.body);
    let body_shown = body_view(media_type(&answer.headers), &body);
    let status = status_badge(answer.status);
    let duration = format::micros(answer.wall_us);
    let size = format::bytes(body.len() as u64);
    let run = answer.run.to_string();
    let page = subject.here.path(&format!("runs/{run}"));
    let code = answer.code.map(|code| {
        let (name, help) = (code.as_str(), code.help());
        view! { p(class="note") { "The platform answered: " code { (name) } ". " (help) } }
    });
    let headers = headers_view(answer.headers);
    let chip = id_chip(&run);
    let used = used(subject, answer.run);
    let written = output(&subject.here, answer.run);
    view! {
        div(class="answer") {
            p(class="answer-line") {
                (status)
                span(class="figure-inline") { (duration) }
                span(class="soft") { (size) }
                a(href=page) { "Run" } (chip)
            }
            (used)
            (code)
            (body_shown)
            (headers)
            h3 { "Logs" }
            (written)
        }
    }
}

/// How often, and at most how many times, the run's record is asked for: it comes after the answer.
const RECORD_POLL_MS: i32 = 400;
const RECORD_POLLS_MAX: u32 = 25;

/// The run's lane, and what it used of what it might.
fn used(subject: &Subject, run: RunId) -> View {
    let record = create_signal(None::<Invocation>);
    let account = subject.account().to_owned();
    sycamore::futures::spawn_local_scoped(async move {
        for _ in 0..RECORD_POLLS_MAX {
            sleep(RECORD_POLL_MS).await;
            let Ok(found) = calls::invocation(&account, run).await else { continue };
            if !record.is_alive() {
                return;
            }
            let settled = found.settled;
            record.set(Some(found));
            if settled {
                return;
            }
        }
    });
    View::from_dynamic(move || match record.get_clone() {
        None => view! { p(class="used-line soft") { "Lane, CPU and memory follow in a moment." } },
        Some(run) => {
            let lane = lane_why(run.lane, run.lane_reason);
            let (cpu, memory) = (cpu_used(&run).view(), memory_used(&run).view());
            view! {
                p(class="used-line") { (lane) span { "CPU " (cpu) } span { "memory " (memory) } }
            }
        }
    })
}
