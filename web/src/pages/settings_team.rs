//! Members and invitations.

use protocol::api::{ChangeRole, CreateInvitation, Invitation, KeysLeft, Made, Member, Page, Role};
use sycamore::prelude::*;

use crate::calls;
use crate::format::{count, shell};
use crate::load::{Action, Resource};
use crate::nav;
use crate::session::{Here, Session, State};
use crate::ui::code::{code_block, code_line};
use crate::ui::dialog::{Confirm, confirm, confirm_about};
use crate::ui::form::{self, Control, Field, Form, Part, Text, sending};
use crate::ui::page::{self, badge};
use crate::ui::time::time;
use crate::ui::trouble::trouble_view;

const ROLES: &[(&str, &str, &str)] = &[
    ("member", "Member", "Deploys, runs, sees own costs."),
    ("admin", "Admin", "Members, keys, budgets and settings too."),
    ("owner", "Owner", "Everything."),
];

const KEYS_LEFT: &[(&str, &str, &str)] = &[
    ("revoke", "Revoke", "Whatever uses them gets 401 within a second."),
    ("take_over", "Take over", "They go on working, as yours."),
];

fn role_of(choice: &str) -> Role {
    match choice {
        "owner" => Role::Owner,
        "admin" => Role::Admin,
        _ => Role::Member,
    }
}

fn role_value(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::Member => "member",
    }
}

/// The tab.
pub(crate) fn team(here: Here) -> View {
    let account = here.account.clone();
    let members = Resource::new(move || {
        let account = account.clone();
        async move { calls::members(&account).await }
    });
    let of_members = here.clone();
    let list = members.view(3, move |page| member_table(&of_members, page, members));
    let invitations = here.administers().then(|| {
        let body = invitations(here);
        page::section("Invitations", "A link lets one person join. Send it yourself; it ends after a while.", body)
    });
    let members = page::section("Members", "", list);
    view! { (members) (invitations) }
}

fn member_table(here: &Here, page: Page<Member>, members: Resource<Page<Member>>) -> View {
    let me = Session::get().with(|state| match state {
        State::In(me) => me.user.as_ref().map(|user| user.id),
        _ => None,
    });
    let rows: Vec<View> = page.items.into_iter().map(|member| member_row(here, member, me, members)).collect();
    view! {
        table(class="rows") {
            thead { tr { th(scope="col") { "Who" } th(scope="col") { "Role" } th(scope="col", class="number") { "Joined" } th(scope="col") { span(class="unseen") { "Actions" } } } }
            tbody { (rows) }
        }
    }
}

fn member_row(here: &Here, member: Member, me: Option<protocol::UserId>, members: Resource<Page<Member>>) -> View {
    let email = member.email.clone();
    let myself = me == Some(member.user);
    let user = member.user;
    let action = Action::new();
    let role = if here.administers() && !myself {
        let value = create_signal(role_value(member.role).to_owned());
        let mut first = true;
        let account = here.account.clone();
        create_effect(move || {
            let role = role_of(&value.get_clone());
            if std::mem::take(&mut first) {
                return;
            }
            let account = account.clone();
            action.run(async move {
                let changed = calls::change_role(&account, user, &ChangeRole { role, keys: KeysLeft::Revoke }).await;
                if changed.is_err() {
                    // The menu shows what is true again.
                    members.reload();
                }
                changed.map(drop)
            });
        });
        let options = ROLES.iter().map(|(value, label, _)| ((*value).to_owned(), (*label).to_owned())).collect();
        let label = format!("Role of {email}");
        let menu = form::select("role", value, options);
        view! { label { span(class="unseen") { (label) } (menu) } }
    } else {
        let role = role_value(member.role);
        view! { (role) }
    };
    let remove = (here.administers() || myself).then(|| remove(here, &member, myself, members));
    let you = myself.then(|| view! { " " span(class="soft") { "you" } });
    view! {
        tr {
            td(data-label="Who") { (email) (you) }
            td(data-label="Role") { (role) (action.trouble.get_clone().map(trouble_view)) }
            td(data-label="Joined", class="number soft") { (time(member.joined)) }
            td(class="number") { (remove) }
        }
    }
}

/// The button that removes a member, after it has said what they made.
fn remove(here: &Here, member: &Member, myself: bool, members: Resource<Page<Member>>) -> View {
    let (user, email) = (member.user, &member.email);
    let ask = Confirm {
        trigger: if myself { "Leave" } else { "Remove" },
        class: "quiet small",
        title: if myself {
            format!("Leave {}?", here.account)
        } else {
            format!("Remove {email} from {}?", here.account)
        },
        effects: vec![if myself {
            "You no longer see this account. An admin can invite you again.".to_owned()
        } else {
            "They no longer see this account, at once.".to_owned()
        }],
        confirm: if myself { "Leave" } else { "Remove" },
        typed: None,
    };
    let made = Resource::<Made>::fed();
    let keys = create_signal("revoke".to_owned());
    let about = made.view(1, move |made| made_view(&made, myself, keys));
    let account = here.account.clone();
    let opened = move || {
        let account = account.clone();
        sycamore::futures::spawn_local_scoped(async move { made.put(calls::made_by(&account, user).await) });
    };
    let (account, session) = (here.account.clone(), Session::get());
    confirm_about(ask, about, opened, move || {
        let account = account.clone();
        let left = if keys.get_clone() == "take_over" { KeysLeft::TakeOver } else { KeysLeft::Revoke };
        async move {
            calls::remove_member(&account, user, left).await?;
            if myself {
                session.refresh().await;
                nav::go("/");
            } else {
                members.reload();
            }
            Ok(())
        }
    })
}

