//! What a run of the function gets. Versions never change: saving makes a new one of the same artifact and sends `live`
//! to it, and the page says so with what is different.

use std::rc::Rc;

use protocol::api::Version;
use sycamore::prelude::*;

use super::settings::{Change, Settings, Written};
use crate::api::{Result, Trouble};
use crate::calls;
use crate::load::{Action, Resource};
use crate::pages::deploy::make_version;
use crate::pages::function::Subject;
use crate::pages::functions::live_words;
use crate::ui::code::code_block;
use crate::ui::form::{Control, Field, Form, Part, sending};
use crate::ui::limits::LimitFields;
use crate::ui::page;
use crate::ui::placement::PLACEMENTS;

/// The version whose settings are changed, and the number of the next one.
#[derive(Clone, PartialEq)]
struct Now {
    base: u32,
    next: u32,
    /// What `live` leads to.
    live: String,
}

/// The part of the page.
pub(super) fn version(subject: Subject) -> View {
    let data = subject.data;
    let now = create_selector(move || {
        let function = data.ready()?;
        let latest = function.latest?;
        let base = function.live.map_or(latest, |live| live.number);
        Some(Now { base, next: latest + 1, live: live_words(&function).unwrap_or_default() })
    });
    let saved = create_signal(None::<u32>);
    View::from_dynamic(move || {
        let Some(now) = now.get_clone() else {
            let command = code_block(format!("crowdcloud deploy . --account {}", subject.account()), "command");
            return page::empty("Nothing is deployed yet", "These are settings of versions.", command);
        };
        let (account, name, base) = (subject.here.account.clone(), subject.name.clone(), now.base);
        let version = Resource::new(move || {
            let (account, name) = (account.clone(), name.clone());
            async move { calls::version(&account, &name, base).await }
        });
        let subject = subject.clone();
        version.view(6, move |version| form(&subject, version, now.clone(), saved))
    })
}

/// The fields.
#[derive(Clone, Copy)]
struct Fields {
    limits: LimitFields,
    placement: Signal<String>,
    egress: Signal<String>,
    env: Signal<String>,
}

impl Fields {
    fn of(version: &Version, settings: &Settings) -> Self {
        Self {
            limits: LimitFields::of(&version.limits),
            placement: create_signal(version.placement.as_str().to_owned()),
            egress: create_signal(settings.egress_text()),
            env: create_signal(settings.env_text()),
        }
    }

    /// As one value; tracked.
    fn written(self) -> Written {
        Written {
            limits: self.limits.written(),
            placement: self.placement.get_clone(),
            egress: self.egress.get_clone(),
            env: self.env.get_clone(),
        }
    }

    fn parts(self) -> Vec<Part> {
        let placement = Control::Choices("placement", PLACEMENTS);
        let env = Field::new("env", "Environment", Control::Lines("env", "QUALITY=80"), self.env).hint(
            "NAME=value, one on each line, with \\n for a line end in a value. Whoever may read this account sees them: \
             they are no place for secrets.",
        );
        let egress = Field::new("egress", "Egress", Control::Lines("egress", "api.example.com"), self.egress)
            .hint("Hosts that it may call, one on each line; *.example.com is all below it. Empty: none.");
        vec![
            Part::Row("What one run may use", self.limits.fields()),
            Part::Field(Field::new("placement", "Placement", placement, self.placement)),
            Part::Field(env),
            Part::Field(egress),
        ]
    }
}

fn form(subject: &Subject, version: Version, now: Now, saved: Signal<Option<u32>>) -> View {
    let kept = Settings::of(&version);
    let fields = Fields::of(&version, &kept);
    let known = Rc::new((version, kept));
    let (of_send, of_panel) = (subject.clone(), subject.clone());
    let for_panel = known.clone();
    let send = sending(move || {
        let (subject, known) = (of_send.clone(), known.clone());
        saved.set(None);
        async move {
            let (version, kept) = &*known;
            let asked = untrack(|| fields.written()).read(kept)?;
            if kept.changes(&asked).is_empty() {
                return Err(Trouble::here("nothing_changed", "Nothing is changed.", "Change a field first."));
            }
            let made = make_version(subject.account(), &subject.name, &asked.version(version)).await?;
            saved.set(Some(made.number));
            subject.data.reload();
            Ok(())
        }
    });
    let told = View::from_dynamic(move || {
        let words = saved.get().map_or(String::new(), |number| format!("Saved as v{number}, and live"));
        view! { span(role="status", class="good-text") { (words) } }
    });
    let form = Form {
        parts: fields.parts(),
        action: Action::new(),
        submit: "Save as a new version",
        busy: "Preparing…",
        beside: told,
        send,
    };
    let panel = View::from_dynamic(move || {
        let kept = &for_panel.1;
        panel(fields.written().read(kept).map(|asked| kept.changes(&asked)), &now, &of_panel)
    });
    page::beside(form.view(), panel)
}

/// What saving would do.
fn panel(changes: Result<Vec<Change>>, now: &Now, subject: &Subject) -> View {
    let Now { base, next, live } = now;
    let changes = match changes {
        Ok(changes) if changes.is_empty() => {
            let words = format!("These are the settings of v{base}. Nothing is changed.");
            return view! { section { h2 { "What is changed" } p(class="hint") { (words) } } };
        }
        Ok(changes) => changes,
        Err(trouble) => {
            let cause = trouble.cause;
            return view! { section { h2 { "What is changed" } p(class="hint") { (cause) } } };
        }
    };
    let instead = if live.is_empty() { String::new() } else { format!(", in place of {live}") };
    let words = format!("Saves as v{next} and sends live to it{instead}. v{base} stays as it is, for the way back.");
    let mut command = vec![format!("crowdcloud deploy . --name {} --account {}", subject.name, subject.account())];
    command.extend(changes.iter().flat_map(|change| change.flags.iter().cloned()));
    let command = code_block(command.join(" "), "command");
    let rows: Vec<View> = changes
        .into_iter()
        .map(|Change { what, before, after, .. }| {
            view! { dt { (what) } dd { span(class="soft") { (before) } " → " b { (after) } } }
        })
        .collect();
    view! {
        section {
            h2 { "What is changed" }
            p(class="hint", role="status") { (words) }
            dl(class="facts") { (rows) }
        }
        section { h2 { "The same, elsewhere" } p(class="soft as") { "As CLI, in the function's folder" } (command) }
    }
}
