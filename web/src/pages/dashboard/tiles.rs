//! Four figures: jobs, failures, traffic, and what the month came to.

use protocol::api::UsageSums;
use sycamore::prelude::*;

use super::figures::{self, Bin, counted, failed, share};
use super::{Data, Jobs, Told};
use crate::charts::Segment;
use crate::format;
use crate::session::Here;
use crate::ui::period::Span;
use crate::ui::tile::{Delta, More, Tile, tile};
use crate::ui::time::now_ms;

/// The tiles. Each is there at once, and has its figure as soon as that has come.
pub(super) fn tiles(here: &Here, data: Data) -> View {
    let before = create_memo(move || data.before.ready().map(|told| told.report.total));
    let bins = create_memo(move || data.moved.ready().map(|told| (bins_of(&told), told)));
    let here = here.clone();
    let (of_jobs, of_failures, of_traffic, of_month) = (here.clone(), here.clone(), here.clone(), here);
    let against = move || format!("compared with the same time before {}", data.period.get().words());
    let jobs = View::from_dynamic(move || tile(jobs(&of_jobs, data.jobs.ready(), against())));
    let failures = View::from_dynamic(move || tile(failures(&of_failures, bins.get_clone(), before.get(), against())));
    let traffic = View::from_dynamic(move || tile(traffic(&of_traffic, bins.get_clone(), before.get(), against())));
    let month = View::from_dynamic(move || tile(month(&of_month, data.month.ready())));
    view! { div(class="tiles") { (jobs) (failures) (traffic) (month) } }
}

fn bins_of(told: &Told) -> Vec<Bin> {
    figures::bins(&told.report.items, told.span, told.period.column_ms())
}

/// A tile whose figure has not come yet.
fn waiting(title: &'static str, href: String) -> Tile {
    let figure = "–".to_owned();
    Tile { title, figure, note: String::new(), delta: None, moved: Vec::new(), parts: Vec::new(), href }
}

fn jobs(here: &Here, jobs: Option<Jobs>, against: String) -> Tile {
    const TITLE: &str = "Job summary";
    let Some(Jobs { span, now, before }) = jobs else { return waiting(TITLE, here.path("jobs/list")) };
    let counts = now.counts;
    let total = counts.open() + counts.ended();
    let part = |name: &str, value: u64, class| Segment {
        name: name.to_owned(),
        value: format::wide(value),
        class,
        href: None,
    };
    let parts = vec![
        part("succeeded", counts.succeeded, "good"),
        part("went wrong", counts.went_wrong(), "bad"),
        part("cancelled", counts.cancelled, "soft"),
        part("open", counts.open(), "accent"),
    ];
    let (now, then) = (format::wide(counts.ended()), format::wide(before.counts.ended()));
    // All of them are on two pages of the list: the ended ones of the period are the larger part.
    let href = if counts.ended() == 0 && counts.open() > 0 {
        here.path("jobs/list?state=queued,placed,running")
    } else {
        here.path(&format!("jobs/list?ended_from={}&ended_to={}", span.from, span.to))
    };
    Tile {
        title: TITLE,
        figure: format::compact(total),
        note: format!("{} ended · {} open", format::compact(counts.ended()), format::compact(counts.open())),
        delta: Delta::of(now, then, More::IsNeutral, against),
        moved: Vec::new(),
        parts: if total == 0 { Vec::new() } else { parts },
        href,
    }
}

fn failures(here: &Here, bins: Option<(Vec<Bin>, Told)>, before: Option<UsageSums>, against: String) -> Tile {
    const TITLE: &str = "Failure rate";
    let Some((bins, told)) = bins else { return waiting(TITLE, here.path("runs")) };
    let total = told.report.total;
    let of = counted(&total);
    let rate = |sums: &UsageSums| share(failed(sums), counted(sums));
    let delta = rate(&total).zip(before.as_ref().and_then(rate));
    Tile {
        title: TITLE,
        figure: format::percent(failed(&total), of),
        note: format!("of {} · platform {}", format::many(of, "run"), format::percent(total.platform_failed, of)),
        delta: delta.map(|(now, before)| Delta::points(now, before, against)),
        moved: bins.iter().map(|bin| rate(&bin.sums).unwrap_or(0.0)).collect(),
        parts: Vec::new(),
        href: here.path(&format!("runs?outcome=failed,timed_out&{}", told.span.query())),
    }
}

fn traffic(here: &Here, bins: Option<(Vec<Bin>, Told)>, before: Option<UsageSums>, against: String) -> Tile {
    const TITLE: &str = "Traffic";
    let Some((bins, told)) = bins else { return waiting(TITLE, here.path("runs")) };
    let total = told.report.total;
    Tile {
        title: TITLE,
        figure: format::compact(total.runs),
        note: format!("runs · {} in · {} out", format::bytes(total.bytes_in.0), format::bytes(total.bytes_out.0)),
        delta: before.and_then(|before| {
            Delta::of(format::wide(total.runs), format::wide(before.runs), More::IsNeutral, against)
        }),
        moved: bins.iter().map(|bin| format::wide(bin.sums.runs)).collect(),
        parts: Vec::new(),
        href: here.path(&format!("runs?{}", told.span.query())),
    }
}

/// What the month came to: as long as nothing has a price, the usage itself.
fn month(here: &Here, told: Option<Told>) -> Tile {
    const TITLE: &str = "Usage this month";
    let href = here.path("analytics?period=30d");
    let Some(Told { span, report, .. }) = told else { return waiting(TITLE, href) };
    let total = report.total;
    let until_now = Span { to: protocol::Timestamp(now_ms()), ..span };
    let forecast = figures::forecast(total.cpu_us, span, now_ms());
    let forecast = forecast.map(|us| format!("forecast {} · ", format::cpu_hours(us))).unwrap_or_default();
    Tile {
        title: TITLE,
        figure: format::cpu_hours(total.cpu_us),
        note: format!("{forecast}{} out", format::bytes(total.bytes_out.0)),
        delta: None,
        moved: figures::bins(&report.items, until_now, DAY_MS)
            .iter()
            .map(|bin| format::wide(bin.sums.cpu_us))
            .collect(),
        parts: Vec::new(),
        href,
    }
}

const DAY_MS: i64 = 86_400_000;
