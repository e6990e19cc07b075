//! What users do, click by click.

use tests::Platform;

use crate::browser::Browser;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_personal_user_signs_up_deploys_a_file_and_calls_it() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
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
    assert!(ada.script("return document.querySelector('[name=body]')").await.is_null());
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
    ada.goes_back().await;
    ada.sees("What the runs wrote").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_invites_a_member_who_sees_what_a_member_may() {
    let platform = Platform::start();
    let owner = Browser::open(&platform.url).await;
    owner.signs_up("engines", "company").await;
    owner.visit("/a/engines/settings/team").await;
    owner.chooses("role", "member").await;
    owner.presses("Create a link").await;
    owner.sees("The link is shown only now.").await;
    let link = owner.element(".once code").await.text().await.unwrap();
    assert!(link.starts_with(&format!("{}/invite/", platform.url)), "{link}");

    let grace = Browser::open(&platform.url).await;
    grace.visit(&link).await;
    grace.sees("You will be a member of engines.").await;
    grace.fills("email", "grace@example.org").await;
    grace.fills("password", crate::browser::PASSWORD).await;
    grace.presses("Sign up and join").await;
    grace.arrives("/a/engines").await;
    grace.sees("Company · member").await;
    grace.visit("/a/engines/settings/keys").await;
    grace.sees("Programs call functions").await;
    assert!(!grace.text().await.contains("New key"), "a member makes no keys");

    owner.visit("/a/engines/settings/team").await;
    owner.sees("grace@example.org").await;
    // An account of somebody else stays theirs.
    let stranger = Browser::open(&platform.url).await;
    stranger.signs_up("eve", "personal").await;
    stranger.visit("/a/engines").await;
    stranger.sees("You cannot see this account").await;
    stranger.visit(&link).await;
    stranger.sees("invitation_invalid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_deployed_is_explained_and_versions_roll_back() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
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
    ada.element("select[name=canary]").await;
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

    // Deleting names what breaks, and asks for the name.
    ada.visit("/a/ada/functions/greet/settings").await;
    ada.presses("Delete the function").await;
    ada.sees("Every call to /f/ada/greet/ gets 404").await;
    ada.fills("confirm", "greet").await;
    ada.clicks("dialog[open] button[type=submit]").await;
    ada.arrives("/a/ada/functions").await;
    ada.sees("nothing yet").await;
    assert!(!ada.text().await.contains("greet"), "it is deleted");
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}
