//! A new trigger, or a changed one.

use protocol::Name;
use protocol::api::Page;
use protocol::job::SubmitJob;
use protocol::queue::Queue;
use protocol::trigger::{SetTrigger, Trigger};
use sycamore::prelude::*;

use super::when::{following, own_zone, wall_clock, words, zones};
use crate::calls;
use crate::format::shell;
use crate::load::Resource;
use crate::pages::function::Subject;
use crate::pages::jobs::draft::Draft;
use crate::pages::jobs::field::{Field, wrong};
use crate::pages::jobs::form::{self as parts, Known, TRIGGER_INPUTS};
use crate::pages::jobs::same::{flags, target};
use crate::ui::code::code_block;
use crate::ui::form::{self, Text};
use crate::ui::page;
use crate::ui::time::now_ms;

/// So many times of a pattern are told.
const TIMES_TOLD: usize = 3;

const MISSED: &[(&str, &str, &str)] = &[
    ("once", "Made up once", "One job for all that passed while the platform was down."),
    ("skip", "Left out", "A time is missed once it is more than 60 seconds past; the next time is the next one."),
    ("all", "All made up", "A job for each, up to a hundred. Times of a pause are never made up."),
];

const BY: &[(&str, &str, &str)] = &[
    ("clock", "At its times", "By a pattern, on the clock of a zone."),
    ("queue", "For each message", "Of a queue. The message is the job's input."),
];

#[derive(Clone, Copy)]
struct Fields {
    name: Signal<String>,
    by: Signal<String>,
    queue: Signal<String>,
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
        by: create_signal("clock".to_owned()),
        queue: create_signal(String::new()),
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
            let asked = if untrack(|| fields.by_queue()) {
                let queue = fields.ready_queue(&account).await?;
                SetTrigger { queue: Some(queue), ..SetTrigger::of(written.job()?) }
            } else {
                let zone = fields.zone.get_clone_untracked();
                SetTrigger {
                    cron: Some(fields.cron.get_clone_untracked().trim().to_owned()),
                    zone: Some(zone.trim().to_owned()).filter(|zone| !zone.is_empty()),
                    missed: fields.missed.get_clone_untracked().parse().unwrap_or_default(),
                    ..SetTrigger::of(SubmitJob { input: written.inline()?, ..written.job()? })
                }
            };
            calls::jobs::set_trigger(&account, fields.name.get_clone_untracked().trim(), &asked).await?;
            fields.name.set(String::new());
            fields.cron.set(String::new());
            fields.queue.set(String::new());
            list.reload();
            Ok(())
        });
    };
    let version = parts::version_menu(draft, known);
    let account = subject.here.account.clone();
    let command = View::from_dynamic(move || code_block(cli(fields, draft, &account), "command"));
    let account = subject.here.account.clone();
    let queues = Resource::new(move || {
        let account = account.clone();
        async move { calls::jobs::queues(&account).await }
    });
    let when = View::from_dynamic(move || match fields.by_queue() {
        true => queue_part(draft, fields, queues),
        false => clock_part(draft, fields),
    });
    let input = View::from_dynamic(move || match fields.by_queue() {
        true => view! {},
        false => parts::input_part(draft, TRIGGER_INPUTS),
    });
    let fields = view! {
        form(class="form", on:submit=send) {
            (form::choices("When", "by", fields.by, BY))
            (when)
            div(class="field-part") {
                label(class="field") { span(class="field-label") { "Version" } (version) }
                (draft.wrong([Field::Function]))
            }
            (input)
            (parts::room_part(draft, known, || None))
            (parts::again_part(draft, known))
            (parts::end_part(draft))
            (parts::request_part(draft))
            (draft.other_trouble())
            (form::submit("Set the trigger", "Setting…", draft.action))
        }
    };
    let panel = view! { section { h2 { "The same, elsewhere" } p(class="soft as") { "As CLI" } (command) } };
    let body = page::beside(fields, panel);
    page::section("New trigger", "With the name of one that is there, it changes that one.", body)
}

impl Fields {
    fn by_queue(self) -> bool {
        self.by.with(|by| by == "queue")
    }

    /// The queue that was named, made where the account has none of that name.
    async fn ready_queue(self, account: &str) -> crate::api::Result<Name> {
        let named = self.queue.get_clone_untracked();
        let queue: Name = named
            .trim()
            .parse()
            .map_err(|error| wrong("queue", format!("{error}."), "Small letters, digits and -."))?;
        let there = calls::jobs::queues(account).await?.items;
        if !there.iter().any(|one| one.name == queue) {
            calls::jobs::make_queue(account, queue.as_str()).await.map_err(|trouble| trouble.at("queue"))?;
        }
        Ok(queue)
    }
}

