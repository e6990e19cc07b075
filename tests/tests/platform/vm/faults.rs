//! Machines, kernels and nodes that die: the caller is told whose fault it was, nothing is left behind, and the next
//! run is well without anybody's help.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{Answer, Cli, EMBEDDED, Platform, alive, examples, signal, wait_until};

use super::{MISDEEDS, code_of, has_vm_lane, machines, needs_vm_lane, program, settled};
use crate::run_path::{get, plain, send};

/// A function that waits to be killed.
const VICTIM: &str = r#"
fn main() {
    match std::env::var("PATH_INFO").unwrap().as_str() {
        "/chatter" => loop { eprintln!("{}", "y".repeat(8000)) },
        "/drip" => { println!("begun"); std::thread::sleep(std::time::Duration::from_secs(60)) }
        "/panic" => {
            std::fs::write("/proc/self/comm", "please-panic").unwrap();
            std::thread::sleep(std::time::Duration::from_secs(60))
        }
        path if path.starts_with("/sleep") => {
            eprintln!("asleep in {path}");
            std::thread::sleep(std::time::Duration::from_secs(60))
        }
        _ => println!("fine"),
    }
}
"#;

/// A user with the victim deployed.
fn victim(platform: &Platform) -> Cli {
    let ada = platform.user("ada");
    needs_vm_lane(&ada);
    program(&ada, "victim", VICTIM);
    ada.ok("deploy victim --name victim --memory 64MiB --timeout 60s");
    assert_eq!(ada.ok("invoke victim"), "fine");
    ada
}

/// A call in the background, whose program runs when this returns.
fn sleeping(platform: &Platform, user: &Cli, method: &'static str, path: &str) -> std::thread::JoinHandle<Answer> {
    let (url, key) = (format!("{}/f/ada/victim{path}", platform.url), user.token());
    let call = std::thread::spawn(move || send(method, &url, Some(&key), "", b""));
    let line = format!("asleep in {path}");
    wait_until("the program runs", Duration::from_secs(60), || user.run("logs victim").text().contains(&line));
    call
}

fn kill(pids: &[u32]) {
    assert!(!pids.is_empty(), "there is no machine to kill");
    pids.iter().for_each(|pid| signal(*pid, Signal::KILL));
    wait_until("they are gone", Duration::from_secs(5), || !pids.iter().any(|pid| alive(*pid)));
}

pub(super) fn each_misdeed_has_its_status_and_harms_nobody(platform: &Platform) {
    let dora = platform.user("dora");
    needs_vm_lane(&dora);
    program(&dora, "misdeeds", MISDEEDS);
    program(&dora, "victim", VICTIM);
    dora.ok("deploy victim --name chatty --memory 64MiB --timeout 2s");
    dora.ok("deploy misdeeds --name misdeeds --memory 64MiB --timeout 60s --body 1MiB");
    dora.ok("deploy misdeeds --name late --memory 64MiB --timeout 2s");
    dora.ok("deploy misdeeds --name deaf --kind server --memory 64MiB --timeout 20s");
    let key = dora.token();
    let call = |what: &str| get(&format!("{}/f/dora/{what}", platform.url), Some(&key));
    let expected = [
        ("misdeeds/exit", 502, "function_exit"),
        ("misdeeds/abort", 502, "function_exit"),
        ("misdeeds/hog", 502, "out_of_memory"),
        ("late/sleep", 504, "timed_out"),
        ("chatty/chatter", 504, "timed_out"),
        // As a server it finds no path in its environment, and ends.
        ("deaf/x", 502, "never_listened"),
    ];
    for (what, status, code) in expected {
        let answer = call(what);
        assert_eq!((answer.status, code_of(&answer).as_str()), (status, code), "{what}: {answer:?}");
        let well = call("misdeeds/");
        assert_eq!((well.status, plain(&well)), (200, b"fine\n".to_vec()), "after {what}: {well:?}");
    }
    // What says too much is not heard to its end.
    wait_until("its log has come", Duration::from_secs(10), || dora.ok("logs chatty").contains("the log is full"));
    assert!(dora.ok("logs chatty").len() < 128 << 10);
}

