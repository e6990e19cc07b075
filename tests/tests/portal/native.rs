//! From a native program to its figures, click by click: the VM lane as the portal shows it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tests::Platform;

use crate::browser::Browser;

/// How long a node may look for its accelerator.
const LOOKS_WITHIN: Duration = Duration::from_secs(120);

/// Waits until the nodes' page says that the local node has the VM lane.
async fn sees_a_vm_lane(user: &Browser, account: &str) {
    user.visit(&format!("/a/{account}/nodes")).await;
    let deadline = Instant::now() + LOOKS_WITHIN;
    loop {
        let text = user.text().await;
        if text.contains("turns/ms") {
            user.element("td .badge.vm").await;
            return;
        }
        assert!(!text.contains("no vm: "), "this machine has no VM lane:\n{text}");
        assert!(Instant::now() < deadline, "the nodes' page says nothing of the VM lane:\n{text}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// A static program that answers with its request's line.
fn program(folder: &Path) -> PathBuf {
    let built = folder.join("native");
    let text = "fn main() { let of = |name| std::env::var(name).unwrap(); \
                print!(\"native {} {}\", of(\"REQUEST_METHOD\"), of(\"PATH_INFO\")); }";
    std::fs::copy(tests::compiled(text), &built).unwrap();
    built
}

/// Lets go of a file over the page, as a mouse does.
const DROP: &str = r##"
    const files = new DataTransfer();
    files.items.add(new File(["#!/bin/sh\necho shell $PATH_INFO\n"], "greet.sh"));
    const on = document.querySelector("label.drop");
    for (const type of ["dragover", "drop"]) {
        on.dispatchEvent(new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true }));
    }"##;

/// Versions are not told from now on, until `window.told()`.
const HELD_VERSIONS: &str = "const real = window.fetch, held = new Promise(done => { window.told = done; }); \
    window.fetch = (...asked) => { \
        const { pathname } = new URL(asked[0].url || asked[0], location.href); \
        return pathname.endsWith('/versions') ? held.then(() => real(...asked)) : real(...asked); }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executable_is_deployed_to_a_vm_and_every_page_shows_its_lane() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    sees_a_vm_lane(&ada, "ada").await;
    let folder = tempfile::tempdir().unwrap();
    ada.visit("/a/ada/functions/new").await;
    ada.gives_file("artifact", &program(folder.path())).await;
    ada.sees("A Linux executable for x86-64.").await;
    ada.sees("it is not WebAssembly").await;
    ada.chooses("lane", "wasm").await;
    ada.sees("Only WebAssembly runs in the wasm lane").await;
    ada.chooses("lane", "vm").await;
    ada.sees("asked for").await;

    // What is refused stands beside its field, whether the page or the platform refuses it.
    ada.fills("memory", "much").await;
    ada.presses("Deploy").await;
    ada.sees("\"much\" cannot be read").await;
    ada.element("input[name=memory][aria-invalid=true]").await;
    ada.fills("memory", "128MiB").await;
    ada.fills("cpus", "64").await;
    ada.presses("Deploy").await;
    ada.sees("exceeds_nodes").await;
    ada.element("fieldset input[name=cpus][aria-invalid=true]").await;
    ada.fills("cpus", "2").await;
    ada.fills("timeout", "60s").await;
    ada.sees("--name native --account ada --lane vm --cpus 2 --timeout 60s").await;
    ada.presses("Deploy").await;
    ada.arrives("/a/ada/functions/native/test").await;

    // The call, and what it used of what it might.
    ada.fills("path", "/a").await;
    ada.presses("Send").await;
    ada.sees("native GET /a").await;
    ada.element(".used-line .badge.vm").await;
    ada.sees("on 2 CPUs").await;
    ada.sees("of 128 MiB").await;
    ada.presses("Logs").await;
    ada.element("td .badge.vm").await;
    ada.clicks("td.request a").await;
    ada.sees("Peak memory").await;
    ada.sees("asked for").await;
    ada.sees("on 2 CPUs").await;
    ada.visit("/a/ada/functions").await;
    ada.element("td .badge.vm").await;
    ada.sees("2 CPUs · 128 MiB · 60 s").await;

    // A further version: dropped, even before the page knows the one before, and as that where nothing else is said.
    ada.script(HELD_VERSIONS).await;
    ada.clicks_path("//a[text()='native']").await;
    ada.element("label.drop").await;
    ada.script(DROP).await;
    ada.sees("A script for sh.").await;
    assert!(!ada.text().await.contains("Lane\nAuto"), "the form asks before it knows the version before");
    ada.script("window.told()").await;
    ada.sees("As v1 has it").await;
    ada.presses("Deploy").await;
    ada.sees("script on shell").await;
    // What the deploy found: of the newest version at once, of others when asked; on a phone, too.
    ada.sees("It is a command: a request is its input, what it prints the response.").await;
    assert_eq!(ada.text().await.matches("is started in").count(), 1);
    ada.is_wide(360).await;
    ada.clicks("tr.sub:last-child summary").await;
    ada.sees("/app/function is started in / by user 1000 of group 1000.").await;
    let beyond = "const root = document.documentElement; return root.scrollWidth - root.clientWidth";
    assert_eq!(ada.script(beyond).await, 0, "the notes are wider than a phone");
    ada.is_wide(1280).await;
    ada.presses("Test").await;
    ada.fills("path", "/b").await;
    ada.presses("Send").await;
    ada.sees("shell /b").await;
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}
