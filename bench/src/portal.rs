//! `bench portal`: what the portal costs who opens it with an empty cache, logged in, on a slow machine behind a slow
//! line, and how soon its pages change; beside one page of as many bytes from a bare server, which has the same browser,
//! machine and line.

mod floor;
mod pages;
mod transfers;

use std::time::{Duration, Instant};

use anyhow::ensure;
use protocol::Timestamp;
use tests::Platform;
use tests::browser::Browser;

use self::floor::Floor;
use self::pages::{Changes, Load};
use self::transfers::{Part, Transfers};
use crate::checks::{Bound, Check, Goal};
use crate::figures::{Figure, Report, quantile};
use crate::machine::{self, Machine};
use crate::{Options, say};

const ACCOUNT: &str = "bench";
const DASHBOARD: &str = "/a/bench?period=1h";
const ANALYTICS: &str = "/a/bench/analytics?period=1h";
/// Calls that the figures tell of.
const RUNS: u64 = 20;
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
const SETTLED_EVERY: Duration = Duration::from_millis(100);

const KILOBYTES_MAX: f64 = 350.0;
const FIRST_CONTENT_MAX_MS: f64 = 1500.0;
const CHANGE_MAX_MS: f64 = 100.0;

const CALLS: &str = "const calls = Array.from({ length: 20 }, () => fetch('/f/bench/hello/')); \
    return Promise.all(calls).then(all => all.length)";
const SETTLED: &str = "return fetch('/api/v1/usage', { headers: { 'x-crowdcloud-account': 'bench' } }) \
    .then(answer => answer.json()).then(report => Number(report.total.runs))";

/// Some of a round's changes.
type OfChanges = fn(&Changes) -> &[f64];

/// Kinds of changes, and which of a round they are.
const VISITS: [(&str, OfChanges); 2] =
    [("first visit", |changes| changes.first.as_slice()), ("visited before", |changes| changes.again.as_slice())];

/// What the rounds brought.
#[derive(Default)]
struct Rounds {
    dashboard: Vec<Load>,
    floor: Vec<Load>,
    analytics: Vec<Load>,
    /// What came once the pointer moved.
    ahead: Vec<Transfers>,
    changes: Vec<Changes>,
    slow_changes: Vec<Changes>,
}

/// Measures everything.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    for program in ["chromium", "chromedriver"] {
        ensure!(provision::find(program).is_some(), "{program} is not installed");
    }
    let at = Timestamp::now().to_string();
    say("starting the platform");
    let platform = Platform::start();
    let browser = Browser::open_measured(&platform.url).await;
    work(&browser).await?;
    // What the console was told before: nobody was logged in, and there was no such function.
    drop(browser.console().await);
    pages::watch(&browser).await;
    let mut rounds = Rounds::default();
    for round in 1..=options.rounds {
        say(&format!("round {round} of {}", options.rounds));
        rounds.measure(&browser).await?;
    }
    let console = browser.console().await;
    let (figures, goals) = rounds.found();
    let check = Check::new("no page writes to the console", console.is_empty(), console.join("; "));
    let settings = serde_json::json!({
        "rounds": options.rounds,
        "slow_down": pages::SLOW_DOWN,
        "line_bits_per_second": pages::LINE_BITS_PER_SECOND,
        "crowdcloud_version": machine::version(tests::program()),
        "chromium_version": machine::version("chromium"),
    });
    Ok(Report { benchmark: "portal", at, machine: Machine::here(), settings, figures, goals, checks: vec![check] })
}

/// An account with a function that was called.
async fn work(browser: &Browser) -> anyhow::Result<()> {
    browser.signs_up(ACCOUNT, "personal").await;
    browser.deploys(ACCOUNT, "hello", &tests::guest("hello"), "public").await;
    drop(browser.script(CALLS).await);
    let deadline = Instant::now() + SETTLED_WITHIN;
    while browser.script(SETTLED).await != RUNS {
        ensure!(Instant::now() < deadline, "{RUNS} calls are not settled within {SETTLED_WITHIN:?}");
        tokio::time::sleep(SETTLED_EVERY).await;
    }
    Ok(())
}