/// What a member made, and what becomes of it.
fn made_view(made: &Made, myself: bool, keys: Signal<String>) -> View {
    let chips = |names: Vec<String>| names.into_iter().map(|name| badge("", name)).collect::<Vec<View>>();
    let whose = if myself { "you made" } else { "they made" };
    let of_keys = (!made.keys.is_empty()).then(|| {
        let count = count(made.keys.len(), "key");
        let names = chips(made.keys.iter().map(|key| key.name.clone()).collect());
        let fate = match myself {
            true => view! { p(class="hint") { "Revoked: whatever uses them gets 401 within a second." } },
            false => form::choices("What becomes of them", "keys", keys, KEYS_LEFT),
        };
        view! {
            div(class="made") {
                p(class="field-label") { (count) " " (whose) }
                div(class="chips") { (names) }
                (fate)
            }
        }
    });
    let of_triggers = (!made.triggers.is_empty()).then(|| {
        let count = count(made.triggers.len(), "trigger");
        let names = chips(made.triggers.iter().map(ToString::to_string).collect());
        view! {
            div(class="made") {
                p(class="field-label") { (count) " " (whose) }
                div(class="chips") { (names) }
                p(class="hint") { "They are the account's, and go on." }
            }
        }
    });
    let invitations = (!made.invitations.is_empty()).then(|| {
        let count = count(made.invitations.len(), "open invitation");
        view! {
            div(class="made") {
                p(class="field-label") { (count) " " (whose) }
                p(class="hint") { "Withdrawn: their links stop working at once." }
            }
        }
    });
    view! { (of_keys) (of_triggers) (invitations) }
}

fn invitations(here: Here) -> View {
    let account = here.account.clone();
    let list = Resource::new(move || {
        let account = account.clone();
        async move { calls::invitations(&account).await }
    });
    let email = create_signal(String::new());
    let role = create_signal("member".to_owned());
    let made = create_signal(None::<String>);
    let account = here.account.clone();
    let send = sending(move || {
        let account = account.clone();
        let to = email.get_clone_untracked().trim().to_owned();
        let role = role_of(&role.get_clone_untracked());
        let body = CreateInvitation { role, email: (!to.is_empty()).then_some(to) };
        async move {
            let invitation = calls::invite(&account, &body).await?;
            made.set(invitation.path.map(|path| format!("{}{path}", nav::origin())));
            email.set(String::new());
            list.reload();
            Ok(())
        }
    });
    let how = Text { name: "email", placeholder: "grace@example.org", optional: true, ..Text::default() };
    let whom = Field::new("email", "For whom", Control::Line(how), email).hint("A note for you; nothing is sent");
    let of_table = here.clone();
    let table = list.view(1, move |page| invitation_table(&of_table, page, list));
    let account = here.account.clone();
    let command = View::from_dynamic(move || {
        let role = role.get_clone();
        let whom = email.with(|email| match email.trim() {
            "" => String::new(),
            email => format!("{} ", shell(email)),
        });
        code_block(format!("crowdcloud accounts invite {whom}--role {role} --account {account}"), "command")
    });
    let panel = view! { section { h2 { "The same, elsewhere" } p(class="soft as") { "As CLI" } (command) } };
    let form = Form {
        parts: vec![
            Part::Field(Field::new("role", "They will be", Control::Choices("role", ROLES), role)),
            Part::Field(whom),
        ],
        action: Action::new(),
        submit: "Create a link",
        busy: "Creating…",
        beside: view! {},
        send,
    };
    let once = View::from_dynamic(move || {
        let line = code_line(made.get_clone()?, "invitation link");
        Some(
            view! { div(class="once", role="status") { p { b { "The link is shown only now. " } "It works once." } (line) } },
        )
    });
    let form = form.view();
    let form = view! { (form) (once) };
    let form = page::beside(form, panel);
    view! { (form) (table) }
}

fn invitation_table(here: &Here, page: Page<Invitation>, list: Resource<Page<Invitation>>) -> View {
    if page.items.is_empty() {
        return view! {};
    }
    let rows: Vec<View> = page.items.into_iter().map(|invitation| invitation_row(here, invitation, list)).collect();
    view! {
        table(class="rows") {
            thead { tr { th(scope="col") { "For" } th(scope="col") { "Role" } th(scope="col", class="number") { "Expires" } th(scope="col") { span(class="unseen") { "Actions" } } } }
            tbody { (rows) }
        }
    }
}

fn invitation_row(here: &Here, invitation: Invitation, list: Resource<Page<Invitation>>) -> View {
    let id = invitation.id;
    let email = invitation.email.clone().unwrap_or_else(|| "anybody with the link".to_owned());
    let role = role_value(invitation.role);
    let account = here.account.clone();
    let ask = Confirm {
        trigger: "Withdraw",
        class: "quiet small",
        title: "Withdraw this invitation?".to_owned(),
        effects: vec!["Its link stops working at once.".to_owned()],
        confirm: "Withdraw",
        typed: None,
    };
    let withdraw = confirm(ask, move || {
        let account = account.clone();
        async move {
            calls::withdraw_invitation(&account, id).await?;
            list.reload();
            Ok(())
        }
    });
    view! {
        tr {
            td(data-label="For") { (email) }
            td(data-label="Role") { (role) }
            td(data-label="Expires", class="number soft") { (time(invitation.expires)) }
            td(class="number") { (withdraw) }
        }
    }
}
