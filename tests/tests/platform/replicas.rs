//! Copies of blobs on several executors: one of them dies and its disk is destroyed, and everything goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::{Cli, DoneExt as _, EMBEDDED, Platform, signal, wait_until};

/// What `probe` gets and gives for a job: several segments, and far more than a row of the database has room for.
const BODY_BYTES: usize = 6 << 20;
const CONFIG: &str = "[control-plane]\nblock-age-max = \"1s\"\n";

/// The folder with an executor's segments.
fn blobs(platform: &Platform, executor: u16) -> PathBuf {
    match executor {
        1 => platform.data().join("store/blobs"),
        number => platform.data().join(format!("nodes/local-{number}/store/blobs")),
    }
}

fn files(folder: &Path) -> usize {
    let shards = std::fs::read_dir(folder).into_iter().flatten().flatten();
    shards.map(|shard| std::fs::read_dir(shard.path()).into_iter().flatten().count()).sum()
}

fn body() -> Vec<u8> {
    (0_u8..=250).cycle().take(BODY_BYTES).collect()
}

/// A job whose input and output are in the store; its id.
fn job(ada: &Cli) -> String {
    let job = ada.ok("jobs submit probe /echo -d @big");
    assert_eq!(ada.ok(&format!("jobs wait {job}")), format!("{job} succeeded"));
    job
}

fn has_output(ada: &Cli, job: &str) {
    ada.ok(&format!("jobs output {job} -o out"));
    assert!(std::fs::read(ada.work().join("out")).unwrap() == body());
}

/// The account's history, of which some is in blocks, is whole.
fn history_is_whole(ada: &Cli) {
    let mut receipts = Value::Null;
    wait_until("some of the history is in blocks", Duration::from_secs(60), || {
        receipts = ada.json("receipts download -o receipts.ndjson");
        receipts["blocks"].as_u64() > Some(0)
    });
    assert_eq!((&receipts["whole"], &receipts["faults_count"]), (&true.into(), &0.into()), "{receipts}");
}

#[test]
fn the_loss_of_an_executor_and_its_disk_loses_nothing() {
    let platform = Platform::start_set(CONFIG, &["--replicas", "2", "--executors", "3"]);
    assert_eq!(platform.store["copies"], 2);
    assert_eq!(platform.store["disks"], 1, "what it is on one disk is said: {}", platform.store);
    let ada = platform.user("ada");
    ada.deploy("hello", "--timeout 5s");
    ada.deploy("probe", "--timeout 20s");
    std::fs::write(ada.work().join("big"), body()).unwrap();
    assert!(ada.ok("invoke hello").contains("Hello"));
    let mut jobs = vec![job(&ada)];
    while files(&blobs(&platform, 2)) == 0 {
        assert!(jobs.len() < 20, "the blobs of {} jobs are all on two of three disks", jobs.len());
        jobs.push(job(&ada));
    }
    history_is_whole(&ada);

    // Whoever serves it is killed, and all that is on it is gone; at once, so that it is not started before.
    let disk = blobs(&platform, 2).parent().unwrap().to_owned();
    let (pid, away) = (platform.pid_of("executor-2"), disk.with_file_name("destroyed"));
    std::fs::rename(&disk, &away).unwrap();
    signal(pid, Signal::KILL);
    std::fs::remove_dir_all(&away).unwrap();

    for job in &jobs {
        has_output(&ada, job);
    }
    assert!(ada.ok("invoke hello").contains("Hello"));
    ada.deploy("markdown", "--timeout 5s");
    ada.ok("invoke markdown -d '# Title'");
    let during = job(&ada);
    has_output(&ada, &during);
    history_is_whole(&ada);

    // It comes back with an empty disk, which has its part of what comes from then on.
    wait_until("the executor is started again", Duration::from_secs(20), || platform.pid_of("executor-2") != pid);
    let mut later = Vec::new();
    wait_until("its new disk has segments", Duration::from_secs(60), || {
        later.push(job(&ada));
        files(&blobs(&platform, 2)) > 0
    });
    for job in jobs.iter().chain([&during]).chain(&later) {
        has_output(&ada, job);
    }
}

/// Where there was one copy, more come with the next start; the way back is refused where it would lose something.
#[test]
fn a_folder_with_one_copy_may_have_more_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut platform = Platform::start_in(folder.path(), &EMBEDDED);
    assert!(platform.store.is_null());
    let mut ada = platform.user("ada");
    ada.deploy("probe", "--timeout 20s");
    std::fs::write(ada.work().join("big"), body()).unwrap();
    let before = job(&ada);
    let key = ada.token();
    platform.stop();

    let mut platform = Platform::start_in(folder.path(), &["--replicas", "2", "--executors", "2"]);
    ada.move_to(&platform.url);
    let with_key = |line: &str| ada.shell(&format!("CROWDCLOUD_KEY={key} crowdcloud {line}")).ok();
    with_key(&format!("jobs output {before} -o out"));
    assert!(std::fs::read(ada.work().join("out")).unwrap() == body());
    with_key("jobs submit probe '/bytes?n=300000' --wait -o out");
    assert!(files(&blobs(&platform, 2)) > 0, "both have what comes now");
    platform.stop();

    let back = format!("up --data {} --listen 127.0.0.1:0", folder.path().display());
    assert!(ada.fails(&back, 5, "replicas").contains("--replicas 2"));
    let alone = ada.fails("up --replicas 2 --listen 127.0.0.1:0 --data elsewhere", 2, "replicas");
    assert!(alone.contains("2 copies need 2 executors; there is 1"), "{alone}");
}
