//! An account at a glance: what needs attention, what happened in a period, what goes on; or the first steps.
//!
//! Every figure is of `GET /usage`, `GET /usage/now` or `GET /jobs/summary`, and leads to the rows that it counts.

mod attention;
mod chart;
mod figures;
mod first_steps;
mod lists;
mod now;
mod tiles;

use protocol::api::UsageReport;
use protocol::job::JobSummary;
use sycamore::prelude::*;

pub(crate) use self::first_steps::first_steps;
use crate::calls;
use crate::load::{Resource, after_frame};
use crate::session::Here;
use crate::ui::page;
use crate::ui::period::{self, Period, Span};

/// Grey rows in place of the page's parts.
const ROWS: u8 = 8;

/// Usage of a period, and what was asked for: the choice may be another one by the time of the answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) period: Period,
    pub(super) span: Span,
    pub(super) report: UsageReport,
}

/// Jobs of a period, and of as much of the one before.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Jobs {
    pub(super) span: Span,
    pub(super) now: JobSummary,
    pub(super) before: JobSummary,
}

/// What the page is made of.
#[derive(Clone, Copy)]
pub(super) struct Data {
    pub(super) period: ReadSignal<Period>,
    /// By time.
    pub(super) moved: Resource<Told>,
    /// As much of the period before.
    pub(super) before: Resource<Told>,
    pub(super) by_function: Resource<Told>,
    pub(super) by_source: Resource<Told>,
    pub(super) jobs: Resource<Jobs>,
    /// The month so far, by day.
    pub(super) month: Resource<Told>,
}

/// The page.
pub(crate) fn dashboard() -> View {
    let here = Here::get();
    let word = period::of_url();
    let new = here.path("functions/new");
    let choice = period::period_choice(word);
    let actions = view! { (choice) a(class="primary", href=new) { "New function" } };
    let head = page::head("Dashboard", "", actions);
    let account = here.account.clone();
    let any = Resource::new(move || {
        let account = account.clone();
        async move { calls::any_function(&account).await }
    });
    // What is shown waits for itself: it is asked for while that is still on its way, and only once.
    let empty = create_selector(move || any.ready() == Some(false));
    let body = View::from_dynamic(move || match empty.get() {
        true => first_steps(&here),
        false => filled(&here, word),
    });
    view! { (head) (body) }
}

fn filled(here: &Here, word: Signal<String>) -> View {
    let period = create_selector(move || word.with(|word| Period::parse(word)));
    let data = Data::of(here, period);
    let here = here.clone();
    after_frame(ROWS, move || parts(&here, data))
}

fn parts(here: &Here, data: Data) -> View {
    let attention = attention::attention(here, data);
    let tiles = tiles::tiles(here, data);
    let chart = chart::chart(here, data);
    let now = now::now(here);
    let (busiest, failing) = (lists::busiest(here, data), lists::failing(here, data));
    let activity = lists::activity(here);
    view! {
        (attention)
        (tiles)
        div(class="two-thirds") { (chart) (now) }
        div(class="halves") { (busiest) (failing) }
        (activity)
    }
}

impl Data {
    fn of(here: &Here, period: ReadSignal<Period>) -> Self {
        let usage = |by: fn(Period) -> &'static str, span: fn(Period) -> Span| {
            let account = here.account.clone();
            Resource::every(
                move || period.get().refresh_ms(),
                move || {
                    let (account, period) = (account.clone(), period.get());
                    let (by, span) = (by(period), span(period));
                    async move {
                        let report = calls::usage::report(&account, by, span, "").await?;
                        Ok(Told { period, span, report })
                    }
                },
            )
        };
        let account = here.account.clone();
        let jobs = Resource::every(
            move || period.get().refresh_ms(),
            move || {
                let (account, span, before) = (account.clone(), period.get().span(), period.get().before());
                async move {
                    let asked = (calls::usage::jobs(&account, span), calls::usage::jobs(&account, before));
                    let (now, before) = futures::future::try_join(asked.0, asked.1).await?;
                    Ok(Jobs { span, now, before })
                }
            },
        );
        Self {
            period,
            moved: usage(Period::by, Period::span),
            before: usage(|_| "source", Period::before),
            by_function: usage(|_| "function", Period::span),
            by_source: usage(|_| "source", Period::span),
            jobs,
            month: usage(|_| "day", |_| figures::month_at(crate::ui::time::now_ms())),
        }
    }
}
