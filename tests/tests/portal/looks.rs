//! Every page fits a phone, a tablet and a desk, in light and in dark, has a name for every control, and nothing that axe
//! holds against it.

use tests::{DoneExt as _, Platform};

use crate::browser::{Browser, PASSWORD};
use crate::lending::Machine;
use crate::windows::{SCHEMES, WIDTHS};

const PHONE: u32 = WIDTHS[0];
/// A small desk: the navigation stands beside the page, which has the least room for its tables.
const DESK: u32 = 1280;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f43_every_page_fits_and_axe_finds_nothing_above_minor() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
    let mut looks = Looks { axe: axe(), pages: 0 };
    for place in ["/login", "/signup", "/forgot", "/reset/token"] {
        looks.visits(&ada, place).await;
    }
    ada.is_wide(1280).await;
    ada.signs_up("ada", "company").await;
    ada.deploys("ada", "a-function-with-a-long-name", &tests::guest("probe"), "public").await;
    ada.fills("path", &format!("/status/404?{}", "long".repeat(40))).await;
    ada.presses("Send").await;
    ada.sees("404 Not Found").await;

    let function = "/a/ada/functions/a-function-with-a-long-name";
    let job = ada.script(JOB_AND_TRIGGER).await;
    let job = job.as_str().unwrap();
    ada.script(MESSAGES).await;
    let node = ada.script(FIRST_NODE).await;
    let node = node.as_str().unwrap();
    let run = ada.script(NEWEST_RUN).await;
    let run = run.as_str().unwrap();
    let places = [
        "/a/ada".to_owned(),
        "/a/ada/functions".to_owned(),
        "/a/ada/functions/new".to_owned(),
        function.to_owned(),
        "/a/ada/runs".to_owned(),
        "/a/ada/runs?outcome=failed,timed_out&from=2026-01-01T00:00:00Z".to_owned(),
        format!("{function}/metrics?period=1h"),
        format!("{function}/test"),
        format!("{function}/logs"),
        format!("{function}/triggers"),
        format!("{function}/settings"),
        "/a/ada/jobs".to_owned(),
        "/a/ada/jobs/list".to_owned(),
        "/a/ada/jobs/list?state=dead&label=a-name%3Da-value-that-is-rather-long".to_owned(),
        "/a/ada/jobs/new".to_owned(),
        format!("/a/ada/jobs/{job}"),
        "/a/ada/queues".to_owned(),
        "/a/ada/queues/orders".to_owned(),
        "/a/ada/queues/orders/dead".to_owned(),
        format!("/a/ada/runs/{run}"),
        "/a/ada/runs/run_0".to_owned(),
        "/a/ada/analytics?period=1h&compare=1".to_owned(),
        "/a/ada/nodes".to_owned(),
        format!("/a/ada/nodes/{node}"),
        "/a/ada/nodes/node_0".to_owned(),
        "/a/ada/settings".to_owned(),
        "/a/ada/settings/team".to_owned(),
        "/a/ada/settings/keys".to_owned(),
        "/a/ada/settings/audit".to_owned(),
        "/me/security".to_owned(),
        "/accounts/new".to_owned(),
        "/no/such/page".to_owned(),
    ];
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("an-archive-with-a-rather-long-name-that-does-not-break.tar");
    std::fs::write(&archive, [0; 1024]).unwrap();
    for place in &places {
        looks.visits(&ada, place).await;
    }
    // The fields of a deployment are there once a file is.
    for (place, program) in [("/a/ada/functions/new", None), ("/a/ada/jobs/new", Some("file"))] {
        ada.is_wide(PHONE).await;
        ada.visit(place).await;
        if let Some(program) = program {
            ada.chooses("program", program).await;
        }
        ada.gives_file("artifact", &archive).await;
        ada.sees("An archive").await;
        ada.element("input[name=command]").await;
        looks.shown(&ada, &format!("{place} with a file")).await;
    }
    // A machine's line, and the page of a node of one's own.
    ada.visit("/a/ada/nodes").await;
    let machine = Machine::added(&ada, platform.cli()).await;
    ada.sees("It is online").await;
    looks.shown(&ada, "/a/ada/nodes with a machine's line").await;
    ada.presses("Its page").await;
    ada.sees("Lend less").await;
    looks.shown(&ada, "a node of one's own").await;
    drop(machine);
    let mut papers = Vec::new();
    for scheme in SCHEMES {
        ada.prefers(scheme).await;
        papers.push(ada.script("return getComputedStyle(document.body).backgroundColor").await);
    }
    assert_ne!(papers[0], papers[1], "dark is not light");
    assert_eq!(papers[0], "rgb(251, 251, 249)");
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_machines_say_of_themselves_widens_no_page_of_the_operator() {
    let platform = Platform::start();
    let link = platform.operator_link.clone().unwrap();
    let signup = "crowdcloud signup --email op@example.org --password-stdin --account-name op --operator-token";
    platform.cli().shell_with(&format!("{signup} '{link}'"), PASSWORD.as_bytes()).ok();
    let op = Browser::open(&platform.url).await;
    op.is_wide(DESK).await;
    op.logs_in("op@example.org", "op").await;
    let path = format!("/var/lib/{}", "a-folder-with-a-name/".repeat(6)) + &"x".repeat(120);
    op.script(&TROUBLED.replace("PATH", &path)).await;
    op.clicks("nav.places a[href$='/nodes']").await;
    for words in ["no vm: /var/lib/", "1 blob lost", "310 of 1\u{202f}000 blobs looked at", "failing", "5 pieces left"]
    {
        op.sees(words).await;
    }
    assert!(!op.text().await.contains("0 B free"), "what does not report says what is free");
    fits(&op, "the operator's nodes", DESK).await;
    let scrolls = op.script(SCROLLS).await;
    assert_eq!(scrolls, serde_json::json!([]), "tables are wider than their sections");
    Looks { axe: axe(), pages: 0 }.shown(&op, "the operator's nodes").await;
    assert!(op.script("return document.querySelector('.broken')").await.is_null());
}

