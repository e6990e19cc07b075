//! Commands and text that one copies.

use sycamore::prelude::*;

use super::copy::copy_button;

/// A block of text with a copy button; lines of a command begin with `$` when `prompt`.
pub(crate) fn code_block(text: impl Into<String>, what: &str) -> View {
    let text = text.into();
    let copy = copy_button(text.clone(), what);
    view! { div(class="code") { pre(tabindex="0") { code { (text) } } (copy) } }
}

/// A text on one line with a copy button, cut where it is too long.
pub(crate) fn code_line(text: impl Into<String>, what: &str) -> View {
    let text = text.into();
    let copy = copy_button(text.clone(), what);
    let title = text.clone();
    view! { span(class="line") { code(title=title) { (text) } (copy) } }
}
