//! A further account of the same user.

use std::rc::Rc;

use protocol::api::CreateAccount;
use sycamore::prelude::*;

use crate::calls;
use crate::format::shell;
use crate::load::Action;
use crate::nav;
use crate::pages::auth::{KINDS, kind_of, name_hint};
use crate::session::Session;
use crate::ui::code::code_block;
use crate::ui::form::{Control, Field, Form, Part, Text, sending};
use crate::ui::page;

/// The page.
pub(crate) fn account_new() -> View {
    let session = Session::get();
    let name = create_signal(String::new());
    let kind = create_signal("company".to_owned());
    let send = sending(move || async move {
        let body = CreateAccount { name: name.get_clone_untracked(), kind: kind_of(&kind.get_clone_untracked()) };
        let made = calls::create_account(&body).await?;
        session.refresh().await;
        nav::go(&format!("/a/{}", made.account.name));
        Ok(())
    });
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
    let how = Text { name: "account", placeholder: "analytical-engines", code: true, ..Text::default() };
    let hint = move || {
        let name = name.get_clone();
        name_hint(&name, format!("Functions will be at /f/{name}/…"))
    };
    let form = Form {
        parts: vec![
            Part::Field(Field::new("kind", "Kind", Control::Choices("kind", KINDS), kind)),
            Part::Field(Field::new("name", "Account name", Control::Line(how), name).told(Rc::new(hint))),
        ],
        action: Action::new(),
        submit: "Create the account",
        busy: "Creating…",
        beside: view! {},
        send,
    };
    let form = form.view();
    let body = page::beside(form, panel);
    view! { (head) (body) }
}
