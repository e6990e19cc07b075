//! A function's settings: who may call it, and its end.

use protocol::api::{ChangeFunction, Function};
use sycamore::prelude::*;

use crate::calls;
use crate::load::{Action, Load};
use crate::nav;
use crate::pages::function::Subject;
use crate::pages::function_new::VISIBILITY;
use crate::ui::code::code_block;
use crate::ui::copy::id_chip;
use crate::ui::dialog::{Confirm, confirm};
use crate::ui::form;
use crate::ui::page;
use crate::ui::time::time;

/// The tab.
pub(crate) fn settings(subject: Subject) -> View {
    let data = subject.data;
    let Load::Ready(function) = data.data.get_clone_untracked() else { return view! {} };
    let visibility = visibility(subject.clone(), &function);
    let visibility = page::section("Access", "Changes hold at every gateway within a second.", visibility);
    let about = page::section("About", "", about(&function));
    let delete = page::section("Delete", "", delete(subject, &function));
    view! { (visibility) (about) (delete) }
}

fn visibility(subject: Subject, function: &Function) -> View {
    let choice = create_signal(if function.public { "public" } else { "private" }.to_owned());
    let done = create_signal(false);
    let action = Action::new();
    let (name, account) = (subject.name.clone(), subject.account().to_owned());
    let command = View::from_dynamic(move || {
        let flag = choice.get_clone();
        code_block(format!("crowdcloud functions set {name} --{flag} --account {account}"), "command")
    });
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let subject = subject.clone();
        let public = choice.get_clone() == "public";
        done.set(false);
        action.run(async move {
            calls::change_function(subject.account(), &subject.name, &ChangeFunction { public: Some(public) }).await?;
            subject.data.reload();
            done.set(true);
            Ok(())
        });
    };
    let form = view! {
        form(class="form", on:submit=submit) {
            (form::choices("Who may call it", "public", choice, VISIBILITY))
            (action.view())
            div(class="row") {
                (form::submit("Save", "Saving…", action))
                span(role="status", class="good-text") { (if done.get() { "Saved" } else { "" }) }
            }
        }
    };
    page::beside(form, view! { section { h2 { "The same, elsewhere" } p(class="soft as") { "As CLI" } (command) } })
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
    let ask = Confirm {
        trigger: "Delete the function",
        class: "danger-quiet",
        title: format!("Delete {name}?"),
        effects: vec![
            format!("Every call to {} gets 404, at once.", function.path),
            format!("Its {} and aliases go with it.", crate::format::count(versions, "version")),
            "Its name stays taken for a while, so that nobody else answers in its place.".to_owned(),
        ],
        confirm: "Delete the function",
        typed: Some(name.clone()),
    };
    let account = subject.account().to_owned();
    let list = subject.here.path("functions");
    let command = code_block(format!("crowdcloud functions delete {name} --account {account}"), "command");
    let button = confirm(ask, move || {
        let (subject, list) = (subject.clone(), list.clone());
        async move {
            calls::delete_function(subject.account(), &subject.name).await?;
            nav::go(&list);
            Ok(())
        }
    });
    view! { div(class="row") { (button) } p(class="soft as") { "As CLI" } (command) }
}
