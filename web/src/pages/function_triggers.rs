//! A function's triggers: jobs that submit themselves, by a clock.

mod form;
mod when;

use protocol::api::Page;
use protocol::trigger::{Missed, SetTrigger, Trigger};
use sycamore::prelude::*;

use self::when::{following, wall_clock};
use crate::calls;
use crate::load::{Action, Resource, sleep, undisturbed};
use crate::pages::function::Subject;
use crate::session::Here;
use crate::ui::dialog::{Confirm, confirm};
use crate::ui::page::badge;
use crate::ui::time::time;

/// How often it is looked what the triggers have done.
const LOOKS_EVERY_MS: i32 = 10_000;

/// The tab.
pub(crate) fn triggers(subject: Subject) -> View {
    let account = subject.here.account.clone();
    let list = Resource::new(move || {
        let account = account.clone();
        async move { calls::jobs::triggers(&account).await }
    });
    sycamore::futures::spawn_local_scoped(async move {
        loop {
            sleep(LOOKS_EVERY_MS).await;
            undisturbed().await;
            list.reload();
        }
    });
    let (here, name) = (subject.here.clone(), subject.name.clone());
    let table = list.view(2, move |page| table(&here, &name, page, list));
    let jobs = subject.here.path(&format!("jobs/list?function={}", subject.name));
    let form = form::form(&subject, list);
    view! {
        section(class="section") {
            div(class="section-head") {
                h2 { "Triggers" }
                p(class="about") { "At their times, or for each message of a queue, they submit a job: once." }
                a(href=jobs) { "The function's jobs" }
            }
            (table)
        }
        (form)
    }
}

/// Whether the trigger's job is one of this function.
fn is_of(trigger: &Trigger, function: &str) -> bool {
    trigger.job.function.split('@').next() == Some(function)
}

fn table(here: &Here, function: &str, page: Page<Trigger>, list: Resource<Page<Trigger>>) -> View {
    let rows: Vec<View> =
        page.items.into_iter().filter(|one| is_of(one, function)).map(|one| row(here, one, list)).collect();
    if rows.is_empty() {
        return view! {
            p(class="nothing") { "None yet. One with the pattern " code { "0 8 * * 1-5" } " runs it at eight on working days." }
        };
    }
    view! {
        table(class="rows") {
            thead {
                tr {
                    th(scope="col") { "Name" }
                    th(scope="col") { "When" }
                    th(scope="col") { "Next" }
                    th(scope="col", class="spare") { "Missed" }
                    th(scope="col") { "Last" }
                    th(scope="col") { span(class="unseen") { "Actions" } }
                }
            }
            tbody { (rows) }
        }
    }
}

fn missed_words(missed: Missed) -> &'static str {
    match missed {
        Missed::Skip => "left out",
        Missed::Once => "made up once",
        Missed::All => "all made up",
    }
}

/// The server's next time, and those after it on the zone's own clock.
fn next_times(trigger: &Trigger) -> View {
    if trigger.paused {
        return badge("warn", "paused");
    }
    let Some(next) = trigger.next else {
        let word = if trigger.queue.is_some() { "at each message" } else { "never" };
        return view! { span(class="soft") { (word) } };
    };
    let next_view = time(next);
    let words = wall_clock(&trigger.zone, next.0)
        .and_then(|clock| following(trigger.cron.as_deref()?, clock, 2).ok().map(|times| (when::words(clock), times)));
    let words = words.map(|(first, others)| {
        let others: Vec<View> =
            others.into_iter().map(when::words).map(|at| view! { span(class="soft") { (at) } }).collect();
        view! { span { (first) } (others) }
    });
    view! { span(class="next-times") { (next_view) (words) } }
}

fn row(here: &Here, trigger: Trigger, list: Resource<Page<Trigger>>) -> View {
    let name = trigger.name.to_string();
    let (when, more) = match (&trigger.cron, &trigger.queue) {
        (Some(cron), _) => (cron.clone(), trigger.zone.clone()),
        (None, queue) => (queue.as_ref().map(ToString::to_string).unwrap_or_default(), "queue".to_owned()),
    };
    let next = next_times(&trigger);
    let missed = if trigger.queue.is_some() { "–" } else { missed_words(trigger.missed) };
    let last = match (trigger.last, trigger.last_job) {
        (Some(at), Some(job)) => {
            let (at, href) = (time(at), here.path(&format!("jobs/{job}")));
            view! { a(href=href) { (at) } }
        }
        (Some(at), None) => time(at),
        (None, _) => view! { span(class="soft") { "never" } },
    };
    let error = trigger.error.clone().map(|error| view! { span(class="bad-text") { (error) } });
    let label = format!("jobs/list?label={}", crate::nav::encode(&format!("trigger={name}")));
    let jobs = here.path(&label);
    let actions = actions(here, trigger, list);
    view! {
        tr {
            td(data-label="Name") { b { (name) } }
            td(data-label="When") { span(class="two") { code { (when) } span(class="soft") { (more) } } }
            td(data-label="Next", class="wrap") { (next) }
            td(data-label="Missed", class="soft spare") { (missed) }
            td(data-label="Last", class="wrap") { span(class="next-times") { (last) (error) a(class="soft", href=jobs) { "Its jobs" } } }
            td(class="number row-actions") { (actions) }
        }
    }
}

fn actions(here: &Here, trigger: Trigger, list: Resource<Page<Trigger>>) -> View {
    let name = trigger.name.to_string();
    let pause = Action::new();
    let (account, of_pause) = (here.account.clone(), name.clone());
    let word = if trigger.paused { "Go on" } else { "Pause" };
    let turned = SetTrigger {
        cron: trigger.cron,
        queue: trigger.queue,
        zone: Some(trigger.zone),
        missed: trigger.missed,
        paused: !trigger.paused,
        job: trigger.job,
    };
    let press = move |_| {
        let (account, name, turned) = (account.clone(), of_pause.clone(), turned.clone());
        pause.run(async move {
            calls::jobs::set_trigger(&account, &name, &turned).await?;
            list.reload();
            Ok(())
        });
    };
    let ask = Confirm {
        trigger: "Delete",
        class: "quiet small",
        title: format!("Delete the trigger {name}?"),
        effects: vec!["It submits no more jobs. Those that it has submitted stay.".to_owned()],
        confirm: "Delete",
        typed: None,
    };
    let account = here.account.clone();
    let delete = confirm(ask, move || {
        let (account, name) = (account.clone(), name.clone());
        async move {
            calls::jobs::delete_trigger(&account, &name).await?;
            list.reload();
            Ok(())
        }
    });
    let trouble = pause.view();
    view! {
        button(class="quiet small", r#type="button", disabled=pause.busy.get(), on:click=press) { (word) }
        (delete)
        (trouble)
    }
}
