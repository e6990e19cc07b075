//! Signing up and logging in.

use std::rc::Rc;

use protocol::Code;
use protocol::api::{AccountKind, Login, LoginCode, Me, Signup};
use protocol::names::NameError;
use sycamore::prelude::*;

use crate::api::Result;
use crate::format::sentence;
use crate::load::Action;
use crate::nav;
use crate::session::{self, Session};
use crate::shell::brand_mark;
use crate::ui::form::{Choice, Control, Field, Form, Part, Sending, Text, sending};
use crate::ui::run_bar::legend;
use crate::ui::theme::theme_toggle;

/// Characters that a password has at least.
const PASSWORD_MIN: usize = 10;

/// Personal or company, as a choice.
pub(crate) const KINDS: &[Choice] = &[
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
    let code_needed = create_signal(false);
    let send = sending(move || {
        let body =
            Login { email: email.get_clone_untracked().trim().to_owned(), password: password.get_clone_untracked() };
        async move {
            match crate::calls::login(&body).await {
                Err(trouble) if trouble.code == Code::CodeNeeded.as_str() => {
                    password.set(String::new());
                    code_needed.set(true);
                    Ok(())
                }
                answer => enter(session, answer),
            }
        }
    });
    let signup = with_next("/signup");
    let about = view! { "New here? " a(href=signup) { "Sign up" } "." };
    let name = Text { name: "email", kind: "email", autocomplete: "username", ..Text::default() };
    let secret = Text { name: "password", kind: "password", autocomplete: "current-password", ..Text::default() };
    let form = Form {
        parts: vec![
            Part::Field(Field::new("email", "E-mail", Control::Line(name), email)),
            Part::Field(Field::new("password", "Password", Control::Line(secret), password)),
        ],
        action: Action::new(),
        submit: "Log in",
        busy: "Logging in…",
        beside: view! { p(class="soft") { a(href="/forgot") { "Forgot your password?" } } },
        send,
    };
    let form = form.view();
    let second_step = View::from_dynamic(move || {
        if code_needed.get() {
            code_form(session, code_needed)
        } else {
            view! {}
        }
    });
    let body = view! {
        div(hidden=code_needed.get()) { (form) }
        (second_step)
    };
    gate("Log in", about, body)
}

