//! What bounds machines on a host with cgroups of version 2. Most machines that run tests are none: so a guest is one,
//! whose first process runs the very code (`guest-agent/examples/cgroups.rs`) and reports on its console.

use microvm::Host;

use crate::support::{LONG, config, parts};

/// What was reported under this name.
fn told(console: &str, name: &str) -> Vec<String> {
    let mark = format!("report {name}: ");
    console.lines().filter_map(|line| Some(line.split_once(&mark)?.1.trim().to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cgroups_bound_machines_and_go_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder.path().join("machines"));
    config.agent = parts().guest.with_file_name("cgroups");
    // No guest with it becomes ready: why, is what was on its console when it ended.
    let opened = tokio::time::timeout(LONG, Host::open(config)).await.unwrap();
    let console = opened.err().unwrap().to_string();
    let all = |name: &str| told(&console, name);
    let one = |name: &str| all(name).pop().unwrap_or_else(|| panic!("no {name}: {console}"));
    let share = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("{text}: {console}"));
    let half = |text: &str| assert!((20..=60).contains(&share(text)), "{text} is not half a core: {console}");

    assert_eq!(all("failed"), Vec::<String>::new(), "{console}");
    assert_eq!(one("done"), "all");
    // A service divides its cgroup only once no process is in it, and does so once.
    assert_eq!(one("undivided"), "true");
    assert_eq!((one("moved").as_str(), one("stay").as_str()), ("/service/program /service/program", "0"));
    assert_eq!(one("again"), "/service/program");

    assert!(share(&one("free")) >= 75, "{console}");
    half(&one("bound"));
    assert_eq!(one("keeps"), "code Some(0) signal None kills 0");
    assert_eq!(one("exceeds"), "code None signal Some(9) kills 1");
    assert_eq!(one("threads"), "7", "of eight tasks the first is the process itself");
    // None, one that is not empty, the next one in its place, none.
    assert_eq!(one("removed"), "0 1 1 0");

    let lent = all("lent");
    assert_eq!(lent.len(), 2, "{console}");
    for said in lent {
        // The number of the second is the first one's, which was removed.
        let (group, _) = said.split_once(" user 1000 ").unwrap_or_else(|| panic!("{said}: {console}"));
        let name = group.strip_prefix("/sys/fs/cgroup/service/").unwrap_or_else(|| panic!("{said}: {console}"));
        assert!(name.starts_with("worker-") && name.ends_with("-0"), "{said}: {console}");
        let start = format!("{group} user 1000 /service/{name}/machines/");
        let rest = said.strip_prefix(&*start).unwrap_or_else(|| panic!("{said}: {console}"));
        half(rest.rsplit(' ').next().unwrap());
    }
}
