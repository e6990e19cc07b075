//! Every page fits a narrow screen, in light and in dark, has a name for every control, and nothing that axe holds
//! against it.

use tests::Platform;

use crate::browser::Browser;

const SCHEMES: [&str; 2] = ["light", "dark"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f43_every_page_fits_and_axe_finds_nothing_above_minor() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
    let axe = axe();
    for place in ["/login", "/signup"] {
        ada.visit(place).await;
        ada.element("main h1").await;
        is_for_everybody(&ada, &axe, place).await;
    }
    ada.signs_up("ada", "company").await;
    ada.deploys("ada", "a-function-with-a-long-name", &tests::guest("probe"), "public").await;
    ada.fills("path", &format!("/status/404?{}", "long".repeat(40))).await;
    ada.presses("Send").await;
    ada.sees("404 Not Found").await;

    let function = "/a/ada/functions/a-function-with-a-long-name";
    let job = ada.script(JOB_AND_TRIGGER).await;
    let job = job.as_str().unwrap();
    let places = [
        "/a/ada".to_owned(),
        "/a/ada/functions".to_owned(),
        "/a/ada/functions/new".to_owned(),
        function.to_owned(),
        "/a/ada/runs".to_owned(),
        "/a/ada/runs?outcome=failed,timed_out&from=2026-01-01T00:00:00Z".to_owned(),
        format!("{function}/test"),
        format!("{function}/logs"),
        format!("{function}/triggers"),
        format!("{function}/settings"),
        "/a/ada/jobs".to_owned(),
        "/a/ada/jobs/list".to_owned(),
        "/a/ada/jobs/list?state=dead&label=a-name%3Da-value-that-is-rather-long".to_owned(),
        "/a/ada/jobs/new".to_owned(),
        format!("/a/ada/jobs/{job}"),
        "/a/ada/analytics?period=1h&compare=1".to_owned(),
        "/a/ada/nodes".to_owned(),
        "/a/ada/settings".to_owned(),
        "/a/ada/settings/team".to_owned(),
        "/a/ada/settings/keys".to_owned(),
        "/me/security".to_owned(),
        "/accounts/new".to_owned(),
        "/no/such/page".to_owned(),
    ];
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("an-archive-with-a-rather-long-name-that-does-not-break.tar");
    std::fs::write(&archive, [0; 1024]).unwrap();
    for place in &places {
        ada.is_wide(360).await;
        ada.visit(place).await;
        ada.element("main h1").await;
        fits(&ada, place).await;
        is_for_everybody(&ada, &axe, place).await;
    }
    // The fields of a deployment are there once a file is.
    ada.visit("/a/ada/functions/new").await;
    ada.gives_file("artifact", &archive).await;
    ada.sees("An archive").await;
    ada.element("input[name=command]").await;
    fits(&ada, "a deployment").await;
    is_for_everybody(&ada, &axe, "a deployment").await;
    let mut papers = Vec::new();
    for scheme in SCHEMES {
        ada.prefers(scheme).await;
        papers.push(ada.script("return getComputedStyle(document.body).backgroundColor").await);
    }
    assert_ne!(papers[0], papers[1], "dark is not light");
    assert_eq!(papers[0], "rgb(251, 251, 249)");
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}

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

/// axe finds nothing that keeps people out, in light or in dark: contrast, names, roles, headings, landmarks.
async fn is_for_everybody(user: &Browser, axe: &str, place: &str) {
    if user.script("return typeof axe").await != "object" {
        user.script(axe).await;
    }
    // Charts are drawn anew in other colours within some frames; what moves or fades in has no colour to be judged by.
    let found = "const frame = () => new Promise(done => requestAnimationFrame(done)); \
        return frame().then(frame).then(frame).then(() => { \
            document.getAnimations().forEach(one => one.effect && one.effect.getComputedTiming().endTime \
                !== Infinity && one.finish()); \
            return axe.run(document, { preload: false, resultTypes: ['violations'] }); \
        }).then(({ violations }) => violations \
            .filter(({ impact }) => impact !== 'minor') \
            .map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.map(node => node.html).join(' ')}`))";
    for scheme in SCHEMES {
        user.prefers(scheme).await;
        let found = user.script(found).await;
        let found: Vec<&str> = found.as_array().unwrap().iter().filter_map(|one| one.as_str()).collect();
        assert!(found.is_empty(), "{place} ({scheme}):\n{}", found.join("\n"));
    }
}

/// A job with all that can be long, and a trigger; gives the job's id.
const JOB_AND_TRIGGER: &str = "const name = 'a-function-with-a-long-name'; \
    const send = (method, path, body) => fetch('/api/v1' + path, { method, body: JSON.stringify(body), \
        headers: { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' } }).then(answer => answer.json()); \
    const job = { function: name, path: '/status/503?' + 'long'.repeat(40), retries: 2, backoff: '50ms', \
        labels: { ['label'.repeat(8)]: 'value'.repeat(12) } }; \
    return send('PUT', '/triggers/a-trigger-with-a-long-name', { cron: '0,15,30,45 8-20 * * 1-5', \
        zone: 'America/Argentina/Buenos_Aires', job }).then(() => send('POST', '/jobs', job)).then(made => made.id)";

/// Nothing is cut off or wider than the screen, and all controls have names.
async fn fits(user: &Browser, place: &str) {
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let beyond = "const root = document.documentElement; return root.scrollWidth - root.clientWidth";
    assert_eq!(user.script(beyond).await, 0, "{place} is wider than the screen");
    let nameless = user.script(NAMELESS).await;
    assert_eq!(nameless.as_array().map(Vec::len), Some(0), "{place} has controls without a name: {nameless}");
}

/// Visible controls that neither text, label, `aria-label` nor title names.
const NAMELESS: &str = "return [...document.querySelectorAll('main button, main a[href], main input, main select, \
    main textarea, aside button, aside a[href]')].filter(control => { \
        const label = control.closest('label') || (control.labels && control.labels[0]); \
        const name = (control.getAttribute('aria-label') || '') + control.textContent + control.title + \
            (label ? label.textContent : ''); \
        return name.trim() === ''; \
    }).map(control => control.outerHTML)";
