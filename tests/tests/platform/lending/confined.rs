//! A guest that has broken out of its sandbox on a lender's machine (a hook does what it would): it finds no home, no seed,
//! and nobody to connect to.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tests::{Cli, EMBEDDED, Platform, wait_until};

use super::joining::{lend, node, stop};

/// Starts a machine that tries these things once it works; what came of them, while it works on.
pub(crate) fn taken_over(
    platform: &Platform,
    ada: &Cli,
    folder: &Path,
    flags: &[&str],
    and_then: impl FnOnce(),
) -> BTreeMap<String, String> {
    let (home, attic) = (folder.join("home"), folder.join("attic"));
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("secret"), "x").unwrap();
    // Nobody but the kernel stands between.
    for path in [folder, &home, &home.join("secret")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let (other, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), home.join("other.sock"));
    let _listener = UnixListener::bind(&unix).unwrap();
    let address = other.local_addr().unwrap();
    let attempts = json!({
        "read": [
            home.join("secret"),
            attic.join("keys/nats.nk"),
            attic.join("node.json"),
            Path::new("/etc/passwd"),
            Path::new("/proc/1/status"),
            Path::new("/proc/{supervisor}/mem"),
            Path::new("/proc/{supervisor}/environ"),
        ],
        "write": [home.join("new"), "/tmp/new"],
        "list": [&home, Path::new("/run"), Path::new("/proc"), Path::new("/")],
        "tcp": [address],
        "unix": [&unix],
        "execute": ["/bin/sh"],
        "signal": ["{supervisor}"],
    });
    let token = ada.json("nodes tokens create --name attic")["token"].as_str().unwrap().to_owned();
    let mut machine = lend(&attic, &["--token", &token]);
    machine.args(flags).env("XDG_CACHE_HOME", cache()).env("HOME", &home);
    machine.env("CROWDCLOUD_TAKEN_OVER", attempts.to_string());
    let machine = machine.stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait_until("it is online", Duration::from_secs(60), || {
        node(ada, "attic").is_some_and(|node| node["state"] == "online")
    });
    let (report, mut found) = (attic.join("executor/taken-over.json"), BTreeMap::new());
    wait_until("all was tried", Duration::from_secs(20), || {
        found = std::fs::read(&report).map(|text| serde_json::from_slice(&text).unwrap()).unwrap_or_default();
        !found.is_empty()
    });
    // The work goes to this machine alone.
    ada.ok(&format!("lend pause --data {}", platform.data().display()));
    and_then();
    ada.ok(&format!("lend resume --data {}", platform.data().display()));
    stop(machine);
    found
}

/// Where the VM lane's parts are, whatever home a process has.
fn cache() -> std::ffi::OsString {
    let home = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache").into_os_string();
    std::env::var_os("XDG_CACHE_HOME").unwrap_or_else(home)
}

/// What an older kernel cannot refuse.
const OF_NEW_KERNELS: [&str; 2] = ["tcp ", "signal "];

/// All was refused but what is the node's own.
pub(crate) fn is_nothing(found: &BTreeMap<String, String>, confinement: &str) {
    assert!(["full", "partial"].contains(&confinement), "{confinement}");
    for (attempt, result) in found {
        if confinement == "partial" && OF_NEW_KERNELS.iter().any(|kind| attempt.starts_with(kind)) {
            continue;
        }
        let is_own = attempt == "write its own folder";
        assert_eq!(result == "done", is_own, "{attempt}: {result}");
        assert!(is_own || result.starts_with("PermissionDenied"), "{attempt}: {result}");
    }
    assert!(found.len() >= 18, "{found:?}");
}

/// How far the machine is confined, as borrowers see it.
pub(crate) fn told(ada: &Cli) -> String {
    node(ada, "attic").unwrap()["confinement"]["state"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn needs_landlock_a_guest_that_breaks_out_finds_no_home_no_seed_and_no_socket() {
    let platform = Platform::start_with(&EMBEDDED);
    let ada = platform.user("ada");
    ada.deploy("hello", "");
    let folder = tempfile::tempdir().unwrap();
    let mut confinement = String::new();
    let found = taken_over(&platform, &ada, folder.path(), &["--no-vm"], || {
        confinement = told(&ada);
        wait_until("runs go there", Duration::from_secs(10), || ada.run("invoke hello").status == 0);
    });
    is_nothing(&found, &confinement);
}
