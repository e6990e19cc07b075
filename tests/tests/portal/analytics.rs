//! Analytics: every figure behind a chart is the API's, and leads to as many rows; the charts are drawn under the policy of
//! the page, without a word in the console.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::Platform;

use crate::browser::Browser;

/// Calls and jobs of several outcomes; the jobs' ids come back when all of them have ended.
const TRAFFIC: &str = "const headers = { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' }; \
    const post = (path, body) => fetch('/api/v1' + path, { method: 'POST', headers, body: JSON.stringify(body) }); \
    const test = path => post('/functions/probe/test', { method: 'GET', path }); \
    const job = (path, more) => post('/jobs', { function: 'probe', path, ...more }).then(answer => answer.json()); \
    const ended = ({ id }) => fetch(`/api/v1/jobs/${id}?wait=30s`, { headers }).then(answer => answer.json()); \
    const paths = ['/echo', '/echo', '/echo', '/status/302', '/status/404', '/status/404', '/status/503', '/trap']; \
    const calls = Promise.all([...paths.map(test), fetch('/f/ada/probe/echo'), fetch('/f/ada/probe/echo')]); \
    const jobs = [job('/echo'), job('/echo'), job('/status/503'), job('/status/503', { retries: 1, backoff: '50ms' })]; \
    return calls.then(() => Promise.all(jobs)).then(made => Promise.all(made.map(ended))) \
        .then(all => all.map(({ state }) => state).sort().join())";

/// Runs of all this: ten calls, and five tries of four jobs.
const RUNS: u64 = 15;

/// The settled runs that the API tells of.
const SETTLED: &str = "return fetch('/api/v1/usage', { headers: { 'x-crowdcloud-account': 'ada' } }) \
    .then(answer => answer.json()).then(report => Number(report.total.runs))";

