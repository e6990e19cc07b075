//! What users do, click by click.

use tests::Platform;

use crate::windows::Journey;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_personal_user_signs_up_deploys_a_file_and_calls_it() {
    let platform = Platform::start();
    let ada = Journey::Personal.open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.sees("From nothing to a call").await;
    ada.sees(&format!("crowdcloud login --url {}", platform.url)).await;

    ada.logs_out().await;
    ada.visit("/a/ada/functions").await;
    ada.arrives("/login?next=%2Fa%2Fada%2Ffunctions").await;
    ada.fills("email", "ada@example.org").await;
    ada.fills("password", "not the password").await;
    ada.presses("Show password").await;
    ada.element("input[name=password][type=text]").await;
    ada.presses("Hide password").await;
    ada.presses("Log in").await;
    ada.sees("invalid_login").await;
    ada.fills("password", crate::browser::PASSWORD).await;
    ada.presses("Log in").await;
    ada.arrives("/a/ada/functions").await;

    ada.deploys("ada", "probe", &tests::guest("probe"), "private").await;
    ada.fills("path", "/log?lines=3&bytes=7").await;
    ada.presses("Send").await;
    ada.sees("200 OK").await;
    ada.sees("3 lines").await;
    let duration = ada.element(".figure-inline").await.text().await.unwrap();
    assert!(duration.ends_with("ms") || duration.ends_with("µs") || duration.ends_with('s'), "{duration}");
    ada.sees("line 1 ooooooo").await;
    ada.sees("line 2 eeeeeee").await;

    // A body, another method, and what a trap looks like.
    ada.sees("GET and HEAD send no body.").await;
    assert_eq!(ada.script("return document.querySelector('[name=body]').checkVisibility()").await, false);
    ada.selects("method", "POST").await;
    ada.fills("path", "/echo").await;
    ada.fills("body", "it's a body").await;
    ada.presses("Send").await;
    ada.sees("11 B").await;
    ada.fills("path", "/trap").await;
    ada.presses("Send").await;
    ada.sees("502 Bad Gateway").await;
    ada.sees("The platform answered: trap").await;

    // The list of runs follows by itself, and leads to each run.
    ada.presses("Logs").await;
    ada.sees("GET /log").await;
    ada.sees("trap").await;
    ada.clicks("td.request a").await;
    ada.sees("Peak memory").await;
    ada.sees("Why this node").await;
    ada.sees("crowdcloud invocations show run_").await;
    assert!(ada.place().await.starts_with("/a/ada/runs/run_"), "a run has a page of its own");
    ada.goes_back().await;
    ada.sees("What the runs wrote").await;
    ada.sees("Lines are kept since").await;

    // What nobody acknowledged is looked at, put back, or deleted.
    ada.script(DEAD_LETTERS).await;
    ada.visit("/a/ada/queues").await;
    ada.clicks("td a[href$='/queues/orders/dead']").await;
    ada.counts(".rows.lines tbody tr", 3).await;
    ada.clicks("tbody .queue-acts > button.secondary").await;
    ada.sees("put back").await;
    ada.points_at("h1").await;
    ada.counts(".rows.lines tbody tr", 2).await;
    ada.presses("Delete all").await;
    ada.clicks("dialog[open] button[type=submit]").await;
    ada.sees("No dead letters").await;
    ada.presses("Messages").await;
    ada.sees("{\"order\":1}").await;
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}