#[test]
fn a_killed_machine_is_the_nodes_fault_the_next_run_has_another_and_none_outlives_the_platform() {
    let mut platform = Platform::start_with(&EMBEDDED);
    let ada = victim(&platform);
    let data = platform.data();

    // While nobody is in it: the run does not notice.
    wait_until("a machine waits", Duration::from_secs(30), || !machines(data).is_empty());
    kill(&machines(data));
    assert_eq!(ada.ok("invoke victim"), "fine");

    // In the middle of a run, whether it may be repeated or not; here is no other node.
    for (method, path) in [("POST", "/sleep/once"), ("GET", "/sleep/twice")] {
        let call = sleeping(&platform, &ada, method, path);
        kill(&machines(data));
        let killed = Instant::now();
        let answer = call.join().unwrap();
        assert!(killed.elapsed() < Duration::from_secs(20), "it took {:?}", killed.elapsed());
        assert_eq!((answer.status, code_of(&answer).as_str()), (502, "node_failed"), "{method}: {answer:?}");
        let said = String::from_utf8(plain(&answer)).unwrap();
        assert!(said.contains("machine died"), "{said}");
        let record = settled(&ada, "victim", path);
        assert_eq!((&record["outcome"], &record["code"]), (&"platform_failed".into(), &"node_failed".into()));
        assert_eq!(ada.ok("invoke victim"), "fine");
    }

    // After the answer has begun, it breaks off.
    let (url, key) = (format!("{}/f/ada/victim/drip", platform.url), ada.token());
    let line = format!("curl -sN -H 'authorization: Bearer {key}' {url} > drip; echo $? > ended");
    let (begun, ended) = (ada.work().join("drip"), ada.work().join("ended"));
    std::thread::scope(|scope| {
        let curl = scope.spawn(|| ada.shell(&line));
        let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        wait_until("the answer begins", Duration::from_secs(60), || text(&begun) == "begun\n");
        kill(&machines(data));
        curl.join().unwrap();
        assert_ne!(text(&ended).trim(), "0", "a cut answer must not look whole");
    });
    assert_eq!(settled(&ada, "victim", "/drip")["code"], "node_failed");
    assert_eq!(ada.ok("invoke victim"), "fine");

    // A server that waits for its next request.
    ada.ok(&format!("deploy {}", examples().join("native-server").display()));
    assert!(ada.ok("invoke native-server").starts_with("request 1 "));
    kill(&machines(data));
    assert!(ada.ok("invoke native-server").starts_with("request 1 "));
    assert!(ada.ok("invoke native-server").starts_with("request 2 "));

    // With the platform all of them go.
    let call = sleeping(&platform, &ada, "POST", "/sleep/last");
    let running = machines(data);
    platform.kill();
    wait_until("no machine is left", Duration::from_secs(5), || !running.iter().any(|pid| alive(*pid)));
    // Nobody answers it.
    drop(call.join());
}

/// The guest's first process, and beside it one of root's that lets the kernel panic when a program asks for it by its
/// name: no function can do that by itself.
const SABOTEUR: &str = r#"
use std::os::unix::{fs::PermissionsExt, process::CommandExt};
use std::process::Command;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    while arguments == ["wait"] {
        std::thread::sleep(std::time::Duration::from_millis(20));
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            if std::fs::read_to_string(process.path().join("comm")).is_ok_and(|name| name == "please-panic\n") {
                std::fs::write("/proc/sysrq-trigger", "c").unwrap();
            }
        }
    }
    if std::process::id() == 1 {
        std::fs::write("/agent", include_bytes!("AGENT")).unwrap();
        std::fs::set_permissions("/agent", PermissionsExt::from_mode(0o755)).unwrap();
        Command::new("/init").arg("wait").spawn().unwrap();
    }
    panic!("{}", Command::new("/agent").args(arguments).exec());
}
"#;

#[test]
fn a_panic_of_a_guests_kernel_is_told_and_ends_there() {
    let installed = tools();
    assert!(installed.join("guest-agent").is_file(), "there is no guest agent in {}", installed.display());
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("tools");
    std::fs::create_dir(&folder).unwrap();
    for part in ["kernel", "bases"] {
        std::os::unix::fs::symlink(installed.join(part), folder.join(part)).unwrap();
    }
    let source = SABOTEUR.replace("AGENT", installed.join("guest-agent").to_str().unwrap());
    std::fs::write(folder.join("saboteur.rs"), source).unwrap();
    let flags = "--edition 2024 -C opt-level=1 -C target-feature=+crt-static -C strip=symbols";
    super::archive::run(&folder, &format!("rustc {flags} -o guest-agent saboteur.rs"));
    let platform_data = data.path().join("data");
    std::fs::create_dir(&platform_data).unwrap();
    let config = format!("[executor]\nvm-tools = \"{}\"\n", folder.display());
    std::fs::write(platform_data.join("config.toml"), config).unwrap();

    let platform = Platform::start_in(&platform_data, &EMBEDDED);
    let ada = victim(&platform);
    let answer = get(&format!("{}/f/ada/victim/panic", platform.url), Some(&ada.token()));
    assert_eq!((answer.status, code_of(&answer).as_str()), (502, "guest_crashed"), "{answer:?}");
    let said = String::from_utf8(plain(&answer)).unwrap();
    assert!(said.contains("sysrq triggered crash"), "{said}");
    let record = settled(&ada, "victim", "/panic");
    assert_eq!((&record["outcome"], &record["code"]), (&"failed".into(), &"guest_crashed".into()), "{record}");
    assert_eq!(ada.ok("invoke victim"), "fine");
}

