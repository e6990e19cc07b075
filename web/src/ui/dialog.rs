//! Asking before what cannot be taken back, and saying what breaks.

use std::future::Future;

use sycamore::prelude::*;
use wasm_bindgen::JsCast as _;

use crate::api::Result;
use crate::load::Action;

/// A destructive act.
pub(crate) struct Confirm {
    /// The button that asks.
    pub(crate) trigger: &'static str,
    /// The button's class.
    pub(crate) class: &'static str,
    /// The question.
    pub(crate) title: String,
    /// What happens, one sentence each.
    pub(crate) effects: Vec<String>,
    /// The button that does it.
    pub(crate) confirm: &'static str,
    /// What must be typed first.
    pub(crate) typed: Option<String>,
}

/// The button that asks, with its dialog.
pub(crate) fn confirm<F: Future<Output = Result<()>> + 'static>(
    ask: Confirm,
    act: impl Fn() -> F + Clone + 'static,
) -> View {
    confirm_about(ask, View::new(), || (), act)
}

/// The same, with a button that is there only while `offered`. A question that is being asked stays: this is not to be
/// drawn anew when `offered` changes.
pub(crate) fn confirm_while<F: Future<Output = Result<()>> + 'static>(
    offered: ReadSignal<bool>,
    ask: Confirm,
    act: impl Fn() -> F + Clone + 'static,
) -> View {
    whole(offered, ask, View::new(), || (), act)
}

/// The same, with more to see and to choose; `opened` may load it.
pub(crate) fn confirm_about<F: Future<Output = Result<()>> + 'static>(
    ask: Confirm,
    about: View,
    opened: impl Fn() + 'static,
    act: impl Fn() -> F + Clone + 'static,
) -> View {
    whole(*create_signal(true), ask, about, opened, act)
}

fn whole<F: Future<Output = Result<()>> + 'static>(
    offered: ReadSignal<bool>,
    ask: Confirm,
    about: View,
    opened: impl Fn() + 'static,
    act: impl Fn() -> F + Clone + 'static,
) -> View {
    let Confirm { trigger, class, title, effects, confirm, typed } = ask;
    let action = Action::new();
    let entered = create_signal(String::new());
    let dialog = create_node_ref();
    let element = move || dialog.try_get().and_then(|node| node.dyn_into::<web_sys::HtmlDialogElement>().ok());
    let open = move |_| {
        action.trouble.set(None);
        entered.set(String::new());
        opened();
        element().map(|dialog| dialog.show_modal());
    };
    let shut = move || {
        if let Some(dialog) = element() {
            dialog.close();
        }
    };
    let wanted = typed.clone();
    let ready = create_memo(move || wanted.as_ref().is_none_or(|wanted| entered.with(|entered| entered == wanted)));
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if !ready.get() {
            return;
        }
        let done = act();
        action.run(async move {
            done.await?;
            // What was done may have led to another page: then the dialog is gone already.
            if entered.is_alive() {
                shut();
            }
            Ok(())
        });
    };
    let effects: Vec<View> = effects.into_iter().map(|effect| view! { li { (effect) } }).collect();
    let typed = typed.map(|typed| {
        view! {
            label(class="field") {
                span(class="field-label") { "Type " code { (typed) } " to go on" }
                input(class="input mono", name="confirm", autocomplete="off", "spellcheck"="false", bind:value=entered)
            }
        }
    });
    let trouble = action.view();
    let label = title.clone();
    view! {
        button(class=class, r#type="button", hidden=!offered.get(), on:click=open) { (trigger) }
        dialog(class="dialog", aria-label=label, r#ref=dialog) {
            form(on:submit=submit) {
                h2 { (title) }
                ul(class="effects") { (effects) }
                (about)
                (typed)
                (trouble)
                div(class="dialog-buttons") {
                    button(class="quiet", r#type="button", on:click=move |_| shut()) { "Never mind" }
                    button(class="danger", r#type="submit", disabled=action.busy.get() || !ready.get()) { (confirm) }
                }
            }
        }
    }
}
