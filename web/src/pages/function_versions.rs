//! A function's versions and aliases: what is live, what was, and the way back.

use protocol::api::{Page, Rollback, Version, VersionState};
use protocol::{Kind, command_line};
use sycamore::prelude::*;

use crate::calls;
use crate::format;
use crate::load::{Action, Load, Resource, sleep, undisturbed};
use crate::nav;
use crate::pages::deploy::{Deploy, asked, file_field, progress, same};
use crate::pages::function::Subject;
use crate::pages::function_aliases;
use crate::ui::code::code_block;
use crate::ui::dialog::{Confirm, confirm};
use crate::ui::form::{self, Form, Part, sending};
use crate::ui::lane::{lane_why, limits_words};
use crate::ui::page::{self, badge};
use crate::ui::time::time;
use crate::ui::trouble::trouble_view;

/// How often the list is asked for while a version compiles.
const COMPILING_POLL_MS: i32 = 2_000;

/// The tab.
pub(crate) fn versions(subject: Subject) -> View {
    let (account, name) = (subject.here.account.clone(), subject.name.clone());
    let list = Resource::new(move || {
        let (account, name) = (account.clone(), name.clone());
        async move { calls::versions(&account, &name).await }
    });
    create_effect(move || {
        let compiling = matches!(list.data.get_clone(), Load::Ready(page) if page.items.iter().any(|v| v.state == VersionState::Compiling));
        if compiling {
            sycamore::futures::spawn_local_scoped(async move {
                sleep(COMPILING_POLL_MS).await;
                undisturbed().await;
                list.reload();
            });
        }
    });
    let (of_table, of_alias) = (subject.clone(), subject.clone());
    let table = list.view(
        4,
        move |page| {
            if page.items.is_empty() { no_versions(&of_table) } else { table(&of_table, page, list) }
        },
    );
    let aliases = function_aliases::aliases(of_alias, list);
    let versions =
        page::section("Versions", "Each deployment is kept as it was. An alias says which one answers.", table);
    let deploy = page::section("Deploy a new version", "", deploy(subject, list));
    view! {
        (versions)
        (aliases)
        (deploy)
    }
}

fn no_versions(subject: &Subject) -> View {
    let command = code_block(format!("crowdcloud deploy . --account {}", subject.account()), "command");
    page::empty("Nothing is deployed yet", "Deploy from the function's folder, or drop a file below.", command)
}

fn table(subject: &Subject, page: Page<Version>, list: Resource<Page<Version>>) -> View {
    let live =
        page.items.iter().find(|v| v.aliases.iter().any(|a| a.as_str() == protocol::Reference::LIVE)).map(|v| v.number);
    let newest = page.items.first().map(|v| v.number);
    let rows: Vec<View> = page
        .items
        .into_iter()
        .map(|version| {
            let notes = notes(&version, newest == Some(version.number));
            let row = row(subject, version, live, list);
            view! { (row) (notes) }
        })
        .collect();
    view! {
        table(class="rows") {
            thead {
                tr {
                    th(scope="col") { "Version" }
                    th(scope="col") { "State" }
                    th(scope="col") { "What" }
                    th(scope="col") { "Lane" }
                    th(scope="col", class="spare") { "Limits" }
                    th(scope="col") { "Deployed" }
                    th(scope="col") { span(class="unseen") { "Actions" } }
                }
            }
            tbody { (rows) }
        }
    }
}

/// Words with dots between them, where lines end only at the dots.
fn in_parts(words: &str) -> View {
    let parts = words.split(" · ").map(str::to_owned).enumerate();
    let parts: Vec<View> = parts
        .map(|(place, part)| {
            let dot = if place > 0 { " · " } else { "" };
            view! { (dot) span(class="whole") { (part) } }
        })
        .collect();
    view! { (parts) }
}

/// What the deploy found and decided: what is started, by whom, where it is asked, and what was left out.
fn notes(version: &Version, open: bool) -> Option<View> {
    if version.notes.is_empty() {
        return None;
    }
    let summary = format!("What was found in v{}", version.number);
    let notes: Vec<View> =
        version.notes.iter().map(|note| with_code(note)).map(|note| view! { li { (note) } }).collect();
    Some(view! {
        tr(class="sub") {
            td(colspan="7") {
                details(class="more", prop:open=open) { summary { (summary) } ul(class="found") { (notes) } }
            }
        }
    })
}

/// A sentence, in which what stands between backticks is code.
fn with_code(sentence: &str) -> View {
    let parts = sentence.split('`').map(str::to_owned).enumerate();
    let parts: Vec<View> = parts
        .map(|(place, part)| {
            if place % 2 == 1 {
                view! { code { (part) } }
            } else {
                view! { (part) }
            }
        })
        .collect();
    view! { (parts) }
}

/// How it is spoken to, in a word.
fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Http => "handler",
        Kind::Command => "command",
        Kind::Server => "server",
    }
}

