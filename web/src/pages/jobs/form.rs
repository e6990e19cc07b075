//! The fields of a job.

use protocol::Limits;
use protocol::api::{Function, Page};
use protocol::job::JobLimits;
use protocol::limits::Limit;
use sycamore::prelude::*;
use wasm_bindgen::JsCast as _;

use super::draft::Draft;
use super::field::Field;
use crate::calls;
use crate::format;
use crate::load::Resource;
use crate::pages::function_test::references;
use crate::ui::form::{self, Text};
use crate::ui::lane::limits_words;
use crate::ui::limits::range;
use crate::ui::upload::upload_bar;

const METHODS: [&str; 6] = ["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"];

/// What a job may be given.
pub(crate) const INPUTS: &[(&str, &str, &str)] = &[
    ("text", "Text", "As it is written."),
    ("json", "JSON", "Checked here."),
    ("file", "A file", "Large ones too."),
    ("lines", "Many", "A job for each line."),
];

/// What each of a trigger's jobs is given.
pub(crate) const TRIGGER_INPUTS: &[(&str, &str, &str)] =
    &[("text", "Text", "The same each time."), ("json", "JSON", "Checked here.")];

const REQUEST: &[Field] = &[Field::Request];
const AGAIN: &[Field] = &[Field::Retries, Field::Backoff, Field::Priority];

/// What the account has, and what the platform allows.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// The functions.
    pub(crate) functions: Resource<Page<Function>>,
    limits: Resource<JobLimits>,
}

impl Known {
    /// Asks.
    pub(crate) fn of(account: String) -> Self {
        let functions = Resource::new(move || {
            let account = account.clone();
            async move { calls::functions(&account).await }
        });
        Self { functions, limits: Resource::new(calls::jobs::limits) }
    }

    /// The draft's function; tracked.
    pub(super) fn function(self, draft: Draft) -> Option<Function> {
        let page = self.functions.ready()?;
        page.items.into_iter().find(|function| draft.function.with(|name| name == function.name.as_str()))
    }
}

/// Which function, and which of its versions.
pub(crate) fn function_part(draft: Draft, known: Known) -> View {
    let functions = View::from_dynamic(move || {
        let names = known.functions.ready().map(|page| page.items).unwrap_or_default();
        let options = names.iter().map(|function| (function.name.to_string(), function.name.to_string())).collect();
        form::select("function", draft.function, options)
    });
    let versions = version_menu(draft, known);
    view! {
        div(class="field-part") {
            div(class="three pair") {
                label(class="field") { span(class="field-label") { "Function" } (functions) }
                label(class="field") { span(class="field-label") { "Version" } (versions) }
            }
            (draft.wrong([Field::Function]))
        }
    }
}

/// The versions and aliases of the draft's function.
pub(crate) fn version_menu(draft: Draft, known: Known) -> View {
    let of_function = create_selector(move || known.function(draft).map(|function| references(&function)));
    View::from_dynamic(move || {
        let options = of_function.get_clone().unwrap_or_else(|| vec![(String::new(), "live".to_owned())]);
        // Another function has other versions.
        if draft.reference.with_untracked(|now| options.iter().all(|(value, _)| value != now)) {
            draft.reference.set(String::new());
        }
        form::select("reference", draft.reference, options)
    })
}

/// What it is given.
pub(crate) fn input_part(draft: Draft, kinds: &'static [(&'static str, &'static str, &'static str)]) -> View {
    let wrong = draft.is_wrong([Field::Input]);
    let control = View::from_dynamic(move || match draft.kind.get_clone().as_str() {
        "file" => file_field(draft),
        kind => {
            let (label, example) = match kind {
                "json" => ("Document", "{ \"width\": 320 }"),
                "lines" => ("Inputs, one on each line", "first\nsecond\nthird"),
                _ => ("Text", ""),
            };
            let invalid = move || wrong.get().then_some("true");
            view! {
                label(class="field") {
                    span(class="unseen") { (label) }
                    textarea(
                        class="input mono", name="input", rows="4", placeholder=example, "spellcheck"="false",
                        aria-invalid=invalid(), bind:value=draft.text,
                    ) {}
                }
            }
        }
    });
    view! {
        div(class="field-part") {
            (form::choices("Input", "kind", draft.kind, kinds))
            (control)
            (draft.wrong([Field::Input]))
        }
    }
}

