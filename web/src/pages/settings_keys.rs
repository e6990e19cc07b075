//! API keys: made here, shown once, revoked within a second.

use protocol::api::{CreateKey, Key, Page};
use protocol::route::Scope;
use sycamore::prelude::*;

use crate::calls;
use crate::format::shell;
use crate::load::{Action, Resource};
use crate::nav;
use crate::session::{Here, Session};
use crate::ui::code::{code_block, code_line};
use crate::ui::dialog::{Confirm, confirm};
use crate::ui::form::{Choice, Control, Field, Form, Part, Text, sending};
use crate::ui::page::{self, badge};
use crate::ui::time::time;

/// What a member may do, and so a member's key.
const SCOPES_OF_MEMBERS: &[Choice] = &[
    ("invoke", "Invoke", "Calls functions."),
    ("read", "Read", "Sees everything of the account."),
    ("deploy", "Deploy", "Deploys, reads and calls."),
];
const SCOPES: &[Choice] =
    &[SCOPES_OF_MEMBERS[0], SCOPES_OF_MEMBERS[1], SCOPES_OF_MEMBERS[2], ("admin", "Admin", "Everything.")];

fn scope_of(choice: &str) -> Scope {
    match choice {
        "admin" => Scope::Admin,
        "deploy" => Scope::Deploy,
        "read" => Scope::Read,
        _ => Scope::Invoke,
    }
}

fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Invoke => "invoke",
        Scope::Read => "read",
        Scope::Deploy => "deploy",
        Scope::Admin => "admin",
    }
}

/// The tab.
pub(crate) fn keys(here: Here) -> View {
    let account = here.account.clone();
    let list = Resource::new(move || {
        let account = account.clone();
        async move { calls::keys(&account).await }
    });
    let of_table = here.clone();
    let table = list.view(2, move |page| table(&of_table, page, list));
    let form = new_key(&here, list);
    let table =
        page::section("Keys", "Programs call functions and the API with a key. It is stored as a digest only.", table);
    view! {
        (table)
        (form)
    }
}

fn new_key(here: &Here, list: Resource<Page<Key>>) -> View {
    let made = create_signal(None::<Key>);
    let name = create_signal(String::new());
    let scope = create_signal("invoke".to_owned());
    let function = create_signal(String::new());
    let days = create_signal("90".to_owned());
    let account = here.account.clone();
    let send = sending(move || {
        let account = account.clone();
        let body = CreateKey {
            name: name.get_clone_untracked().trim().to_owned(),
            scopes: vec![scope_of(&scope.get_clone_untracked())],
            function: function.get_clone_untracked().parse().ok(),
            expires_days: days.get_clone_untracked().parse().ok(),
        };
        async move {
            let key = calls::create_key(&account, &body).await?;
            made.set(Some(key));
            name.set(String::new());
            list.reload();
            Ok(())
        }
    });
    // Beneath the button that made it, where the eye is.
    let once = View::from_dynamic(move || made.get_clone().map(|key| shown_once(&key)));
    let functions = functions(here);
    let functions = create_selector(move || {
        let mut options = vec![(String::new(), "all functions".to_owned())];
        options.extend(functions.get_clone().into_iter().map(|name| (name.clone(), name)));
        options
    });
    let ends = [("30", "in 30 days"), ("90", "in 90 days"), ("365", "in a year"), ("", "never")];
    let ends = *create_signal(ends.map(|(value, label)| (value.to_owned(), label.to_owned())).to_vec());
    let how = Text { name: "name", placeholder: "ci", ..Text::default() };
    let scopes = if here.administers() { SCOPES } else { SCOPES_OF_MEMBERS };
    let account = here.account.clone();
    let command = create_memo(move || {
        let asked = Asked {
            name: name.get_clone(),
            scope: scope.get_clone(),
            function: function.get_clone(),
            days: days.get_clone(),
        };
        asked.cli(&account)
    });
    let command = View::from_dynamic(move || code_block(command.get_clone(), "command"));
    let panel = view! {
        section { h2 { "The same, elsewhere" } p(class="soft as") { "As CLI" } (command) }
        section {
            h2 { "How programs use it" }
            p(class="hint") { "As a header: " code { "Authorization: Bearer cck_…" } ". The command line takes it from " code { "CROWDCLOUD_KEY" } "." }
        }
    };
    let form = Form {
        parts: vec![
            Part::Field(Field::new("scopes", "Scopes", Control::Choices("scope", scopes), scope)),
            Part::Row(
                "Whose, for what, and until when",
                vec![
                    Field::new("name", "Name", Control::Line(how), name).hint("For you to know it by"),
                    Field::new("function", "For", Control::Menu("function", functions), function),
                    Field::new("expires_days", "Expires", Control::Menu("days", ends), days),
                ],
            ),
        ],
        action: Action::new(),
        submit: "Create the key",
        busy: "Creating…",
        beside: view! {},
        send,
    };
    let form = form.view();
    let form = view! { (form) (once) };
    page::section("New key", "", page::beside(form, panel))
}