/// Where the local node finds what its machines need.
pub(super) fn tools() -> std::path::PathBuf {
    std::env::var_os("CROWDCLOUD_VM_TOOLS").map_or_else(provision::cache_dir, Into::into)
}

#[test]
fn a_killed_executor_leaves_no_machine_and_comes_back() {
    let platform = Platform::start_separate(1, 1);
    let ada = victim(&platform);
    let executor = platform.pid_of("executor-1");
    let call = sleeping(&platform, &ada, "POST", "/sleep/once");
    let running = machines(platform.data());
    signal(executor, Signal::KILL);
    wait_until("no machine is left", Duration::from_secs(5), || !running.iter().any(|pid| alive(*pid)));
    let answer = call.join().unwrap();
    assert_eq!((answer.status, code_of(&answer).as_str()), (502, "node_lost"), "{answer:?}");

    assert_ne!(platform.pid_of("executor-1"), executor);
    wait_until("the lane is back", Duration::from_secs(60), || ada.run("invoke victim").text() == "fine");
    assert!(machines(platform.data()).len() <= 2, "machines gather: {:?}", machines(platform.data()));
}

#[test]
fn a_lane_that_is_no_longer_there_is_a_503_with_the_reason_and_the_other_runs() {
    let data = tempfile::tempdir().unwrap();
    let mut platform = Platform::start_in(data.path(), &EMBEDDED);
    let ada = victim(&platform);
    let key = ada.token();
    platform.stop();
    assert!(machines(data.path()).is_empty(), "a machine outlives a platform that was stopped");

    std::fs::write(data.path().join("config.toml"), "[executor]\nno-vm = true\n").unwrap();
    let platform = Platform::start_in(data.path(), &EMBEDDED);
    let bob = platform.user("bob");
    assert!(!has_vm_lane(&bob));
    let answer = get(&format!("{}/f/ada/victim", platform.url), Some(&key));
    assert_eq!((answer.status, code_of(&answer).as_str()), (503, "no_node"), "{answer:?}");
    let said = String::from_utf8(plain(&answer)).unwrap();
    assert!(said.contains("without the lane"), "{said}");
    bob.deploy("hello", "");
    assert!(bob.ok("invoke hello").contains("ello"), "the other lane is as it was");
    std::fs::write(bob.work().join("script"), "#!/bin/sh\necho hello\n").unwrap();
    let asked = bob.fails("deploy script --name script --lane vm", 7, "no_node");
    assert!(asked.contains("--no-vm"), "{asked}");
    let found = bob.fails("deploy script --name script", 2, "not_wasm");
    assert!(found.contains("No node has the vm lane"), "{found}");
}

#[test]
fn what_no_node_could_ever_hold_is_refused_with_the_maximum() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("config.toml"), "[executor]\nnode-memory = \"1GiB\"\nnode-cores = 2\n").unwrap();
    let platform = Platform::start_in(data.path(), &EMBEDDED);
    let ada = platform.user("ada");
    needs_vm_lane(&ada);
    std::fs::write(ada.work().join("script"), "#!/bin/sh\necho hello\n").unwrap();
    for greed in ["--memory 2GiB", "--cpus 3"] {
        let done = ada.run(&format!("deploy script --name script --lane vm {greed} --json"));
        assert_eq!(done.status, 2, "{greed}: {done:?}");
        let line = done.stderr.lines().rfind(|line| line.starts_with('{')).unwrap();
        let problem: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&problem["status"], &problem["code"]), (&422.into(), &"exceeds_nodes".into()), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("at most 2 CPUs, and 928MiB"), "{problem}");
    }
    // The maximum itself is granted.
    ada.ok("deploy script --name script --lane vm --memory 928MiB --cpus 2 --timeout 60s");
    assert_eq!(ada.ok("invoke script"), "hello");
}
