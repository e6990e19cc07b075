//! Pages of the portal in a browser: loaded with an empty cache, and changed by clicks.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::browser::Browser;

use super::transfers::Transfers;

/// What a slow machine behind a slow line has.
pub(super) const SLOW_DOWN: u32 = 4;
pub(super) const LINE_BITS_PER_SECOND: u32 = 10_000_000;

const THERE_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A page has brought everything when nothing came for so long; those that follow what happens are never quiet for ever.
const QUIET: Duration = Duration::from_millis(500);
const QUIET_WITHIN: Duration = Duration::from_secs(15);

/// Looks at each frame of each page whether it is there: it has a heading, nothing waits, and no tile lacks its figure.
const WATCH: &str = "(() => { \
    const there = () => document.querySelector('main h1') && !document.querySelector('main [aria-busy=true]') \
        && [...document.querySelectorAll('a.tile b')].every(figure => figure.textContent !== '\\u2013'); \
    const look = () => { \
        if (!window.headingAt && document.querySelector('main h1')) window.headingAt = performance.now(); \
        if (there()) window.thereAt = performance.now(); else requestAnimationFrame(look); \
    }; \
    look(); })()";

/// When the page was there; none before.
pub(super) const FIGURES_AT: &str = "return window.thereAt ?? null";
/// The same of a page with large charts, whose script comes later.
pub(super) const CHARTS_AT: &str =
    "return document.querySelector('.chart-place[data-drawn=true] svg path') ? performance.now() : null";
/// When its heading was there.
const HEADING_AT: &str = "return window.headingAt ?? null";
const FIRST_CONTENT_AT: &str =
    "const [paint] = performance.getEntriesByName('first-contentful-paint'); return paint ? paint.startTime : null";

/// Clicks through the places of the sidebar, from the second to the last and then the first; milliseconds of each change,
/// from the click to the frame in which nothing waits any more.
const CHANGES: &str = "const change = link => new Promise((done, failed) => { \
        const old = document.querySelector('main h1'); \
        const began = performance.now(); \
        const look = () => { \
            const head = document.querySelector('main h1'); \
            const took = performance.now() - began; \
            if (head && head !== old && !document.querySelector('main [aria-busy=true]')) done(took); \
            else if (took > 20000) failed(new Error(`${link.href} does not come`)); \
            else requestAnimationFrame(look); \
        }; \
        link.click(); \
        requestAnimationFrame(look); \
    }); \
    const [first, ...others] = [...document.querySelectorAll('nav.places a[href]')].filter(link => link.offsetParent); \
    return (async () => { \
        const times = []; \
        for (const link of [...others, first]) times.push(await change(link)); \
        return times; \
    })()";

/// One page, loaded.
pub(super) struct Load {
    pub(super) first_content_ms: f64,
    /// When its heading was there; none where it has none.
    pub(super) heading_ms: Option<f64>,
    pub(super) there_ms: f64,
    pub(super) transfers: Transfers,
}

/// From now on pages note when they are there.
pub(super) async fn watch(browser: &Browser) {
    let params = json!({ "source": WATCH });
    browser.devtools(json!({ "cmd": "Page.addScriptToEvaluateOnNewDocument", "params": params })).await;
}

/// The slow machine and line, or those that there are.
pub(super) async fn slow(browser: &Browser, slow: bool) {
    let (rate, bytes_per_second) = if slow { (SLOW_DOWN, i64::from(LINE_BITS_PER_SECOND / 8)) } else { (1, -1) };
    let line = json!({
        "offline": false,
        "latency": 0,
        "downloadThroughput": bytes_per_second,
        "uploadThroughput": bytes_per_second,
    });
    browser.devtools(json!({ "cmd": "Network.enable", "params": {} })).await;
    browser.devtools(json!({ "cmd": "Network.emulateNetworkConditions", "params": line })).await;
    browser.devtools(json!({ "cmd": "Emulation.setCPUThrottlingRate", "params": { "rate": rate } })).await;
}

/// Loads a page with nothing in the cache, until `there_at` tells a time; cookies stay.
pub(super) async fn cold(browser: &Browser, place: &str, there_at: &str) -> anyhow::Result<Load> {
    browser.visit("about:blank").await;
    browser.devtools(json!({ "cmd": "Network.clearBrowserCache", "params": {} })).await;
    drop(browser.network().await);
    browser.visit(place).await;
    let there_ms = number(browser, there_at).await.with_context(|| format!("{place} is not there"))?;
    let first_content_ms =
        number(browser, FIRST_CONTENT_AT).await.with_context(|| format!("{place} has no content"))?;
    let heading_ms = browser.script(HEADING_AT).await.as_f64();
    Ok(Load { first_content_ms, heading_ms, there_ms, transfers: transfers(browser).await })
}

/// Milliseconds of changes between pages.
pub(super) struct Changes {
    /// To pages that were not shown since the portal was loaded.
    pub(super) first: Vec<f64>,
    /// To pages that were.
    pub(super) again: Vec<f64>,
}

/// Changes between the account's pages, where the dashboard is open: twice to each.
pub(super) async fn changes(browser: &Browser) -> anyhow::Result<Changes> {
    let mut first = round(browser).await?;
    let mut again: Vec<f64> = first.pop().into_iter().collect();
    again.extend(round(browser).await?);
    Ok(Changes { first, again })
}

/// One change to each page of the sidebar, at the end to the one that was open.
async fn round(browser: &Browser) -> anyhow::Result<Vec<f64>> {
    let times = browser.script(CHANGES).await;
    let times: Vec<f64> = serde_json::from_value(times).context("times of changes")?;
    ensure!(times.len() > 1, "the sidebar has no places");
    Ok(times)
}

/// Moves the pointer, as everybody does before a click: the portal then brings the code of its other pages. What came.
pub(super) async fn points(browser: &Browser) -> Transfers {
    drop(browser.network().await);
    // Twice: the pointer may be there already.
    for y in [700, 704] {
        let moved = json!({ "type": "mouseMoved", "x": 120, "y": y });
        browser.devtools(json!({ "cmd": "Input.dispatchMouseEvent", "params": moved })).await;
    }
    transfers(browser).await
}

/// The number that this script returns, once it does.
async fn number(browser: &Browser, script: &str) -> anyhow::Result<f64> {
    let deadline = Instant::now() + THERE_WITHIN;
    loop {
        if let Some(number) = browser.script(script).await.as_f64() {
            return Ok(number);
        }
        ensure!(Instant::now() < deadline, "not within {THERE_WITHIN:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What has come until it is quiet.
async fn transfers(browser: &Browser) -> Transfers {
    let mut transfers = Transfers::default();
    let (deadline, mut last) = (Instant::now() + QUIET_WITHIN, Instant::now());
    while last.elapsed() < QUIET && Instant::now() < deadline {
        let events: Vec<Value> = browser.network().await;
        if !events.is_empty() {
            last = Instant::now();
        }
        events.iter().for_each(|event| transfers.add(event));
        tokio::time::sleep(LOOK_EVERY).await;
    }
    transfers
}
