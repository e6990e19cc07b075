//! Data as nobody expects it: texts that are markup, run from right to left or cannot be seen; numbers that JavaScript has
//! not; more functions than anybody looks through.

use serde_json::json;
use tests::Platform;

use crate::browser::Browser;

/// Markup around a word that runs from right to left.
const MARKUP: &str = "<b id=hit>\u{5e9}\u{5dc}\u{5d5}\u{5dd}</b>";
/// Turns what follows it, and has a space that nobody sees.
const UNSEEN: &str = "\u{202e}<i id=hit>exe.\u{200b}txt</i>";

/// A key, a job and a message with such texts; and a call.
const MADE: &str = "const send = (method, path, body) => fetch('/api/v1' + path, { method, body: JSON.stringify(body), \
        headers: { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' } }).then(answer => answer.status); \
    return Promise.all([send('POST', '/keys', { name: MARKUP, scopes: ['read'] }), \
        send('POST', '/jobs', { function: 'probe', path: '/echo', input: { text: UNSEEN }, labels: { text: MARKUP } }), \
        send('POST', '/functions/probe/test', { method: 'GET', path: '/' + encodeURIComponent(MARKUP) }), \
        send('PUT', '/queues/orders', {}).then(() => \
            send('POST', '/queues/orders/messages', { messages: [{ body: { text: UNSEEN } }] }))]) \
        .then(all => all.filter(status => status >= 300).join())";

/// The page is told of ten thousand functions from now on, which are all like `probe`.
const MANY: &str = "const real = window.fetch, count = 10000; \
    const page = (model, asked) => { \
        const from = Number(asked.get('cursor') || 0), length = Math.min(Number(asked.get('limit')), count - from); \
        const items = Array.from({ length }, (_, i) => { \
            const name = `fn-${String(from + i).padStart(5, '0')}`; \
            return { ...model, name, id: model.id.slice(0, -5) + name.slice(-5), path: `/f/ada/${name}/` }; }); \
        const next = from + length < count ? String(from + length) : null; \
        return new Response(JSON.stringify({ items, next }), { headers: { 'content-type': 'application/json' } }); }; \
    return real('/api/v1/functions/probe', { headers: { 'x-crowdcloud-account': 'ada' } }).then(answer => answer.json()) \
        .then(model => { window.fetch = (...asked) => { \
            const url = new URL(asked[0].url || asked[0], location.href); \
            const ours = url.pathname === '/api/v1/functions' && !url.searchParams.has('deleted'); \
            return ours ? Promise.resolve(page(model, url.searchParams)) : real(...asked); }; return true; })";

/// The page is told of a hundred thousand jobs from now on, which are all like the newest one.
const MANY_JOBS: &str = "const real = window.fetch, count = 100000; \
    const page = (model, asked) => { \
        const from = Number(asked.get('cursor') || 0), length = Math.min(Number(asked.get('limit')), count - from); \
        const items = Array.from({ length }, (_, i) => ({ ...model, labels: { row: String(from + i) }, \
            id: model.id.slice(0, -5) + String(count - 1 - from - i).padStart(5, '0') })); \
        const next = from + length < count ? String(from + length) : null; \
        return new Response(JSON.stringify({ items, next }), { headers: { 'content-type': 'application/json' } }); }; \
    return real('/api/v1/jobs?limit=1', { headers: { 'x-crowdcloud-account': 'ada' } }).then(answer => answer.json()) \
        .then(({ items: [model] }) => { window.fetch = (...asked) => { \
            const url = new URL(asked[0].url || asked[0], location.href); \
            return url.pathname === '/api/v1/jobs' ? Promise.resolve(page(model, url.searchParams)) : real(...asked); \
        }; return true; })";

/// A job that has ended; and a call.
const ENDED: &str = "const send = (path, body) => fetch('/api/v1' + path, { method: 'POST', body: JSON.stringify(body), \
        headers: { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' } }).then(answer => answer.json()); \
    const state = job => fetch(`/api/v1/jobs/${job.id}?wait=30s`, { headers: { 'x-crowdcloud-account': 'ada' } }) \
        .then(answer => answer.json()).then(job => job.state); \
    return send('/functions/probe/test', { method: 'GET', path: '/' }) \
        .then(() => send('/jobs', { function: 'probe', path: '/echo' })).then(state)";

