//! Joining an account by its link: as who one is, or as a new user.

use protocol::api::{AcceptInvitation, InvitationPreview, Role, Signup};
use sycamore::prelude::*;

use crate::calls;
use crate::load::{Action, Resource};
use crate::nav;
use crate::pages::auth::{SignupSteps, credentials, gate};
use crate::session::Session;
use crate::ui::form::{Form, Part};

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Owner => "an owner",
        Role::Admin => "an admin",
        Role::Member => "a member",
    }
}

/// The page behind an invitation's link.
pub(crate) fn invite(token: String) -> View {
    let asked = token.clone();
    let preview = Resource::new(move || {
        let token = asked.clone();
        async move { calls::invitation(&token).await }
    });
    let body = preview.view(3, move |preview| joining(preview, token.clone()));
    gate("Join an account", view! { "You were invited to CrowdCloud." }, body)
}

fn joining(preview: InvitationPreview, token: String) -> View {
    let session = Session::get();
    let account = preview.account.to_string();
    let what = view! {
        p(class="note") { "You will be " b { (role_word(preview.role)) } " of " b { (account.clone()) } "." }
    };
    let user = create_selector(move || session.email());
    let account = preview.account.to_string();
    let choice = View::from_dynamic(move || match user.get_clone() {
        Some(email) => accept(session, email, account.clone(), token.clone()),
        None => sign_up(session, account.clone(), token.clone()),
    });
    view! { (what) (choice) }
}

fn accept(session: Session, email: String, account: String, token: String) -> View {
    let action = Action::new();
    let join = move |_| {
        let (body, account) = (AcceptInvitation { token: token.clone() }, account.clone());
        action.run(async move {
            calls::accept_invitation(&body).await?;
            session.refresh().await;
            nav::go(&format!("/a/{account}"));
            Ok(())
        });
    };
    view! {
        div(class="form") {
            (action.view())
            button(class="primary", r#type="button", disabled=action.busy.get(), on:click=join) { "Join as " (email) }
        }
    }
}

fn sign_up(session: Session, account: String, token: String) -> View {
    let email = create_signal(String::new());
    let password = create_signal(String::new());
    let login = format!("/login?next={}", nav::encode(&nav::pathname()));
    let body = move |code| Signup {
        email: email.get_clone_untracked().trim().to_owned(),
        password: password.get_clone_untracked(),
        account: None,
        kind: None,
        invitation: Some(token.clone()),
        operator_token: None,
        code,
    };
    let steps = SignupSteps::new(body, move |me| {
        session.enter(me);
        nav::go(&format!("/a/{account}"));
        Ok(())
    });
    let form = Form {
        parts: credentials(email, password).map(Part::Field).into(),
        action: Action::new(),
        submit: "Sign up and join",
        busy: "Joining…",
        beside: view! { p(class="soft") { "Have a log-in? " a(href=login) { "Log in first" } "." } },
        send: steps.first(),
    };
    steps.view(form)
}
