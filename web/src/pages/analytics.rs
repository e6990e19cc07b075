//! Where the account's usage went, told by time, function, lane and more.

use sycamore::prelude::*;

use crate::ui::page;

/// The page.
pub(crate) fn analytics() -> View {
    page::head("Analytics", "", view! {})
}