/// The second step of a log-in.
fn code_form(session: Session, code_needed: Signal<bool>) -> View {
    let code = create_signal(String::new());
    let send = sending(move || {
        let body = LoginCode { code: code.get_clone_untracked() };
        async move { enter(session, crate::calls::login_with_code(&body).await) }
    });
    let how = Text { name: "code", autocomplete: "one-time-code", code: true, ..Text::default() };
    let field = Field::new("code", "Code", Control::Line(how), code);
    let form = Form {
        parts: vec![Part::Field(field.hint("The code that your app shows, or a recovery code"))],
        action: Action::new(),
        submit: "Log in with the code",
        busy: "Logging in…",
        beside: view! { button(class="quiet", r#type="button", on:click=move |_| code_needed.set(false)) { "Begin anew" } },
        send,
    };
    form.view()
}

/// The sign-up page; `?operator=` carries the one-time token that makes the operator.
pub(crate) fn signup() -> View {
    let session = Session::get();
    let email = create_signal(String::new());
    let password = create_signal(String::new());
    let account = create_signal(String::new());
    let kind = create_signal("personal".to_owned());
    let operator = nav::query("operator");
    let token = operator.clone();
    let body = move |code| Signup {
        email: email.get_clone_untracked().trim().to_owned(),
        password: password.get_clone_untracked(),
        account: Some(account.get_clone_untracked()),
        kind: Some(kind_of(&kind.get_clone_untracked())),
        invitation: None,
        operator_token: token.clone(),
        code,
    };
    let steps = SignupSteps::new(body, move |me| enter(session, Ok(me)));
    let send = steps.first();
    let login = with_next("/login");
    let about = view! { "Have a log-in? " a(href=login) { "Log in" } "." };
    let operator = operator.map(|_| {
        view! { p(class="note") { "This link makes you the " b { "operator" } " of this platform. It works once." } }
    });
    let how = Text { name: "account", autocomplete: "organization", placeholder: "ada", code: true, ..Text::default() };
    let name_told =
        move || account.with(|account| name_hint(account, format!("Your functions will be at /f/{account}/…")));
    let name = Field::new("account", "Account name", Control::Line(how), account).told(Rc::new(name_told));
    let kind = Field::new("kind", "Account", Control::Choices("kind", KINDS), kind);
    let form = Form {
        parts: [kind, name].into_iter().chain(credentials(email, password)).map(Part::Field).collect(),
        action: Action::new(),
        submit: "Sign up",
        busy: "Signing up…",
        beside: view! {},
        send,
    };
    let form = steps.view(form);
    let body = view! { (operator) (form) };
    gate("Sign up", about, body)
}

/// A sign-up, with a second step where the platform sends a code to the address.
#[derive(Clone)]
pub(crate) struct SignupSteps {
    body: Rc<dyn Fn(Option<String>) -> Signup>,
    done: Rc<dyn Fn(Me) -> Result<()>>,
    code_needed: Signal<bool>,
}

impl SignupSteps {
    /// Sends this body, with the code in the second step; `done` takes the log-in.
    pub(crate) fn new(
        body: impl Fn(Option<String>) -> Signup + 'static,
        done: impl Fn(Me) -> Result<()> + 'static,
    ) -> Self {
        Self { body: Rc::new(body), done: Rc::new(done), code_needed: create_signal(false) }
    }

    /// What the form of the first step does.
    pub(crate) fn first(&self) -> Rc<dyn Fn() -> Sending> {
        let steps = self.clone();
        sending(move || {
            let steps = steps.clone();
            async move {
                match crate::calls::signup(&(steps.body)(None)).await {
                    Err(trouble) if trouble.code == Code::EmailCodeNeeded.as_str() => {
                        steps.code_needed.set(true);
                        Ok(())
                    }
                    answer => (steps.done)(answer?),
                }
            }
        })
    }

    /// The form of the first step, and that of the second in its place.
    pub(crate) fn view(&self, first: Form) -> View {
        let (steps, needed, first) = (self.clone(), self.code_needed, first.view());
        let second = View::from_dynamic(move || {
            if needed.get() {
                steps.second()
            } else {
                view! {}
            }
        });
        view! {
            div(hidden=needed.get()) { (first) }
            (second)
        }
    }

    fn second(&self) -> View {
        let code = create_signal(String::new());
        let (steps, needed) = (self.clone(), self.code_needed);
        let send = sending(move || {
            let (steps, code) = (steps.clone(), code.get_clone_untracked());
            async move { (steps.done)(crate::calls::signup(&(steps.body)(Some(code))).await?) }
        });
        let how = Text { name: "code", autocomplete: "one-time-code", code: true, ..Text::default() };
        let field = Field::new("code", "Code", Control::Line(how), code);
        let form = Form {
            parts: vec![Part::Field(field.hint("It was sent to your e-mail address, and is good for half an hour"))],
            action: Action::new(),
            submit: "Sign up with the code",
            busy: "Signing up…",
            beside: view! { button(class="quiet", r#type="button", on:click=move |_| needed.set(false)) { "Begin anew" } },
            send,
        };
        form.view()
    }
}

/// E-mail address and new password.
pub(crate) fn credentials(email: Signal<String>, password: Signal<String>) -> [Field; 2] {
    let mail = Text {
        name: "email",
        kind: "email",
        autocomplete: "username",
        placeholder: "ada@example.org",
        ..Text::default()
    };
    let secret = Text { name: "password", kind: "password", autocomplete: "new-password", ..Text::default() };
    let told = move || {
        let missing = PASSWORD_MIN.saturating_sub(password.with(|text| text.chars().count()));
        if missing == 0 || missing == PASSWORD_MIN {
            format!("At least {PASSWORD_MIN} characters")
        } else {
            crate::format::count(missing, "more character")
        }
    };
    [
        Field::new("email", "E-mail", Control::Line(mail), email),
        Field::new("password", "Password", Control::Line(secret), password).told(Rc::new(told)),
    ]
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