impl Rounds {
    async fn measure(&mut self, browser: &Browser) -> anyhow::Result<()> {
        pages::slow(browser, true).await;
        let dashboard = pages::cold(browser, DASHBOARD, pages::FIGURES_AT).await?;
        self.ahead.push(pages::points(browser).await);
        self.slow_changes.push(pages::changes(browser).await?);
        let floor = Floor::serve(usize::try_from(dashboard.transfers.bytes())?).await?;
        self.floor.push(pages::cold(browser, &floor.url, pages::FIGURES_AT).await?);
        self.dashboard.push(dashboard);
        self.analytics.push(pages::cold(browser, ANALYTICS, pages::CHARTS_AT).await?);
        pages::slow(browser, false).await;
        pages::cold(browser, DASHBOARD, pages::FIGURES_AT).await?;
        drop(pages::points(browser).await);
        self.changes.push(pages::changes(browser).await?);
        Ok(())
    }

    fn found(&self) -> (Vec<Figure>, Vec<Goal>) {
        const OPENED: &str = "dashboard, cold";
        const FLOOR: &str = "a page of as many bytes, cold";
        let of = |what: &str, figure, loads: &[Load], value: &dyn Fn(&Load) -> f64| {
            Figure::new(what, figure, None, loads.iter().map(value).collect())
        };
        let whole = |load: &Load| kilobytes(load.transfers.bytes() - load.transfers.bytes_of(Part::Charts));
        let bytes = of(OPENED, "kilobytes", &self.dashboard, &whole);
        let mut figures = vec![bytes.clone()];
        for part in Part::ALWAYS {
            let what = format!("{OPENED}: {}", part.name());
            figures.push(of(&what, "kilobytes", &self.dashboard, &|load| kilobytes(load.transfers.bytes_of(part))));
        }
        let charts = format!("analytics, cold: {}", Part::Charts.name());
        let charts =
            of(&charts, "kilobytes", &self.analytics, &|load| kilobytes(load.transfers.bytes_of(Part::Charts)));
        let requests = of(OPENED, "requests", &self.dashboard, &|load| load.transfers.count() as f64);
        let first = of(OPENED, "first_content_ms", &self.dashboard, &|load| load.first_content_ms);
        let there = of(OPENED, "figures_there_ms", &self.dashboard, &|load| load.there_ms);
        let floor_first = of(FLOOR, "first_content_ms", &self.floor, &|load| load.first_content_ms);
        let floor_there = of(FLOOR, "there_ms", &self.floor, &|load| load.there_ms);
        let over = there.over(&floor_there, "there_ratio");
        let heading = of(OPENED, "heading_there_ms", &self.dashboard, &|load| load.heading_ms.unwrap_or(load.there_ms));
        let ahead = self.ahead.iter().map(|came| kilobytes(came.bytes_of(Part::Module))).collect();
        let ahead = Figure::new("code of the other pages, once the pointer moves", "kilobytes", None, ahead);
        let mut goals = vec![
            Goal::new(
                format!("{OPENED}: kilobytes without the large charts"),
                Bound::AtMost,
                KILOBYTES_MAX,
                bytes.median,
            ),
            Goal::new(format!("{OPENED}: first_content_ms"), Bound::AtMost, FIRST_CONTENT_MAX_MS, first.median),
        ];
        figures.extend([charts, ahead, requests, first, heading, there, floor_first, floor_there, over]);
        for (what, rounds, is_goal) in
            [("page change", &self.changes, true), ("page change, slow machine and line", &self.slow_changes, false)]
        {
            for (visit, times) in VISITS {
                let what = format!("{what}, {visit}");
                let of_rounds = |percent| -> Vec<f64> {
                    rounds.iter().map(|round| quantile(&sorted(times(round)), percent)).collect()
                };
                figures.push(Figure::new(&what, "median_ms", None, of_rounds(50)));
                let p95 = Figure::new(&what, "p95_ms", None, of_rounds(95));
                if is_goal {
                    goals.push(Goal::new(format!("{what}: p95_ms"), Bound::AtMost, CHANGE_MAX_MS, p95.median));
                }
                figures.push(p95);
            }
        }
        (figures, goals)
    }
}

fn kilobytes(bytes: u64) -> f64 {
    bytes as f64 / 1000.0
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
