//! Signing up and logging in.

use protocol::api::{AccountKind, Login, Me, Signup};
use protocol::names::NameError;
use sycamore::prelude::*;

use crate::api::Result;
use crate::format::sentence;
use crate::load::Action;
use crate::nav;
use crate::session::{self, Session};
use crate::shell::brand_mark;
use crate::ui::form::{self, Text};
use crate::ui::run_bar::legend;
use crate::ui::theme::theme_toggle;

/// Characters that a password has at least.
const PASSWORD_MIN: usize = 10;

/// Personal or company, as a choice.
pub(crate) const KINDS: &[(&str, &str, &str)] = &[
    ("personal", "Personal", "For yourself."),
    ("company", "Company", "For a team: invite members, each with a role."),
];

/// The kind that a choice means.
pub(crate) fn kind_of(choice: &str) -> AccountKind {
    if choice == "company" { AccountKind::Company } else { AccountKind::Personal }
}

/// What is wrong with a name while it is being typed; nothing for an empty one.
pub(crate) fn name_hint(name: &str, fine: String) -> String {
    match name.parse::<protocol::Name>() {
        Ok(_) => fine,
        Err(_) if name.is_empty() => "2 to 30 of a-z, 0-9 and single dashes".to_owned(),
        Err(error @ (NameError::Length | NameError::Characters | NameError::Reserved)) => sentence(&error.to_string()),
    }
}

/// The frame of the pages before the log-in.
pub(crate) fn gate(title: &'static str, about: View, body: View) -> View {
    nav::title(title);
    view! {
        div(class="gate") {
            div(class="gate-form") {
                header(class="gate-top") {
                    a(class="brand", href="/", aria-label="CrowdCloud") { (brand_mark()) span { "CrowdCloud" } }
                    (theme_toggle())
                }
                main(id="main") {
                    h1 { (title) }
                    p(class="about") { (about) }
                    (body)
                }
            }
            (poster())
        }
    }
}

/// What stands beside the form where there is room.
fn poster() -> View {
    let bars: Vec<View> = [(4, 46), (4, 22), (9, 38), (3, 64), (5, 14), (4, 30), (12, 20)]
        .into_iter()
        .map(|(placed, ran): (u32, u32)| {
            let (placed_width, ran_x) = (format!("{placed}%"), format!("{placed}%"));
            let (ran_width, tick) = (format!("{ran}%"), format!("{}%", placed + ran + 1));
            view! {
                svg(class="run-bar") {
                    rect(class="bar-track", x="0", y="7", width="100%", height="2") {}
                    rect(class="bar-placed", x="0", y="4", width=placed_width, height="8") {}
                    rect(class="bar-wasm", x=ran_x, y="2", width=ran_width, height="12") {}
                    rect(class="bar-settled", x=tick, y="4", width="3", height="8") {}
                }
            }
        })
        .collect();
    view! {
        aside(class="poster", aria-hidden="true") {
            div(class="poster-bars") { (bars) }
            (legend())
            p(class="poster-line") { "Functions on shared computers." }
            p(class="soft") { "Deploy WebAssembly, call it over HTTP, and see for each run where it went and what it used." }
        }
    }
}

/// The log-in page.
pub(crate) fn login() -> View {
    let session = Session::get();
    let email = create_signal(String::new());
    let password = create_signal(String::new());
    let action = Action::new();
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let body = Login { email: email.get_clone().trim().to_owned(), password: password.get_clone() };
        action.run(async move { enter(session, crate::calls::login(&body).await) });
    };
    let signup = with_next("/signup");
    let about = view! { "New here? " a(href=signup) { "Sign up" } "." };
    let how = Text { name: "email", kind: "email", autocomplete: "username", ..Text::default() };
    let email = form::line(action, &["email"], "E-mail", "", email, how);
    let how = Text { name: "password", kind: "password", autocomplete: "current-password", ..Text::default() };
    let password = form::line(action, &["password"], "Password", "", password, how);
    let body = view! {
        form(class="form", on:submit=submit) {
            (email)
            (password)
            (action.elsewhere(CREDENTIALS))
            (form::submit("Log in", "Logging in…", action))
        }
    };
    gate("Log in", about, body)
}

/// The sign-up page; `?operator=` carries the one-time token that makes the operator.
pub(crate) fn signup() -> View {
    let session = Session::get();
    let email = create_signal(String::new());
    let password = create_signal(String::new());
    let account = create_signal(String::new());
    let kind = create_signal("personal".to_owned());
    let operator = nav::query("operator");
    let action = Action::new();
    let token = operator.clone();
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let body = Signup {
            email: email.get_clone().trim().to_owned(),
            password: password.get_clone(),
            account: Some(account.get_clone()),
            kind: Some(kind_of(&kind.get_clone())),
            invitation: None,
            operator_token: token.clone(),
        };
        action.run(async move { enter(session, crate::calls::signup(&body).await) });
    };
    let login = with_next("/login");
    let about = view! { "Have a log-in? " a(href=login) { "Log in" } "." };
    let operator = operator.map(|_| {
        view! { p(class="note") { "This link makes you the " b { "operator" } " of this platform. It works once." } }
    });
    let how = Text { name: "account", autocomplete: "organization", placeholder: "ada", code: true, ..Text::default() };
    let how = Text { wrong: Some(action.is_about(&["account"])), ..how };
    let name = view! {
        div(class="field-part") {
            label(class="field") {
                span(class="field-label") { "Account name" }
                (form::text(account, how))
                span(class="hint") {
                    (name_hint(&account.get_clone(), format!("Your functions will be at /f/{}/…", account.get_clone())))
                }
            }
            (action.beside(&["account"]))
        }
    };
    let body = view! {
        form(class="form", on:submit=submit) {
            (operator)
            (form::choices("Account", "kind", kind, KINDS))
            (name)
            (credentials(action, email, password))
            (action.elsewhere(&["account", "email", "password"]))
            (form::submit("Sign up", "Signing up…", action))
        }
    };
    gate("Sign up", about, body)
}

/// The inputs of `credentials`.
pub(crate) const CREDENTIALS: &[&str] = &["email", "password"];

/// E-mail address and new password.
pub(crate) fn credentials(action: Action, email: Signal<String>, password: Signal<String>) -> View {
    let mail = Text {
        name: "email",
        kind: "email",
        autocomplete: "username",
        placeholder: "ada@example.org",
        ..Text::default()
    };
    let secret = Text { name: "password", kind: "password", autocomplete: "new-password", ..Text::default() };
    let hint = move || {
        let missing = PASSWORD_MIN.saturating_sub(password.with(|text| text.chars().count()));
        if missing == 0 || missing == PASSWORD_MIN {
            format!("At least {PASSWORD_MIN} characters")
        } else {
            crate::format::count(missing, "more character")
        }
    };
    let email = form::line(action, &["email"], "E-mail", "", email, mail);
    let secret = form::text(password, Text { wrong: Some(action.is_about(&["password"])), ..secret });
    view! {
        (email)
        div(class="field-part") {
            label(class="field") {
                span(class="field-label") { "Password" }
                (secret)
                span(class="hint") { (hint()) }
            }
            (action.beside(&["password"]))
        }
    }
}

/// Takes the log-in's answer: the session, and the way on.
pub(crate) fn enter(session: Session, answer: Result<Me>) -> Result<()> {
    let me = answer?;
    let next = nav::next_or(&session::home(&me));
    session.enter(me);
    nav::go(&next);
    Ok(())
}

fn with_next(path: &str) -> String {
    match nav::query("next") {
        Some(next) => format!("{path}?next={}", nav::encode(&next)),
        None => path.to_owned(),
    }
}
