//! How far a deployment has come: its steps, the upload's bar, how long the node takes.

use sycamore::prelude::*;

use super::{Deploy, Step};
use crate::load::sleep;
use crate::ui::upload::upload_bar;

const STEPS: [(Step, &str); 4] =
    [(Step::Upload, "Upload"), (Step::Create, "Create"), (Step::Prepare, "Check and prepare"), (Step::Live, "Live")];

/// From so many seconds on it is told how long the node takes.
const WAIT_TOLD_FROM_S: u32 = 3;

/// The steps.
pub(crate) fn progress(deploy: Deploy) -> View {
    let steps: Vec<View> = STEPS.into_iter().map(|(this, label)| step(deploy, this, label)).collect();
    let shown = create_selector(move || deploy.step.get() != Step::Choose);
    let uploading = create_selector(move || deploy.step.get() == Step::Upload && deploy.action.busy.get());
    let preparing = create_selector(move || deploy.step.get() == Step::Prepare && deploy.action.busy.get());
    let bar = View::from_dynamic(move || {
        if uploading.get() {
            upload_bar(deploy.upload)
        } else {
            view! {}
        }
    });
    let wait = View::from_dynamic(move || {
        if preparing.get() {
            wait()
        } else {
            view! {}
        }
    });
    view! {
        ol(class="progress", hidden=!shown.get(), aria-live="polite") { (steps) }
        (bar)
        (wait)
    }
}

fn step(deploy: Deploy, this: Step, label: &'static str) -> View {
    let class = move || {
        let now = deploy.step.get();
        match (now == this, now > this || now == Step::Live) {
            (_, true) => "done",
            (true, _) if deploy.action.trouble.with(Option::is_some) => "failed",
            (true, _) => "now",
            _ => "",
        }
    };
    let current = move || (deploy.step.get() == this).then_some("step");
    view! { li(class=class(), aria-current=current) { span(class="step-dot", aria-hidden="true") {} (label) } }
}

fn wait() -> View {
    let seconds = create_signal(0_u32);
    sycamore::futures::spawn_local_scoped(async move {
        while seconds.is_alive() {
            sleep(1_000).await;
            if seconds.is_alive() {
                seconds.update(|seconds| *seconds += 1);
            }
        }
    });
    let told = move || match seconds.get() {
        s if s < WAIT_TOLD_FROM_S => String::new(),
        s => format!("A node has worked on it for {s} s. A large image takes its time; you may leave the page."),
    };
    view! { p(class="hint") { (told()) } }
}