fn file_field(draft: Draft) -> View {
    let chosen = move |event: web_sys::Event| {
        let input = event.target().and_then(|target| target.dyn_into::<web_sys::HtmlInputElement>().ok());
        draft.file.set(input.and_then(|input| input.files()).and_then(|files| files.get(0)));
    };
    let uploading = create_selector(move || draft.action.busy.get() && draft.upload.sent.get().percent() > 0);
    let bar = View::from_dynamic(move || {
        if uploading.get() {
            upload_bar(draft.upload)
        } else {
            view! {}
        }
    });
    view! {
        label(class="field") {
            span(class="unseen") { "File" }
            input(class="input", r#type="file", name="file", on:change=chosen)
        }
        (bar)
    }
}

/// The limits of one try; `lent` says what live nodes have.
pub(crate) fn room_part(draft: Draft, known: Known, lent: impl Fn() -> Option<String> + 'static) -> View {
    let line = |limit: Limit| {
        let wrong = Some(draft.is_wrong([Field::Limit(limit)]));
        let how = Text { placeholder: "deployed", optional: true, wrong, ..Text::default() };
        draft.limits.line(limit, "", how)
    };
    let lines: Vec<View> = Limits::of_jobs().map(line).collect();
    let deployed = create_selector(move || {
        let live = known.function(draft).and_then(|function| function.live);
        live.map_or(String::new(), |live| format!("Deployed as v{}: {}. ", live.number, limits_words(&live.limits)))
    });
    let allowed = create_selector(move || {
        let Some(JobLimits { minima, maxima, .. }) = known.limits.ready() else { return String::new() };
        let ranges = Limits::of_jobs().map(|limit| format!("{} {}", limit.label, range(limit, &minima, &maxima)));
        format!("Allowed: {}.", ranges.collect::<Vec<_>>().join(", "))
    });
    let lent = create_selector(move || lent().map_or(String::new(), |most| format!("Live nodes lend {most}. ")));
    view! {
        fieldset(class="field-part") {
            legend(class="field-label") { "What one try may use" }
            div(class="three") { (lines) }
            p(class="hint") { (deployed.get_clone()) (lent.get_clone()) (allowed.get_clone()) }
            (draft.wrong(Limits::of_jobs().map(Field::Limit).collect::<Vec<_>>()))
        }
    }
}

/// What happens if it fails, and its place among the others.
pub(crate) fn again_part(draft: Draft, known: Known) -> View {
    let line = |name, placeholder, fields| Text {
        name,
        placeholder,
        optional: true,
        wrong: Some(draft.is_wrong(fields)),
        ..Text::default()
    };
    let retries = line("retries", "0", &[Field::Retries]);
    let backoff = line("backoff", "1s", &[Field::Backoff]);
    let priority = line("priority", "0", &[Field::Priority]);
    let retries = form::field("Retries", "", form::text(draft.retries, Text { inputmode: "numeric", ..retries }));
    let backoff = form::field("First pause", "", form::text(draft.backoff, backoff));
    let priority = form::field("Priority", "", form::text(draft.priority, priority));
    let most = create_selector(move || known.limits.ready().map(|limits| limits.retries));
    let about = move || {
        let most = most.get().map_or(String::new(), |most| format!("Up to {}; ", format::count(most, "retry")));
        format!("{most}each pause is twice the one before. Priority: -10 (last) to 10 (first).")
    };
    view! {
        fieldset(class="field-part") {
            legend(class="field-label") { "If it fails, and its turn" }
            div(class="three") { (retries) (backoff) (priority) }
            p(class="hint") { (about()) }
            (draft.wrong(AGAIN))
        }
    }
}

/// When it may begin; `triggers` is the place for what shall run again and again.
pub(crate) fn time_part(draft: Draft, triggers: impl Fn() -> String + 'static) -> View {
    let how = Text {
        name: "not-before",
        kind: "datetime-local",
        optional: true,
        wrong: Some(draft.is_wrong([Field::NotBefore])),
        ..Text::default()
    };
    let not_before =
        form::field("Not before", "In this browser's time zone. Empty: at once.", form::text(draft.not_before, how));
    view! {
        div(class="field-part") {
            (not_before)
            (draft.wrong([Field::NotBefore]))
            p(class="hint") { "Again and again, or for each message of a queue? " a(href=triggers()) { "Set a trigger" } "." }
        }
    }
}

/// Labels, and where its end is told.
pub(crate) fn end_part(draft: Draft) -> View {
    let wrong = draft.is_wrong([Field::Labels]);
    let invalid = move || wrong.get().then_some("true");
    let how = Text {
        name: "webhook",
        kind: "url",
        placeholder: "https://example.com/ended",
        optional: true,
        code: true,
        wrong: Some(draft.is_wrong([Field::Webhook])),
        ..Text::default()
    };
    let hint = "Gets a signed POST when the job has ended, and again until it takes it.";
    let webhook = form::field("Webhook", hint, form::text(draft.webhook, how));
    // What is refused must be seen.
    let refused = draft.is_wrong([Field::Labels, Field::Webhook]);
    let filled =
        move || !draft.labels.with_untracked(String::is_empty) || !draft.webhook.with_untracked(String::is_empty);
    let open = move || refused.get() || filled();
    let parts = view! {
        div(class="field-part") {
            label(class="field") {
                span(class="field-label") { "Labels" }
                textarea(
                    class="input mono", name="labels", rows="2", placeholder="batch=7", "spellcheck"="false",
                    aria-invalid=invalid(), bind:value=draft.labels,
                ) {}
                span(class="hint") { "To find it by: name=value, one on each line." }
            }
            (draft.wrong([Field::Labels]))
        }
        div(class="field-part") { (webhook) (draft.wrong([Field::Webhook])) }
    };
    view! {
        details(class="more end", prop:open=open()) {
            summary { "Labels and webhook" }
            div(class="more-part") { (parts) }
        }
    }
}

/// The request that the function gets; rarely anything else than a POST to `/`.
pub(crate) fn request_part(draft: Draft) -> View {
    let methods = METHODS.iter().map(|method| ((*method).to_owned(), (*method).to_owned())).collect();
    let methods = form::select("method", draft.method, methods);
    let path = Text { name: "path", placeholder: "/?width=320", code: true, optional: true, ..Text::default() };
    let path = form::text(draft.path, path);
    // What is refused must be seen.
    let wrong = draft.is_wrong(REQUEST);
    let open = move || wrong.get() || draft.path.with_untracked(|path| path != "/");
    view! {
        details(class="more request", prop:open=open()) {
            summary { "Request: method, path, headers" }
            div(class="more-part") {
                div(class="request-line") {
                    label { span(class="unseen") { "Method" } (methods) }
                    label(class="grow") { span(class="unseen") { "Path and query" } (path) }
                }
                label(class="field") {
                    span(class="field-label") { "Headers" }
                    textarea(
                        class="input mono", name="headers", rows="2", placeholder="accept: image/jpeg", "spellcheck"="false",
                        bind:value=draft.headers,
                    ) {}
                    span(class="hint") { "One on each line, name: value" }
                }
                (draft.wrong(REQUEST))
            }
        }
    }
}
