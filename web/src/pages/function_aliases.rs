//! A function's aliases: movable names, with shares for a canary.

use protocol::api::{Alias, Page, SetAlias, Version, VersionState};
use protocol::route::Share;
use sycamore::prelude::*;

use crate::api::{Result, Trouble};
use crate::calls;
use crate::format::shell;
use crate::load::{Action, Load, Resource};
use crate::pages::function::Subject;
use crate::ui::code::{code_block, code_line};
use crate::ui::dialog::{Confirm, confirm};
use crate::ui::form::{self, Text};
use crate::ui::page;
use crate::ui::time::time;

/// The part of the page.
pub(crate) fn aliases(subject: Subject, versions: Resource<Page<Version>>) -> View {
    let data = subject.data;
    let body = View::from_dynamic(move || {
        let Load::Ready(function) = data.data.get_clone() else { return view! {} };
        if function.latest.is_none() {
            return view! {};
        }
        let list = list(&subject, function.aliases, versions);
        let form = set_form(subject.clone(), versions);
        let body = view! { (list) (form) };
        page::section(
            "Aliases",
            "live answers calls without @. Others are called as @name, for instance a canary.",
            body,
        )
    });
    view! { (body) }
}

fn list(subject: &Subject, aliases: Vec<Alias>, versions: Resource<Page<Version>>) -> View {
    if aliases.is_empty() {
        return view! { p(class="nothing") { "No alias yet: the first version that is ready becomes live." } };
    }
    let rows: Vec<View> = aliases.into_iter().map(|alias| row(subject, alias, versions)).collect();
    view! {
        table(class="rows") {
            thead {
                tr {
                    th(scope="col") { "Alias" }
                    th(scope="col") { "Target" }
                    th(scope="col") { "URL" }
                    th(scope="col", class="number") { "Moved" }
                    th(scope="col") { span(class="unseen") { "Actions" } }
                }
            }
            tbody { (rows) }
        }
    }
}

fn row(subject: &Subject, alias: Alias, versions: Resource<Page<Version>>) -> View {
    let name = alias.name.to_string();
    let live = name == protocol::Reference::LIVE;
    let shares = alias.shares.iter().map(|s| format!("v{} {}%", s.version, s.weight)).collect::<Vec<_>>().join(" · ");
    let url = if live { format!("{}/", subject.url()) } else { format!("{}@{name}/", subject.url()) };
    let remove = (!live).then(|| {
        let ask = Confirm {
            trigger: "Delete",
            class: "quiet small",
            title: format!("Delete the alias {name}?"),
            effects: vec![format!("Calls to @{name} get 404, at once. The versions stay.")],
            confirm: "Delete",
            typed: None,
        };
        let (subject, name) = (subject.clone(), name.clone());
        confirm(ask, move || {
            let (subject, name) = (subject.clone(), name.clone());
            async move {
                calls::delete_alias(subject.account(), &subject.name, &name).await?;
                subject.data.reload();
                versions.reload();
                Ok(())
            }
        })
    });
    let url = code_line(url, "URL");
    view! {
        tr {
            td(data-label="Alias") { b { (name) } }
            td(data-label="Target") { (shares) }
            td(data-label="URL") { (url) }
            td(data-label="Moved", class="number soft") { (time(alias.updated)) }
            td(class="number") { (remove) }
        }
    }
}

/// What is written in the form.
#[derive(Clone, Copy)]
struct Fields {
    alias: Signal<String>,
    /// A version's number.
    target: Signal<String>,
    /// Another version's number; empty where there is none.
    canary: Signal<String>,
    /// The canary's share of the calls, in percent.
    percent: Signal<String>,
}

