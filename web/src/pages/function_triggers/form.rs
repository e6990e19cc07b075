//! A new trigger, or a changed one.

use std::rc::Rc;

use protocol::Name;
use protocol::api::Page;
use protocol::job::SubmitJob;
use protocol::trigger::{SetTrigger, Trigger};
use sycamore::prelude::*;

use super::when::{following, own_zone, wall_clock, words, zones};
use crate::api::{Result, Trouble};
use crate::calls;
use crate::format::shell;
use crate::load::Resource;
use crate::pages::function::Subject;
use crate::pages::jobs::draft::{Draft, of_job};
use crate::pages::jobs::form::{self as parts, Known, TRIGGER_INPUTS};
use crate::pages::jobs::same::{flags, target};
use crate::ui::code::code_block;
use crate::ui::form::{Choice, Control, Field, Form, Part, Text, sending};
use crate::ui::page;
use crate::ui::time::now_ms;

/// So many times of a pattern are told.
const TIMES_TOLD: usize = 3;

const MISSED: &[Choice] = &[
    ("once", "Made up once", "One job for all that passed while the platform was down."),
    ("skip", "Left out", "A time is missed once it is more than 60 seconds past; the next time is the next one."),
    ("all", "All made up", "A job for each, up to a hundred. Times of a pause are never made up."),
];

const BY: &[Choice] = &[
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
    let send = sending(move || {
        let account = account.clone();
        async move {
            let asked = fields.asked(draft, &account).await?;
            let name = fields.name.get_clone_untracked();
            calls::jobs::set_trigger(&account, name.trim(), &asked).await.map_err(of_job)?;
            for written in [fields.name, fields.cron, fields.queue] {
                written.set(String::new());
            }
            list.reload();
            Ok(())
        }
    });
    let form = Form {
        parts: fields.parts(draft, known, subject.here.account.clone()),
        action: draft.action,
        submit: "Set the trigger",
        busy: "Setting…",
        beside: view! {},
        send,
    };
    let account = subject.here.account.clone();
    let command = View::from_dynamic(move || code_block(cli(fields, draft, &account), "command"));
    let panel = view! { section { h2 { "The same, elsewhere" } p(class="soft as") { "As CLI" } (command) } };
    let body = page::beside(form.view(), panel);
    page::section("New trigger", "With the name of one that is there, it changes that one.", body)
}

impl Fields {
    fn by_queue(self) -> bool {
        self.by.with(|by| by == "queue")
    }

    /// The queue that was named, made where the account has none of that name.
    async fn ready_queue(self, account: &str) -> Result<Name> {
        let named = self.queue.get_clone_untracked();
        let queue: Name = named
            .trim()
            .parse()
            .map_err(|error| Trouble::of_input("queue", format!("{error}."), "Small letters, digits and -."))?;
        let there = calls::jobs::queues(account).await?.items;
        if !there.iter().any(|one| one.name == queue) {
            calls::jobs::make_queue(account, queue.as_str()).await.map_err(|trouble| trouble.at("queue"))?;
        }
        Ok(queue)
    }

    /// What the form asks for.
    async fn asked(self, draft: Draft, account: &str) -> Result<SetTrigger> {
        let written = untrack(|| draft.written());
        if untrack(|| self.by_queue()) {
            let queue = self.ready_queue(account).await?;
            return Ok(SetTrigger { queue: Some(queue), ..SetTrigger::of(written.job()?) });
        }
        let zone = self.zone.get_clone_untracked();
        Ok(SetTrigger {
            cron: Some(self.cron.get_clone_untracked().trim().to_owned()),
            zone: Some(zone.trim().to_owned()).filter(|zone| !zone.is_empty()),
            missed: self.missed.get_clone_untracked().parse().unwrap_or_default(),
            ..SetTrigger::of(SubmitJob { input: written.inline()?, ..written.job()? })
        })
    }

    fn parts(self, draft: Draft, known: Known, account: String) -> Vec<Part> {
        let by_queue = create_selector(move || self.by_queue());
        let by_clock = create_selector(move || !by_queue.get());
        let code = |name, placeholder| Text { name, placeholder, code: true, ..Text::default() };
        let name = Field::new("name", "Name", Control::Line(code("name", "nightly")), self.name);
        let mut parts = vec![
            Part::Field(Field::new("by", "When", Control::Choices("by", BY), self.by)),
            Part::Field(name),
            Part::While(by_clock, self.clock_parts(code("cron", "0 8 * * 1-5"))),
            Part::While(by_queue, vec![Part::Field(self.queue_field(code("queue", "orders"), account))]),
            Part::Field(parts::version_field(draft, known).also("function")),
            Part::While(by_clock, parts::input_parts(draft, TRIGGER_INPUTS)),
        ];
        parts.push(parts::room_part(draft, known, || None));
        parts.push(parts::again_part(draft, known));
        parts.extend([parts::end_part(draft), parts::request_part(draft)]);
        parts
    }

    /// Pattern and zone, the times that they mean, and what becomes of those that pass.
    fn clock_parts(self, cron: Text) -> Vec<Part> {
        let zone = Text { name: "zone", list: "zones", optional: true, ..Text::default() };
        let zones = *create_signal(zones());
        let times = vec![
            Field::new("cron", "Pattern", Control::Line(cron), self.cron),
            Field::new("zone", "Time zone", Control::Suggested(zone, zones), self.zone),
        ];
        let told = create_selector(move || told(&self.cron.get_clone(), &self.zone.get_clone()));
        vec![
            Part::Noted("Its times", times, Rc::new(move || told.get_clone())),
            Part::Field(Field::new("missed", "Missed times", Control::Choices("missed", MISSED), self.missed)),
        ]
    }

    /// The queue, and how messages come into it.
    fn queue_field(self, how: Text, account: String) -> Field {
        let queues = Resource::new(move || {
            let account = account.clone();
            async move { calls::jobs::queues(&account).await }
        });
        let names = create_selector(move || {
            let known = queues.ready().map(|page| page.items).unwrap_or_default();
            known.into_iter().map(|one| one.name.to_string()).collect::<Vec<_>>()
        });
        let told = move || {
            let queue = self.queue.get_clone();
            let queue = if queue.trim().is_empty() { "orders" } else { queue.trim() };
            let put = format!("crowdcloud queues put {} 'a message'", shell(queue));
            format!("One that is not there yet is made. Messages come by: {put}")
        };
        let control = Control::Suggested(Text { list: "queues", ..how }, names);
        Field::new("queue", "Queue", control, self.queue).told(Rc::new(told))
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