fn line(draft: Draft, name: &'static str, placeholder: &'static str, of: &'static [Field]) -> Text {
    Text { name, placeholder, code: true, wrong: Some(draft.is_wrong(of)), ..Text::default() }
}

/// Name and queue, and how messages come into it.
fn queue_part(draft: Draft, fields: Fields, queues: Resource<Page<Queue>>) -> View {
    let name = form::field("Name", "", form::text(fields.name, line(draft, "name", "orders-in", &[Field::Name])));
    let wrong = draft.is_wrong([Field::Queue]);
    let invalid = move || wrong.get().then_some("true");
    let names = View::from_dynamic(move || {
        let known = queues.ready().map(|page| page.items).unwrap_or_default();
        let names = known.into_iter().map(|one| one.name.to_string());
        let names: Vec<View> = names.map(|name| view! { option(value=name) {} }).collect();
        view! { (names) }
    });
    let put = move || {
        let queue = fields.queue.get_clone();
        let queue = if queue.trim().is_empty() { "orders" } else { queue.trim() };
        format!("crowdcloud queues put {} 'a message'", shell(queue))
    };
    view! {
        div(class="field-part") {
            div(class="three") {
                (name)
                label(class="field") {
                    span(class="field-label") { "Queue" }
                    input(
                        class="input mono", name="queue", list="queues", placeholder="orders", autocomplete="off",
                        "spellcheck"="false", aria-invalid=invalid(), bind:value=fields.queue,
                    )
                    datalist(id="queues") { (names) }
                }
            }
            p(class="hint") { "A queue that is not there yet is made. Messages come by " code { (put()) } }
            (draft.wrong([Field::Name, Field::Queue]))
        }
    }
}

/// Name, pattern and zone, and the times that they mean.
fn clock_part(draft: Draft, fields: Fields) -> View {
    let name = form::field("Name", "", form::text(fields.name, line(draft, "name", "nightly", &[Field::Name])));
    let cron = form::field("Pattern", "", form::text(fields.cron, line(draft, "cron", "0 8 * * 1-5", &[Field::Cron])));
    let wrong = draft.is_wrong([Field::Zone]);
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
            (draft.wrong([Field::Name, Field::Cron, Field::Zone]))
        }
        (form::choices("Missed times", "missed", fields.missed, MISSED))
    }
}

/// What the pattern means, while it is written.
fn told(cron: &str, zone: &str) -> String {
    if cron.trim().is_empty() {
        return "Minute, hour, day, month, weekday; or @hourly, @daily, @weekly, @monthly, @yearly.".to_owned();
    }
    let zone = if zone.trim().is_empty() { "UTC" } else { zone.trim() };
    let Some(now) = wall_clock(zone, now_ms()) else {
        return format!(
            "{zone} is no time zone that this browser knows; a zone has a place's name, such as Europe/Berlin."
        );
    };
    match following(cron, now, TIMES_TOLD) {
        Ok(times) if times.is_empty() => "There is no such time.".to_owned(),
        Ok(times) => format!("Next: {} ({zone})", times.into_iter().map(words).collect::<Vec<_>>().join(" · ")),
        Err(error) => error,
    }
}

fn cli(fields: Fields, draft: Draft, account: &str) -> String {
    let mut written = draft.written();
    if fields.by_queue() {
        written.text.clear();
    }
    let or = |value: String, otherwise: &str| if value.trim().is_empty() { otherwise.to_owned() } else { value };
    let name = or(fields.name.get_clone(), "NAME");
    let mut words = vec![format!("crowdcloud triggers set {} {}", shell(name.trim()), target(&written))];
    if fields.by_queue() {
        words.push(format!("--queue {}", shell(or(fields.queue.get_clone(), "QUEUE").trim())));
    } else {
        words.push(format!("--cron {}", shell(or(fields.cron.get_clone(), "0 8 * * 1-5").trim())));
    }
    words.insert(1, flags(&written).join(" "));
    words.retain(|word| !word.is_empty());
    let zone = or(fields.zone.get_clone(), "UTC");
    if zone != "UTC" && !fields.by_queue() {
        words.push(format!("--zone {}", shell(zone.trim())));
    }
    let missed = fields.missed.get_clone();
    if missed != "once" && !fields.by_queue() {
        words.push(format!("--missed {missed}"));
    }
    words.push(format!("--account {account}"));
    words.join(" ")
}
