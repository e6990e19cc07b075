//! What the account's jobs are doing: what needs attention, counts by state, what waits and runs, which functions fail.

use protocol::api::Page;
use protocol::job::{Job, JobCounts, JobState, JobSummary};
use protocol::{JobId, Timestamp};
use sycamore::prelude::*;

use super::by_function::{OfFunction, by_function};
use super::filter::{ENDED, Filter, OPEN, WENT_WRONG};
use super::{empty, head_with, live, table};
use crate::calls;
use crate::charts::{Segment, stacked_bar};
use crate::format;
use crate::load::{Action, Load, Resource};
use crate::session::Here;
use crate::ui::icon;
use crate::ui::job_bar::state_words;
use crate::ui::period::{Period, Span, of_url, period_choice};
use crate::ui::table::{Column, Table};
use crate::ui::tile::{Delta, More, Tile, tiles};
use crate::ui::time::now_ms;
use crate::ui::trouble::trouble_view;

/// A job that has waited so long needs attention.
const WAITS_LONG_MS: i64 = 600_000;
/// So many of those that wait or run are shown.
const OPEN_SHOWN: usize = 10;
/// So many dead ones are shown.
const DEAD_SHOWN: usize = 5;
/// Functions are judged by so many of the newest jobs.
const NEWEST: u32 = 100;

/// The page.
pub(crate) fn overview() -> View {
    let here = Here::get();
    let word = of_url();
    let period = create_selector(move || Period::parse(&word.get_clone()));
    let head = head_with(&here, "Jobs", "What waits, what runs, and how it ends.", period_choice(word));
    let account = here.account.clone();
    let newest = Resource::new(move || {
        let account = account.clone();
        async move { calls::jobs::newest(&account, NEWEST).await }
    });
    crate::live::reload_on_jobs(here.account.clone(), newest);
    // What is shown waits for itself: it is asked for while the newest jobs are still on their way, and only once.
    let stage = create_selector(move || match newest.data.get_clone() {
        Load::Waiting => Ok(false),
        Load::Ready(page) => Ok(page.items.is_empty()),
        Load::Failed(trouble) => Err(trouble),
    });
    let body = View::from_dynamic(move || match stage.get_clone() {
        Ok(true) => empty(&here),
        Ok(false) => filled(&here, period, newest),
        Err(trouble) => trouble_view(trouble),
    });
    view! { (head) (body) }
}

/// What is known of a period.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    now: JobSummary,
    before: JobCounts,
    period: Period,
    span: Span,
}

fn filled(here: &Here, period: ReadSignal<Period>, newest: Resource<Page<Job>>) -> View {
    let account = here.account.clone();
    let figures = Resource::every(
        move || period.get().refresh_ms(),
        move || {
            let (account, period) = (account.clone(), period.get_untracked());
            async move {
                let span = period.span();
                let asked = (calls::usage::jobs(&account, span), calls::usage::jobs(&account, period.before()));
                let (now, before) = futures::future::try_join(asked.0, asked.1).await?;
                Ok(Figures { now, before: before.counts, period, span })
            }
        },
    );
    crate::live::reload_on_jobs(here.account.clone(), figures);
    let (of_attention, of_tiles, of_states) = (here.clone(), here.clone(), here.clone());
    let attention = View::from_dynamic(move || figures.ready().map(|figures| attention_view(&of_attention, &figures)));
    let tiles = figures.view(3, move |figures| tiles(tiles_of(&of_tiles, &figures, now_ms())));
    let states = View::from_dynamic(move || figures.ready().map(|figures| states_view(&of_states, &figures)));
    let open = open_part(here);
    let dead = dead_part(here);
    let functions = functions_part(here, newest);
    view! {
        (attention)
        (tiles)
        (states)
        (open)
        (dead)
        (functions)
    }
}

