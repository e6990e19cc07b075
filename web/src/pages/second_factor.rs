//! The user's second factor: set up with a QR code, confirmed with a code of the app, turned off. Recovery codes are shown
//! once.

use protocol::api::{ProveSecondFactor, RecoveryCodes, SecondFactor, SecondFactorSecret};
use sycamore::prelude::*;

use crate::calls::second_factor as calls;
use crate::format::count;
use crate::load::{Action, Resource};
use crate::ui::code::{code_block, code_line};
use crate::ui::form::{self, Text};
use crate::ui::page::badge;
use crate::ui::qr::qr_code;
use crate::ui::time::time;

/// What was shown this once, and is gone with the page.
#[derive(Clone, PartialEq, Eq)]
enum Once {
    Nothing,
    /// For the app, which has not confirmed it yet.
    Secret(SecondFactorSecret),
    Recovery(RecoveryCodes),
}

/// The part of the page.
pub(crate) fn second_factor() -> View {
    let state = Resource::new(calls::show);
    let once = create_signal(Once::Nothing);
    let present = state.view(2, move |shown| match shown.since {
        Some(since) => turned_on(since, shown.recovery_codes, state, once),
        None => turned_off(state, once),
    });
    let codes = View::from_dynamic(move || match once.get_clone() {
        Once::Recovery(recovery) => recovery_view(&recovery),
        _ => view! {},
    });
    view! { (codes) (present) }
}

fn password_line(action: Action, password: Signal<String>) -> View {
    let how = Text { name: "password", kind: "password", autocomplete: "current-password", ..Text::default() };
    form::line(action, &["password"], "Your password", "", password, how)
}

fn code_field(action: Action, code: Signal<String>, hint: &'static str) -> View {
    let how = Text { name: "code", autocomplete: "one-time-code", code: true, ..Text::default() };
    form::line(action, &["code"], "Code", hint, code, how)
}

/// Without one: the password first, then what the app is told.
fn turned_off(state: Resource<SecondFactor>, once: Signal<Once>) -> View {
    View::from_dynamic(move || match once.get_clone() {
        Once::Nothing => begin(once),
        Once::Secret(told) => confirm(&told, state, once),
        // It has just been confirmed.
        Once::Recovery(_) => view! {},
    })
}

fn begin(once: Signal<Once>) -> View {
    let password = create_signal(String::new());
    let action = Action::new();
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let password = password.get_clone();
        action.run(async move {
            once.set(Once::Secret(calls::set_up(password).await?));
            Ok(())
        });
    };
    view! {
        form(class="form narrow", on:submit=submit) {
            p(class="soft") { "Off: whoever knows your password logs in as you." }
            (password_line(action, password))
            (action.elsewhere(&["password"]))
            (form::submit("Set up a second factor", "Setting up…", action))
        }
    }
}

fn confirm(told: &SecondFactorSecret, state: Resource<SecondFactor>, once: Signal<Once>) -> View {
    let code = create_signal(String::new());
    let action = Action::new();
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let code = code.get_clone();
        action.run(async move {
            once.set(Once::Recovery(calls::confirm(code).await?));
            state.reload();
            Ok(())
        });
    };
    let qr_code = qr_code(&told.url);
    let secret = code_line(told.secret.clone(), "secret");
    view! {
        form(class="form narrow", on:submit=submit) {
            p { "Scan this with an app that shows codes (TOTP), or type the secret into it." }
            (qr_code)
            (secret)
            (code_field(action, code, "Six digits that the app shows: log-ins ask for one from then on"))
            (action.elsewhere(&["code"]))
            div(class="row") {
                (form::submit("Turn it on", "Turning on…", action))
                button(class="quiet", r#type="button", on:click=move |_| once.set(Once::Nothing)) { "Never mind" }
            }
        }
    }
}

fn recovery_view(recovery: &RecoveryCodes) -> View {
    let codes = code_block(recovery.codes.join("\n"), "recovery codes");
    view! {
        div(class="once", role="status") {
            p { b { "The recovery codes are shown only now. " } "Keep them where you find them without your phone: each logs in once, in the place of a code." }
            (codes)
        }
    }
}

/// With one: what password and code allow.
fn turned_on(since: protocol::Timestamp, left: u32, state: Resource<SecondFactor>, once: Signal<Once>) -> View {
    let password = create_signal(String::new());
    let code = create_signal(String::new());
    let action = Action::new();
    let proof = move || ProveSecondFactor { password: password.get_clone(), code: code.get_clone() };
    let renew = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let proof = proof();
        action.run(async move {
            once.set(Once::Recovery(calls::renew_recovery_codes(&proof).await?));
            state.reload();
            Ok(())
        });
    };
    let turn_off = move |_| {
        let proof = proof();
        action.run(async move {
            calls::turn_off(&proof).await?;
            once.set(Once::Nothing);
            state.reload();
            Ok(())
        });
    };
    let left = format!("{} left", count(left, "recovery code"));
    view! {
        form(class="form narrow", on:submit=renew) {
            p { (badge("good", "on")) " since " (time(since)) " · " (left) }
            (password_line(action, password))
            (code_field(action, code, "Of the app, or a recovery code"))
            (action.elsewhere(&["password", "code"]))
            div(class="row") {
                (form::submit("New recovery codes", "Making them…", action))
                button(class="danger", r#type="button", disabled=action.busy.get(), on:click=turn_off) { "Turn it off" }
            }
        }
    }
}
