//! A function's aliases: movable names, with shares for a canary.

use protocol::api::{Alias, Page, SetAlias, Version, VersionState};
use protocol::route::Share;
use sycamore::prelude::*;

use crate::api::{Result, Trouble};
use crate::calls;
use crate::format::shell;
use crate::load::{Action, Resource};
use crate::pages::function::Subject;
use crate::ui::code::{code_block, code_line};
use crate::ui::dialog::{Confirm, confirm};
use crate::ui::form::{Control, Field, Form, Part, Text, sending};
use crate::ui::page;
use crate::ui::time::time;

/// The part of the page.
pub(crate) fn aliases(subject: Subject, versions: Resource<Page<Version>>) -> View {
    let data = subject.data;
    let deployed = create_selector(move || data.ready().is_some_and(|function| function.latest.is_some()));
    View::from_dynamic(move || {
        if !deployed.get() {
            return view! {};
        }
        // The list alone follows the function: what is being written in the form stays.
        let of_list = subject.clone();
        let list = View::from_dynamic(move || data.ready().map(|function| list(&of_list, function.aliases, versions)));
        let form = set_form(subject.clone(), versions);
        let body = view! { (list) (form) };
        page::section(
            "Aliases",
            "live answers calls without @. Others are called as @name, for instance a canary.",
            body,
        )
    })
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
    let of_command = subject.clone();
    let send = sending(move || {
        let subject = subject.clone();
        async move {
            set(&subject, fields).await?;
            fields.alias.set(String::new());
            subject.data.reload();
            versions.reload();
            Ok(())
        }
    });
    let action = Action::new();
    let form = Form {
        parts: fields.parts(versions),
        action,
        submit: "Set the alias",
        busy: "Setting…",
        beside: view! {},
        send,
    };
    let label = form.submit;
    let button = view! { button(class="secondary", r#type="submit", disabled=action.busy.get()) { (label) } };
    let form = form.with_button(|| button);
    let command = View::from_dynamic(move || {
        let alias = fields.alias.with(|alias| shell(if alias.is_empty() { "ALIAS" } else { alias.trim() }));
        let words = shares(fields).map_or_else(|_| "v1".to_owned(), |shares| words(&shares));
        let (function, account) = (&of_command.name, of_command.account());
        code_block(format!("crowdcloud aliases set {function} {alias} {words} --account {account}"), "command")
    });
    view! {
        div(class="narrow-part") { (form) }
        p(class="soft as") { "As CLI" }
        (command)
    }
}

impl Fields {
    fn parts(self, versions: Resource<Page<Version>>) -> Vec<Part> {
        let Self { alias, target, canary, percent } = self;
        let ready = create_selector(move || {
            let page = versions.ready().map(|page| page.items).unwrap_or_default();
            page.iter()
                .filter(|version| version.state == VersionState::Ready)
                .map(|version| version.number)
                .collect::<Vec<u32>>()
        });
        let targets =
            create_selector(move || ready.with(|ready| ready.iter().copied().map(option).collect::<Vec<_>>()));
        // The versions that may get a part of the calls.
        let canaries = create_selector(move || {
            let mut options = vec![(String::new(), "none".to_owned())];
            options.extend(targets.get_clone().into_iter().filter(|(value, _)| target.with(|target| target != value)));
            options
        });
        // The newest, until another one is chosen that is there.
        let mut offered = String::new();
        create_effect(move || {
            let (targets, chosen) = (targets.get_clone(), target.get_clone_untracked());
            let Some((newest, _)) = targets.first() else { return };
            if chosen == offered || !is_among(&targets, &chosen) {
                target.set(newest.clone());
            }
            offered.clone_from(newest);
        });
        create_effect(move || {
            let (canaries, chosen) = (canaries.get_clone(), canary.get_clone_untracked());
            if targets.with(|targets| !targets.is_empty()) && !is_among(&canaries, &chosen) {
                canary.set(String::new());
            }
        });
        let several = create_selector(move || canaries.with(|canaries| canaries.len() > 1));
        let has_canary = create_selector(move || canary.with(|canary| !canary.is_empty()));
        let name = Text { name: "alias", placeholder: "canary", code: true, ..Text::default() };
        let share = Text { name: "percent", kind: "number", inputmode: "numeric", ..Text::default() };
        vec![
            Part::Row(
                "Set an alias",
                vec![
                    Field::new("alias", "Alias", Control::Line(name), alias),
                    Field::new("shares", "Target", Control::Menu("target", targets), target),
                ],
            ),
            Part::While(
                several,
                vec![
                    Part::Field(Field::new("canary", "Canary", Control::Menu("canary", canaries), canary)),
                    Part::While(
                        has_canary,
                        vec![Part::Field(Field::new(
                            "percent",
                            "Its share, in percent",
                            Control::Line(share),
                            percent,
                        ))],
                    ),
                ],
            ),
        ]
    }
}

/// A version as menus show it.
fn option(number: u32) -> (String, String) {
    (number.to_string(), format!("v{number}"))
}

async fn set(subject: &Subject, fields: Fields) -> Result<Alias> {
    let shares = untrack(|| shares(fields))?;
    let alias = fields.alias.get_clone_untracked();
    let alias = alias.trim();
    let function = calls::function(subject.account(), &subject.name).await?;
    let etag = function.aliases.iter().find(|known| known.name.as_str() == alias).map(|known| known.etag.clone());
    calls::set_alias(subject.account(), &subject.name, alias, etag.as_deref(), &SetAlias { shares }).await
}

/// The shares that the form asks for; tracked.
fn shares(fields: Fields) -> Result<Vec<Share>> {
    read_shares(&fields.target.get_clone(), &fields.canary.get_clone(), &fields.percent.get_clone())
}

fn read_shares(target: &str, canary: &str, percent: &str) -> Result<Vec<Share>> {
    let version = |field: &str, text: &str| {
        let none = |_| Trouble::of_input(field, "No version is chosen.", "Choose one that is ready.");
        text.parse::<u32>().map_err(none)
    };
    let target = version("shares", target)?;
    if canary.is_empty() {
        return Ok(vec![Share { version: target, weight: 100 }]);
    }
    let weight = percent.trim().parse::<u8>().ok().filter(|weight| (1..100).contains(weight));
    let weight = weight.ok_or_else(|| {
        Trouble::of_input("percent", format!("{percent} is not a share."), "Write a number from 1 to 99.")
    })?;
    Ok(vec![Share { version: target, weight: 100 - weight }, Share { version: version("canary", canary)?, weight }])
}

/// `v3`, or `v3=90 v4=10`, as on the command line.
fn words(shares: &[Share]) -> String {
    match shares {
        [only] => format!("v{}", only.version),
        shares => shares.iter().map(|one| format!("v{}={}", one.version, one.weight)).collect::<Vec<_>>().join(" "),
    }
}

/// Whether this value is one of these options. No memo may be read while another one is borrowed: it may have to be computed
/// first, which needs all of them.
fn is_among(options: &[(String, String)], value: &str) -> bool {
    options.iter().any(|(option, _)| option == value)
}

#[cfg(test)]
mod tests {
    use super::{read_shares, words};
    use crate::api::Trouble;

    #[test]
    fn shares_sum_up_to_a_hundred() {
        let told = |target: &str, canary: &str, percent: &str| {
            let field = |trouble: Trouble| trouble.field.map_or_else(String::new, |field| field.as_str().to_owned());
            read_shares(target, canary, percent).map(|shares| words(&shares)).map_err(field)
        };
        assert_eq!(told("3", "", "10"), Ok("v3".to_owned()));
        assert_eq!(told("3", "4", " 10 "), Ok("v3=90 v4=10".to_owned()));
        assert_eq!(told("", "", "10"), Err("shares".to_owned()));
        for percent in ["0", "100", "x", ""] {
            assert_eq!(told("3", "4", percent), Err("percent".to_owned()), "{percent}");
        }
    }
}