/// The list of jobs in these states; those that ended, in the period.
fn rows(here: &Here, states: &[JobState], span: Span) -> String {
    let ended = states.iter().all(|state| state.ended());
    let filter = Filter {
        ended_from: ended.then_some(span.from),
        ended_to: ended.then_some(span.to),
        ..Filter::of_states(states)
    };
    filter.href(&here.path("jobs/list"))
}

/// A line of what needs attention, and the states of its rows.
type Line = (String, &'static [JobState]);

fn attention(figures: &Figures, now_ms: i64) -> Vec<Line> {
    let counts = &figures.now.counts;
    let mut lines: Vec<Line> = Vec::new();
    if counts.dead > 0 {
        let jobs = format::count(counts.dead, "job");
        lines.push((format!("{jobs} used up every try in {}", figures.period.words()), &[JobState::Dead]));
    }
    if let Some(since) = figures.now.waiting_since.filter(|since| now_ms - since.0 >= WAITS_LONG_MS) {
        let minutes = (now_ms - since.0) / 60_000;
        lines.push((format!("A job has waited for a node for {minutes} min"), &[JobState::Queued]));
    }
    lines
}

fn attention_view(here: &Here, figures: &Figures) -> View {
    let lines = attention(figures, now_ms());
    if lines.is_empty() {
        return view! {};
    }
    let lines: Vec<View> = lines
        .into_iter()
        .map(|(words, states)| {
            let href = rows(here, states, figures.span);
            view! { li { a(href=href) { (icon::icon(icon::ALERT)) (words) } } }
        })
        .collect();
    view! { ul(class="attention", aria-label="Needs attention") { (lines) } }
}

fn tiles_of(here: &Here, figures: &Figures, now_ms: i64) -> Vec<Tile> {
    let Figures { now: JobSummary { counts, waiting_since, .. }, before, period, span } = figures;
    let against = format!("against {} before", period.words().trim_start_matches("the last "));
    let judged = |counts: &JobCounts| counts.ended() - counts.cancelled;
    let percent = |counts: &JobCounts| format::wide(counts.went_wrong()) / format::wide(judged(counts)) * 100.0;
    let apart = |against| Delta::points(percent(counts), percent(before), against);
    let tile = |title, figure: String, note: String, states: &[JobState]| Tile {
        title,
        figure,
        note,
        delta: None,
        moved: Vec::new(),
        parts: Vec::new(),
        href: rows(here, states, *span),
    };
    let oldest = |since: &Timestamp| format!("oldest due {}", format::relative(since.0, now_ms));
    let waiting = waiting_since.as_ref().map_or_else(|| "none could run now".to_owned(), oldest);
    let hours = format::wide(u64::try_from(period.length_ms()).unwrap_or(0)) / 3.6e6;
    let an_hour = format::figures(format::wide(counts.ended()) / hours);
    let wrong = format!("{} of {}", format::thousands(counts.went_wrong()), format::count(judged(counts), "job"));
    vec![
        tile("Waiting", format::compact(counts.queued), waiting, &[JobState::Queued]),
        tile(
            "Running",
            format::compact(counts.running + counts.placed),
            format!("{} being placed", format::compact(counts.placed)),
            &[JobState::Placed, JobState::Running],
        ),
        Tile {
            delta: Delta::of(
                format::wide(counts.ended()),
                format::wide(before.ended()),
                More::IsNeutral,
                against.clone(),
            ),
            ..tile("Ended", format::compact(counts.ended()), format!("{an_hour} an hour"), ENDED)
        },
        Tile {
            delta: (judged(counts) > 0 && judged(before) > 0).then(|| apart(against)),
            ..tile("Failure rate", format::percent(counts.went_wrong(), judged(counts)), wrong, WENT_WRONG)
        },
    ]
}

/// The colour of a state.
const fn tone(state: JobState) -> &'static str {
    match state {
        JobState::Queued | JobState::Cancelled => "soft",
        JobState::Placed | JobState::Running => "accent",
        JobState::Succeeded => "good",
        JobState::TimedOut => "warn",
        JobState::Failed | JobState::Dead => "bad",
    }
}

