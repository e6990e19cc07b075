//! What a machine is not: a copy of another one's disk, and a clock.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tests::wait_until;

use super::{Ground, Machine, where_others_are};

/// What tells a machine from others.
const MACHINE_ID: &str = "/etc/machine-id";
const REFUSED_WITHIN: Duration = Duration::from_secs(10);
/// A copy tries to connect for so long beside the one that works.
const BESIDE: Duration = Duration::from_secs(2);
const DAY_S: i64 = 24 * 3600;
/// Another time of day for whoever loads it.
const CLOCK: &str = "#include <sys/syscall.h>\n#include <time.h>\n#include <unistd.h>\n\
    int clock_gettime(clockid_t id, struct timespec *at) {\n\
        long result = syscall(SYS_clock_gettime, id, at);\n\
        if (result == 0 && id == CLOCK_REALTIME) at->tv_sec += SHIFT_S;\n\
        return (int)result;\n\
    }\n";

pub(super) fn a_copied_disk_and_a_restored_snapshot_are_no_second_node(ground: &Ground) {
    let [own, other] = ["own-id", "other-id"].map(|name| ground.folder.path().join(name));
    std::fs::write(&own, "00112233445566778899aabbccddeeff\n").unwrap();
    std::fs::write(&other, "ffeeddccbbaa99887766554433221100\n").unwrap();
    let on = |id: &Path, name: &str, flags: &[&str]| where_others_are(&[(id, MACHINE_ID)], &ground.lend(name, flags));
    let token = ground.token("attic-5");
    let first = || Machine::start(&ground.attic, "attic-5", on(&own, "attic-5", &["--token", &token]));
    let machine = first();
    ground.wait_online(&machine);
    machine.stop();
    for name in ["copy-5", "snapshot-5"] {
        copy(&ground.data("attic-5"), &ground.data(name));
    }
    wait_until("it is silent", REFUSED_WITHIN, || !ground.is_online("attic-5"));
    let mut elsewhere = Machine::start(&ground.cellar, "copy-5", on(&other, "copy-5", &[]));
    assert!(!elsewhere.ends(REFUSED_WITHIN).success());
    wait_until("it says why", Duration::from_secs(2), || elsewhere.said().contains("node_machine_differs"));

    // The machine that has joined is none the worse for it.
    let machine = first();
    ground.wait_online(&machine);
    ground.works(&machine);
    let id = ground.id(&machine);
    let copy = Machine::start(&ground.cellar, "copy-5", on(&own, "copy-5", &[]));
    let began = Instant::now();
    while began.elapsed() < BESIDE {
        let answer = ground.call("/burn?ms=1");
        assert_eq!((answer.status, answer.header("x-crowdcloud-node")), (200, Some(id.as_str())), "{answer:?}");
    }
    wait_until("the copy is refused", REFUSED_WITHIN, || copy.said().contains("not connected yet"));
    drop(copy);
    machine.stop();

    // The same machine as it was earlier.
    std::fs::rename(ground.data("attic-5"), ground.data("later-5")).unwrap();
    std::fs::rename(ground.data("snapshot-5"), ground.data("attic-5")).unwrap();
    let mut restored = first();
    assert!(!restored.ends(REFUSED_WITHIN).success());
    wait_until("it says why", Duration::from_secs(2), || restored.said().contains("node_restored"));
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// The process that decides when to renew sees a wrong time. (The one that works has no environment, and so the right one.)
pub(super) fn a_clock_that_is_a_day_off_changes_nothing(ground: &Ground) {
    for (name, shift_s) in [("ahead-6", DAY_S), ("behind-6", -DAY_S)] {
        let clock = clock(ground.folder.path(), shift_s);
        let token = ground.token(name);
        let mut command = ground.lend(name, &["--token", &token]);
        command.env("LD_PRELOAD", clock);
        let machine = Machine::start(&ground.attic, name, command);
        ground.wait_online(&machine);
        ground.works(&machine);
        assert!(machine.said().contains("clock differs"), "{}", machine.said());
        machine.stop();
    }
}

fn clock(folder: &Path, shift_s: i64) -> PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join(format!("clock{shift_s}.so")));
    std::fs::write(&source, CLOCK).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", &format!("-DSHIFT_S=({shift_s})"), "-o"]).arg(&library).arg(&source);
    assert!(cc.status().unwrap().success());
    library
}
