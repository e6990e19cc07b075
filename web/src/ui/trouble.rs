//! Trouble, told whole: code, cause, fix, and an id to copy.

use protocol::Code;
use sycamore::prelude::*;

use super::copy::id_chip;
use super::icon;
use crate::api::Trouble;
use crate::format::sentence;

/// A trouble beside what it stopped.
pub(crate) fn trouble_view(trouble: Trouble) -> View {
    let Trouble { code, cause, fix, id, .. } = trouble;
    let link = format!("/docs/errors#{code}");
    let id = id.map(|id| {
        let chip = id_chip(&id);
        view! { span(class="trouble-id") { (chip) } }
    });
    let (cause, fix) = (marked(&sentence(&cause)), marked(&fix));
    view! {
        div(class="trouble", role="alert") {
            (icon::icon(icon::ALERT))
            div(class="trouble-text") {
                p(class="trouble-cause") { (cause) }
                p(class="trouble-fix") { (fix) }
                p(class="trouble-code") { code(title=link) { (code) } (id) }
            }
        }
    }
}

/// A trouble of one field, beneath it: a line or two, not a box.
pub(crate) fn field_trouble_view(trouble: Trouble) -> View {
    let Trouble { code, cause, fix, id, .. } = trouble;
    let link = format!("/docs/errors#{code}");
    let id = id.map(|id| id_chip(&id)).map(|id| view! { " " (id) });
    // "Change the named field" says nothing where the message stands beneath that field.
    let fix = (fix != Code::InvalidField.help()).then(|| marked(&fix)).map(|fix| view! { " " (fix) });
    let cause = marked(&sentence(&cause));
    view! {
        p(class="field-trouble", role="alert") {
            (icon::icon(icon::ALERT))
            span { b { (cause) } (fix) " " code(class="soft", title=link) { (code) } (id) }
        }
    }
}

/// A text with what stands between backticks as code.
fn marked(text: &str) -> View {
    let parts = text.split('`').map(str::to_owned).enumerate();
    let parts: Vec<View> = parts
        .map(|(place, part)| match place % 2 {
            1 => view! { code { (part) } },
            _ => view! { (part) },
        })
        .collect();
    view! { (parts) }
}