/// The counts as a bar, and each of them as a link to its rows.
fn states_view(here: &Here, figures: &Figures) -> View {
    let counts = figures.now.counts;
    let there = || JobState::ALL.into_iter().filter(move |state| counts.of(*state) > 0);
    let segments = there().map(|state| Segment {
        name: state_words(state).to_owned(),
        value: format::wide(counts.of(state)),
        class: tone(state),
        href: Some(rows(here, &[state], figures.span)),
    });
    let bar = stacked_bar(segments.collect());
    let links: Vec<View> = there()
        .map(|state| {
            let href = rows(here, &[state], figures.span);
            let class = format!("state-key {}", tone(state));
            let count = format::thousands(counts.of(state));
            view! { li { a(class=class, href=href) { b { (count) } " " (state_words(state)) } } }
        })
        .collect();
    let about = format!("Open ones now; the others ended in {}.", figures.period.words());
    view! {
        section(class="section") {
            div(class="section-head") { h2 { "By state" } p(class="about") { (about) } }
            (bar)
            ul(class="state-keys") { (links) }
        }
    }
}

/// What waits and runs, live.
fn open_part(here: &Here) -> View {
    let list = live::list(here.account.clone(), *create_signal(Filter::of_states(OPEN)));
    let first = shortened(list, OPEN_SHOWN);
    let all = Filter::of_states(OPEN).href(&here.path("jobs/list"));
    let none = || view! { p(class="nothing") { "Nothing waits, and nothing runs." } };
    let rows = table::live(table::short_table(here, first).empty(none), first);
    view! {
        section(class="section") {
            div(class="section-head") { h2 { "Waiting and running now" } a(href=all) { "All active jobs" } }
            (rows)
        }
    }
}

/// The first few of a live list.
fn shortened(list: Resource<Page<Job>>, count: usize) -> Resource<Page<Job>> {
    let first = Resource::fed();
    create_effect(move || match list.data.get_clone() {
        Load::Waiting => {}
        Load::Ready(Page { items, next }) => {
            first.put(Ok(Page { items: items.into_iter().take(count).collect(), next }));
        }
        Load::Failed(trouble) => first.put(Err(trouble)),
    });
    first
}

/// Dead ones, each with another try; nothing where there is none.
fn dead_part(here: &Here) -> View {
    let list = live::list(here.account.clone(), *create_signal(Filter::of_states(&[JobState::Dead])));
    let there = create_selector(move || list.ready().is_some_and(|page| !page.items.is_empty()));
    let here = here.clone();
    View::from_dynamic(move || {
        if !there.get() {
            return view! {};
        }
        let first = shortened(list, DEAD_SHOWN);
        let of_retry = here.clone();
        let again = Column::new("Try again", move |job: &Job| retry_button(&of_retry, job.id)).number();
        let rows = table::live(table::short_table(&here, first).column(again), first);
        let all = Filter::of_states(&[JobState::Dead]).href(&here.path("jobs/list"));
        view! {
            section(class="section") {
                div(class="section-head") {
                    h2 { "Dead jobs" }
                    p(class="about") { "Every try is used up. They are kept until they are tried again or too old." }
                    a(href=all) { "All dead jobs" }
                }
                (rows)
            }
        }
    })
}

