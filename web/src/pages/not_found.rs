//! Places that are not there.

use sycamore::prelude::*;

use crate::ui::page;

/// No such page.
pub(crate) fn not_found() -> View {
    let body = view! { a(class="secondary", href="/") { "Go to the overview" } };
    let empty = page::empty("There is no such page", "The link may be old, or the thing it led to is gone.", body);
    let head = page::head("Not found", "", view! {});
    view! { (head) (empty) }
}

/// An account that the user is no member of.
pub(crate) fn no_account(name: String) -> View {
    let about = format!("There is no account {name}, or you are not a member of it. Ask its owner for an invitation.");
    let body = view! { a(class="secondary", href="/") { "Go to my account" } };
    let empty = page::empty("You cannot see this account", about, body);
    view! { (page::head("Not found", "", view! {})) (empty) }
}
