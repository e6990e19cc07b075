//! The command palette: Ctrl/Cmd-K anywhere, then a few letters, then Enter. `/` goes to the page's search.

use protocol::api::Role;
use sycamore::futures::spawn_local_scoped;
use sycamore::prelude::*;
use wasm_bindgen::prelude::*;
use web_sys::{HtmlDialogElement, HtmlElement, KeyboardEvent};

use crate::calls;
use crate::nav;
use crate::places::{PLACES, TABS};
use crate::session::Session;

/// Where an entry leads.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    name: String,
    about: String,
    href: String,
}

impl Entry {
    fn new(name: impl Into<String>, about: impl Into<String>, href: String) -> Self {
        Self { name: name.into(), about: about.into(), href }
    }
}

/// At most so many are shown.
const SHOWN_MAX: usize = 9;

/// The entries that match, best first: those that begin with what was typed, then those that contain all its words.
fn matching(entries: &[Entry], typed: &str) -> Vec<Entry> {
    let typed = typed.trim().to_lowercase();
    let words: Vec<&str> = typed.split_whitespace().collect();
    let text = |entry: &Entry| format!("{} {}", entry.name, entry.about).to_lowercase();
    let mut found: Vec<&Entry> =
        entries.iter().filter(|entry| words.iter().all(|word| text(entry).contains(word))).collect();
    found.sort_by_key(|entry| !entry.name.to_lowercase().starts_with(&typed));
    found.into_iter().take(SHOWN_MAX).cloned().collect()
}

/// The places of the user's accounts; those of `account` first, as far as the role there may see them.
fn places(account: &str, role: Role, others: &[String]) -> Vec<Entry> {
    let about = |words: &str| if words.is_empty() { account.to_owned() } else { format!("{account} · {words}") };
    let pages = PLACES.iter().filter(|place| role >= place.role);
    let pages = pages.filter_map(|place| Some(Entry::new(place.title, about(place.palette?), place.href(account))));
    let tabs = TABS.iter().filter(|(.., least)| role >= *least);
    let tabs = tabs.map(|(path, title, words, _)| Entry::new(*title, about(words), format!("/a/{account}/{path}")));
    let mut entries: Vec<Entry> = pages.chain(tabs).collect();
    entries.push(Entry::new("Security", "you · password sessions second factor", "/me/security".to_owned()));
    entries.push(Entry::new("New account", "you", "/accounts/new".to_owned()));
    entries.extend(others.iter().map(|name| Entry::new(name, "switch account", format!("/a/{name}"))));
    entries
}

