//! The frame of a page: its head, sections, empty states, badges.

use sycamore::prelude::*;

use crate::nav;

/// A page's head: title, a line about it, and what can be done.
pub(crate) fn head(title: &str, about: impl Into<String>, actions: View) -> View {
    nav::title(title);
    let title = title.to_owned();
    let about = about.into();
    let about = (!about.is_empty()).then(|| view! { p(class="about") { (about) } });
    view! { header(class="head") { div { h1 { (title) } (about) } div(class="actions") { (actions) } } }
}

/// A titled part of a page.
pub(crate) fn section(title: &'static str, about: &'static str, body: View) -> View {
    let about = (!about.is_empty()).then(|| view! { p(class="about") { (about) } });
    view! { section(class="section") { div(class="section-head") { h2 { (title) } (about) } (body) } }
}

/// A form, and what goes with it: beside it where there is room, else below.
pub(crate) fn beside(form: View, panel: View) -> View {
    view! { div(class="beside") { div { (form) } div(class="panel") { (panel) } } }
}

/// What stands where nothing is yet.
pub(crate) fn empty(title: &'static str, about: impl Into<String>, body: View) -> View {
    let about = about.into();
    view! { div(class="empty") { h2 { (title) } p { (about) } (body) } }
}

/// A word in a frame. `tone`: `good`, `warn`, `bad`, `wasm`, `vm` or empty.
pub(crate) fn badge(tone: &'static str, text: impl Into<String>) -> View {
    let class = format!("badge {tone}");
    let text = text.into();
    view! { span(class=class) { (text) } }
}

/// Tabs that are places. `tabs` are (path, label); the present one by its path.
pub(crate) fn tabs(
    label: &'static str,
    tabs: Vec<(String, &'static str)>,
    present: impl Fn() -> String + Copy + 'static,
) -> View {
    let tabs: Vec<View> = tabs
        .into_iter()
        .map(|(href, label)| {
            let this = href.clone();
            let current = move || (present() == this).then_some("page");
            view! { a(href=href, aria-current=current) { (label) } }
        })
        .collect();
    view! { nav(class="tabs", aria-label=label) { (tabs) } }
}