/// A key as the form asks for it.
struct Asked {
    name: String,
    scope: String,
    function: String,
    days: String,
}

impl Asked {
    fn cli(&self, account: &str) -> String {
        let name = if self.name.trim().is_empty() { "NAME" } else { self.name.trim() };
        let mut words = vec![format!("crowdcloud keys create {} --scope {}", shell(name), self.scope)];
        if !self.function.is_empty() {
            words.push(format!("--function {}", self.function));
        }
        if !self.days.is_empty() {
            words.push(format!("--expires-days {}", self.days));
        }
        words.push(format!("--account {account}"));
        words.join(" ")
    }
}

/// Names of the account's functions, when they have come.
fn functions(here: &Here) -> Signal<Vec<String>> {
    let names = create_signal(Vec::new());
    let account = here.account.clone();
    sycamore::futures::spawn_local_scoped(async move {
        if let Ok(page) = calls::functions(&account).await {
            names.set(page.items.into_iter().map(|function| function.name.to_string()).collect());
        }
    });
    names
}

fn shown_once(key: &Key) -> View {
    let secret = key.secret.clone().unwrap_or_default();
    let name = key.name.clone();
    let call =
        code_block(format!("curl -H 'Authorization: Bearer {secret}' {}/api/v1/me", nav::origin()), "curl command");
    let line = code_line(secret, "key");
    view! {
        div(class="once", role="status") {
            p { b { "The key " (name) " is shown only now. " } "Copy it to where it is used." }
            (line)
            (call)
        }
    }
}

fn table(here: &Here, page: Page<Key>, list: Resource<Page<Key>>) -> View {
    if page.items.is_empty() {
        return view! { p(class="nothing") { "No keys yet." } };
    }
    let rows: Vec<View> = page.items.into_iter().map(|key| row(here, key, list)).collect();
    view! {
        table(class="rows") {
            thead {
                tr {
                    th(scope="col") { "Name" }
                    th(scope="col") { "Scopes" }
                    th(scope="col") { "For" }
                    th(scope="col") { "Last used" }
                    th(scope="col") { "Expires" }
                    th(scope="col") { span(class="unseen") { "Actions" } }
                }
            }
            tbody { (rows) }
        }
    }
}

fn row(here: &Here, key: Key, list: Resource<Page<Key>>) -> View {
    let id = key.id;
    let title = id.to_string();
    let name = key.name.clone();
    let scopes: Vec<View> = key.scopes.iter().map(|scope| badge("", scope_word(*scope))).collect();
    let function = key.function.as_ref().map_or_else(|| "all functions".to_owned(), ToString::to_string);
    let used = match key.last_used {
        Some(at) => time(at),
        None => view! { "never" },
    };
    let ends = match key.expires {
        Some(at) => time(at),
        None => view! { "never" },
    };
    let own = key.created_by.is_some() && key.created_by == Session::get().email();
    let revoke = (own || here.administers()).then(|| {
        let ask = Confirm {
            trigger: "Revoke",
            class: "quiet small",
            title: format!("Revoke the key {name}?"),
            effects: vec!["Whatever uses it gets 401 within a second. It cannot be brought back.".to_owned()],
            confirm: "Revoke",
            typed: None,
        };
        let account = here.account.clone();
        confirm(ask, move || {
            let account = account.clone();
            async move {
                calls::revoke_key(&account, id).await?;
                list.reload();
                Ok(())
            }
        })
    });
    view! {
        tr {
            td(data-label="Name", title=title) { b { (name) } }
            td(data-label="Scopes") { (scopes) }
            td(data-label="For") { (function) }
            td(data-label="Last used", class="soft") { (used) }
            td(data-label="Expires", class="soft") { (ends) }
            td(class="number") { (revoke) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Asked;

    #[test]
    fn the_command_says_what_the_form_asks() {
        let [name, scope, function, days] = ["my ci", "deploy", "thumbs", "90"].map(str::to_owned);
        let asked = Asked { name, scope, function, days };
        let command = "crowdcloud keys create 'my ci' --scope deploy --function thumbs --expires-days 90 --account ada";
        assert_eq!(asked.cli("ada"), command);
        let [name, scope] = ["", "invoke"].map(str::to_owned);
        let asked = Asked { name, scope, function: String::new(), days: String::new() };
        assert_eq!(asked.cli("ada"), "crowdcloud keys create NAME --scope invoke --account ada");
    }
}
