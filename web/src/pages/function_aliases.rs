//! A function's aliases: movable names, with shares for a canary.

use protocol::api::{Alias, Page, SetAlias, Version, VersionState};
use protocol::route::Share;
use sycamore::prelude::*;

use crate::api::{Result, Trouble};
use crate::calls;
use crate::load::{Action, Load, Resource};
use crate::pages::function::Subject;
use crate::ui::code::code_line;
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
                    th(scope="col") { "Leads to" }
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
            td(data-label="Leads to") { (shares) }
            td(data-label="URL") { (url) }
            td(data-label="Moved", class="number soft") { (time(alias.updated)) }
            td(class="number") { (remove) }
        }
    }
}

fn set_form(subject: Subject, versions: Resource<Page<Version>>) -> View {
    let name = create_signal(String::new());
    let shares = create_signal(String::new());
    let action = Action::new();
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let subject = subject.clone();
        action.run(async move {
            set(&subject, name.get_clone_untracked().trim(), &shares.get_clone_untracked()).await?;
            name.set(String::new());
            shares.set(String::new());
            subject.data.reload();
            versions.reload();
            Ok(())
        });
    };
    let example = move || {
        let ready = versions.ready().map(|page| {
            page.items.iter().filter(|v| v.state == VersionState::Ready).map(|v| v.number).take(2).collect::<Vec<_>>()
        });
        match ready.as_deref() {
            Some([new, old]) => format!("Versions and shares, such as v{old}=90 v{new}=10"),
            Some([only]) => format!("A version, such as v{only}"),
            _ => "A version, such as v1".to_owned(),
        }
    };
    let alias = Text { name: "alias", placeholder: "canary", code: true, ..Text::default() };
    let wrong = Some(action.is_about(&["shares"]));
    let leads = Text { name: "shares", placeholder: "v1", code: true, wrong, ..Text::default() };
    view! {
        form(class="inline-form", on:submit=submit) {
            (form::line(action, &["alias"], "Alias", "", name, alias))
            div(class="field-part grow") {
                label(class="field") {
                    span(class="field-label") { "Leads to" }
                    (form::text(shares, leads))
                    span(class="hint") { (example()) }
                }
                (action.beside(&["shares"]))
            }
            button(class="secondary", r#type="submit", disabled=action.busy.get()) { "Set the alias" }
        }
        (action.elsewhere(&["alias", "shares"]))
    }
}

async fn set(subject: &Subject, alias: &str, shares: &str) -> Result<Alias> {
    let shares = parse_shares(shares).map_err(|cause| {
        Trouble::of_input("shares", cause, "Write v1, or shares that sum up to 100 such as v1=90 v2=10.")
    })?;
    let function = calls::function(subject.account(), &subject.name).await?;
    let etag = function.aliases.iter().find(|known| known.name.as_str() == alias).map(|known| known.etag.clone());
    calls::set_alias(subject.account(), &subject.name, alias, etag.as_deref(), &SetAlias { shares }).await
}

/// `v3`, or `v3=90 v4=10`, as on the command line.
fn parse_shares(text: &str) -> std::result::Result<Vec<Share>, String> {
    let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let version = |word: &str| word.trim_start_matches('v').parse().map_err(|_| format!("{word} is not a version."));
    let shares = match words.as_slice() {
        [] => return Err("No version is named.".to_owned()),
        [only] if !only.contains('=') => vec![Share { version: version(only)?, weight: 100 }],
        words => words
            .iter()
            .map(|word| {
                let (number, weight) = word.split_once('=').ok_or_else(|| format!("{word} has no share."))?;
                let weight = weight.trim_end_matches('%').parse().map_err(|_| format!("{weight} is not a share."))?;
                Ok(Share { version: version(number)?, weight })
            })
            .collect::<std::result::Result<Vec<_>, String>>()?,
    };
    let sum: u32 = shares.iter().map(|share| u32::from(share.weight)).sum();
    if sum == 100 { Ok(shares) } else { Err(format!("The shares sum up to {sum}, not 100.")) }
}

#[cfg(test)]
mod tests {
    use super::parse_shares;
    use protocol::route::Share;

    #[test]
    fn shares_are_read_as_on_the_command_line() {
        assert_eq!(parse_shares("v3"), Ok(vec![Share { version: 3, weight: 100 }]));
        let split = vec![Share { version: 3, weight: 90 }, Share { version: 4, weight: 10 }];
        assert_eq!(parse_shares(" v3=90, 4=10% "), Ok(split));
        for wrong in ["", "v", "v3 v4", "v3=90 v4=20", "v3=900"] {
            assert!(parse_shares(wrong).is_err(), "{wrong}");
        }
    }
}
