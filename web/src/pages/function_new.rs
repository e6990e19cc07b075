//! From a file to a function: drop a `.wasm`, and it is uploaded, created, compiled and live.

use protocol::api::{CreateFunction, CreateVersion, Version, VersionState};
use sycamore::prelude::*;
use wasm_bindgen::JsCast as _;
use web_sys::File;

use crate::api::{Result, Trouble};
use crate::calls;
use crate::format;
use crate::load::{Action, sleep};
use crate::nav;
use crate::pages::auth::name_hint;
use crate::session::Here;
use crate::ui::form::{self, Text};
use crate::ui::icon;
use crate::ui::page;
use crate::ui::trouble::trouble_view;
use crate::ui::upload::upload;

/// How often a compiling version is looked at.
const COMPILE_POLL_MS: i32 = 1_000;

/// How far a deployment has come.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Step {
    Choose,
    Upload,
    Create,
    Compile,
    Live,
}

/// A deployment from this page.
#[derive(Clone, Copy)]
pub(crate) struct Deploy {
    /// The chosen file.
    pub(crate) file: Signal<Option<File>>,
    /// How far it has come.
    pub(crate) step: Signal<Step>,
    /// Of the upload.
    pub(crate) percent: Signal<u32>,
    /// Busy, or in trouble.
    pub(crate) action: Action,
}

impl Deploy {
    /// Nothing chosen.
    pub(crate) fn new() -> Self {
        Self {
            file: create_signal(None),
            step: create_signal(Step::Choose),
            percent: create_signal(0),
            action: Action::new(),
        }
    }

    fn choose(self, files: Option<web_sys::FileList>, name: Signal<String>) {
        let Some(file) = files.and_then(|files| files.get(0)) else { return };
        if name.with(String::is_empty) {
            name.set(name_from(&file.name()));
        }
        self.action.trouble.set(None);
        self.step.set(Step::Choose);
        self.file.set(Some(file));
    }

    /// Uploads the file and makes a version of it; waits until it is ready.
    pub(crate) async fn run(self, account: &str, create: Option<CreateFunction>, function: &str) -> Result<Version> {
        let Some(file) = self.file.get_clone_untracked() else {
            return Err(Trouble::here("no_file", "No file is chosen.", "Drop a .wasm file, or choose one."));
        };
        self.step.set(Step::Upload);
        self.percent.set(0);
        let artifact = upload(account, &file, self.percent).await?;
        self.step.set(Step::Create);
        if let Some(create) = create {
            match calls::create_function(account, &create).await {
                // A try before this one got so far, and its file was refused.
                Err(trouble) if trouble.code == "name_taken" && answers_nothing(account, function).await => {}
                made => {
                    made?;
                }
            }
        }
        self.step.set(Step::Compile);
        let body = CreateVersion {
            artifact: artifact.digest,
            kind: None,
            lane: protocol::LaneChoice::Auto,
            placement: protocol::PlacementClass::Any,
            egress: Vec::new(),
            limits: protocol::Limits::default(),
            env: std::collections::BTreeMap::new(),
            alias: None,
            base: None,
            command: Vec::new(),
        };
        let mut version = calls::create_version(account, function, &body).await?;
        while version.state == VersionState::Compiling {
            sleep(COMPILE_POLL_MS).await;
            version = calls::version(account, function, version.number).await?;
        }
        if let Some(problem) = version.problem {
            return Err(problem.into());
        }
        self.step.set(Step::Live);
        Ok(version)
    }
}

/// Whether the function is there, and none of its versions ever answered.
async fn answers_nothing(account: &str, function: &str) -> bool {
    calls::function(account, function).await.is_ok_and(|function| function.aliases.is_empty())
}

/// A function's name from a file's: `My_Thumbs-v2.wasm` gives `my-thumbs-v2`.
fn name_from(file: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let mut name = String::new();
    for c in stem.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.ends_with('-') && !name.is_empty() {
            name.push('-');
        }
    }
    name.truncate(30);
    name.trim_end_matches('-').to_owned()
}