/// The page is told of a node and of disks that have trouble with this path, and of a store that is being repaired.
const TROUBLED: &str = "const real = window.fetch, path = 'PATH', now = new Date().toISOString(); \
    const look = { began: now, blobs: 310, of: 1000, found: 12, fewer: 3, lost: 1, copied: 9, copied_bytes: '4096', \
        removed: 0 }; \
    const told = { \
        '/api/v1/nodes': page => page.items.forEach(node => Object.assign(node, { state: 'suspended', \
            state_reason: path, memory_free: '0', vm: { state: 'missing', why: path } })), \
        '/api/v1/operator/store': store => Object.assign(store, { look, last_look: { ...look, ended: now }, \
            disks: ['failing', 'draining', 'serving'].map((state, i) => ({ ...store.disks[0], domain: path, \
                name: `disk ${i} ${path}`, state, since: i < 2 ? now : undefined, why: i ? undefined : path, \
                left: i === 1 ? 5 : undefined })) }) }; \
    window.fetch = async (...asked) => { \
        const response = await real(...asked); \
        const change = told[new URL(asked[0].url || asked[0], location.href).pathname]; \
        if (!change || !response.ok) return response; \
        const body = await response.json(); \
        change(body); \
        return new Response(JSON.stringify(body), { headers: { 'content-type': 'application/json' } }); }";

/// Sections whose content is wider than they are.
const SCROLLS: &str = "return [...document.querySelectorAll('main section')] \
    .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.innerText)";

/// axe-core's script, as the set-up has fetched it.
fn axe() -> String {
    let cache = || {
        let base = std::env::var("XDG_CACHE_HOME").ok().filter(|path| !path.is_empty());
        base.unwrap_or_else(|| format!("{}/.cache", std::env::var("HOME").unwrap_or_default()))
    };
    let path = std::env::var("CROWDCLOUD_AXE")
        .unwrap_or_else(|_| format!("{}/crowdcloud/axe/node_modules/axe-core/axe.min.js", cache()));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}; fix: cargo xtask setup"))
}

/// How pages are looked at.
struct Looks {
    axe: String,
    /// So many were looked at.
    pages: usize,
}

/// A page is loaded once, on a phone, and seen at each width; the schemes alternate, and the next page begins with the other
/// one: so each page is seen in both, and each width has both.
impl Looks {
    /// Loads a page and looks at it.
    async fn visits(&mut self, user: &Browser, place: &str) {
        user.is_wide(PHONE).await;
        user.visit(place).await;
        user.element("main h1").await;
        self.shown(user, place).await;
    }

    /// Looks at what is shown at each width.
    async fn shown(&mut self, user: &Browser, place: &str) {
        // What is loaded after the head has come by then.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        for (step, width) in WIDTHS.into_iter().enumerate() {
            let scheme = SCHEMES[(self.pages + step) % SCHEMES.len()];
            let place = format!("{place} ({width}, {scheme})");
            user.is_wide(width).await;
            user.prefers(scheme).await;
            user.script(FRAMES).await;
            fits(user, &place, width).await;
            self.is_for_everybody(user, &place).await;
        }
        self.pages += 1;
    }

    /// axe finds nothing that keeps people out: contrast, names, roles, headings, landmarks.
    async fn is_for_everybody(&self, user: &Browser, place: &str) {
        if user.script("return typeof axe").await != "object" {
            user.script(&self.axe).await;
        }
        let found = user.script(HELD_AGAINST).await;
        let found: Vec<&str> = found.as_array().unwrap().iter().filter_map(|one| one.as_str()).collect();
        assert!(found.is_empty(), "{place}:\n{}", found.join("\n"));
    }
}

