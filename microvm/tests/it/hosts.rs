//! What holds for the host whatever its guests do: nothing is orphaned, QEMU is confined, the accelerator is real.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use microvm::{Accelerator, Config, End, Host};

use crate::support::{self, LONG, SHAPE, bench, command, config};

const ROLE: &str = "MICROVM_TEST_PARENT";

fn status(pid: u32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/status")).ok()
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_ascii_whitespace().next().unwrap_or_default().to_owned()
}

/// Ended, and perhaps not yet waited for.
fn has_ended(pid: u32) -> bool {
    status(pid).is_none_or(|status| field(&status, "State:") == "Z")
}

fn ends_soon(pid: u32) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(10) {
        if has_ended(pid) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Not a test of its own: the program that the next test kills.
#[tokio::test(flavor = "multi_thread")]
async fn a_parent_with_machines() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let bench = bench().await;
    let template = bench.host.template(SHAPE).await.unwrap();
    let waiting = template.restore(Some(&bench.disk)).await.unwrap();
    let paused = template.restore(Some(&bench.disk)).await.unwrap();
    let run = paused.start(command(&["sleep", "600000"]), LONG * 10).await.unwrap();
    println!("\nmachines {} {}", waiting.pid(), run.pid());
    tokio::time::sleep(LONG * 10).await;
}

#[test]
fn machines_die_with_a_parent_that_is_killed() {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hosts::a_parent_with_machines", "--nocapture"])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("machines ")?.to_owned())).unwrap();
    let pids: Vec<u32> = told.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.iter().all(|pid| !has_ended(*pid)));
    parent.kill().unwrap();
    parent.wait().unwrap();
    for pid in pids {
        assert!(ends_soon(pid), "process {pid} is an orphan");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_program_left_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("machines");
    let mut orphan = provision::command(&config(&work).qemu)
        .args(["-machine", "microvm", "-nodefaults", "-display", "none", "-S"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", orphan.id())).unwrap();
    let start = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap().to_owned();
    let left = work.join("1-0");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("pid"), format!("{} {start}\n", orphan.id())).unwrap();
    // A number that has been given to another process: this one.
    let reused = work.join("1-1");
    std::fs::create_dir_all(&reused).unwrap();
    std::fs::write(reused.join("pid"), format!("{} 1\n", std::process::id())).unwrap();
    support::share_the_probe(&work);
    let host = Host::open(config(&work)).await.unwrap();
    assert_eq!(host.limits().orphans_killed, 1);
    assert!(!left.exists() && !reused.exists());
    assert!(!orphan.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_is_confined_and_leaves_nothing() {
    let bench = bench().await;
    let template = bench.host.template(SHAPE).await.unwrap();
    let paused = template.restore(Some(&bench.disk)).await.unwrap();
    let mut run = paused.start(command(&["sleep", "600000"]), LONG).await.unwrap();
    let status = status(run.pid()).unwrap();
    assert_eq!(field(&status, "Seccomp:"), "2");
    assert_eq!(field(&status, "NoNewPrivs:"), "1");
    // Only root can give it an identity of its own.
    if bench.host.limits().own_identity {
        let uid: u32 = field(&status, "Uid:").parse().unwrap();
        assert!((Config::FIRST_UID..Config::FIRST_UID + Config::UIDS).contains(&uid), "{uid}");
        assert_eq!(field(&status, "CapEff:"), "0000000000000000");
    }
    if bench.host.limits().cgroup.is_ok() {
        let group = std::fs::read_to_string(format!("/proc/{}/cgroup", run.pid())).unwrap();
        assert!(group.contains("/machines/"), "{group}");
    }
    run.stop().await;
    assert_eq!(run.ended().await.end, End::Stopped);

    // What it works for its guest counts: its one processor computes, and all that comes out has to be carried.
    let paused = template.restore(Some(&bench.disk)).await.unwrap();
    let mut endless = paused.start(command(&["spit", "0"]), LONG).await.unwrap();
    let mut output = endless.stdio.take().unwrap();
    let carried = tokio::spawn(async move { tokio::io::copy(&mut output, &mut tokio::io::sink()).await });
    let (before, began) = (endless.host_cpu().unwrap(), Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let cores = (endless.host_cpu().unwrap() - before).div_f64(began.elapsed().as_secs_f64());
    // A core and a tenth, and what was kept from before.
    assert!(cores < Duration::from_millis(1350), "{cores:?} in a second");
    endless.stop().await;
    assert_eq!(endless.ended().await.end, End::Stopped);
    carried.abort();
    drop((run, endless, template));
    let machines = || std::fs::read_dir(bench.folder.path().join("machines")).unwrap();
    let begin = Instant::now();
    while machines().flatten().any(|entry| entry.path().is_dir()) {
        assert!(begin.elapsed() < Duration::from_secs(10), "a machine's folder stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accelerator_is_one_that_truly_works() {
    let bench = bench().await;
    let speed = bench.host.speed();
    assert!(speed.turns_per_ms > 1000, "{speed:?}");
    let kvm = bench.host.template_under(SHAPE, Accelerator::Kvm, Duration::from_secs(6)).await;
    match (bench.host.accelerator(), kvm) {
        (Accelerator::Kvm, Ok(template)) => assert_eq!(template.speed().accelerator, Accelerator::Kvm),
        (Accelerator::Tcg, Err(_)) => {}
        (found, other) => panic!("{found:?} was found, but {:?}", other.map(|template| template.speed())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_runs_under_the_hardware_needs_kvm() {
    assert_eq!(bench().await.host.accelerator(), Accelerator::Kvm);
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder.path().join("machines"));
    config.kernel = folder.path().to_owned();
    let error = Host::open(config.clone()).await.err().unwrap().to_string();
    assert!(error.contains("lib/modules"), "{error}");
    config.kernel = support::parts().kernel.clone();
    config.qemu = folder.path().join("no-qemu");
    let error = Host::open(config).await.err().unwrap().to_string();
    assert!(error.contains("no-qemu"), "{error}");
}
