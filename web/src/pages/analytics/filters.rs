//! Which runs the page is about. Each choice is a value of the URL.

use futures::future::join;
use sycamore::prelude::*;

use super::asked::{Controls, MEMBER};
use crate::calls;
use crate::load::{Resource, settled};
use crate::session::Here;
use crate::ui::form::select;

/// (value, label)
type Options = Vec<(String, String)>;

/// The filters.
pub(super) fn filters(here: &Here, controls: Controls) -> View {
    let account = here.account.clone();
    let functions = Resource::new(move || {
        let account = account.clone();
        async move {
            // The figures come first: browsers have few connections.
            settled().await;
            calls::functions(&account).await
        }
    });
    let functions = create_memo(move || {
        let page = functions.ready().map(|page| page.items).unwrap_or_default();
        page.into_iter().map(|function| (function.name.to_string(), function.name.to_string())).collect::<Options>()
    });
    let (account, function) = (here.account.clone(), controls.function);
    let versions = Resource::new(move || {
        let (account, function) = (account.clone(), function.get_clone());
        async move {
            match function.as_str() {
                "" => Ok(Vec::<u32>::new()),
                name => Ok(calls::versions(&account, name).await?.items.iter().map(|version| version.number).collect()),
            }
        }
    });
    let versions = create_memo(move || {
        let numbers: Vec<u32> = versions.ready().unwrap_or_default();
        numbers.into_iter().map(|number| (number.to_string(), format!("v{number}"))).collect::<Options>()
    });
    let account = here.account.clone();
    let people = Resource::new(move || {
        let account = account.clone();
        async move {
            settled().await;
            Ok(people(&account).await)
        }
    });
    let people = create_memo(move || people.ready().unwrap_or_default());
    let lanes = create_memo(|| ["wasm", "vm"].map(|lane| (lane.to_owned(), lane.to_owned())).to_vec());
    let function_chosen = create_selector(move || function.with(|function| !function.is_empty()));
    // A version is one of a function: another function has others.
    let before = std::cell::RefCell::new(function.get_clone_untracked());
    create_effect(on(function, move || {
        let left = before.replace(function.get_clone_untracked());
        if !left.is_empty() && function.with_untracked(|function| *function != left) {
            controls.version.set(String::new());
        }
    }));
    let version = menu("version", "Version", controls.version, versions, "all");
    let compare = controls.compare;
    let toggle =
        move |_| compare.set(if compare.with_untracked(String::is_empty) { "1".to_owned() } else { String::new() });
    view! {
        div(class="filters") {
            (menu("function", "Function", controls.function, functions, "all"))
            div(class="field", hidden=!function_chosen.get()) { (version) }
            (menu("lane", "Lane", controls.lane, lanes, "both"))
            (menu("who", "Member or key", controls.who, people, "everybody"))
            label(class="check") {
                input(r#type="checkbox", name="compare", prop:checked=compare.with(|word| !word.is_empty()), on:change=toggle)
                span { "Compare with before" }
            }
        }
    }
}

/// A menu of what is known; what the URL says is offered too, whether or not it is known.
fn menu(
    name: &'static str,
    label: &'static str,
    value: Signal<String>,
    options: ReadSignal<Options>,
    all: &'static str,
) -> View {
    let control = View::from_dynamic(move || {
        let mut offered = vec![(String::new(), all.to_owned())];
        offered.extend(options.get_clone());
        let present = value.get_clone_untracked();
        if !offered.iter().any(|(known, _)| *known == present) {
            offered.push((present.clone(), present));
        }
        select(name, value, offered)
    });
    view! { label(class="field") { span(class="field-label") { (label) } (control) } }
}

/// Members, who count with their keys; keys; and the public. Who may not see the others sees the public alone.
async fn people(account: &str) -> Options {
    let mut options = Options::new();
    let (members, keys) = join(calls::members(account), calls::keys(account)).await;
    if let Ok(members) = members {
        let option =
            |member: protocol::api::Member| (format!("{MEMBER}{}", member.user), format!("{} and keys", member.email));
        options.extend(members.items.into_iter().map(option));
    }
    if let Ok(keys) = keys {
        options.extend(keys.items.into_iter().map(|key| (key.id.to_string(), format!("key {}", key.name))));
    }
    options.push(("public".to_owned(), "the public".to_owned()));
    options
}
