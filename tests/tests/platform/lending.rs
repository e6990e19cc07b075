//! Lending, by the literal commands. What a lender keeps: a paused node takes nothing, and what it gives back is done
//! elsewhere or later. How a machine joins and leaves is in `joining`, how one does so from elsewhere in `by_https`, and what
//! becomes of machines with networks of their own in `network`.

mod by_https;
pub(crate) mod confined;
pub(crate) mod joining;
mod network;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::{Cli, DoneExt as _, EMBEDDED, Platform, wait_until};

use crate::run_path::{get, plain};

/// `crowdcloud lend ...` to a node of this platform.
fn lend(platform: &Platform, cli: &Cli, arguments: &str) -> String {
    cli.ok(&format!("lend {arguments} --data {}", platform.data().display()))
}

/// What the node of this folder says to its owner, without a program that must start before it can ask.
pub(crate) fn status(data: &Path) -> serde_json::Value {
    let mut socket = UnixStream::connect(data.join("lend.sock")).unwrap();
    socket.write_all(b"{\"do\":\"status\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).unwrap();
    let mut reply: serde_json::Value = serde_json::from_str(&line).unwrap();
    reply["status"].take()
}

#[test]
fn a_paused_node_says_so_at_once_and_jobs_wait_for_it() {
    let platform = Platform::start_with(&[EMBEDDED[0], EMBEDDED[1], "--cores", "1", "--traffic", "10GiB"]);
    let ada = platform.user("ada");
    ada.deploy("probe", "--timeout 20s");
    let (key, url) = (ada.token(), format!("{}/f/ada/probe", platform.url));
    let call = || get(&format!("{url}/burn?ms=5&mib=1&n=1"), Some(&key));
    assert_eq!(call().status, 200);
    let submit = || ada.ok("jobs submit probe '/burn?ms=400&mib=1&n=1'");
    let mut jobs: Vec<String> = (0..6).map(|_| submit()).collect();
    wait_until("a job runs", Duration::from_secs(10), || {
        let status: serde_json::Value = serde_json::from_str(&lend(&platform, &ada, "status --json")).unwrap();
        status["running"].as_u64() > Some(0)
    });

    let (calling, called) = (AtomicBool::new(true), AtomicUsize::new(0));
    let (paused_at, answers) = std::thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut answers = Vec::new();
            while calling.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = call();
                let text = String::from_utf8_lossy(&plain(&answer)).into_owned();
                answers.push((began, answer.status, text, answer.took));
                called.fetch_add(1, Ordering::Relaxed);
            }
            answers
        });
        let said = lend(&platform, &ada, "pause");
        let paused_at = Instant::now();
        assert!(said.contains("paused by its owner"), "{said}");
        jobs.extend((0..4).map(|_| submit()));
        std::thread::sleep(Duration::from_secs(1));
        let before = called.load(Ordering::Relaxed);
        // The next but one has begun after that second.
        wait_until("calls are answered", Duration::from_secs(30), || called.load(Ordering::Relaxed) >= before + 2);
        calling.store(false, Ordering::Relaxed);
        (paused_at, calls.join().unwrap())
    });
    for (began, status, text, took) in &answers {
        assert!([200, 502, 503].contains(status), "{status}: {text}");
        if *began > paused_at + Duration::from_secs(1) {
            assert!(*status == 503 && text.contains("paused by its owner"), "{status}: {text}");
            assert!(*took < Duration::from_secs(1), "{took:?}");
        }
    }
    assert!(answers.iter().any(|(began, ..)| *began > paused_at + Duration::from_secs(1)));

    let status = lend(&platform, &ada, "status");
    assert!(status.contains("paused by its owner"), "{status}");
    assert!(status.lines().any(|line| line.starts_with("connection") && line.ends_with(" connected")), "{status}");
    assert!(!status.contains("probe") && !status.contains("ada"), "whose and what it is not told: {status}");
    let told: serde_json::Value = serde_json::from_str(&lend(&platform, &ada, "status --json")).unwrap();
    assert_eq!((told["running"].as_u64(), told["paused"][0]["by"].as_str()), (Some(0), Some("cli")), "{told}");
    assert!(ada.ok("nodes list").contains("paused"));
    let waiting = &jobs[jobs.len() - 1];
    assert!(ada.ok(&format!("jobs why {waiting}")).contains("paused by its owner"));

    assert!(lend(&platform, &ada, "resume").contains("takes runs"));
    for job in &jobs {
        assert_eq!(ada.ok(&format!("jobs wait {job}")), format!("{job} succeeded"));
        let shown = ada.json(&format!("jobs show {job}"));
        assert_eq!((shown["attempts"].as_u64(), shown["losses"].as_u64()), (Some(1), Some(0)), "{shown}");
    }
    assert_eq!(call().status, 200);

    let caps = lend(&platform, &ada, "caps set --memory 64MiB --egress off");
    assert!(caps.contains("of 64MiB") && caps.contains("not lent"), "{caps}");
    lend(&platform, &ada, "caps set --quiet-hours '00:00-00:01 UTC'");
    let caps = lend(&platform, &ada, "caps set --quiet-hours none");
    assert!(!caps.contains("UTC") && caps.contains("only when you say so"), "{caps}");
    let refused = format!("lend caps set --cores 2 --data {}", platform.data().display());
    assert!(ada.fails(&refused, 6, "refused").contains("1 was agreed"));
}

#[test]
fn where_another_node_is_calls_go_on() {
    let platform = Platform::start_separate(2, 1);
    let ada = platform.user("ada");
    ada.deploy("probe", "--timeout 20s");
    let (key, url) = (ada.token(), format!("{}/f/ada/probe", platform.url));
    let call = || get(&format!("{url}/burn?ms=5&mib=1&n=1"), Some(&key)).status;
    assert_eq!(call(), 200);
    let calling = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut statuses = Vec::new();
                    while calling.load(Ordering::Relaxed) {
                        statuses.push(call());
                    }
                    statuses
                })
            })
            .collect();
        for node in ["local-1", "local-2"] {
            assert!(lend(&platform, &ada, &format!("pause --for 1h --node {node}")).contains(" until "));
            std::thread::sleep(Duration::from_millis(1500));
            let status = lend(&platform, &ada, &format!("resume --node {node}"));
            assert!(status.contains("takes runs"), "{status}");
            // The gateway hears it with the next report.
            wait_until("no node is paused", Duration::from_secs(5), || !ada.ok("nodes list").contains("paused"));
        }
        calling.store(false, Ordering::Relaxed);
        for calls in calls {
            let statuses = calls.join().unwrap();
            assert!(statuses.len() > 10 && statuses.iter().all(|status| *status == 200), "{statuses:?}");
        }
    });
    let nowhere = ada.work();
    ada.shell(&format!("crowdcloud lend status --data {} || test $? = 4", nowhere.display())).ok();
}
