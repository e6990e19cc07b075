//! A machine joins with one command, works, and leaves. (Its platform is on the same machine.)

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tests::{DoneExt as _, EMBEDDED, Platform, signal, wait_until};

pub(crate) fn lend(data: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(tests::program());
    command.arg("lend").args(flags).arg("--data").arg(data).arg("--yes").stdin(Stdio::null());
    command
}

/// The node of this name, as its owner sees it.
pub(crate) fn node(ada: &tests::Cli, name: &str) -> Option<Value> {
    let nodes = ada.json("nodes list");
    nodes["items"].as_array().unwrap().iter().find(|node| node["name"] == name).cloned()
}

/// Ends it as Ctrl-C does; what it has said.
pub(crate) fn stop(machine: Child) -> String {
    signal(machine.id(), Signal::INT);
    let ended = machine.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", said(&ended));
    said(&ended)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_machine_joins_works_comes_back_and_leaves() {
    let platform = Platform::start_with(&EMBEDDED);
    let ada = platform.user("ada");
    let folder = tempfile::tempdir().unwrap();
    let (attic, cellar) = (folder.path().join("attic"), folder.path().join("cellar"));
    let made = ada.json("nodes tokens create --name attic");
    let token = made["token"].as_str().unwrap().to_owned();
    let damaged = lend(&attic, &["--token", &token[..token.len() - 2]]).output().unwrap();
    assert_eq!(damaged.status.code(), Some(2), "{}", said(&damaged));
    assert!(!attic.exists(), "nothing is made before the token is read");
    std::fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
    let foreign = lend(folder.path(), &["--token", &token]).output().unwrap();
    assert!(foreign.status.code() == Some(5) && said(&foreign).contains("thesis.tex"), "{}", said(&foreign));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is written there");

    let online = || node(&ada, "attic").is_some_and(|node| node["state"] == "online");
    let machine =
        lend(&attic, &["--token", &token, "--no-vm", "--traffic", "10GiB"]).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("it is connected", Duration::from_secs(20), || {
        node(&ada, "attic").is_some_and(|node| node["state"] == "calibrating" || node["state"] == "online")
    });
    wait_until("it is measured, and online", Duration::from_secs(60), online);
    assert_eq!(node(&ada, "attic").unwrap()["id"], made["node"]);
    assert!(ada.json("nodes show attic")["availability"]["answered"].as_u64().is_some_and(|answered| answered >= 3));
    let caps = || ada.json(&format!("lend caps --data {}", attic.display()));
    assert_eq!(caps()["egress"], false);
    let more = format!("lend caps set --egress on --data {}", attic.display());
    assert!(ada.fails(&more, 6, "refused").contains("off was agreed"));
    // The token is spent, and says so.
    let used = lend(&cellar, &["--token", &token, "--no-vm"]).output().unwrap();
    assert!(!used.status.success() && said(&used).contains("node_token_used"), "{}", said(&used));
    // Its folder is its own while it runs.
    let twice = lend(&attic, &[]).output().unwrap();
    assert_eq!(twice.status.code(), Some(5), "{}", said(&twice));
    // What it said before it joined.
    let terms = stop(machine);
    for part in [
        "account that earns",
        "ada",
        platform.url.as_str(),
        "10GiB a month",
        "functions connect to none",
        "can read what runs",
        "lend leave",
    ] {
        assert!(terms.contains(part), "{part}: {terms}");
    }

    // Another token is for another node.
    let another = ada.json("nodes tokens create --name loft");
    let refused = lend(&attic, &["--token", another["token"].as_str().unwrap(), "--no-vm"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(5), "{}", said(&refused));
    for part in [made["node"].as_str().unwrap(), "for ada", "lend leave --data"] {
        assert!(said(&refused).contains(part), "{part}: {}", said(&refused));
    }

    // Without a token it is the same node.
    let machine = lend(&attic, &["--no-vm", "--egress"]).spawn().unwrap();
    wait_until("it is online again", Duration::from_secs(20), online);
    wait_until("it listens to its owner", Duration::from_secs(5), || attic.join("lend.sock").exists());
    assert_eq!(caps()["egress"], true, "lent where its owner says so");
    assert_eq!(caps()["traffic"], "10737418240", "as was agreed when it joined");
    let status = ada.ok(&format!("lend status --data {}", attic.display()));
    assert!(status.contains("takes runs") && status.contains("attic (node_"), "{status}");
    // From afar it is paused at once, and resumed.
    let status = || ada.ok(&format!("lend status --data {}", attic.display()));
    assert!(ada.ok("nodes pause attic --for 2h").contains("paused by its owner until"));
    assert!(status().contains("paused by its owner until"));
    assert!(ada.ok("nodes drain attic").contains("draining"));
    assert!(ada.ok("nodes resume attic").contains("takes runs") && status().contains("takes runs"));
    assert!(ada.ok("nodes show attic").contains("x86_64") || cfg!(not(target_arch = "x86_64")));
    // It finishes, ends, tells the platform, and nothing of it is left.
    let left = lend(&attic, &["leave"]).output().unwrap();
    assert!(left.status.success(), "{}", said(&left));
    assert!(machine.wait_with_output().unwrap().status.success());
    assert!(node(&ada, "attic").is_none() && !attic.exists());
}

#[test]
fn one_line_installs_the_program_and_lends_the_machine() {
    let platform = Platform::start_with(&EMBEDDED);
    let ada = platform.user("ada");
    let folder = tempfile::tempdir().unwrap();
    let (programs, data) = (folder.path().join("bin"), folder.path().join("node"));
    let shell = |change: &str, flags: &str| {
        let url = &platform.url;
        let line = format!("curl -fsSL --noproxy '*' {url}/install.sh | sed '{change}' | sh -s -- {flags}");
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).env("CROWDCLOUD_INSTALL_DIR", &programs).env("NO_PROXY", "*").env("no_proxy", "*");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    // What comes damaged is not installed.
    let refused = shell("s/^digest=.*/digest=0/", "").output().unwrap();
    assert!(!refused.status.success() && said(&refused).contains("its digest differs"), "{}", said(&refused));
    assert_eq!(std::fs::read_dir(&programs).unwrap().count(), 0, "nothing is left of it");

    let made = ada.json("nodes tokens create --name attic");
    let flags = format!("--token {} --yes --no-vm --data {}", made["token"].as_str().unwrap(), data.display());
    let machine = shell("", &flags).spawn().unwrap();
    wait_until("it is connected", Duration::from_secs(60), || {
        node(&ada, "attic").is_some_and(|node| node["state"] == "calibrating" || node["state"] == "online")
    });
    let installed = std::fs::read(programs.join("crowdcloud")).unwrap();
    assert!(installed == std::fs::read(tests::program()).unwrap(), "the platform's own program");
    ada.ok(&format!("nodes revoke {} --yes", made["node"].as_str().unwrap()));
    let ended = machine.wait_with_output().unwrap();
    for part in ["installed ", "account that earns", "node_left"] {
        assert!(said(&ended).contains(part), "{part}: {}", said(&ended));
    }
    let again = shell("", "").output().unwrap();
    assert!(again.status.success() && said(&again).contains("is there already"), "{}", said(&again));
}

#[test]
fn a_new_machine_is_checked_and_its_owner_confirms_it() {
    let platform = Platform::start_with(&EMBEDDED);
    let ada = platform.user("ada");
    let folder = tempfile::tempdir().unwrap();
    let made = ada.json("nodes tokens create --name attic");
    let (token, id) = (made["token"].as_str().unwrap(), made["node"].as_str().unwrap());
    let machine = lend(folder.path(), &["--token", token, "--no-vm"]).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("it is online", Duration::from_secs(60), || {
        node(&ada, "attic").is_some_and(|node| node["state"] == "online")
    });
    let shown = || ada.json(&format!("nodes show {id}"));
    // A real node computes what the platform says that comes out.
    wait_until("its first check is done", Duration::from_secs(60), || {
        shown()["availability"]["answered"].as_u64().is_some_and(|answered| answered > 0)
    });
    let new = shown();
    assert_eq!((new["level"].as_str(), new["checks"][0]["outcome"].as_str()), (Some("new"), Some("agreed")), "{new}");
    assert!(new["turns_per_ms"].as_u64().unwrap() > 0 && new["lied"].is_null(), "{new}");
    assert!(ada.ok(&format!("nodes show {id}")).contains("checks agreed"));

    let fingerprint = new["fingerprint"].as_str().unwrap();
    let confirm = |fingerprint: &str| {
        let who = "--email ada@example.com --password-stdin";
        let line = format!("crowdcloud nodes confirm attic --fingerprint {fingerprint} {who}");
        ada.shell_with(&line, b"correct horse battery\n")
    };
    let refused = confirm("3f2a");
    assert!(refused.status != 0 && refused.stderr.contains("revoke the node"), "{refused:?}");
    confirm(fingerprint).ok();
    assert!(shown()["confirmed"].is_string());
    let said = stop(machine);
    assert!(said.contains(fingerprint), "its owner has read it on the machine: {said}");
}

#[test]
fn the_operator_suspends_and_lets_in_again_from_the_command_line() {
    let platform = Platform::start_with(&EMBEDDED);
    let link = platform.operator_link.clone().unwrap();
    let op = platform.cli();
    let signup = "crowdcloud signup --email op@example.com --password-stdin --account-name op --operator-token";
    op.shell_with(&format!("{signup} '{link}'"), b"correct horse battery\n").ok();
    let ada = platform.user("ada");
    let made = ada.json("nodes tokens create --name attic");
    assert!(ada.json("nodes tokens list")["items"][0]["node"].is_null(), "there is no such node yet");
    let id = made["node"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut joining = lend(folder.path(), &["--token", made["token"].as_str().unwrap(), "--no-vm"]);
    let mut machine = joining.stderr(Stdio::piped()).spawn().unwrap();
    wait_until("it is online", Duration::from_secs(60), || {
        node(&ada, "attic").is_some_and(|node| node["state"] == "online")
    });
    assert_eq!(ada.json("nodes tokens list")["items"][0]["node"], made["node"], "it has joined");
    let with = |cli: &tests::Cli, who: &str, line: &str| {
        let log_in = format!("--email {who}@example.com --password-stdin");
        cli.shell_with(&format!("crowdcloud nodes {line} {log_in}"), b"correct horse battery\n")
    };
    // The operator's key is an account's: it sees and changes what the account may.
    assert_eq!(op.run(&format!("nodes show {id}")).status, 4);
    assert!(with(&op, "op", "list --as-operator").ok().contains("attic"));
    assert!(with(&op, "op", &format!("show {id} --as-operator")).ok().contains("attic"));
    let refused = with(&ada, "ada", &format!("suspend {id} --reason envy"));
    assert!(refused.status == 3 && refused.stderr.contains("not this platform's operator"), "{refused:?}");
    // A node's name does where its id does; it is none of an account.
    with(&op, "op", "vouch attic").ok();
    assert_eq!(ada.json("nodes show attic")["vouched"], true);
    with(&op, "op", "vouch attic --withdraw").ok();
    with(&op, "op", "suspend attic --reason 'it returns garbage'").ok();
    assert_eq!(node(&ada, "attic").unwrap()["state"], "suspended");
    // It stays, and says why.
    let status = format!("lend status --data {}", folder.path().display());
    wait_until("it knows", Duration::from_secs(20), || {
        let told = ada.run(&status);
        told.status == 0 && told.text().contains("it returns garbage")
    });
    assert_eq!(ada.json(&status)["state"], "suspended");
    let drained = ada.fails(&format!("lend drain --data {}", folder.path().display()), 4, "node_not_running");
    assert!(drained.contains("attic") && drained.contains("it returns garbage"), "{drained}");
    assert!(machine.try_wait().unwrap().is_none(), "it is the same process");
    let refused = ada.fails("nodes resume attic", 3, "forbidden");
    assert!(refused.contains("it returns garbage"), "{refused}");
    let resumed = with(&op, "op", "resume attic --as-operator");
    assert!(resumed.stderr.contains("comes back by itself"), "{resumed:?}");
    resumed.ok();
    wait_until("it is online again by itself, measured as it was", Duration::from_secs(60), || {
        node(&ada, "attic").is_some_and(|node| node["state"] == "online")
    });
    with(&op, "op", &format!("revoke {id} --yes --as-operator")).ok();
    assert!(node(&ada, "attic").is_none());
    let shown = ada.ok("nodes show attic");
    assert!(shown.contains("revoked") && shown.contains("by the operator"), "{shown}");
    assert!(ada.ok("nodes list --all").contains("revoked"));
    let ended = said(&machine.wait_with_output().unwrap());
    for part in ["node_suspended", "it returns garbage", "let the node in again", "node_left", "it was revoked"] {
        assert!(ended.contains(part), "{part}: {ended}");
    }
}

#[test]
fn an_older_copy_of_a_folder_is_refused_and_named() {
    let platform = Platform::start_with(&EMBEDDED);
    let ada = platform.user("ada");
    let folder = tempfile::tempdir().unwrap();
    let (attic, copy) = (folder.path().join("attic"), folder.path().join("copy"));
    let made = ada.json("nodes tokens create --name attic");
    let online = || node(&ada, "attic").is_some_and(|node| node["state"] == "online");
    let start = |flags: &[&str]| {
        let machine = lend(&attic, flags).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("it is online", Duration::from_secs(60), online);
        stop(machine);
    };
    start(&["--token", made["token"].as_str().unwrap(), "--no-vm"]);
    let copied = Command::new("cp").arg("-r").arg(&attic).arg(&copy).status().unwrap();
    assert!(copied.success());
    wait_until("it is silent", Duration::from_secs(20), || !online());
    start(&["--no-vm"]);
    let refused = lend(&copy, &["--no-vm"]).output().unwrap();
    assert!(!refused.status.success() && said(&refused).contains("node_restored"), "{}", said(&refused));
    assert!(ada.ok("nodes tokens list").contains("used"));
}

#[test]
fn a_revoked_machine_ends_by_itself_and_does_not_come_back() {
    let platform = Platform::start_with(&EMBEDDED);
    let ada = platform.user("ada");
    let folder = tempfile::tempdir().unwrap();
    let made = ada.json("nodes tokens create --name attic");
    let token = made["token"].as_str().unwrap();
    let mut joining = lend(folder.path(), &["--token", token, "--no-vm"]);
    let machine = joining.stderr(Stdio::piped()).spawn().unwrap();
    wait_until("it is online", Duration::from_secs(60), || {
        node(&ada, "attic").is_some_and(|node| node["state"] == "online")
    });
    ada.ok(&format!("nodes revoke {} --yes", made["node"].as_str().unwrap()));
    assert!(node(&ada, "attic").is_none());
    let began = Instant::now();
    let ended = machine.wait_with_output().unwrap();
    assert!(!ended.status.success() && said(&ended).contains("node_left"), "{}", said(&ended));
    assert!(said(&ended).contains("it was revoked") && began.elapsed() < Duration::from_secs(5), "{}", said(&ended));
    let again = lend(folder.path(), &["--no-vm"]).output().unwrap();
    assert!(!again.status.success() && said(&again).contains("node_left"), "{}", said(&again));
    // With a token of its own it comes back in the same folder, as another node.
    let made = ada.json("nodes tokens create --name cellar");
    let token = made["token"].as_str().unwrap();
    let machine = lend(folder.path(), &["--token", token, "--no-vm"]).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("it is online", Duration::from_secs(60), || {
        node(&ada, "cellar").is_some_and(|node| node["state"] == "online" && node["id"] == made["node"])
    });
    assert!(stop(machine).contains("has left"));
    // A platform that is gone is told nothing.
    drop(platform);
    let held = lend(folder.path(), &["leave"]).output().unwrap();
    assert!(!held.status.success() && said(&held).contains("leave --forget"), "{}", said(&held));
    let forgotten = lend(folder.path(), &["leave", "--forget"]).output().unwrap();
    assert!(forgotten.status.success() && said(&forgotten).contains("nodes revoke node_"), "{}", said(&forgotten));
    assert!(!folder.path().exists());
}

/// The process that renews sleeps longer than the JWT lasts; the one that works is refused meanwhile. A token that nobody has
/// used in time is none any more.
#[test]
fn a_machine_that_slept_beyond_its_jwt_renews_it_and_an_old_token_is_refused() {
    let config = "[control-plane]\nnode-jwt-lasts = \"6s\"\nnode-token-lasts = \"10s\"\n";
    let platform = Platform::start_set(config, &EMBEDDED);
    let ada = platform.user("ada");
    let folder = tempfile::tempdir().unwrap();
    let (unused, made_at) = (ada.json("nodes tokens create --name cellar"), Instant::now());
    let made = ada.json("nodes tokens create --name attic");
    let attic = folder.path().join("attic");
    let mut joining = lend(&attic, &["--token", made["token"].as_str().unwrap(), "--no-vm"]);
    let mut machine = joining.stderr(Stdio::piped()).spawn().unwrap();
    let is_connected =
        || node(&ada, "attic").is_some_and(|node| node["state"] == "calibrating" || node["state"] == "online");
    wait_until("it is connected", Duration::from_secs(20), is_connected);
    signal(machine.id(), Signal::STOP);
    wait_until("its JWT has ended", Duration::from_secs(30), || !is_connected());
    signal(machine.id(), Signal::CONT);
    wait_until("it is connected again", Duration::from_secs(20), is_connected);
    assert!(machine.try_wait().unwrap().is_none(), "it is the same process");
    stop(machine);

    wait_until("the token is old", Duration::from_secs(12), || made_at.elapsed() > Duration::from_secs(10));
    let cellar = folder.path().join("cellar");
    let late = lend(&cellar, &["--token", unused["token"].as_str().unwrap(), "--no-vm"]).output().unwrap();
    assert!(!late.status.success() && said(&late).contains("node_token_expired"), "{}", said(&late));
    assert!(node(&ada, "cellar").is_none() && !cellar.join("node.json").exists());
}