fn set_form(subject: Subject, versions: Resource<Page<Version>>) -> View {
    let fields = Fields {
        alias: create_signal(String::new()),
        target: create_signal(String::new()),
        canary: create_signal(String::new()),
        percent: create_signal("10".to_owned()),
    };
    let action = Action::new();
    let of_command = subject.clone();
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let subject = subject.clone();
        action.run(async move {
            set(&subject, fields).await?;
            fields.alias.set(String::new());
            subject.data.reload();
            versions.reload();
            Ok(())
        });
    };
    let ready = create_selector(move || {
        let page = versions.ready().map(|page| page.items).unwrap_or_default();
        page.iter()
            .filter(|version| version.state == VersionState::Ready)
            .map(|version| version.number)
            .collect::<Vec<u32>>()
    });
    let target = View::from_dynamic(move || target_menu(fields, &ready.get_clone()));
    let canary = View::from_dynamic(move || canary_menu(fields, &ready.get_clone()));
    let has_canary = create_selector(move || fields.canary.with(|canary| !canary.is_empty()));
    let share = View::from_dynamic(move || {
        let how = Text { name: "percent", kind: "number", inputmode: "numeric", ..Text::default() };
        has_canary.get().then(|| form::field("Its share, in percent", "", form::text(fields.percent, how)))
    });
    let command = View::from_dynamic(move || {
        let alias = fields.alias.with(|alias| shell(if alias.is_empty() { "ALIAS" } else { alias.trim() }));
        let words = shares(fields).map_or_else(|_| "v1".to_owned(), |shares| words(&shares));
        let (function, account) = (&of_command.name, of_command.account());
        code_block(format!("crowdcloud aliases set {function} {alias} {words} --account {account}"), "command")
    });
    let alias = Text { name: "alias", placeholder: "canary", code: true, ..Text::default() };
    view! {
        form(class="inline-form", on:submit=submit) {
            (form::line(action, &["alias"], "Alias", "", fields.alias, alias))
            (target)
            (canary)
            (share)
            button(class="secondary", r#type="submit", disabled=action.busy.get()) { "Set the alias" }
        }
        (action.beside(&["shares"]))
        (action.elsewhere(&["alias", "shares"]))
        p(class="soft as") { "As CLI" }
        (command)
    }
}

/// A version as menus show it.
fn option(number: u32) -> (String, String) {
    (number.to_string(), format!("v{number}"))
}

fn target_menu(fields: Fields, ready: &[u32]) -> View {
    let options: Vec<(String, String)> = ready.iter().copied().map(option).collect();
    // What is chosen is there to be chosen.
    if fields.target.with_untracked(|now| options.iter().all(|(value, _)| value != now)) {
        fields.target.set(options.first().map(|(value, _)| value.clone()).unwrap_or_default());
    }
    form::field("Target", "", form::select("target", fields.target, options))
}

/// The versions that may get a part of the calls; none where there is but one version.
fn canary_menu(fields: Fields, ready: &[u32]) -> View {
    let target = fields.target.get_clone();
    let mut options = vec![(String::new(), "none".to_owned())];
    options.extend(ready.iter().copied().map(option).filter(|(value, _)| *value != target));
    if fields.canary.with_untracked(|now| options.iter().all(|(value, _)| value != now)) {
        fields.canary.set(String::new());
    }
    if options.len() < 2 {
        return view! {};
    }
    form::field("Canary", "", form::select("canary", fields.canary, options))
}

async fn set(subject: &Subject, fields: Fields) -> Result<Alias> {
    let shares = untrack(|| shares(fields))
        .map_err(|cause| Trouble::of_input("shares", cause, "Choose versions, and a share from 1 to 99."))?;
    let alias = fields.alias.get_clone_untracked();
    let alias = alias.trim();
    let function = calls::function(subject.account(), &subject.name).await?;
    let etag = function.aliases.iter().find(|known| known.name.as_str() == alias).map(|known| known.etag.clone());
    calls::set_alias(subject.account(), &subject.name, alias, etag.as_deref(), &SetAlias { shares }).await
}

/// The shares that the form asks for; tracked.
fn shares(fields: Fields) -> std::result::Result<Vec<Share>, String> {
    read_shares(&fields.target.get_clone(), &fields.canary.get_clone(), &fields.percent.get_clone())
}

fn read_shares(target: &str, canary: &str, percent: &str) -> std::result::Result<Vec<Share>, String> {
    let version = |text: &str| text.parse::<u32>().map_err(|_| "No version is chosen.".to_owned());
    let target = version(target)?;
    if canary.is_empty() {
        return Ok(vec![Share { version: target, weight: 100 }]);
    }
    let weight = percent.trim().parse::<u8>().ok().filter(|weight| (1..100).contains(weight));
    let weight = weight.ok_or_else(|| format!("{percent} is not a share."))?;
    Ok(vec![Share { version: target, weight: 100 - weight }, Share { version: version(canary)?, weight }])
}

/// `v3`, or `v3=90 v4=10`, as on the command line.
fn words(shares: &[Share]) -> String {
    match shares {
        [only] => format!("v{}", only.version),
        shares => shares.iter().map(|one| format!("v{}={}", one.version, one.weight)).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::{read_shares, words};

    #[test]
    fn shares_sum_up_to_a_hundred() {
        let told = |target: &str, canary: &str, percent: &str| {
            read_shares(target, canary, percent).map(|shares| words(&shares)).map_err(drop)
        };
        assert_eq!(told("3", "", "10"), Ok("v3".to_owned()));
        assert_eq!(told("3", "4", " 10 "), Ok("v3=90 v4=10".to_owned()));
        for (target, canary, percent) in [("", "", "10"), ("3", "4", "0"), ("3", "4", "100"), ("3", "4", "x")] {
            assert_eq!(told(target, canary, percent), Err(()), "{target} {canary} {percent}");
        }
    }
}