fn row(subject: &Subject, version: Version, live: Option<u32>, list: Resource<Page<Version>>) -> View {
    let number = version.number;
    let label = format!("v{number}");
    let aliases: Vec<View> = version.aliases.iter().map(|alias| badge("good", alias.to_string())).collect();
    let state = match version.state {
        VersionState::Compiling => badge("warn", "compiling"),
        VersionState::Ready => badge("good", "ready"),
        VersionState::Failed => badge("bad", "failed"),
    };
    let size = format::bytes(version.artifact_size.0);
    let kind_and_size = match version.kind {
        Some(kind) => format!("{}, {size}", kind_word(kind)),
        None => size,
    };
    let what = match (&version.format, version.state) {
        (Some(format), _) => format.clone(),
        (None, VersionState::Compiling) => "being looked at".to_owned(),
        (None, _) => "unknown".to_owned(),
    };
    let lane = version.runs_in.map(|lane| lane_why(lane, version.lane_reason));
    let command = (!version.command.is_empty()).then(|| command_line::line(&version.command));
    let command = command.map(|command| view! { " " code { (command) } });
    let limits = in_parts(&limits_words(&version.limits));
    let by = version.created_by.clone();
    let digest = version.artifact.to_string();
    let problem = version.problem.clone().map(|problem| {
        let problem = trouble_view(problem.into());
        view! { tr(class="sub") { td(colspan="7") { (problem) } } }
    });
    let act = (version.state == VersionState::Ready && live != Some(number)).then(|| {
        let older = live.is_some_and(|live| number < live);
        let ask = Confirm {
            trigger: if older { "Roll back" } else { "Make live" },
            class: "quiet small",
            title: format!("Let v{number} answer?"),
            effects: vec![
                match live {
                    Some(live) => format!("Calls without @ go to v{number} instead of v{live}, at once."),
                    None => format!("Calls without @ go to v{number}, at once."),
                },
                "Runs that have begun end as they began. You can go back the same way.".to_owned(),
            ],
            confirm: if older { "Roll back" } else { "Make live" },
            typed: None,
        };
        let subject = subject.clone();
        confirm(ask, move || {
            let subject = subject.clone();
            async move {
                calls::rollback(subject.account(), &subject.name, &Rollback { to: Some(number) }).await?;
                list.reload();
                subject.data.reload();
                Ok(())
            }
        })
    });
    view! {
        tr {
            td(data-label="Version", class="wrap") { b { (label) } " " (aliases) }
            td(data-label="State") { (state) }
            td(data-label="What", class="wrap", title=digest) { (what) " " span(class="soft whole") { (kind_and_size) } (command) }
            td(data-label="Lane", class="wrap") { (lane) }
            td(data-label="Limits", class="soft wrap spare") { (limits) }
            td(data-label="Deployed", class="wrap") { (time(version.created)) " " span(class="soft") { "by " (by) } }
            td(class="number") { (act) }
        }
        (problem)
    }
}

fn deploy(subject: Subject, list: Resource<Page<Version>>) -> View {
    let deploy = Deploy::new(Action::new());
    let name = create_signal(subject.name.clone());
    let data = subject.data;
    let function = subject.name.clone();
    let folder = format!("crowdcloud deploy . --account {} --url {}", subject.account(), nav::origin());
    let command = same(deploy, subject.account().to_owned(), move || function.clone(), Some(folder));
    let chosen = deploy.chosen();
    // What the newest version has is where the next one starts: nothing is asked before that is known, and what was filled
    // in since stays as long as its file does.
    create_effect(move || {
        let no_file = !chosen.get();
        let Some(newest) = list.ready().and_then(|page| page.items.into_iter().next()) else { return };
        if no_file || deploy.options.kept.with_untracked(|kept| kept.number.is_none()) {
            untrack(|| deploy.follow(&newest));
        }
    });
    let known = create_selector(move || list.data.with(|data| matches!(data, Load::Ready(_))));
    let asking = create_selector(move || known.get() && chosen.get());
    let send = sending(move || {
        let subject = subject.clone();
        async move {
            let deployed = deploy.run(subject.account(), None, &subject.name).await;
            list.reload();
            data.reload();
            deployed?;
            // The next one starts from what is there now.
            deploy.file.set(None);
            Ok(())
        }
    });
    let button = View::from_dynamic(move || asking.get().then(|| form::submit("Deploy", "Deploying…", deploy.action)));
    let form = Form {
        parts: vec![Part::Field(file_field(deploy, name)), asked(deploy, asking), Part::Progress(progress(deploy))],
        action: deploy.action,
        submit: "Deploy",
        busy: "Deploying…",
        beside: view! {},
        send,
    };
    let form = form.with_button(|| button);
    page::beside(form, view! { section { h2 { "The same, elsewhere" } (command) } })
}