/// The palette, which listens to the keys of the whole page.
pub(crate) fn palette(account: ReadSignal<Option<String>>) -> View {
    let session = Session::get();
    let typed = create_signal(String::new());
    let chosen = create_signal(0_usize);
    let entries = create_signal(Vec::<Entry>::new());
    let dialog = create_node_ref();
    let element = move || dialog.try_get().and_then(|node| node.dyn_into::<HtmlDialogElement>().ok());
    let found = create_memo(move || entries.with(|entries| typed.with(|typed| matching(entries, typed))));

    let open = move || {
        let Some(present) = account.get_clone_untracked() else { return };
        let accounts = session.accounts();
        let here = accounts.iter().find(|membership| membership.account.name.as_str() == present);
        let role = here.map_or(Role::Member, |membership| membership.role);
        let others = accounts.iter().map(|membership| membership.account.name.to_string());
        let others: Vec<String> = others.filter(|name| *name != present).collect();
        typed.set(String::new());
        chosen.set(0);
        entries.set(places(&present, role, &others));
        element().map(|dialog| dialog.show_modal());
        spawn_local_scoped(async move {
            if let Ok(page) = calls::functions(&present).await {
                entries.update(|entries| {
                    entries.extend(page.items.into_iter().map(|function| {
                        let href = format!("/a/{present}/functions/{}", function.name);
                        Entry::new(function.name.to_string(), "function", href)
                    }));
                });
            }
        });
    };
    let close = move || {
        if let Some(dialog) = element() {
            dialog.close();
        }
    };
    listen(move |event| match event.key().as_str() {
        "k" | "K" if event.ctrl_key() || event.meta_key() => {
            event.prevent_default();
            if element().is_some_and(|dialog| dialog.open()) { close() } else { open() }
        }
        "/" if !is_writing() => {
            if let Some(search) = search_field() {
                event.prevent_default();
                drop(search.focus());
            }
        }
        _ => {}
    });
    let keys = move |event: KeyboardEvent| {
        let count = found.with(Vec::len).max(1);
        match event.key().as_str() {
            "ArrowDown" => chosen.set((chosen.get() + 1) % count),
            "ArrowUp" => chosen.set((chosen.get() + count - 1) % count),
            "Enter" => {
                if let Some(entry) = found.with(|found| found.get(chosen.get()).cloned()) {
                    close();
                    nav::go(&entry.href);
                }
            }
            _ => return,
        }
        event.prevent_default();
    };
    create_effect(move || {
        typed.track();
        chosen.set(0);
    });
    let list = View::from_dynamic(move || {
        let rows: Vec<View> = found
            .get_clone()
            .into_iter()
            .enumerate()
            .map(|(place, Entry { name, about, href })| {
                let selected = move || (chosen.get() == place).to_string();
                view! {
                    a(
                        href=href, role="option", tabindex="-1", aria-selected=selected(),
                        on:click=move |_| close(), on:mouseenter=move |_| chosen.set(place),
                    ) { b { (name) } span(class="soft") { (about) } }
                }
            })
            .collect();
        if rows.is_empty() {
            view! { p(class="soft palette-none") { "Nothing is called so." } }
        } else {
            rows.into()
        }
    });
    view! {
        dialog(class="palette", aria-label="Go to", r#ref=dialog) {
            input(
                class="palette-input", r#type="text", aria-label="Go to", placeholder="Go to a page or a function",
                autocomplete="off", "spellcheck"="false", on:keydown=keys, bind:value=typed,
            )
            div(class="palette-list", role="listbox", aria-label="Places") { (list) }
            p(class="palette-foot soft", aria-hidden="true") { "↑↓ choose · ⏎ go · esc close" }
        }
    }
}

/// Calls `react` on every key of the page, while the view lives.
fn listen(mut react: impl FnMut(KeyboardEvent) + 'static) {
    let scope = use_current_scope();
    let closure = Closure::<dyn FnMut(KeyboardEvent)>::new(move |event| scope.run_in(|| react(event)));
    drop(document().add_event_listener_with_callback("keydown", closure.as_ref().unchecked_ref()));
    on_cleanup(move || {
        drop(document().remove_event_listener_with_callback("keydown", closure.as_ref().unchecked_ref()));
    });
}

fn is_writing() -> bool {
    document()
        .active_element()
        .is_some_and(|element| matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT"))
}

fn search_field() -> Option<HtmlElement> {
    document().query_selector("main input[type=search]").ok()??.dyn_into().ok()
}

#[cfg(test)]
mod tests {
    use protocol::api::Role;

    use super::{matching, places};

    #[test]
    fn a_few_letters_find_a_place() {
        let of = |role| places("ada", role, &["engines".to_owned()]);
        let found = |role, typed: &str| matching(&of(role), typed).first().map(|entry| entry.href.clone());
        let first = |typed: &str| found(Role::Owner, typed);
        assert_eq!(first("").as_deref(), Some("/a/ada"));
        assert_eq!(first("key").as_deref(), Some("/a/ada/settings/keys"));
        assert_eq!(first("func").as_deref(), Some("/a/ada/functions"), "what begins so comes first");
        assert_eq!(first("engines switch").as_deref(), Some("/a/engines"));
        assert_eq!(first("zzz"), None);
        assert_eq!(first("audit").as_deref(), Some("/a/ada/settings/audit"));
        assert_eq!(found(Role::Member, "audit"), None, "members do not see it");
    }
}
