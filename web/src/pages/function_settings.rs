//! A function's settings: who may call it, what its runs get, its name, and its end.

mod settings;
mod version;

use std::rc::Rc;

use protocol::api::{ChangeFunction, Function};
use sycamore::prelude::*;

use crate::calls;
use crate::format::shell;
use crate::load::{Action, Load, Resource};
use crate::nav;
use crate::pages::auth::name_hint;
use crate::pages::function::Subject;
use crate::pages::function_new::VISIBILITY;
use crate::ui::code::code_block;
use crate::ui::copy::id_chip;
use crate::ui::dialog::{Confirm, confirm_about};
use crate::ui::form::{Control, Field, Form, Part, Text, sending};
use crate::ui::page;
use crate::ui::time::time;

/// The tab.
pub(crate) fn settings(subject: Subject) -> View {
    let data = subject.data;
    let Load::Ready(function) = data.data.get_clone_untracked() else { return view! {} };
    let visibility = visibility(subject.clone(), &function);
    let visibility = page::section("Access", "Changes hold at every gateway within a second.", visibility);
    let version = page::section(
        "What its runs get",
        "Versions never change: saving makes a new one of the same artifact, and live goes to it.",
        version::version(subject.clone()),
    );
    let name = page::section("Name", "", rename(subject.clone()));
    let about = page::section("About", "", about(&function));
    let delete = page::section("Delete", "", delete(subject, &function));
    view! { (visibility) (version) (name) (about) (delete) }
}

fn visibility(subject: Subject, function: &Function) -> View {
    let choice = create_signal(if function.public { "public" } else { "private" }.to_owned());
    let done = create_signal(false);
    let (name, account) = (subject.name.clone(), subject.account().to_owned());
    let command = View::from_dynamic(move || {
        let flag = choice.get_clone();
        code_block(format!("crowdcloud functions set {name} --{flag} --account {account}"), "command")
    });
    let send = sending(move || {
        let subject = subject.clone();
        let public = choice.with_untracked(|choice| choice == "public");
        let asked = ChangeFunction { public: Some(public), ..ChangeFunction::default() };
        done.set(false);
        async move {
            calls::change_function(subject.account(), &subject.name, &asked).await?;
            subject.data.reload();
            done.set(true);
            Ok(())
        }
    });
    let form = Form {
        parts: vec![Part::Field(Field::new(
            "public",
            "Who may call it",
            Control::Choices("public", VISIBILITY),
            choice,
        ))],
        action: Action::new(),
        submit: "Save",
        busy: "Saving…",
        beside: view! { span(role="status", class="good-text") { (if done.get() { "Saved" } else { "" }) } },
        send,
    };
    let panel = view! { section { h2 { "The same, elsewhere" } p(class="soft as") { "As CLI" } (command) } };
    page::beside(form.view(), panel)
}

fn rename(subject: Subject) -> View {
    let (account, name) = (subject.account().to_owned(), subject.name.clone());
    let wanted = create_signal(name.clone());
    let url = format!("{}/f/{account}", nav::origin());
    let told = move || name_hint(&wanted.get_clone(), format!("{url}/{}/", wanted.get_clone().trim()));
    let command = View::from_dynamic(move || {
        let words = format!("crowdcloud functions rename {name} {}", shell(wanted.get_clone().trim()));
        code_block(format!("{words} --account {account}"), "command")
    });
    let send = sending(move || {
        let subject = subject.clone();
        let name = wanted.with_untracked(|name| name.trim().to_owned());
        async move {
            let asked = ChangeFunction { name: Some(name), ..ChangeFunction::default() };
            let renamed = calls::change_function(subject.account(), &subject.name, &asked).await?;
            nav::go(&subject.here.path(&format!("functions/{}/settings", renamed.name)));
            Ok(())
        }
    });
    let how = Text { name: "name", code: true, ..Text::default() };
    let form = Form {
        parts: vec![Part::Field(Field::new("name", "Name", Control::Line(how), wanted).told(Rc::new(told)))],
        action: Action::new(),
        submit: "Rename",
        busy: "Renaming…",
        beside: view! {},
        send,
    };
    let panel = view! {
        section {
            h2 { "What that means" }
            p(class="hint") {
                "Its versions, aliases, keys, triggers, jobs, usage and logs stay its own. Calls by the old name get 404, "
                "which tells your callers the new one."
            }
        }
        section { h2 { "The same, elsewhere" } p(class="soft as") { "As CLI" } (command) }
    };
    page::beside(form.view(), panel)
}

fn about(function: &Function) -> View {
    let id = id_chip(&function.id.to_string());
    let created = time(function.created);
    view! {
        dl(class="facts") {
            dt { "Id" } dd { (id) }
            dt { "Created" } dd { (created) }
        }
    }
}

fn delete(subject: Subject, function: &Function) -> View {
    let name = function.name.to_string();
    let versions = function.latest.unwrap_or(0);
    let limits = Resource::new(calls::limits);
    let days = create_selector(move || limits.ready().map(|limits| limits.deleted_days));
    let undo = View::from_dynamic(move || {
        let kept = days.get().map_or("a while".to_owned(), |days| crate::format::count(days, "day"));
        view! { p(class="hint") { "For " (kept) " it can be restored, with its versions and aliases." } }
    });
    let ask = Confirm {
        trigger: "Delete the function",
        class: "danger-quiet",
        title: format!("Delete {name}?"),
        effects: vec![
            format!("Every call to {} gets 404, at once.", function.path),
            format!("Its {} and aliases go with it.", crate::format::count(versions, "version")),
            "Keys that are for it alone are revoked, and stay so.".to_owned(),
            "Its name is free, for this account alone.".to_owned(),
        ],
        confirm: "Delete the function",
        typed: Some(name.clone()),
    };
    let account = subject.account().to_owned();
    let list = subject.here.path(&format!("functions?deleted={name}"));
    let commands = format!(
        "crowdcloud functions delete {name} --account {account}\ncrowdcloud functions restore {name} --account {account}"
    );
    let command = code_block(commands, "commands");
    let act = move || {
        let (subject, list) = (subject.clone(), list.clone());
        async move {
            calls::delete_function(subject.account(), &subject.name).await?;
            nav::go(&list);
            Ok(())
        }
    };
    let button = confirm_about(ask, undo, || (), act);
    view! { div(class="row") { (button) } p(class="soft as") { "As CLI, and the way back" } (command) }
}