/// Figures of the API are one more than 2^53 from now on. The digits are put into the text of the response: a number of
/// JavaScript would not hold them.
const BEYOND: &str = r#"const real = window.fetch, digits = '9007199254740993';
    const figures = { '/api/v1/usage': /("total":\{"runs":"?)\d+/, '/api/v1/jobs/summary': /("succeeded":"?)\d+/ };
    window.fetch = async (...asked) => {
        const response = await real(...asked);
        const figure = figures[new URL(asked[0].url || asked[0], location.href).pathname];
        if (!figure) return response;
        const text = (await response.text()).replace(figure, (_, before) => before + digits);
        return new Response(text, { status: response.status, headers: { 'content-type': 'application/json' } });
    }"#;

/// Goes to older rows; how long it takes until the first of them is drawn, in milliseconds.
const OLDER: &str = "const begun = performance.now(), first = () => \
        (document.querySelector('.jobs tbody .job-labels') || {}).textContent, before = first(); \
    [...document.querySelectorAll('.table-end a')].find(one => one.textContent === 'Older').click(); \
    const frame = () => new Promise(done => requestAnimationFrame(done)); \
    const drawn = () => frame().then(() => first() && first() !== before ? performance.now() - begun : drawn()); \
    return drawn()";

/// How long the next page of the rows takes until it is drawn, in milliseconds.
const TURNED: &str = "const begun = performance.now(); \
    [...document.querySelectorAll('.table-end button')].find(one => one.textContent === 'Next').click(); \
    const frame = () => new Promise(done => requestAnimationFrame(done)); \
    return frame().then(frame).then(() => performance.now() - begun)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strange_texts_are_texts() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.deploys("ada", "probe", &tests::guest("probe"), "private").await;
    let made = MADE.replace("MARKUP", &json!(MARKUP).to_string()).replace("UNSEEN", &json!(UNSEEN).to_string());
    assert_eq!(ada.script(&made).await, "");

    let texts = [
        ("/a/ada/settings/keys", MARKUP.to_owned()),
        ("/a/ada/jobs/list", format!("text={MARKUP}")),
        ("/a/ada/queues/orders", "\\u{202e}<i id=hit>exe.\\u{200b}txt</i>".to_owned()),
        // A run keeps its path as it was sent, and no query.
        ("/a/ada/runs", "/%3Cb%20id%3Dhit%3E".to_owned()),
    ];
    for (place, text) in texts {
        ada.visit(place).await;
        ada.sees(&text).await;
        assert!(ada.script("return document.getElementById('hit')").await.is_null(), "{place} takes texts for markup");
    }
    ada.visit("/a/ada/jobs/list").await;
    ada.clicks("td.job-cell a[href*='/jobs/job_']").await;
    ada.sees("200 OK").await;
    assert!(ada.script("return document.getElementById('hit')").await.is_null(), "an output is taken for markup");

    // What cannot be seen is refused in what is a name, at its field.
    ada.visit("/a/ada/jobs/new").await;
    ada.sees("Deployed as v1").await;
    ada.clicks("details.end summary").await;
    ada.fills("labels", "text=a\u{200b}b").await;
    ada.presses("Submit the job").await;
    ada.sees("U+200B, which cannot be seen").await;
    ada.element("textarea[name=labels][aria-invalid=true]").await;

    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_beyond_what_javascript_holds_are_exact() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.deploys("ada", "probe", &tests::guest("probe"), "private").await;
    assert_eq!(ada.script(ENDED).await, "succeeded");
    ada.script(BEYOND).await;
    let exact = "9\u{202f}007\u{202f}199\u{202f}254\u{202f}740\u{202f}993";
    ada.clicks("nav.places a[href$='/jobs']").await;
    ada.tells("return (document.querySelector('.state-keys b') || {}).textContent", exact).await;
    for place in ["/a/ada/analytics", "/a/ada"] {
        ada.clicks(&format!("nav.places a[href='{place}']")).await;
        ada.sees(&format!("of {exact} runs")).await;
    }
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_functions_are_found_and_turned_at_once() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.deploys("ada", "probe", &tests::guest("probe"), "private").await;
    ada.visit("/a/ada/nodes").await;
    ada.sees("local-1").await;
    assert_eq!(ada.script(MANY).await, true);
    ada.clicks("nav.places a[href$='/functions']").await;
    ada.sees("of 10\u{202f}000").await;
    let took = ada.script(TURNED).await.as_f64().unwrap();
    assert!(took < 1_000.0, "the next page took {took} ms");
    ada.sees("fn-00050").await;
    ada.fills("q", "09999").await;
    ada.counts(".rows.lines tbody tr", 1).await;
    ada.sees("fn-09999").await;
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_jobs_are_turned_page_by_page() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.deploys("ada", "probe", &tests::guest("probe"), "private").await;
    ada.visit("/a/ada/jobs/new?function=probe").await;
    ada.sees("Deployed as v1").await;
    ada.clicks("details.request summary").await;
    ada.fills("path", "/echo").await;
    ada.presses("Submit the job").await;
    ada.sees("200 OK").await;
    assert_eq!(ada.script(MANY_JOBS).await, true);
    ada.clicks("nav.places a[href$='/jobs']").await;
    ada.presses("Job list").await;
    ada.sees("row=49").await;
    for page in 1..4 {
        let took = ada.script(OLDER).await.as_f64().unwrap();
        assert!(took < 1_000.0, "older jobs took {took} ms");
        ada.sees(&format!("row={}", page * 50 + 49)).await;
        // What was turned away is gone from the page: it never holds more than it shows.
        ada.counts(".jobs .rows.lines tbody tr", 50).await;
    }
    ada.presses("The newest").await;
    ada.sees("row=49").await;
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}
