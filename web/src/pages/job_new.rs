//! A new job: what is run, with what, how often it is tried, and the same as curl and as CLI.

use protocol::job::{SubmitArray, SubmitJob};
use sycamore::prelude::*;

use crate::api::Result;
use crate::calls;
use crate::load::{Load, placeholder};
use crate::nav;
use crate::pages::jobs;
use crate::pages::jobs::draft::{Draft, of_job};
use crate::pages::jobs::form::{self, INPUTS, Known};
use crate::pages::jobs::panel::{self, panel};
use crate::pages::jobs::program::Program;
use crate::session::Here;
use crate::ui::form::{Form, sending, submit};
use crate::ui::page;
use crate::ui::trouble::trouble_view;

/// The page. The URL's `function` is chosen already.
pub(crate) fn job_new() -> View {
    let here = Here::get();
    let known = Known::of(here.account.clone());
    let stage = create_selector(move || match known.functions.data.get_clone() {
        Load::Waiting => Load::Waiting,
        Load::Ready(_) => Load::Ready(()),
        Load::Failed(trouble) => Load::Failed(trouble),
    });
    let about = "It is kept once it is accepted; this page may be left at once.";
    let head = jobs::head(&here, "New job", about);
    let body = View::from_dynamic(move || match stage.get_clone() {
        Load::Waiting => placeholder(6),
        Load::Failed(trouble) => trouble_view(trouble),
        Load::Ready(()) => whole(&here, known),
    });
    view! { (head) (body) }
}

fn whole(here: &Here, known: Known) -> View {
    let draft = Draft::new(nav::query("function").unwrap_or_default());
    let program = Program::of(draft, known);
    // The first that answers is as good a guess as any.
    create_effect(move || {
        let Some(page) = known.functions.ready() else { return };
        if draft.function.with_untracked(String::is_empty) {
            let first = page.items.iter().find(|function| function.live.is_some()).or_else(|| page.items.first());
            draft.function.set(first.map(|function| function.name.to_string()).unwrap_or_default());
        }
    });
    let once = create_signal(None::<(String, String)>);
    let of_submit = here.clone();
    let send = sending(move || {
        let here = of_submit.clone();
        async move {
            let place = submitted(&here, draft, program, once).await;
            // Only where no answer came is it the same wish when it is sent again.
            if place.as_ref().err().is_none_or(|trouble| trouble.status != 0) {
                once.set(None);
            }
            nav::go(&place?);
            Ok(())
        }
    });
    let many = create_selector(move || draft.kind.with(|kind| kind == "lines"));
    let button = move || {
        View::from_dynamic(move || match many.get() {
            false => submit("Submit the job", "Submitting…", draft.action),
            true => submit("Submit the jobs", "Submitting…", draft.action),
        })
    };
    let nodes = panel::live_nodes(here);
    let base = here.path("functions");
    let triggers = move || match draft.function.get_clone() {
        function if function.is_empty() => base.clone(),
        function => format!("{base}/{function}/triggers"),
    };
    let mut parts = program.parts();
    parts.extend(form::input_parts(draft, INPUTS));
    parts.push(form::room_part(draft, known, move || panel::most(nodes)));
    parts.push(form::again_part(draft, known));
    parts.extend(form::time_parts(draft, triggers));
    parts.extend([form::end_part(draft), form::request_part(draft), form::progress_part(draft)]);
    let form =
        Form { parts, action: draft.action, submit: "Submit the job", busy: "Submitting…", beside: view! {}, send };
    let form = takes_files(program, form.with_button(button));
    page::beside(form, panel(here, draft, program, known, nodes))
}

/// A file that is dropped anywhere on the form is what is to be run.
fn takes_files(program: Program, form: View) -> View {
    let dragged = move |event: web_sys::DragEvent| {
        if Program::would_take(&event) {
            event.prevent_default();
        }
    };
    let dropped = move |event: web_sys::DragEvent| {
        if Program::would_take(&event) {
            event.prevent_default();
            program.take(&event);
        }
    };
    view! { div(on:dragover=dragged, on:drop=dropped) { (form) } }
}

/// Submits it. Gives the place that shows it.
async fn submitted(
    here: &Here,
    draft: Draft,
    program: Program,
    once: Signal<Option<(String, String)>>,
) -> Result<String> {
    let written = untrack(|| program.written());
    let job = written.job()?;
    // What the page itself cannot send is told before anything is deployed.
    let input = draft.input(&here.account).await?;
    program.deployed(&here.account).await?;
    if let Some(inputs) = written.inputs() {
        let array = SubmitArray { job, inputs };
        let key = key_of(&array, once);
        let made = calls::jobs::submit_array(&here.account, &key, &array).await.map_err(of_job)?;
        return Ok(here.path(&format!("jobs/list?array={}", made.id)));
    }
    let job = SubmitJob { input, ..job };
    let key = key_of(&job, once);
    let made = calls::jobs::submit(&here.account, &key, &job).await?;
    Ok(here.path(&format!("jobs/{}", made.id)))
}

/// The key of this very wish: sent again, as after a lost answer, it has no second effect.
fn key_of(body: &impl serde::Serialize, once: Signal<Option<(String, String)>>) -> String {
    let body = serde_json::to_string(body).unwrap_or_default();
    match once.get_clone_untracked() {
        Some((key, same)) if same == body => key,
        _ => {
            let number =
                web_sys::js_sys::Math::random().to_bits() ^ web_sys::js_sys::Date::now().to_bits().rotate_left(32);
            let key = format!("portal-{number:016x}{:016x}", web_sys::js_sys::Math::random().to_bits());
            once.set(Some((key.clone(), body)));
            key
        }
    }
}