/// Waits until what was resized is drawn: charts are drawn anew within some frames. What moves or fades in has then come
/// to its end, because it has no colour to be judged by before.
const FRAMES: &str = "const frame = () => new Promise(done => requestAnimationFrame(done)); \
    return frame().then(frame).then(frame).then(() => { \
        document.getAnimations().forEach(one => one.effect && one.effect.getComputedTiming().endTime \
            !== Infinity && one.finish()); \
        return true; \
    })";

/// What axe holds against the page.
const HELD_AGAINST: &str = "return axe.run(document, { preload: false, resultTypes: ['violations'] }) \
    .then(({ violations }) => violations \
        .filter(({ impact }) => impact !== 'minor') \
        .map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.map(node => node.html).join(' ')}`))";

/// A job with all that can be long, and a trigger; gives the job's id.
const JOB_AND_TRIGGER: &str = "const name = 'a-function-with-a-long-name'; \
    const send = (method, path, body) => fetch('/api/v1' + path, { method, body: JSON.stringify(body), \
        headers: { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' } }).then(answer => answer.json()); \
    const job = { function: name, path: '/status/503?' + 'long'.repeat(40), retries: 2, backoff: '50ms', \
        labels: { ['label'.repeat(8)]: 'value'.repeat(12) } }; \
    return send('PUT', '/triggers/a-trigger-with-a-long-name', { cron: '0,15,30,45 8-20 * * 1-5', \
        zone: 'America/Argentina/Buenos_Aires', job }).then(() => send('POST', '/jobs', job)).then(made => made.id)";

/// A queue with a dead message and one that waits.
const MESSAGES: &str = "const send = (method, path, body) => fetch('/api/v1/queues/orders' + path, { method, \
        body: JSON.stringify(body), headers: { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' } }); \
    const put = () => send('POST', '/messages', { messages: [{ body: { text: 'long'.repeat(60) } }] }); \
    return send('PUT', '', { deliveries: 1 }).then(put) \
        .then(() => send('POST', '/lease', {})).then(answer => answer.json()) \
        .then(({ messages: [{ id, lease }] }) => send('POST', '/release', { messages: [{ id, lease }] })) \
        .then(() => send('POST', '/lease', {})).then(put).then(() => true)";

/// A node that the account sees.
const FIRST_NODE: &str = "return fetch('/api/v1/nodes', { headers: { 'x-crowdcloud-account': 'ada' } }) \
    .then(answer => answer.json()).then(({ items }) => items[0].id)";

/// The run of the call; it is known a moment after its end.
const NEWEST_RUN: &str = "const look = () => fetch('/api/v1/invocations?limit=1', \
        { headers: { 'x-crowdcloud-account': 'ada' } }).then(answer => answer.json()).then(({ items }) => \
        items.length ? items[0].run : new Promise(done => setTimeout(done, 100)).then(look)); \
    return look()";

/// Nothing is cut off or wider than the screen, and all controls have names.
async fn fits(user: &Browser, place: &str, width: u32) {
    let beyond = "const root = document.documentElement; return root.scrollWidth - root.clientWidth";
    // Parts of a pixel are rounded up.
    let beyond = user.script(beyond).await;
    assert!(beyond.as_i64().is_some_and(|pixels| pixels <= 1), "{place} is wider than the screen: {beyond}");
    let cut_off = user.script(CUT_OFF).await;
    assert_eq!(cut_off.as_array().map(Vec::len), Some(0), "{place} has tabs or places beyond the screen: {cut_off}");
    // Elsewhere the heads of columns say it.
    if width == PHONE {
        let wordless = user.script(WORDLESS).await;
        assert_eq!(wordless.as_array().map(Vec::len), Some(0), "{place} has figures without a word: {wordless}");
    }
    let nameless = user.script(NAMELESS).await;
    assert_eq!(nameless.as_array().map(Vec::len), Some(0), "{place} has controls without a name: {nameless}");
}

/// Tabs and places that are scrolled out of the screen.
const CUT_OFF: &str = "return [...document.querySelectorAll('nav.tabs a, nav.places > *')].filter(one => \
    one.offsetParent && one.getBoundingClientRect().right > document.documentElement.clientWidth) \
    .map(one => one.textContent)";

/// Bare numbers in rows whose heads are not shown.
const WORDLESS: &str = "return [...document.querySelectorAll('.rows.lines td')].filter(cell => cell.offsetParent \
    && /^[\\d\u{202f} ]+$/.test(cell.innerText.trim()) && !cell.querySelector('.badge:not(a .badge)') \
    && getComputedStyle(cell, '::before').content === 'none').map(cell => cell.dataset.label)";

/// Visible controls that neither text, label, `aria-label` nor title names.
const NAMELESS: &str = "return [...document.querySelectorAll('main button, main a[href], main input, main select, \
    main textarea, aside button, aside a[href]')].filter(control => { \
        const label = control.closest('label') || (control.labels && control.labels[0]); \
        const name = (control.getAttribute('aria-label') || '') + control.textContent + control.title + \
            (label ? label.textContent : ''); \
        return name.trim() === ''; \
    }).map(control => control.outerHTML)";
