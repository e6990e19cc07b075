//! Machines on a lender's machine: QEMU starts and runs them under all that confines whoever starts it.

use std::path::Path;
use std::time::Duration;

use tests::{Cli, EMBEDDED, Platform, wait_until};

use super::needs_vm_lane;
use crate::lending::confined::{is_nothing, taken_over, told};
use crate::lending::joining::node;
use crate::lending::status;

#[test]
fn needs_landlock_a_confined_node_runs_machines() {
    let platform = Platform::start_with(&EMBEDDED);
    let ada = platform.user("ada");
    needs_vm_lane(&ada);
    std::fs::write(ada.work().join("script"), "#!/bin/sh\necho from a machine\n").unwrap();
    std::fs::write(ada.work().join("sleeper"), "#!/bin/sh\nsleep 30\n").unwrap();
    for name in ["script", "sleeper"] {
        ada.ok(&format!("deploy {name} --name {name} --lane vm --timeout 60s"));
    }
    let (folder, mut confinement) = (tempfile::tempdir().unwrap(), String::new());
    let found = taken_over(&platform, &ada, folder.path(), &[], || {
        confinement = told(&ada);
        wait_until("it has the lane", Duration::from_secs(120), || {
            node(&ada, "attic").is_some_and(|node| node["vm"]["state"] == "ready")
        });
        wait_until("runs go there", Duration::from_secs(60), || ada.run("invoke script").text() == "from a machine");
        paused_while_it_runs(&ada, &folder.path().join("attic"));
    });
    is_nothing(&found, &confinement);
}

/// What runs in a machine is given back within a second of its owner's word.
fn paused_while_it_runs(ada: &Cli, attic: &Path) {
    let running = || status(attic)["running"].as_u64().unwrap();
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| ada.run("invoke sleeper"));
        wait_until("a machine runs", Duration::from_secs(60), || running() > 0);
        ada.ok("nodes pause attic");
        wait_until("nothing runs", Duration::from_secs(1), || running() == 0);
        assert_ne!(calling.join().unwrap().status, 0);
    });
}