/// A queue with three messages that were leased once too often.
const DEAD_LETTERS: &str = "const send = (method, path, body) => fetch('/api/v1/queues/orders' + path, { method, \
        body: JSON.stringify(body), headers: { 'content-type': 'application/json', 'x-crowdcloud-account': 'ada' } }) \
        .then(answer => answer.json()); \
    const messages = [1, 2, 3].map(order => ({ body: { json: { order } } })); \
    return send('PUT', '', { deliveries: 1 }).then(() => send('POST', '/messages', { messages })) \
        .then(() => send('POST', '/lease', { count: 3 })) \
        .then(leased => send('POST', '/release', { messages: leased.messages.map(({ id, lease }) => ({ id, lease })) })) \
        .then(() => send('POST', '/lease', {})).then(() => true)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_invites_a_member_who_sees_what_a_member_may() {
    let platform = Platform::start();
    let owner = Journey::Company.open(&platform.url).await;
    owner.signs_up("engines", "company").await;
    owner.visit("/a/engines/settings/team").await;
    owner.chooses("role", "member").await;
    owner.presses("Create a link").await;
    owner.sees("The link is shown only now.").await;
    let link = owner.element(".once code").await.text().await.unwrap();
    assert!(link.starts_with(&format!("{}/invite/", platform.url)), "{link}");

    let grace = Journey::Company.open(&platform.url).await;
    grace.visit(&link).await;
    grace.sees("You will be a member of engines.").await;
    grace.fills("email", "grace@example.org").await;
    grace.fills("password", crate::browser::PASSWORD).await;
    grace.presses("Sign up and join").await;
    grace.arrives("/a/engines").await;
    // Phones have the role in the menu of accounts alone, and most places behind "More".
    grace.clicks("button.switcher").await;
    grace.sees("Company · member").await;
    grace.clicks("button.switcher").await;
    grace.goes_to("Settings").await;
    grace.presses("Keys").await;
    grace.arrives("/a/engines/settings/keys").await;
    grace.sees("Programs call functions").await;
    grace.sees("New key").await;
    // A member's keys do no more than the member: `admin` is not offered.
    grace.counts("input[name=scope]", 3).await;
    assert!(grace.script("return document.querySelector('input[name=scope][value=admin]')").await.is_null());

    owner.visit("/a/engines/settings/team").await;
    owner.sees("grace@example.org").await;
    owner.visit("/a/engines/settings/audit").await;
    owner.sees("user.signup").await;
    owner.selects("action", "invitation").await;
    owner.arrives("/a/engines/settings/audit?action=invitation").await;
    owner.counts("tbody tr", 1).await;
    owner.sees("invitation.create").await;
    // An account of somebody else stays theirs.
    let stranger = Journey::Company.open(&platform.url).await;
    stranger.signs_up("eve", "personal").await;
    stranger.visit("/a/engines").await;
    stranger.sees("You cannot see this account").await;
    stranger.visit(&link).await;
    stranger.sees("invitation_invalid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_deployed_is_explained_and_versions_roll_back() {
    let platform = Platform::start();
    let ada = Journey::Deployment.open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    let folder = tempfile::tempdir().unwrap();
    let nonsense = folder.path().join("nonsense.wasm");
    std::fs::write(&nonsense, "this is no WebAssembly").unwrap();
    ada.visit("/a/ada/functions/new").await;
    ada.gives_file("artifact", &nonsense).await;
    ada.chooses("lane", "wasm").await;
    ada.sees("Only WebAssembly runs in the wasm lane").await;
    ada.presses("Deploy").await;
    ada.sees("not_wasm").await;
    ada.sees("Deploy a component or a WASI command").await;

    ada.deploys("ada", "greet", &tests::guest("hello"), "private").await;
    ada.visit("/a/ada/functions/greet").await;
    ada.gives_file("artifact", &tests::guest("probe")).await;
    ada.presses("Deploy").await;
    ada.sees("v2").await;
    ada.sees("v2 100%").await;
    ada.element("select[name=canary]:enabled option[value='1']").await;
    ada.fills("alias", "canary").await;
    ada.selects("target", "2").await;
    ada.selects("canary", "1").await;
    ada.fills("percent", "20").await;
    ada.sees("crowdcloud aliases set greet canary v2=80 v1=20 --account ada").await;
    ada.presses("Set the alias").await;
    ada.sees("v2 80% · v1 20%").await;
    ada.presses("Test").await;
    ada.presses("Send").await;
    ada.sees("200 OK").await;
    ada.sees("request 1").await;
    ada.presses("Versions").await;
    ada.presses("Roll back").await;
    ada.sees("Let v1 answer?").await;
    ada.clicks("dialog[open] button[type=submit]").await;
    ada.sees("v1 100%").await;
    ada.presses("Test").await;
    ada.presses("Send").await;
    ada.sees("Hello from CrowdCloud").await;

    // A key is shown once, and works as pasted.
    ada.visit("/a/ada/settings/keys").await;
    ada.chooses("scope", "invoke").await;
    ada.fills("name", "ci").await;
    ada.presses("Create the key").await;
    ada.sees("is shown only now").await;
    let key = ada.element(".once .line code").await.text().await.unwrap();
    let request = format!(
        "GET /f/ada/greet/ HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n",
        platform.address()
    );
    assert_eq!(tests::http(platform.address(), request.as_bytes()).status, 200);
    ada.visit("/a/ada/settings/keys").await;
    ada.sees("Last used").await;
    assert!(!ada.text().await.contains(&key), "a key is shown once");

    // What ran stands by version, and leads to the runs.
    ada.visit("/a/ada/functions/greet/metrics?period=1h").await;
    ada.sees("Requests by outcome").await;
    ada.element("#versions a[href*='version=2']").await;

    // A setting of a version makes a new one of the same artifact; what is refused stands at its field.
    ada.visit("/a/ada/functions/greet/settings").await;
    ada.fills("memory", "much").await;
    ada.presses("Save as a new version").await;
    ada.element("fieldset .field-trouble").await;
    ada.fills("memory", "200MiB").await;
    ada.fills("env", "GREETING=hi").await;
    ada.sees("Saves as v3 and sends live to it, in place of v1.").await;
    ada.sees("128 MiB → 200 MiB").await;
    ada.sees("crowdcloud deploy . --name greet --account ada --memory 200MiB --env GREETING=hi").await;
    ada.presses("Save as a new version").await;
    ada.sees("Saved as v3, and live").await;
    ada.sees("These are the settings of v3. Nothing is changed.").await;

    // Another name is another URL of the same function; the one before says where it is.
    ada.fills("name", "greeting").await;
    ada.sees("crowdcloud functions rename greet greeting --account ada").await;
    ada.presses("Rename").await;
    ada.arrives("/a/ada/functions/greeting/settings").await;
    ada.visit("/a/ada/functions/greet/settings").await;
    ada.sees("it was renamed to greeting.").await;
    ada.visit("/a/ada/functions/greeting/settings").await;
    ada.fills("name", "greet").await;
    ada.presses("Rename").await;
    ada.arrives("/a/ada/functions/greet/settings").await;

    // Deleting names what breaks, and asks for the name; it can be undone.
    ada.presses("Delete the function").await;
    ada.sees("Every call to /f/ada/greet/ gets 404").await;
    ada.fills("confirm", "greet").await;
    ada.clicks("dialog[open] button[type=submit]").await;
    ada.arrives("/a/ada/functions?deleted=greet").await;
    ada.sees("greet is deleted").await;
    ada.counts("a[href='/a/ada/functions/greet']", 0).await;
    ada.presses("Undo").await;
    ada.element("a[href='/a/ada/functions/greet']").await;
    ada.arrives("/a/ada/functions").await;
    // After the page was left, too.
    let delete = "return fetch('/api/v1/functions/greet', { method: 'DELETE', \
        headers: { 'x-crowdcloud-account': 'ada' } }).then(answer => answer.status)";
    assert_eq!(ada.script(delete).await, 204);
    ada.visit("/a/ada/functions").await;
    ada.clicks("details.deleted summary").await;
    ada.presses("Restore").await;
    ada.element("a[href='/a/ada/functions/greet']").await;
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}
