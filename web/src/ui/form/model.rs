//! A form as data: its fields, each with the input of the API that it gives, and what is done with them. One function draws
//! it, and nothing in it is generic: a page adds data to the module, not code.
//!
//! What the server says of an input stands beneath its field, all else above the button. While it is sent nothing can be
//! changed; what was typed stays when no answer comes, and comes back after the same user's log-in when the session has
//! ended.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use sycamore::prelude::*;
use wasm_bindgen::JsCast as _;
use web_sys::File;

use super::kept::keep;
use super::{Text, choices, select, submit, text};
use crate::api::{Result, Trouble};
use crate::load::Action;
use crate::ui::trouble::{field_trouble_view, trouble_view};

/// A choice: value, label, meaning.
pub(crate) type Choice = (&'static str, &'static str, &'static str);

/// Words that change.
type Told = Rc<dyn Fn() -> String>;

/// What a form does, on its way.
pub(crate) type Sending = Pin<Box<dyn Future<Output = Result<()>>>>;

/// A form.
pub(crate) struct Form {
    /// From above.
    pub(crate) parts: Vec<Part>,
    /// How sending it goes.
    pub(crate) action: Action,
    /// The button.
    pub(crate) submit: &'static str,
    /// The button while it is sent.
    pub(crate) busy: &'static str,
    /// What stands beside the button.
    pub(crate) beside: View,
    /// Sends it; see [`sending`].
    pub(crate) send: Rc<dyn Fn() -> Sending>,
}

/// One thing in a form.
pub(crate) enum Part {
    /// A field.
    Field(Field),
    /// Several side by side, under one heading.
    Row(&'static str, Vec<Field>),
    /// The same, with this beneath.
    Noted(&'static str, Vec<Field>, Told),
    /// What is asked for only while this holds.
    While(ReadSignal<bool>, Vec<Part>),
    /// What is asked for rarely.
    Folded(Folded),
    /// What is said about the fields around it.
    About(View),
    /// How far sending it has come, beneath the fields: it stays usable meanwhile. Not within other parts.
    Progress(View),
}

/// Parts that are folded away, unless one of them is refused or was filled before.
pub(crate) struct Folded {
    /// Its class.
    pub(crate) class: &'static str,
    /// What is in it.
    pub(crate) summary: &'static str,
    /// Whether it was filled.
    pub(crate) filled: Rc<dyn Fn() -> bool>,
    /// The parts.
    pub(crate) parts: Vec<Part>,
}

/// A field.
pub(crate) struct Field {
    inputs: Vec<String>,
    label: &'static str,
    hint: Told,
    control: Control,
    value: Signal<String>,
}

/// How a field is asked for. The first word is the control's `name`.
pub(crate) enum Control {
    /// A line of text.
    Line(Text),
    /// A line of text whose `list` are these.
    Suggested(Text, ReadSignal<Vec<String>>),
    /// Code of several lines, with an example.
    Lines(&'static str, &'static str),
    /// One of a few, as a menu: value and label.
    Menu(&'static str, ReadSignal<Vec<(String, String)>>),
    /// One of a few, side by side.
    Choices(&'static str, &'static [Choice]),
    /// A file.
    File(&'static str, Signal<Option<File>>),
    /// One that the page draws, with its label.
    Drawn(View),
}

/// What a form does when it is sent.
pub(crate) fn sending<F: Future<Output = Result<()>> + 'static>(
    work: impl Fn() -> F + 'static,
) -> Rc<dyn Fn() -> Sending> {
    Rc::new(move || -> Sending { Box::pin(work()) })
}

impl Field {
    /// Gives this input of the API, such as `name` or `limits.memory`.
    pub(crate) fn new(input: &str, label: &'static str, control: Control, value: Signal<String>) -> Self {
        Self { inputs: vec![input.to_owned()], label, hint: Rc::new(String::new), control, value }
    }

    /// A file that gives this input.
    pub(crate) fn file(input: &str, label: &'static str, name: &'static str, file: Signal<Option<File>>) -> Self {
        Self::new(input, label, Control::File(name, file), create_signal(String::new()))
    }

    /// Gives this input, too.
    pub(crate) fn also(mut self, input: &str) -> Self {
        self.inputs.push(input.to_owned());
        self
    }

    /// With this beneath.
    pub(crate) fn hint(self, hint: &str) -> Self {
        let hint = hint.to_owned();
        self.told(Rc::new(move || hint.clone()))
    }

    /// With this beneath, which changes.
    pub(crate) fn told(self, hint: Told) -> Self {
        Self { hint, ..self }
    }

    /// Whether what is typed may come back: no secret, nor what is of use once, nor a file.
    fn is_kept(&self) -> bool {
        match &self.control {
            Control::Line(how) => how.kind != "password" && how.autocomplete != "one-time-code",
            Control::File(..) | Control::Drawn(_) => false,
            _ => true,
        }
    }

    /// The field, and what is said of it.
    fn view(self, action: Action) -> (View, View) {
        let Self { inputs, label, hint, control, value } = self;
        let wrong = create_selector(move || action.trouble.with(|trouble| is_about(trouble.as_ref(), &inputs)));
        let said =
            View::from_dynamic(move || action.trouble.get_clone().filter(|_| wrong.get()).map(field_trouble_view));
        let invalid = move || wrong.get().then_some("true");
        let control = match control {
            Control::Line(how) => text(value, Text { wrong: Some(wrong), ..how }),
            Control::Suggested(how, options) => {
                let line = text(value, Text { wrong: Some(wrong), ..how });
                let options = View::from_dynamic(move || {
                    let options: Vec<View> =
                        options.get_clone().into_iter().map(|word| view! { option(value=word) {} }).collect();
                    view! { (options) }
                });
                view! { (line) datalist(id=how.list) { (options) } }
            }
            Control::Lines(name, placeholder) => view! {
                textarea(
                    class="input mono", name=name, rows="3", placeholder=placeholder, "spellcheck"="false",
                    aria-invalid=invalid(), bind:value=value,
                ) {}
            },
            Control::Menu(name, options) => View::from_dynamic(move || select(name, value, options.get_clone())),
            Control::Choices(name, options) => return (choices(label, name, value, options), said),
            Control::Drawn(control) => return (control, said),
            Control::File(name, file) => {
                let chosen = move |event: web_sys::Event| {
                    let input = event.target().and_then(|target| target.dyn_into::<web_sys::HtmlInputElement>().ok());
                    file.set(input.and_then(|input| input.files()).and_then(|files| files.get(0)));
                };
                view! { input(class="input", r#type="file", name=name, aria-invalid=invalid(), on:change=chosen) }
            }
        };
        (labelled(label, hint, control), said)
    }
}

/// Whether it is about one of these inputs.
fn is_about(trouble: Option<&Trouble>, inputs: &[String]) -> bool {
    trouble.is_some_and(|trouble| inputs.iter().any(|input| trouble.is_about(&[input.as_str()])))
}

fn labelled(label: &'static str, hint: Told, control: View) -> View {
    let hint = View::from_dynamic(move || {
        let hint = hint();
        (!hint.is_empty()).then(|| view! { span(class="hint") { (hint) } })
    });
    view! { label(class="field") { span(class="field-label") { (label) } (control) (hint) } }
}

/// All fields of these parts, in their order.
fn fields_of(parts: &[Part]) -> Vec<&Field> {
    let fields = parts.iter().flat_map(|part| match part {
        Part::Field(field) => vec![field],
        Part::Row(_, fields) | Part::Noted(_, fields, _) => fields.iter().collect(),
        Part::While(_, parts) | Part::Folded(Folded { parts, .. }) => fields_of(parts),
        Part::About(_) | Part::Progress(_) => Vec::new(),
    });
    fields.collect()
}

/// The inputs of the API that these parts give.
fn inputs_of(parts: &[Part]) -> Vec<String> {
    fields_of(parts).into_iter().flat_map(|field| field.inputs.iter().cloned()).collect()
}

fn drawn(part: Part, action: Action) -> View {
    match part {
        Part::Field(field) => {
            let (field, said) = field.view(action);
            view! { div(class="field-part") { (field) (said) } }
        }
        Part::Row(legend, fields) => row(legend, fields, None, action),
        Part::Noted(legend, fields, note) => row(legend, fields, Some(note), action),
        Part::While(holds, parts) => {
            let parts: Vec<View> = parts.into_iter().map(|one| drawn(one, action)).collect();
            // Disabled, so that the browser asks for nothing that is not shown.
            view! {
                fieldset(class="form-body", hidden=!holds.get(), prop:disabled=!holds.get()) { (parts) }
            }
        }
        Part::Folded(folded) => folded.view(action),
        Part::About(said) | Part::Progress(said) => said,
    }
}

fn row(legend: &'static str, fields: Vec<Field>, note: Option<Told>, action: Action) -> View {
    let class = if fields.len() == 2 { "three pair" } else { "three" };
    let (fields, said): (Vec<View>, Vec<View>) = fields.into_iter().map(|field| field.view(action)).unzip();
    let note = note.map(|note| {
        let words = View::from_dynamic(move || note());
        view! { p(class="hint", role="status") { (words) } }
    });
    view! {
        fieldset(class="field-part") {
            legend(class="field-label") { (legend) }
            div(class=class) { (fields) }
            (note)
            (said)
        }
    }
}

impl Folded {
    fn view(self, action: Action) -> View {
        let Self { class, summary, filled, parts } = self;
        let inputs = inputs_of(&parts);
        // What is refused must be seen.
        let refused = create_selector(move || action.trouble.with(|trouble| is_about(trouble.as_ref(), &inputs)));
        let open = move || refused.get() || untrack(|| filled());
        let class = format!("more {class}");
        let parts: Vec<View> = parts.into_iter().map(|one| drawn(one, action)).collect();
        view! {
            details(class=class, prop:open=open()) {
                summary { (summary) }
                div(class="more-part") { (parts) }
            }
        }
    }
}

impl Form {
    /// The form.
    pub(crate) fn view(self) -> View {
        let (words, busy, action) = (self.submit, self.busy, self.action);
        self.with_button(move || submit(words, busy, action))
    }

    /// The form, with a button of its own. It is made once what was kept is back: what changes before it is on the page
    /// would not be seen on it.
    pub(crate) fn with_button(self, button: impl FnOnce() -> View) -> View {
        let Self { parts, action, beside, send, .. } = self;
        let typed = fields_of(&parts).into_iter().filter(|field| field.is_kept());
        keep(typed.map(|field| (field.inputs.join(" "), field.value)).collect());
        let button = button();
        let inputs = inputs_of(&parts);
        let (progress, parts): (Vec<Part>, Vec<Part>) =
            parts.into_iter().partition(|part| matches!(part, Part::Progress(_)));
        let [parts, progress] =
            [parts, progress].map(|parts| parts.into_iter().map(|one| drawn(one, action)).collect::<Vec<View>>());
        let elsewhere = View::from_dynamic(move || {
            let trouble = action.trouble.get_clone();
            trouble.filter(|trouble| !is_about(Some(trouble), &inputs)).map(trouble_view)
        });
        let send = move |event: web_sys::SubmitEvent| {
            event.prevent_default();
            action.run(send());
        };
        view! {
            form(class="form", on:submit=send) {
                fieldset(class="form-body", prop:disabled=action.busy.get()) { (parts) }
                (progress)
                (elsewhere)
                div(class="row") { (button) (beside) }
            }
        }
    }
}
