//! A forgotten password: asking for a link, and the page behind it.

use protocol::api::{AskPasswordReset, UsePasswordReset};
use sycamore::prelude::*;

use crate::calls;
use crate::load::Action;
use crate::pages::auth::gate;
use crate::ui::form::{Control, Field, Form, Part, Text, sending};

/// The page that asks for a link.
pub(crate) fn forgot() -> View {
    let email = create_signal(String::new());
    let asked = create_signal(false);
    let send = sending(move || {
        let body = AskPasswordReset { email: email.get_clone_untracked().trim().to_owned() };
        async move {
            calls::ask_password_reset(&body).await?;
            asked.set(true);
            Ok(())
        }
    });
    let how = Text { name: "email", kind: "email", autocomplete: "username", ..Text::default() };
    let form = Form {
        parts: vec![Part::Field(Field::new("email", "E-mail", Control::Line(how), email))],
        action: Action::new(),
        submit: "Send a link",
        busy: "Sending…",
        beside: view! {},
        send,
    };
    let form = form.view();
    let body = view! {
        div(hidden=asked.get()) { (form) }
        p(class="note", role="status", hidden=!asked.get()) {
            "If somebody has this address here, a link is on its way. It works once, within an hour."
        }
    };
    gate("Forgot your password?", view! { a(href="/login") { "Back to the log-in" } }, body)
}

/// The page behind a link.
pub(crate) fn reset(token: String) -> View {
    let password = create_signal(String::new());
    let done = create_signal(false);
    let send = sending(move || {
        let body = UsePasswordReset { token: token.clone(), password: password.get_clone_untracked() };
        async move {
            calls::use_password_reset(&body).await?;
            done.set(true);
            Ok(())
        }
    });
    let how = Text { name: "password", kind: "password", autocomplete: "new-password", ..Text::default() };
    let field = Field::new("password", "New password", Control::Line(how), password);
    let form = Form {
        parts: vec![Part::Field(field.hint("10 to 128 characters, not easily guessed"))],
        action: Action::new(),
        submit: "Set the password",
        busy: "Setting…",
        beside: view! {},
        send,
    };
    let form = form.view();
    let body = view! {
        div(hidden=done.get()) { (form) }
        p(class="note", role="status", hidden=!done.get()) {
            "The password is set, and all your log-ins have ended. " a(href="/login") { "Log in" } "."
        }
    };
    gate("A new password", view! { "For whoever has the link." }, body)
}
