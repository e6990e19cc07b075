//! The user's own password, second factor and sessions.

use protocol::api::{ChangePassword, Page, Session as LogIn};
use sycamore::prelude::*;

use crate::calls;
use crate::load::{Action, Resource};
use crate::pages::second_factor::second_factor;
use crate::ui::dialog::{Confirm, confirm};
use crate::ui::form::{Control, Field, Form, Part, Text, sending};
use crate::ui::page::{self, badge};
use crate::ui::time::time;

/// The page.
pub(crate) fn security() -> View {
    let sessions = Resource::new(calls::sessions);
    let list = sessions.view(2, move |page| list(page, sessions));
    let head = page::head("Security", "These are yours, in all accounts.", view! {});
    let password = page::section("Password", "A new password ends your other sessions.", password(sessions));
    let list = page::section("Sessions", "Browsers that are logged in as you.", list);
    let about = "Beside the password, a code of an app on your phone.";
    let factor = page::section("Second factor", about, second_factor());
    view! {
        (head)
        (password)
        (factor)
        (list)
    }
}

fn password(sessions: Resource<Page<LogIn>>) -> View {
    let current = create_signal(String::new());
    let new = create_signal(String::new());
    let done = create_signal(false);
    let send = sending(move || {
        done.set(false);
        let body = ChangePassword { current: current.get_clone_untracked(), new: new.get_clone_untracked() };
        async move {
            calls::change_password(&body).await?;
            current.set(String::new());
            new.set(String::new());
            done.set(true);
            sessions.reload();
            Ok(())
        }
    });
    let old = Text { name: "current", kind: "password", autocomplete: "current-password", ..Text::default() };
    let fresh = Text { name: "new", kind: "password", autocomplete: "new-password", ..Text::default() };
    let fresh = Field::new("new", "New password", Control::Line(fresh), new);
    let form = Form {
        parts: vec![
            Part::Field(Field::new("current", "Current password", Control::Line(old), current)),
            Part::Field(fresh.hint("10 to 128 characters, not easily guessed")),
        ],
        action: Action::new(),
        submit: "Change the password",
        busy: "Changing…",
        beside: view! { span(role="status", class="good-text") { (if done.get() { "Changed" } else { "" }) } },
        send,
    };
    let form = form.view();
    view! { div(class="narrow") { (form) } }
}

fn list(page: Page<LogIn>, sessions: Resource<Page<LogIn>>) -> View {
    let rows: Vec<View> = page.items.into_iter().map(|session| row(session, sessions)).collect();
    view! {
        table(class="rows") {
            thead { tr { th(scope="col") { "Browser" } th(scope="col") { "Began" } th(scope="col") { "Last used" } th(scope="col") { span(class="unseen") { "Actions" } } } }
            tbody { (rows) }
        }
    }
}

fn row(session: LogIn, sessions: Resource<Page<LogIn>>) -> View {
    let id = session.id;
    let agent = browser(&session.user_agent);
    let title = session.user_agent.clone();
    let end = if session.current {
        badge("good", "this one")
    } else {
        let ask = Confirm {
            trigger: "End",
            class: "quiet small",
            title: format!("End the session in {agent}?"),
            effects: vec!["That browser is logged out at once.".to_owned()],
            confirm: "End it",
            typed: None,
        };
        confirm(ask, move || async move {
            calls::end_session(id).await?;
            sessions.reload();
            Ok(())
        })
    };
    view! {
        tr {
            td(data-label="Browser", title=title) { (agent) }
            td(data-label="Began") { (time(session.created)) }
            td(data-label="Last used") { (time(session.last_used)) }
            td(class="number") { (end) }
        }
    }
}

/// `Firefox on Linux`, from what a browser calls itself.
fn browser(agent: &str) -> String {
    let find =
        |names: &[(&str, &'static str)]| names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    let name = find(&[
        ("crowdcloud", "crowdcloud (command line)"),
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chromium"),
        ("Safari/", "Safari"),
    ]);
    let system = find(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (name, system) {
        (Some(name), Some(system)) => format!("{name} on {system}"),
        (Some(name), None) => name.to_owned(),
        _ if agent.is_empty() => "Unknown".to_owned(),
        _ => agent.chars().take(40).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::browser;

    #[test]
    fn browsers_are_named() {
        let agent =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";
        assert_eq!(browser(agent), "Chromium on Linux");
        assert_eq!(browser("crowdcloud/0.1.0"), "crowdcloud (command line)");
        assert_eq!(browser(""), "Unknown");
    }
}