async fn with_traffic(platform: &Platform) -> Browser {
    let ada = Browser::open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.deploys("ada", "probe", &tests::guest("probe"), "public").await;
    assert_eq!(ada.script(TRAFFIC).await, "dead,failed,succeeded,succeeded");
    let deadline = Instant::now() + Duration::from_secs(60);
    while ada.script(SETTLED).await != RUNS {
        assert!(Instant::now() < deadline, "{} runs are settled, not {RUNS}", ada.script(SETTLED).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What the console was told before: nobody was logged in, and there was no such function.
    drop(ada.console().await);
    ada
}

/// Where the table behind the breakdown differs from `GET /usage`: nowhere.
const DIFFERENCES: &str = "const by = document.querySelector('select[name=by]').value; \
    const table = document.querySelector('#breakdown .sheet table'); \
    const heads = [...table.querySelectorAll('thead th')].map(th => th.textContent); \
    const shown = []; \
    for (const row of table.querySelectorAll('tbody tr')) { \
        const cells = [...row.children]; \
        const at = Date.parse(cells[0].dataset.value); \
        heads.forEach((head, i) => { if (i > 0 && head !== 'All' && +cells[i].dataset.value > 0) \
            shown.push(`${at} ${head} ${cells[i].dataset.value}`); }); \
    } \
    const from = new Date(Date.now() - 3600e3).toISOString(); \
    return fetch(`/api/v1/usage?by=minute,${by}&limit=200&from=${from}`, { headers: { 'x-crowdcloud-account': 'ada' } }) \
        .then(answer => answer.json()).then(({ items }) => { \
            const told = items.map(({ at, name, usage }) => `${Date.parse(at)} ${name} ${usage.runs}`); \
            return [...told.filter(one => !shown.includes(one)), ...shown.filter(one => !told.includes(one))].join('; '); \
        })";

/// The links of the breakdown's table: where each leads, and how many rows it counts.
const LINKS: &str = "return [...document.querySelectorAll('#breakdown .sheet tbody a')] \
    .map(link => [link.getAttribute('href'), Number(link.parentElement.dataset.value)])";

const ROWS: &str = ".rows tbody tr";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_of_analytics_are_the_apis_and_lead_to_their_rows() {
    let platform = Platform::start();
    let ada = with_traffic(&platform).await;
    for by in ["status", "function", "version", "lane", "source", "principal", "member"] {
        ada.visit(&format!("/a/ada/analytics?period=1h&by={by}")).await;
        ada.element(&format!("#breakdown tfoot td:last-child[data-value='{RUNS}']")).await;
        assert_eq!(ada.script(DIFFERENCES).await, "", "{by}");
        if !["status", "source", "principal"].contains(&by) {
            continue;
        }
        let links = ada.script(LINKS).await;
        let links: Vec<(String, usize)> = serde_json::from_value(links).unwrap();
        assert!(!links.is_empty(), "{by} leads nowhere");
        let counted: usize = links.iter().map(|(_, rows)| rows).sum();
        assert_eq!(counted as u64, RUNS, "{by}: every run is behind a link");
        for (href, rows) in links.iter().take(4) {
            ada.visit(href).await;
            ada.counts(ROWS, *rows).await;
        }
    }

    // Jobs by how they ended.
    ada.visit("/a/ada/analytics?period=1h").await;
    for (state, jobs) in [("succeeded", 2), ("failed", 1), ("dead", 1)] {
        let cell = format!("#states th[data-value={state}] + td[data-value='{jobs}'] a");
        let href = ada.element(&cell).await.attr("href").await.unwrap().unwrap();
        ada.visit(&href).await;
        ada.counts(ROWS, jobs).await;
        ada.goes_back().await;
    }

    // Key metrics: the same definitions as everywhere, and their rows.
    for (tile, figure, rows) in [("Requests", "10", 10), ("Jobs, by tries", "5", 5)] {
        let path = format!("//a[contains(@class,'tile')][span[.='{tile}']][.//b[.='{figure}']]");
        ada.clicks_path(&path).await;
        ada.counts(ROWS, rows).await;
        ada.goes_back().await;
    }

    // Filters stand in the URL, and hold for all of it.
    ada.selects("lane", "vm").await;
    ada.arrives("/a/ada/analytics?period=1h&lane=vm").await;
    ada.sees("Nothing ran in this period.").await;
    ada.visit("/a/ada/analytics?period=1h&function=probe&version=1&who=public&compare=1").await;
    ada.element("#breakdown tfoot td:last-child[data-value='2']").await;
    let files = ada.script("return [...document.querySelectorAll('#breakdown .chart-files button')].length").await;
    assert_eq!(files, 2);
    assert_eq!(ada.console().await, Vec::<String>::new());
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}

/// Places of drawn charts, by the part of the page; only of those that have something to show.
const DRAWN: &str = "return [...document.querySelectorAll('.chart')].filter(part => \
    part.querySelector('.chart-place[data-drawn=true] svg path')).map(part => part.id).join()";

/// The size of the charts' script over the wire.
const SIZE: &str = "const [file] = performance.getEntriesByType('resource').filter(({ name }) => name.includes('/charts-')); \
    return file ? file.encodedBodySize : 0";

/// The middle of the highest bar of answered runs.
const BAR: &str = "const probe = document.createElement('i'); probe.style.color = 'var(--good)'; document.body.append(probe); \
    const good = getComputedStyle(probe).color; probe.remove(); \
    const plot = document.querySelector('#breakdown .chart-place'); \
    plot.scrollIntoView({ block: 'center', behavior: 'instant' }); \
    const same = fill => { const other = document.createElement('i'); other.style.color = fill; document.body.append(other); \
        const colour = getComputedStyle(other).color; other.remove(); return colour === good; }; \
    const boxes = [...plot.querySelectorAll('path')].filter(path => same(path.getAttribute('fill') || '')) \
        .map(path => path.getBoundingClientRect()).filter(box => box.height > 2) \
        .sort((one, other) => other.height - one.height); \
    return boxes.length ? [boxes[0].x + boxes[0].width / 2, boxes[0].y + boxes[0].height / 2] : null";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_charts_are_drawn_without_a_word_in_the_console() {
    let platform = Platform::start();
    let ada = with_traffic(&platform).await;
    // No page without charts brings them.
    ada.visit("/a/ada/functions").await;
    ada.sees("probe").await;
    assert_eq!(ada.script(SIZE).await, 0);

    ada.visit("/a/ada/analytics?period=1h").await;
    let all = "breakdown,states,months,cpu,memory,latency,starts";
    let deadline = Instant::now() + Duration::from_secs(30);
    while ada.script(DRAWN).await != all {
        assert!(Instant::now() < deadline, "drawn: {}", ada.script(DRAWN).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let size = ada.script(SIZE).await.as_u64().unwrap();
    assert!((20_000..=190_000).contains(&size), "the charts are {size} bytes");

    // Both schemes, and each width.
    for scheme in ["dark", "light"] {
        ada.prefers(scheme).await;
        for width in [360, 768, 1440] {
            ada.is_wide(width).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            let beyond = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(ada.script(beyond).await, 0, "wider than {width}");
        }
    }

    // A bar leads to as many rows as it counts.
    let bar = ada.script(BAR).await;
    let place: Vec<f64> = bar.as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    ada.clicks_at(place[0], place[1]).await;
    ada.sees("Runs").await;
    let place = ada.place().await;
    assert!(place.starts_with("/a/ada/runs?") && place.contains("status=2xx"), "{place}");
    ada.element(ROWS).await;
    assert_eq!(ada.console().await, Vec::<String>::new());
}
