//! Nothing of one run is visible to the next, be it of the same account or of another.

use std::time::Instant;

use tests::{EMBEDDED, Platform, examples};

use super::{needs_vm_lane, program};
use crate::run_path::{plain, send};

/// Runs in a row; `CROWDCLOUD_CANARY_RUNS` says more.
const RUNS: usize = 16;

/// Looks for other runs' secrets wherever it can read, then leaves its own wherever it can write: in files, in memory,
/// in its environment, and in a process that outlives it.
const CANARY: &str = r#"
use std::io::{Read, Write};
use std::path::Path;

const WRITTEN: [&str; 8] = ["/", "/tmp", "/var/tmp", "/dev/shm", "/run", "/home", "/app", "."];

fn main() {
    if std::env::args().nth(1).is_some() {
        std::thread::sleep(std::time::Duration::from_secs(30));
        return;
    }
    let mut own = String::new();
    std::io::stdin().read_to_string(&mut own).unwrap();
    let mut seen = Vec::new();
    for start in ["/", "/dev/shm", "/dev/mqueue"] { look(Path::new(start), &own, &mut seen); }
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        for part in ["environ", "cmdline", "comm"] {
            note(&process.path().join(part), &own, &mut seen);
        }
    }
    // Fresh memory is empty.
    let fresh: Vec<u8> = vec![0; 4 << 20];
    let dirty = fresh.iter().filter(|byte| **byte != 0).count();
    let files = WRITTEN.iter().filter(|folder| std::fs::write(format!("{folder}/{own}"), &own).is_ok()).count();
    let kept = std::hint::black_box(own.repeat((4 << 20) / own.len()));
    std::process::Command::new("/proc/self/exe").arg(&own).spawn().unwrap();
    print!("found {seen:?} dirty {dirty} wrote {files} kept {}", kept.len() / own.len());
    std::io::stdout().flush().unwrap();
}

fn look(folder: &Path, own: &str, seen: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if ["/proc", "/sys", "/dev"].iter().any(|kernel| path == Path::new(kernel)) { continue }
        if path.to_string_lossy().contains("canary-") { seen.push(path.display().to_string()) }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => look(&path, own, seen),
            Ok(kind) if kind.is_file() && entry.metadata().is_ok_and(|data| data.len() < 4096) => note(&path, own, seen),
            _ => {}
        }
    }
}

fn note(path: &Path, own: &str, seen: &mut Vec<String>) {
    let Ok(bytes) = std::fs::read(path) else { return };
    let text = String::from_utf8_lossy(&bytes).replace(own, "");
    if text.contains("canary-") { seen.push(format!("{}: {text}", path.display())) }
}
"#;

#[test]
fn nothing_of_a_run_is_seen_by_the_next_of_any_account() {
    let runs = std::env::var("CROWDCLOUD_CANARY_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS);
    let platform = Platform::start_with(&EMBEDDED);
    let (ada, bob) = (platform.user("ada"), platform.user("bob"));
    needs_vm_lane(&ada);
    program(&ada, "canary", CANARY);
    let path = ada.work().join("canary");
    let users = [("ada", &ada, ada.token()), ("bob", &bob, bob.token())];
    for (_, user, _) in &users {
        user.ok(&format!("deploy {} --name canary --memory 64MiB --timeout 60s", path.display()));
    }
    // It does find what is there.
    ada.ok(&format!("deploy {} --name planted --env PLANTED=canary-planted --timeout 60s", path.display()));
    assert!(ada.ok("invoke planted -d canary-0000").contains("PLANTED=canary-planted"));
    let started = Instant::now();
    let mut nodes = std::collections::BTreeSet::new();
    for run in 0..runs {
        // Two of one account after another, then two of the other.
        let (name, _, key) = &users[run / 2 % 2];
        let (url, secret) = (format!("{}/f/{name}/canary", platform.url), format!("canary-{run:04}"));
        let answer = send("POST", &url, Some(key), &format!("x-secret: {secret}\r\n"), secret.as_bytes());
        let said = String::from_utf8(plain(&answer)).unwrap();
        // An executable alone may write to `/tmp` and `/dev/shm`, and to nothing else.
        let clean = said.starts_with("found [] dirty 0 wrote 2 kept ");
        assert!(answer.status == 200 && clean, "run {run}: {} {said}", answer.status);
        nodes.insert(answer.header("x-crowdcloud-node").unwrap().to_owned());
    }
    assert_eq!(nodes.len(), 1, "all of them on one node");
    eprintln!("{runs} runs in {:?}", started.elapsed());
}

pub(super) fn a_warm_server_serves_one_account_alone(platform: &Platform) {
    let (eve, fay) = (platform.user("eve"), platform.user("fay"));
    needs_vm_lane(&eve);
    // The same bytes, deployed by two.
    let example = examples().join("native-server");
    for user in [&eve, &fay] {
        user.ok(&format!("deploy {}", example.display()));
    }
    for (user, count) in [(&eve, 1), (&eve, 2), (&fay, 1), (&eve, 3), (&fay, 2)] {
        let answer = user.ok("invoke native-server /who");
        assert!(answer.starts_with(&format!("request {count} of this server")), "{answer}, not {count}");
    }
    // Another version of the same bytes is another server, too.
    eve.ok(&format!("deploy {} --env COLOUR=red", example.display()));
    assert!(eve.ok("invoke native-server /who").starts_with("request 1 of this server"));
}