fn retry_button(here: &Here, job: JobId) -> View {
    let action = Action::new();
    let account = here.account.clone();
    let press = move |_| {
        let account = account.clone();
        // The list follows by itself.
        action.run(async move { calls::jobs::retry(&account, job).await.map(drop) });
    };
    view! {
        button(class="secondary small", r#type="button", disabled=action.busy.get(), on:click=press) { "Try again" }
        (action.view())
    }
}

/// Failing and slow functions, of the newest jobs.
fn functions_part(here: &Here, newest: Resource<Page<Job>>) -> View {
    let rows = create_selector(move || newest.ready().map(|page| by_function(&page.items)).unwrap_or_default());
    let list = here.path("jobs/list");
    let name = move |one: &OfFunction| {
        let name = one.name.to_string();
        let href = Filter { function: Some(name.clone()), ..Filter::default() }.href(&list);
        view! { a(class="strong", href=href) { (name) } }
    };
    // Not links: they count the newest only, and no list is of just these.
    let wrong = |one: &OfFunction| format!("{} ({})", one.wrong, format::percent(one.wrong, one.jobs)).into();
    let told = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), format::micros);
    let key = |one: &OfFunction| (one.name.clone(), one.jobs, one.wrong, one.wait_us, one.run_us);
    let table = Table::new("functions", key)
        .column(Column::new("Function", name).lead())
        .column(Column::new("Jobs", |one: &OfFunction| one.jobs.into()).number())
        .column(Column::new("Went wrong", wrong).number().mark().worded())
        .column(Column::new("Waited", move |one: &OfFunction| told(one.wait_us).into()).number().note().worded())
        .column(Column::new("Ran", move |one: &OfFunction| told(one.run_us).into()).number().figure().worded())
        .plain();
    let table = table.view(rows);
    let there = create_selector(move || rows.with(|rows| !rows.is_empty()));
    let about = format!("Of the newest {NEWEST} jobs: failing ones first, then slow ones. Times are medians.");
    view! {
        section(class="section", hidden=!there.get()) {
            div(class="section-head") { h2 { "Slow and failing functions" } p(class="about") { (about) } }
            (table)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Figures, WAITS_LONG_MS, attention, rows, tiles_of};
    use crate::session::Here;
    use crate::ui::period::Period;
    use protocol::Timestamp;
    use protocol::api::Role;
    use protocol::job::{JobCounts, JobState, JobSummary};

    fn figures(counts: JobCounts, waiting_since: Option<Timestamp>) -> Figures {
        let now = JobSummary { counts, waiting_since, ..JobSummary::default() };
        Figures { now, before: JobCounts::default(), period: Period::Day, span: Period::Day.span_at(1_000_000_000) }
    }

    #[test]
    fn only_what_needs_attention_is_told() {
        let quiet = figures(JobCounts { queued: 3, failed: 9, ..JobCounts::default() }, Some(Timestamp(1)));
        assert!(attention(&quiet, WAITS_LONG_MS).is_empty());
        let loud = figures(JobCounts { queued: 3, dead: 2, ..JobCounts::default() }, Some(Timestamp(0)));
        let lines = attention(&loud, WAITS_LONG_MS + 5_000);
        let words: Vec<&str> = lines.iter().map(|(words, _)| words.as_str()).collect();
        let expected = ["2 jobs used up every try in the last 24 hours", "A job has waited for a node for 10 min"];
        assert_eq!(words, expected);
    }

    #[test]
    fn figures_lead_to_the_rows_that_they_sum() {
        let here = Here { account: "ada".to_owned(), role: Role::Member };
        let span = Period::Day.span_at(1_000_000_000);
        assert_eq!(
            rows(&here, &[JobState::Queued], span),
            "/a/ada/jobs/list?state=queued",
            "open ones are of no period"
        );
        let dead = rows(&here, &[JobState::Dead], span);
        assert!(
            dead.starts_with("/a/ada/jobs/list?state=dead&ended_from=1970") && dead.contains("&ended_to="),
            "{dead}"
        );
    }

    #[test]
    fn rates_leave_the_cancelled_out() {
        let here = Here { account: "ada".to_owned(), role: Role::Member };
        let counts = JobCounts { succeeded: 6, dead: 1, timed_out: 1, cancelled: 92, ..JobCounts::default() };
        let tiles = tiles_of(&here, &figures(counts, None), 0);
        let told: Vec<(&str, &str, &str)> =
            tiles.iter().map(|tile| (tile.title, tile.figure.as_str(), tile.note.as_str())).collect();
        assert_eq!(told[2], ("Ended", "100", "4.17 an hour"));
        assert_eq!(told[3], ("Failure rate", "25 %", "2 of 8 jobs"));
    }
}
