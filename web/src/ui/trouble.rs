//! Trouble, told whole: code, cause, fix, and an id to copy.

use sycamore::prelude::*;

use super::copy::id_chip;
use super::icon;
use crate::api::Trouble;

/// A trouble beside what it stopped.
pub(crate) fn trouble_view(trouble: Trouble) -> View {
    let Trouble { code, cause, fix, id, .. } = trouble;
    let link = format!("/docs/errors#{code}");
    let id = id.map(|id| {
        let chip = id_chip(&id);
        view! { span(class="trouble-id") { (chip) } }
    });
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
