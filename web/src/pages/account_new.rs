//! A further account of the same user.

use protocol::api::CreateAccount;
use sycamore::prelude::*;

use crate::calls;
use crate::format::shell;
use crate::load::Action;
use crate::nav;
use crate::pages::auth::{KINDS, kind_of, name_hint};
use crate::session::Session;
use crate::ui::code::code_block;
use crate::ui::form::{self, Text};
use crate::ui::page;

/// The page.
pub(crate) fn account_new() -> View {
    let session = Session::get();
    let name = create_signal(String::new());
    let kind = create_signal("company".to_owned());
    let action = Action::new();
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let body = CreateAccount { name: name.get_clone(), kind: kind_of(&kind.get_clone()) };
        action.run(async move {
            let made = calls::create_account(&body).await?;
            session.refresh().await;
            nav::go(&format!("/a/{}", made.account.name));
            Ok(())
        });
    };
    let wrong = Some(action.is_about(&["name"]));
    let how = Text { name: "account", placeholder: "analytical-engines", code: true, wrong, ..Text::default() };
    let command = View::from_dynamic(move || {
        let account = name.with(|name| shell(if name.is_empty() { "NAME" } else { name }));
        let company = if kind.with(|kind| kind == "company") { " --company" } else { "" };
        code_block(format!("crowdcloud accounts create {account}{company}"), "command")
    });
    let panel = view! {
        section { h2 { "The same, elsewhere" } p(class="soft as") { "As CLI" } (command) }
    };
    let head =
        page::head("New account", "Functions, nodes and keys belong to an account. You will be its owner.", view! {});
    let form = view! {
        form(class="form", on:submit=submit) {
            (form::choices("Kind", "kind", kind, KINDS))
            div(class="field-part") {
                label(class="field") {
                    span(class="field-label") { "Account name" }
                    (form::text(name, how))
                    span(class="hint") { (name_hint(&name.get_clone(), format!("Functions will be at /f/{}/…", name.get_clone()))) }
                }
                (action.beside(&["name"]))
            }
            (action.elsewhere(&["name"]))
            (form::submit("Create the account", "Creating…", action))
        }
    };
    let body = page::beside(form, panel);
    view! { (head) (body) }
}
