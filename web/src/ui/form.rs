//! Fields and buttons. A label always encloses its control.

mod kept;
mod model;

pub(crate) use kept::forget;
pub(crate) use model::{Choice, Control, Field, Folded, Form, Part, Sending, sending};
use sycamore::prelude::*;

use crate::load::Action;

/// A labelled control, with a hint beneath.
pub(crate) fn field(label: &'static str, hint: impl Into<String>, control: View) -> View {
    let hint = hint.into();
    let hint = (!hint.is_empty()).then(|| view! { span(class="hint") { (hint) } });
    view! { label(class="field") { span(class="field-label") { (label) } (control) (hint) } }
}

/// A labelled line of text that gives this input of the API: what is said of the input stands beneath.
pub(crate) fn line(
    action: Action,
    input: &'static [&'static str],
    label: &'static str,
    hint: impl Into<String>,
    value: Signal<String>,
    how: Text,
) -> View {
    let how = Text { wrong: Some(action.is_about(input)), ..how };
    let control = field(label, hint, text(value, how));
    view! { div(class="field-part") { (control) (action.beside(input)) } }
}

/// How a line of text is asked for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Text {
    /// `name`, which password managers and tests go by.
    pub(crate) name: &'static str,
    /// `type`; text where it is empty.
    pub(crate) kind: &'static str,
    /// `autocomplete`
    pub(crate) autocomplete: &'static str,
    /// An example.
    pub(crate) placeholder: &'static str,
    /// May stay empty.
    pub(crate) optional: bool,
    /// Is code: monospaced, not corrected.
    pub(crate) code: bool,
    /// `inputmode`; text where it is empty.
    pub(crate) inputmode: &'static str,
    /// The id of its suggestions; none where it is empty.
    pub(crate) list: &'static str,
    /// What it says was refused.
    pub(crate) wrong: Option<ReadSignal<bool>>,
}

/// A line of text.
pub(crate) fn text(value: Signal<String>, how: Text) -> View {
    let kind = if how.kind.is_empty() { "text" } else { how.kind };
    let autocomplete = if how.autocomplete.is_empty() { "off" } else { how.autocomplete };
    let class = if how.code { "input mono" } else { "input" };
    let inputmode = if how.inputmode.is_empty() { "text" } else { how.inputmode };
    let invalid = move || how.wrong.is_some_and(|wrong| wrong.get()).then_some("true");
    let Text { name, placeholder, optional, .. } = how;
    let required = !optional;
    let list = move || (!how.list.is_empty()).then_some(how.list);
    let shown = create_signal(false);
    let secret = kind == "password";
    let kind = move || if secret && shown.get() { "text" } else { kind };
    let input = view! {
        input(
            class=class, name=name, r#type=kind(), autocomplete=autocomplete, placeholder=placeholder,
            required=required, autocapitalize="none", "spellcheck"="false",
            inputmode=inputmode, list=list(), aria-invalid=invalid(), bind:value=value,
        )
    };
    if secret { with_eye(input, shown) } else { input }
}

/// A password's field with the button that shows what was typed.
fn with_eye(input: View, shown: Signal<bool>) -> View {
    let turn = move |_| shown.set(!shown.get());
    view! {
        span(class="secret") {
            (input)
            button(class="quiet small", r#type="button", on:click=turn) {
                (if shown.get() { "Hide" } else { "Show" }) span(class="unseen") { " password" }
            }
        }
    }
}

/// One of a few, as a menu. `options` are (value, label).
pub(crate) fn select(name: &'static str, value: Signal<String>, options: Vec<(String, String)>) -> View {
    let options: Vec<View> = options
        .into_iter()
        .map(|(option_value, label)| {
            let this = option_value.clone();
            let selected = move || value.with(|value| *value == this);
            view! { option(value=option_value, selected=selected) { (label) } }
        })
        .collect();
    let change = move |event: web_sys::Event| {
        if let Some(select) =
            event.target().and_then(|target| wasm_bindgen::JsCast::dyn_into::<web_sys::HtmlSelectElement>(target).ok())
        {
            value.set(select.value());
        }
    };
    view! { select(class="input", name=name, on:change=change) { (options) } }
}

/// One of a few, side by side, each with what it means. `options` are (value, label, meaning).
pub(crate) fn choices(
    legend: &'static str,
    name: &'static str,
    value: Signal<String>,
    options: &'static [Choice],
) -> View {
    let options: Vec<View> = options
        .iter()
        .map(|&(this, label, meaning)| {
            let checked = move || value.with(|value| value == this);
            view! {
                label(class="choice") {
                    input(
                        r#type="radio", name=name, value=this, prop:checked=checked(),
                        on:change=move |_| value.set(this.to_owned()),
                    )
                    span(class="choice-text") { b { (label) } span(class="hint") { (meaning) } }
                }
            }
        })
        .collect();
    view! { fieldset(class="choices") { legend(class="field-label") { (legend) } div(class="choice-row") { (options) } } }
}

/// The button that does `action`, with how that goes.
pub(crate) fn submit(label: &'static str, busy_label: &'static str, action: Action) -> View {
    view! {
        button(class="primary", r#type="submit", disabled=action.busy.get(), aria-busy=action.busy.get().to_string()) {
            (if action.busy.get() { busy_label } else { label })
        }
    }
}
