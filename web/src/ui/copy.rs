//! Copying to the clipboard.

use sycamore::futures::spawn_local_scoped;
use sycamore::prelude::*;

use super::icon;
use crate::load::sleep;

/// A button that copies `text`; `what` names it for those who do not see the icon.
pub(crate) fn copy_button(text: impl Into<String>, what: &str) -> View {
    let text = text.into();
    let label = format!("Copy {what}");
    let done = create_signal(false);
    let copy = move |event: web_sys::MouseEvent| {
        event.prevent_default();
        event.stop_propagation();
        let promise = window().navigator().clipboard().write_text(&text);
        spawn_local_scoped(async move {
            if wasm_bindgen_futures::JsFuture::from(promise).await.is_ok() {
                done.set(true);
                sleep(1_500).await;
                done.set(false);
            }
        });
    };
    let title = label.clone();
    view! {
        button(class="copy", r#type="button", aria-label=label, title=title, on:click=copy) {
            (if done.get() { icon::icon(icon::CHECK) } else { icon::icon(icon::COPY) })
            span(class="unseen", aria-live="polite") { (if done.get() { "Copied" } else { "" }) }
        }
    }
}

/// A short form of an id, whole on hover, with its copy button.
pub(crate) fn id_chip(id: &str) -> View {
    let whole = id.to_owned();
    let short = short_id(id);
    let copy = copy_button(id, "id");
    view! { span(class="id") { code(title=whole) { (short) } (copy) } }
}

/// `run_0199…f3a2`: the prefix, and the ends that people compare.
pub(crate) fn short_id(id: &str) -> String {
    let (prefix, rest) = id.split_once('_').map_or(("", id), |(prefix, rest)| (prefix, rest));
    if rest.len() <= 12 || !rest.is_ascii() {
        return id.to_owned();
    }
    let tail = &rest[rest.len() - 6..];
    if prefix.is_empty() { format!("{}…{tail}", &rest[..6]) } else { format!("{prefix}_…{tail}") }
}

#[cfg(test)]
mod tests {
    use super::short_id;

    #[test]
    fn ids_keep_the_part_that_differs() {
        assert_eq!(short_id("run_0199a0b1c2d37e4f8a9b0c1d2e3f4a5b"), "run_…3f4a5b");
        assert_eq!(short_id("run_1"), "run_1");
    }
}
