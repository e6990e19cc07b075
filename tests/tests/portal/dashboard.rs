//! The dashboard: its figures are the API's, and each leads to as many rows as it says.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::Platform;

use crate::browser::Browser;
use crate::windows::Journey;

/// Eight calls of which two fail, and two jobs.
const WORK: &str = "const send = (path, body) => fetch('/api/v1' + path, { method: 'POST', body: JSON.stringify(body), \
        headers: { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' } }); \
    const call = path => send('/functions/probe/test', { method: 'GET', path }); \
    const job = () => send('/jobs', { function: 'probe', path: '/status/200' }); \
    const paths = ['/', '/', '/', '/', '/', '/', '/trap', '/trap']; \
    return Promise.all([...paths.map(call), job(), job()]).then(all => all.length)";

/// What the API says of the period that the link of a figure names: `usage` and `jobs`.
const OF_API: &str = "const links = [...document.querySelectorAll('a.tile')]; \
    const query = new URL(links[2].href).searchParams; \
    const period = `from=${query.get('from')}&to=${query.get('to')}`; \
    const get = path => fetch('/api/v1' + path, { headers: { 'x-crowdcloud-account': 'ada' } }).then(a => a.json()); \
    return Promise.all([get(`/usage?by=function&${period}`), get(`/jobs/summary?${period}`)]) \
        .then(([usage, jobs]) => ({ usage: usage.total, jobs: jobs.counts }))";

/// The figures of the page, by what they are called.
const OF_PAGE: &str = "const told = (all, name, figure) => Object.fromEntries([...document.querySelectorAll(all)] \
        .map(one => [name(one), figure(one)])); \
    return { tiles: told('a.tile', t => t.querySelector('.tile-title').textContent, t => t.querySelector('b').textContent), \
        keys: told('a.key', k => k.firstChild.textContent.trim(), k => k.querySelector('b').textContent) }";

/// How many parts of the portal came since it was loaded: all of them once, after the first click.
const PARTS: &str =
    "return performance.getEntriesByType('resource').filter(one => one.name.includes('/split_')).length";

/// How often the page has asked for what it asks for once; and for all else before anything is due again.
const ASKED: &str = "const asked = performance.getEntriesByType('resource').filter(one => one.name.includes('/api/v1/')); \
    const once = ['/me', '/functions?', '/keys?'].map(part => asked.filter(one => one.name.includes('v1' + part)).length); \
    const soon = asked.filter(one => one.startTime < asked[0].startTime + 2500); \
    return { once, soon: soon.length, of: soon.map(one => one.name) }";
/// The user, functions, keys, five reports of usage, two summaries of jobs, usage now, runs; and the codes of those that fail.
const ASKED_MAX: u64 = 14;

/// From now on the API's responses tell of another release of the portal.
const NEWER: &str = "const real = window.fetch; \
    window.fetch = (...asked) => real(...asked).then(answer => { \
        const headers = new Headers(answer.headers); \
        if (!headers.has('x-crowdcloud-portal')) return answer; \
        headers.set('x-crowdcloud-portal', 'newer'); \
        return new Response(answer.body, { status: answer.status, headers }); })";

/// Waits until `script` gives what `fits`.
async fn until(user: &Browser, script: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let value = user.script(script).await;
        if fits(&value) {
            return value;
        }
        assert!(Instant::now() < deadline, "{value}\n{}", user.text().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_of_the_dashboard_are_the_api_s_and_lead_to_as_many_rows() {
    let platform = Platform::start();
    let ada = Journey::Dashboard.open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.sees("From nothing to a call").await;
    ada.deploys("ada", "probe", &tests::guest("probe"), "private").await;
    assert_eq!(ada.script(WORK).await, 10);

    ada.visit("/a/ada?period=1h").await;
    ada.sees("Requests and jobs").await;
    assert_eq!(ada.script(PARTS).await, 0, "what the dashboard needs is in the first module");
    until(&ada, "return document.querySelectorAll('a.tile[href*=from]').length", |count| *count == 3).await;
    let asked = until(&ada, ASKED, |asked| asked["once"] == serde_json::json!([1, 1, 1])).await;
    assert!(asked["soon"].as_u64().unwrap() <= ASKED_MAX, "{asked}");
    let api = until(&ada, OF_API, |api| api["usage"]["runs"] == 10 && api["jobs"]["succeeded"] == 2).await;
    assert_eq!(api["usage"]["failed"], 2);
    // The page follows by itself.
    let page = until(&ada, OF_PAGE, |page| page["tiles"]["Traffic"] == "10" && page["keys"]["failed"] == "2").await;
    assert_eq!(page["keys"]["succeeded"], "8");
    assert_eq!(page["keys"]["cancelled"], "0");
    until(&ada, OF_PAGE, |page| page["tiles"]["Job summary"] == "2").await;
    assert_eq!(page["tiles"]["Failure rate"], "20 %");
    ada.sees("8 requests · 2 runs of jobs").await;
    let asked = ada.script(ASKED).await;
    assert_eq!(asked["once"], serde_json::json!([1, 1, 1]), "{asked}");

    // A figure leads to the rows that it counts.
    let rows = "return document.querySelectorAll('table.rows tbody tr').length";
    for (figure, expected) in
        [("a.key[href*='outcome=failed&']", 2), ("a.key[href*=succeeded]", 8), ("a.tile:nth-child(3)", 10)]
    {
        ada.clicks(figure).await;
        ada.element("main h1").await;
        ada.sees("Calls and tries of jobs").await;
        until(&ada, rows, |count| *count == expected).await;
        ada.goes_back().await;
        ada.sees("Requests and jobs").await;
    }
    until(&ada, PARTS, |count| *count == 4).await;
    ada.clicks("a.tile:nth-child(1)").await;
    until(&ada, rows, |count| *count == 2).await;
    ada.goes_back().await;

    // What fails is told, with its code.
    ada.sees("Failing functions").await;
    ada.sees("trap").await;
    // The period is a part of the URL, and Back brings it back.
    ada.presses("7 d").await;
    ada.arrives("/a/ada?period=7d").await;
    until(&ada, OF_PAGE, |page| page["tiles"]["Traffic"] == "10").await;
    // A release that is newer than the page is told of; the page stays as it is.
    assert!(!ada.text().await.contains("newer version"));
    ada.script(NEWER).await;
    ada.presses("30 d").await;
    ada.sees("The platform has a newer version of this page.").await;
    ada.arrives("/a/ada?period=30d").await;
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_has_four_places_and_more_and_tiles_two_by_two() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.deploys("ada", "probe", &tests::guest("probe"), "private").await;
    ada.is_wide(360).await;
    ada.visit("/a/ada").await;
    ada.sees("Activity").await;
    let tops = "return [...document.querySelectorAll('a.tile')].map(tile => tile.getBoundingClientRect().top)";
    let tops = ada.script(tops).await;
    assert!(tops[0] == tops[1] && tops[2] == tops[3] && tops[0] != tops[2], "{tops}");
    let seen = "return [...document.querySelectorAll('nav.places > *')].filter(one => one.offsetParent).length";
    assert_eq!(ada.script(seen).await, 5);
    ada.presses("More").await;
    ada.clicks("#more-places a[href$='/nodes']").await;
    ada.arrives("/a/ada/nodes").await;
    ada.sees("local-1").await;
    assert_eq!(ada.script("return document.querySelectorAll('[popover]:popover-open').length").await, 0);
}
