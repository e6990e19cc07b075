//! A lane whose parts come while the platform runs.

use std::os::unix::fs::symlink;
use std::time::Duration;

use provision::Preparing;
use tests::{EMBEDDED, Platform, wait_until};

use super::faults::tools;
use crate::run_path::{get, plain};

const PARTS: [&str; 4] = ["kernel", "bases", "wasm-guest", "guest-agent"];

#[test]
fn f02_calls_are_served_while_the_vm_lane_is_being_made_and_it_is_taken_without_a_restart() {
    let installed = tools();
    for part in PARTS {
        assert!(installed.join(part).exists(), "there is no {part} in {}", installed.display());
    }
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("tools");
    std::fs::write(data.path().join("config.toml"), format!("[executor]\nvm-tools = '{}'\n", folder.display()))
        .unwrap();
    let being_made = Preparing::begin(&folder).unwrap().unwrap();
    being_made.step("the base python");
    // What is there may be of an older build: it is not taken as long as the new ones are being made.
    symlink(installed.join("kernel"), folder.join("kernel")).unwrap();

    let platform = Platform::start_in(data.path(), &EMBEDDED);
    let ada = platform.user("ada");
    let ready = || String::from_utf8(plain(&get(&format!("{}/readyz", platform.url), None))).unwrap();
    let vm = || ada.json("nodes list")["items"][0]["vm"].clone();
    assert_eq!(vm(), serde_json::json!({ "state": "missing", "why": "being prepared: the base python" }));
    wait_until("the gateway knows the node", Duration::from_secs(10), || ready() == "ready\nlanes: wasm\n");
    ada.deploy("hello", "");
    assert!(ada.ok("invoke hello").contains("ello"));
    std::fs::write(ada.work().join("script"), "#!/bin/sh\necho from a machine\n").unwrap();
    let asked = ada.fails("deploy script --name script --lane vm", 7, "no_node");
    assert!(asked.contains("being prepared"), "{asked}");

    for part in &PARTS[1..] {
        symlink(installed.join(part), folder.join(part)).unwrap();
    }
    drop(being_made);
    wait_until("the node has the lane", Duration::from_secs(120), || vm()["state"] == "ready");
    wait_until("the gateway knows", Duration::from_secs(5), || ready() == "ready\nlanes: wasm vm\n");
    ada.ok("deploy script --name script --lane vm");
    assert_eq!(ada.ok("invoke script"), "from a machine");
}
