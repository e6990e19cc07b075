//! A new trigger, or a changed one.

use protocol::api::Page;
use protocol::job::SubmitJob;
use protocol::trigger::{SetTrigger, Trigger};
use sycamore::prelude::*;

use super::when::{following, own_zone, wall_clock, words, zones};
use crate::calls;
use crate::format::shell;
use crate::load::Resource;
use crate::pages::function::Subject;
use crate::pages::jobs::draft::Draft;
use crate::pages::jobs::field::Field;
use crate::pages::jobs::form::{self as parts, Known, TRIGGER_INPUTS};
use crate::pages::jobs::same::{flags, target};
use crate::ui::code::code_block;
use crate::ui::form::{self, Text};
use crate::ui::page;
use crate::ui::time::now_ms;

/// So many times of a pattern are told.
const TIMES_TOLD: usize = 3;

const MISSED: &[(&str, &str, &str)] = &[
    ("once", "Made up once", "One job for all of them."),
    ("skip", "Left out", "The next time is the next one."),
    ("all", "All made up", "A job for each, up to a hundred."),
];

#[derive(Clone, Copy)]
struct Fields {
    name: Signal<String>,
    cron: Signal<String>,
    zone: Signal<String>,
    missed: Signal<String>,
}

/// The form.
pub(super) fn form(subject: &Subject, list: Resource<Page<Trigger>>) -> View {
    let draft = Draft::new(subject.name.clone());
    let known = Known::of(subject.here.account.clone());
    let fields = Fields {
        name: create_signal(String::new()),
        cron: create_signal(String::new()),
        zone: create_signal(own_zone()),
        missed: create_signal("once".to_owned()),
    };
    let account = subject.here.account.clone();
    let send = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let account = account.clone();
        draft.action.run(async move {
            let written = untrack(|| draft.written());
            let job = SubmitJob { input: written.inline()?, ..written.job()? };
            let zone = fields.zone.get_clone_untracked();
            let asked = SetTrigger {
                cron: Some(fields.cron.get_clone_untracked().trim().to_owned()),
                queue: None,
                zone: Some(zone.trim().to_owned()).filter(|zone| !zone.is_empty()),
                missed: fields.missed.get_clone_untracked().parse().unwrap_or_default(),
                paused: false,
                job,
            };
            calls::jobs::set_trigger(&account, fields.name.get_clone_untracked().trim(), &asked).await?;
            fields.name.set(String::new());
            fields.cron.set(String::new());
            list.reload();
            Ok(())
        });
    };
    let version = parts::version_menu(draft, known);
    let account = subject.here.account.clone();
    let command = View::from_dynamic(move || code_block(cli(fields, draft, &account), "command"));
    let when = when_part(draft, fields);
    let body = view! {
        form(class="form", on:submit=send) {
            (when)
            (form::choices("Missed times", "missed", fields.missed, MISSED))
            div(class="field-part") {
                label(class="field") { span(class="field-label") { "Version" } (version) }
                (draft.wrong(&[Field::Function]))
            }
            (parts::input_part(draft, TRIGGER_INPUTS))
            (parts::room_part(draft, known))
            (parts::again_part(draft, known))
            (parts::end_part(draft))
            (parts::request_part(draft))
            (draft.other_trouble())
            (form::submit("Set the trigger", "Setting…", draft.action))
        }
        p(class="soft as") { "As CLI" }
        (command)
    };
    page::section("New trigger", "With the name of one that is there, it changes that one.", body)
}

/// Name, pattern and zone, and the times that they mean.
fn when_part(draft: Draft, fields: Fields) -> View {
    let line = |name, placeholder, of| Text {
        name,
        placeholder,
        code: true,
        wrong: Some(draft.is_wrong(of)),
        ..Text::default()
    };
    let name = form::field("Name", "", form::text(fields.name, line("name", "nightly", &[Field::Name])));
    let cron = form::field("Pattern", "", form::text(fields.cron, line("cron", "0 8 * * 1-5", &[Field::Cron])));
    let wrong = draft.is_wrong(&[Field::Zone]);
    let invalid = move || wrong.get().then_some("true");
    let zones: Vec<View> = zones().into_iter().map(|zone| view! { option(value=zone) {} }).collect();
    let told = create_selector(move || told(&fields.cron.get_clone(), &fields.zone.get_clone()));
    view! {
        div(class="field-part") {
            div(class="three") {
                (name)
                (cron)
                label(class="field") {
                    span(class="field-label") { "Time zone" }
                    input(
                        class="input", name="zone", list="zones", autocomplete="off", "spellcheck"="false",
                        aria-invalid=invalid(), bind:value=fields.zone,
                    )
                    datalist(id="zones") { (zones) }
                }
            }
            p(class="hint", role="status") { (told.get_clone()) }
            (draft.wrong(&[Field::Name, Field::Cron, Field::Zone]))
        }
    }
}

/// What the pattern means, while it is written.
fn told(cron: &str, zone: &str) -> String {
    if cron.trim().is_empty() {
        return "Minute, hour, day, month, weekday; or @hourly, @daily, @weekly, @monthly.".to_owned();
    }
    let zone = if zone.trim().is_empty() { "UTC" } else { zone.trim() };
    let Some(now) = wall_clock(zone, now_ms()) else {
        return format!("{zone} is no time zone that this browser knows.");
    };
    match following(cron, now, TIMES_TOLD) {
        Ok(times) if times.is_empty() => "There is no such time.".to_owned(),
        Ok(times) => format!("Next: {} ({zone})", times.into_iter().map(words).collect::<Vec<_>>().join(" · ")),
        Err(error) => error,
    }
}

fn cli(fields: Fields, draft: Draft, account: &str) -> String {
    let written = draft.written();
    let or = |value: String, otherwise: &str| if value.trim().is_empty() { otherwise.to_owned() } else { value };
    let (name, cron) = (or(fields.name.get_clone(), "NAME"), or(fields.cron.get_clone(), "0 8 * * 1-5"));
    let mut words = vec![
        format!("crowdcloud triggers set {} {}", shell(name.trim()), target(&written)),
        format!("--cron {}", shell(cron.trim())),
    ];
    words.insert(1, flags(&written).join(" "));
    words.retain(|word| !word.is_empty());
    let zone = or(fields.zone.get_clone(), "UTC");
    if zone != "UTC" {
        words.push(format!("--zone {}", shell(zone.trim())));
    }
    let missed = fields.missed.get_clone();
    if missed != "once" {
        words.push(format!("--missed {missed}"));
    }
    words.push(format!("--account {account}"));
    words.join(" ")
}
