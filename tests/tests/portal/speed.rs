//! What the portal brings when, and what it shows without asking again.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::Platform;

use crate::browser::Browser;

/// The modules that this page brought.
const MODULES: &str = "const names = performance.getEntriesByType('resource').map(entry => entry.name); \
    return new Set(names.filter(name => name.endsWith('.wasm'))).size";
const ASKED_WHO: &str = "const names = performance.getEntriesByType('resource').map(entry => entry.name); \
    return names.filter(name => name.endsWith('/api/v1/me')).length";
/// The first module, and at least one for each part.
const PARTS_AND_FIRST: u64 = 5;
const COMES_WITHIN: Duration = Duration::from_secs(30);

/// Not by a call of the portal, which would forget what it keeps.
const SET_QUEUE: &str = "return fetch('/api/v1/queues/orders', { method: 'PUT', body: JSON.stringify({ deliveries: 1 }), \
    headers: { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' } }).then(answer => answer.status)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_of_other_pages_comes_once_somebody_uses_the_page_and_visited_ones_are_there_at_once() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    drop(ada.console().await);
    ada.visit("/a/ada").await;
    ada.sees("From nothing to a call").await;
    ada.counts("main [aria-busy=true]", 0).await;
    assert_eq!(ada.script(MODULES).await, 1, "who only looks brings no other page's code");
    assert_eq!(ada.script(ASKED_WHO).await, 1, "who is logged in is asked once");

    ada.points_at("main h1").await;
    let deadline = Instant::now() + COMES_WITHIN;
    while ada.script(MODULES).await.as_u64() < Some(PARTS_AND_FIRST) {
        assert!(Instant::now() < deadline, "{} modules", ada.script(MODULES).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    ada.clicks("nav.places a[href='/a/ada/nodes']").await;
    ada.sees("local-1").await;
    ada.clicks("nav.places a[href='/a/ada/queues']").await;
    ada.sees("No queues yet").await;
    assert_eq!(ada.console().await, [""; 0], "pages change in silence");

    // Without a line, what was shown is shown.
    line(&ada, false).await;
    ada.clicks("nav.places a[href='/a/ada/nodes']").await;
    ada.sees("local-1").await;
    ada.sees("The platform does not answer.").await;
    line(&ada, true).await;

    // What is shown at once gives way to what is.
    ada.script(SET_QUEUE).await;
    ada.clicks("nav.places a[href='/a/ada/queues']").await;
    ada.counts("main table.rows tbody tr", 1).await;
}

async fn line(browser: &Browser, up: bool) {
    let line = json!({ "offline": !up, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
    browser.devtools(json!({ "cmd": "Network.enable", "params": {} })).await;
    browser.devtools(json!({ "cmd": "Network.emulateNetworkConditions", "params": line })).await;
}
