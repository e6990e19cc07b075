//! Pages that stay open: while their session ends, and while there is no network. Nothing that was typed is lost.

use tests::Platform;

use crate::browser::{Browser, PASSWORD};
use crate::windows::Journey;

/// Ends the session behind the page's back, and sends the form.
const OVER: &str = "return fetch('/api/v1/sessions/current', { method: 'DELETE' }).then(answer => { \
    document.querySelector('main form button[type=submit]')?.click(); return answer.status; })";

/// What stands in these fields.
fn fields(names: &[&str]) -> String {
    format!(
        "return {names:?}.map(name => (document.querySelector(`[name=${{name}}]:checked`) \
         || document.querySelector(`[name=${{name}}]`))?.value)"
    )
}

/// Logs in where the end of the session has led, and comes back to `place`.
async fn comes_back(user: &Browser, place: &str) {
    user.arrives(&format!("/login?next={}", place.replace('/', "%2F"))).await;
    user.fills("email", "ada@example.org").await;
    user.fills("password", PASSWORD).await;
    user.presses("Log in").await;
    user.arrives(place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_typed_outlives_the_session_and_the_network() {
    let platform = Platform::start();
    let ada = Journey::OpenPages.open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.deploys("ada", "probe", &tests::guest("probe"), "private").await;

    // A job, with what is folded away.
    ada.visit("/a/ada/jobs/new").await;
    ada.sees("Deployed as v1").await;
    ada.chooses("kind", "lines").await;
    ada.fills("input", "one\ntwo").await;
    ada.fills("memory", "256MiB").await;
    ada.selects("reference", "v1").await;
    ada.clicks("details.end summary").await;
    ada.fills("labels", "kind=kept").await;
    ada.clicks("details.request summary").await;
    ada.fills("path", "/echo").await;
    let written = fields(&["kind", "input", "memory", "reference", "labels", "path"]);
    let expected = serde_json::json!(["lines", "one\ntwo", "256MiB", "v1", "kind=kept", "/echo"]);
    ada.tells(&written, expected.clone()).await;
    assert_eq!(ada.script(OVER).await, 204);
    comes_back(&ada, "/a/ada/jobs/new").await;
    ada.tells(&written, expected).await;
    assert_eq!(ada.script("return document.querySelectorAll('main form details[open]').length").await, 2);
    ada.presses("Submit the jobs").await;
    ada.sees("probe v1 #1").await;

    // A trigger of a queue.
    ada.visit("/a/ada/functions/probe/triggers").await;
    ada.sees("None yet.").await;
    ada.chooses("by", "queue").await;
    ada.fills("name", "orders-in").await;
    ada.fills("queue", "orders").await;
    ada.fills("retries", "3").await;
    let written = fields(&["by", "name", "queue", "retries"]);
    assert_eq!(ada.script(OVER).await, 204);
    comes_back(&ada, "/a/ada/functions/probe/triggers").await;
    ada.tells(&written, serde_json::json!(["queue", "orders-in", "orders", "3"])).await;
    ada.presses("Set the trigger").await;
    ada.sees("at each message").await;

    // Without a network the page says so and keeps what it shows; a form is sent again once there is one.
    ada.visit("/a/ada/jobs/new").await;
    ada.sees("Deployed as v1").await;
    ada.fills("input", "sent later").await;
    ada.clicks("details.request summary").await;
    ada.fills("path", "/echo").await;
    ada.is_offline(true).await;
    ada.presses("Submit the job").await;
    ada.element("p.offline").await;
    ada.sees("Check that it runs and that you are online").await;
    ada.tells(&fields(&["input"]), serde_json::json!(["sent later"])).await;
    ada.is_offline(false).await;
    ada.counts("p.offline", 0).await;
    ada.presses("Submit the job").await;
    ada.sees("sent later").await;
    ada.sees("200 OK").await;

    // A list goes on by itself.
    ada.visit("/a/ada/runs").await;
    ada.element(".rows.lines tbody tr").await;
    ada.is_offline(true).await;
    ada.element("p.offline").await;
    ada.element(".rows.lines tbody tr").await;
    ada.is_offline(false).await;
    ada.counts("p.offline", 0).await;
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}