/// The page.
pub(crate) fn function_new() -> View {
    let here = Here::get();
    let deploy = Deploy::new();
    let name = create_signal(String::new());
    let public = create_signal("private".to_owned());
    let account = here.account.clone();
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let (here, function) = (here.clone(), name.get_clone());
        let create = CreateFunction { name: function.clone(), public: public.get_clone() == "public" };
        deploy.action.run(async move {
            deploy.run(&here.account, Some(create), &function).await?;
            nav::go(&here.path(&format!("functions/{function}/test")));
            Ok(())
        });
    };
    let how = Text { name: "name", placeholder: "thumbs", code: true, ..Text::default() };
    let url = move || name_hint(&name.get_clone(), format!("{}/f/{account}/{}/", nav::origin(), name.get_clone()));
    view! {
        (page::head("New function", "From a WASI HTTP component or a WASI command.", view! {}))
        form(class="form narrow", on:submit=submit) {
            (drop_zone(deploy, name))
            label(class="field") {
                span(class="field-label") { "Name" }
                (form::text(name, how))
                span(class="hint") { (url()) }
            }
            (form::choices("Who may call it", "public", public, VISIBILITY))
            (progress(deploy))
            (form::submit("Deploy", "Deploying…", deploy.action))
        }
    }
}

/// Who may call a function, as a choice.
pub(crate) const VISIBILITY: &[(&str, &str, &str)] = &[
    ("private", "Private", "Calls need a key of this account."),
    ("public", "Public", "Anybody who knows the URL may call it, and this account pays."),
];

/// Where a file is dropped or chosen.
pub(crate) fn drop_zone(deploy: Deploy, name: Signal<String>) -> View {
    let over = create_signal(false);
    let dropped = move |event: web_sys::DragEvent| {
        event.prevent_default();
        over.set(false);
        deploy.choose(event.data_transfer().and_then(|data| data.files()), name);
    };
    let dragged = move |event: web_sys::DragEvent| {
        event.prevent_default();
        over.set(true);
    };
    let chosen = move |event: web_sys::Event| {
        let input = event.target().and_then(|target| target.dyn_into::<web_sys::HtmlInputElement>().ok());
        deploy.choose(input.and_then(|input| input.files()), name);
    };
    let class = move || match (over.get(), deploy.file.with(Option::is_some)) {
        (true, _) => "drop over",
        (_, true) => "drop full",
        _ => "drop",
    };
    view! {
        label(class=class(), on:drop=dropped, on:dragover=dragged, on:dragleave=move |_| over.set(false)) {
            (icon::icon(icon::UPLOAD))
            (match deploy.file.get_clone() {
                Some(file) => {
                    let (name, size) = (file.name(), size_of(&file));
                    view! { span(class="two") { b { (name) } span(class="soft") { (size) } } }
                }
                None => view! { span(class="two") { b { "Drop a .wasm file here" } span(class="soft") { "or choose one" } } },
            })
            input(class="drop-input", r#type="file", name="artifact", accept=".wasm,application/wasm", on:change=chosen)
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a file's size is a whole number")]
fn size_of(file: &File) -> String {
    format::bytes(file.size() as u64)
}

/// How far the deployment has come, and its trouble.
pub(crate) fn progress(deploy: Deploy) -> View {
    let steps: Vec<View> =
        [(Step::Upload, "Upload"), (Step::Create, "Create"), (Step::Compile, "Check and compile"), (Step::Live, "Live")]
            .into_iter()
            .map(|(this, label)| {
                let class = move || {
                    let now = deploy.step.get();
                    match (now == this, now > this || now == Step::Live) {
                        (_, true) => "done",
                        (true, _) if deploy.action.trouble.with(Option::is_some) => "failed",
                        (true, _) => "now",
                        _ => "",
                    }
                };
                let percent = move || {
                    if this == Step::Upload && deploy.step.get() == Step::Upload {
                        format!("{}%", deploy.percent.get())
                    } else {
                        String::new()
                    }
                };
                view! { li(class=class()) { span(class="step-dot", aria-hidden="true") {} (label) " " span(class="soft") { (percent()) } } }
            })
            .collect();
    let shown = create_selector(move || deploy.step.get() != Step::Choose);
    view! {
        ol(class="progress", hidden=!shown.get(), aria-live="polite") { (steps) }
        (deploy.action.trouble.get_clone().map(trouble_view))
    }
}

#[cfg(test)]
mod tests {
    use super::name_from;

    #[test]
    fn names_come_from_files() {
        assert_eq!(name_from("My_Thumbs-v2.wasm"), "my-thumbs-v2");
        assert_eq!(name_from("__a  b__.component.wasm"), "a-b-component");
        assert_eq!(name_from("ünï.wasm"), "n");
        assert!(name_from(&"x".repeat(80)).len() <= 30);
    }
}
