//! The fields of a job.

use std::rc::Rc;

use protocol::Limits;
use protocol::api::{Function, Page};
use protocol::job::JobLimits;
use sycamore::prelude::*;

use super::draft::Draft;
use crate::calls;
use crate::format;
use crate::load::Resource;
use crate::pages::function_test::{live, references};
use crate::ui::form::{Choice, Control, Field, Folded, Part, Text};
use crate::ui::lane::limits_words;
use crate::ui::limits::range;
use crate::ui::upload::upload_bar;

const METHODS: [&str; 6] = ["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"];

/// What a job may be given.
pub(crate) const INPUTS: &[Choice] = &[
    ("text", "Text", "As it is written."),
    ("json", "JSON", "Checked here."),
    ("file", "A file", "Large ones too."),
    ("lines", "Many", "A job for each line."),
];

/// What each of a trigger's jobs is given.
pub(crate) const TRIGGER_INPUTS: &[Choice] =
    &[("text", "Text", "The same each time."), ("json", "JSON", "Checked here.")];

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

    /// The draft's function, where it is one that is there; tracked.
    pub(super) fn function(self, draft: Draft) -> Option<Function> {
        if draft.program.with(|program| program == "file") {
            return None;
        }
        let page = self.functions.ready()?;
        page.items.into_iter().find(|function| draft.function.with(|name| name == function.name.as_str()))
    }
}

/// Which function.
pub(crate) fn function_field(draft: Draft, known: Known) -> Field {
    let names = create_selector(move || {
        let functions = known.functions.ready().map(|page| page.items).unwrap_or_default();
        let names = functions.into_iter().map(|function| function.name.to_string());
        names.map(|name| (name.clone(), name)).collect::<Vec<_>>()
    });
    Field::new("function", "Function", Control::Menu("function", names), draft.function)
}

/// Which of its versions and aliases.
pub(crate) fn version_field(draft: Draft, known: Known) -> Field {
    let options = create_selector(move || known.function(draft).as_ref().map_or_else(live, references));
    // Another function has other versions.
    create_effect(move || {
        let is_there = options.with(|options| {
            draft.reference.with_untracked(|now| options.iter().any(|(reference, _)| reference == now))
        });
        if !is_there {
            draft.reference.set(String::new());
        }
    });
    Field::new("reference", "Version", Control::Menu("reference", options), draft.reference)
}

/// What it is given.
pub(crate) fn input_parts(draft: Draft, kinds: &'static [Choice]) -> Vec<Part> {
    let of_file = create_selector(move || draft.kind.with(|kind| kind == "file"));
    let written = create_selector(move || !of_file.get());
    let hint = move || {
        draft.kind.with(|kind| match kind.as_str() {
            "json" => "A document, such as { \"width\": 320 }.".to_owned(),
            "lines" => "One input on each line.".to_owned(),
            _ => "Empty: none.".to_owned(),
        })
    };
    let content = Field::new("input", "What it is given", Control::Lines("input", ""), draft.text).also("inputs");
    vec![
        Part::Field(Field::new("kind", "Input", Control::Choices("kind", kinds), draft.kind)),
        Part::While(written, vec![Part::Field(content.told(Rc::new(hint)))]),
        Part::While(of_file, vec![Part::Field(Field::file("input", "File", "file", draft.file))]),
    ]
}

/// How far the upload of what it is given has come.
pub(crate) fn progress_part(draft: Draft) -> Part {
    let uploading = create_selector(move || draft.action.busy.get() && draft.upload.sent.get().percent() > 0);
    Part::Progress(View::from_dynamic(move || uploading.get().then(|| upload_bar(draft.upload))))
}

/// The limits of one try; `lent` says what live nodes have.
pub(crate) fn room_part(draft: Draft, known: Known, lent: impl Fn() -> Option<String> + 'static) -> Part {
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
    let note = move || format!("{}{}{}", deployed.get_clone(), lent.get_clone(), allowed.get_clone());
    Part::Noted("What one try may use", draft.limits.of_job(), Rc::new(note))
}

/// What happens if it fails, and its place among the others.
pub(crate) fn again_part(draft: Draft, known: Known) -> Part {
    let line = |name, placeholder| Text { name, placeholder, optional: true, ..Text::default() };
    let field = |how: Text, label, value| Field::new(how.name, label, Control::Line(how), value);
    let most = create_selector(move || known.limits.ready().map(|limits| limits.retries));
    let note = move || {
        let most = most.get().map_or(String::new(), |most| format!("Up to {}; ", format::count(most, "retry")));
        format!("{most}each pause is twice the one before. Priority: -10 (last) to 10 (first).")
    };
    let fields = vec![
        field(Text { inputmode: "numeric", ..line("retries", "0") }, "Retries", draft.retries),
        field(line("backoff", "1s"), "First pause", draft.backoff),
        field(line("priority", "0"), "Priority", draft.priority),
    ];
    Part::Noted("If it fails, and its turn", fields, Rc::new(note))
}

/// When it may begin; `triggers` is the place for what shall run again and again.
pub(crate) fn time_parts(draft: Draft, triggers: impl Fn() -> String + 'static) -> [Part; 2] {
    let how = Text { name: "not-before", kind: "datetime-local", optional: true, ..Text::default() };
    let field = Field::new("not_before", "Not before", Control::Line(how), draft.not_before)
        .hint("In this browser's time zone. Empty: at once.");
    let again = view! {
        p(class="hint") { "Again and again, or for each message of a queue? " a(href=triggers()) { "Set a trigger" } "." }
    };
    [Part::Field(field), Part::About(again)]
}

/// Labels, and where its end is told.
pub(crate) fn end_part(draft: Draft) -> Part {
    let labels = Field::new("labels", "Labels", Control::Lines("labels", "batch=7"), draft.labels)
        .hint("To find it by: name=value, one on each line.");
    let how = Text {
        name: "webhook",
        kind: "url",
        placeholder: "https://example.com/ended",
        optional: true,
        code: true,
        ..Text::default()
    };
    let webhook = Field::new("webhook", "Webhook", Control::Line(how), draft.webhook)
        .hint("Gets a signed POST when the job has ended, and again until it takes it.");
    let filled = move || [draft.labels, draft.webhook].iter().any(|text| text.with(|text| !text.is_empty()));
    Part::Folded(Folded {
        class: "end",
        summary: "Labels and webhook",
        filled: Rc::new(filled),
        parts: vec![Part::Field(labels), Part::Field(webhook)],
    })
}

/// The request that the function gets; rarely anything else than a POST to `/`.
pub(crate) fn request_part(draft: Draft) -> Part {
    let methods = METHODS.map(|method| (method.to_owned(), method.to_owned()));
    let methods = *create_signal(methods.to_vec());
    let how = Text { name: "path", placeholder: "/?width=320", code: true, optional: true, ..Text::default() };
    let headers = Field::new("headers", "Headers", Control::Lines("headers", "accept: image/jpeg"), draft.headers)
        .hint("One on each line, name: value");
    let filled = move || {
        let usual = |text: Signal<String>, usual: &str| text.with(|text| text == usual);
        !(usual(draft.path, "/") && usual(draft.method, "POST") && usual(draft.headers, ""))
    };
    Part::Folded(Folded {
        class: "request",
        summary: "Request: method, path, headers",
        filled: Rc::new(filled),
        parts: vec![
            Part::Field(Field::new("method", "Method", Control::Menu("method", methods), draft.method)),
            Part::Field(Field::new("path", "Path and query", Control::Line(how), draft.path)),
            Part::Field(headers),
        ],
    })
}
