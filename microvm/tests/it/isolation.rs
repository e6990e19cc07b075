//! What a workload can reach, what it may use, and that nothing of it remains.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use microvm::{Contract, Disk, End, Error};

use crate::step::{self, steps};
use crate::support::{Ground, bench, command, ground, image, run};

#[tokio::test(flavor = "multi_thread")]
async fn workloads_are_alone_and_nothing_of_them_remains() {
    let ground = &ground().await;
    steps!(
        ground;
        clones_never_share_random_numbers_and_know_the_time,
        a_workload_is_nobody_in_particular,
        f06_a_machine_has_what_a_container_runtime_supplies,
        f08_root_is_root_of_its_image_alone,
        a_prepared_template_serves_its_image_alone,
        bombs_stay_inside,
        nothing_of_one_run_is_seen_by_the_next,
    );
}

async fn clones_never_share_random_numbers_and_know_the_time(ground: &Ground) {
    let Ground { bench, template } = ground;
    let prepared = template.prepared(&bench.disk, 32 << 20, &["bin/guest".to_owned()]).await.unwrap();
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for clone in 0..6 {
        let mut paused = match clone % 2 {
            0 => template.restore(Some(&bench.disk)).await.unwrap(),
            _ => prepared.restore(None).await.unwrap(),
        };
        if clone > 3 {
            paused.rehearse(Contract::Command, 32 << 20, &[]).await.unwrap();
        }
        let (output, _, ended) = run(paused, command(&["random"])).await;
        assert_eq!(ended.end, End::Exited(0));
        for line in output.lines().filter(|line| !line.starts_with("RandomState")) {
            seen.insert(line.to_owned());
            count += 1;
        }
    }
    assert_eq!(count, 36);
    assert_eq!(seen.len(), count, "two clones share a random number");

    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let before = now();
    let (output, ..) = run(template.restore(Some(&bench.disk)).await.unwrap(), command(&["clock"])).await;
    let told: u128 = output.trim().parse().unwrap();
    // The guest is told the time when its run is started, not when its template was made.
    assert!(told >= before && told <= now() + 1000, "{told} is not between {before} and {}", now());
}

async fn a_workload_is_nobody_in_particular(ground: &Ground) {
    let Ground { bench, template } = ground;
    let (output, ..) = run(template.restore(Some(&bench.disk)).await.unwrap(), command(&["identity"])).await;
    let field = |name: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid:"), "1000 1000 1000 1000");
    assert_eq!(field("Gid:"), "1000 1000 1000 1000");
    assert_eq!(field("Groups:"), "");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000");
    }
    let (output, ..) = run(template.restore(Some(&bench.disk)).await.unwrap(), command(&["escape"])).await;
    // The namespace's first process and its own.
    assert_eq!(output, "open [] processes 2\n");

    // Also where its image names somebody else, who may enter a folder that is closed to all others.
    let mut other = command(&["identity"]);
    (other.uid, other.gid, other.cwd) = (2001, 2002, "/closed".to_owned());
    let closed = image(bench.folder.path(), "closed", |root| {
        std::fs::create_dir(root.join("closed")).unwrap();
        std::fs::set_permissions(root.join("closed"), Permissions::from_mode(0o700)).unwrap();
    });
    let closed = Disk::open(&closed).unwrap();
    let (output, ..) = run(template.restore(Some(&closed)).await.unwrap(), other.clone()).await;
    let field = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Uid:"), "2001\t2001\t2001\t2001");
    assert_eq!(field("Gid:"), "2002\t2002\t2002\t2002");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000");
    }
    assert_eq!(field("Cwd:"), "/closed");
}

/// An image that has none of it finds it, as in a container; one that has its own is told the guest's truth.
async fn f06_a_machine_has_what_a_container_runtime_supplies(ground: &Ground) {
    let Ground { bench, template } = ground;
    let own = image(bench.folder.path(), "own", |root| {
        std::fs::create_dir(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/hosts"), "").unwrap();
        std::fs::write(root.join("etc/resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
    });
    let own = Disk::open(&own).unwrap();
    for disk in [&bench.disk, &own] {
        let (output, log, _) = run(template.restore(Some(disk)).await.unwrap(), command(&["surroundings"])).await;
        let expected = "/proc/sys/kernel/hostname: function\n/etc/hostname: function\n\
                        /etc/hosts: 127.0.0.1 localhost ::1 localhost ip6-localhost ip6-loopback 127.0.0.1 function\n\
                        /etc/resolv.conf: nameserver 127.0.0.1 options timeout:1 attempts:1\n\
                        /dev/shm: true\n/dev/pts: true\n/dev/mqueue: true\n/dev/ptmx: true\nno.such: true 3 true\n";
        assert_eq!(output, expected, "{log}");
    }
    let mut member = command(&["identity"]);
    member.groups = vec![29, 44];
    let (output, ..) = run(template.restore(Some(&own)).await.unwrap(), member).await;
    let groups = output.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    assert_eq!(groups.split_whitespace().collect::<Vec<_>>(), ["29", "44"]);
}

/// An image that names no user is run by root, as its author expects: one that owns what the image says it owns, and
/// nothing of the guest.
async fn f08_root_is_root_of_its_image_alone(ground: &Ground) {
    let Ground { bench, template } = ground;
    let image = image(bench.folder.path(), "work", |root| std::fs::create_dir(root.join("work")).unwrap());
    let disk = Disk::open(&image).unwrap();
    let as_root = |behaviour: &str| {
        let mut workload = command(&[behaviour]);
        (workload.uid, workload.gid, workload.cwd) = (0, 0, "/work".to_owned());
        workload
    };
    let (output, log, ended) = run(template.restore(Some(&disk)).await.unwrap(), as_root("root")).await;
    let expected = "writes true gives true listens true drops true\nnodes false open [] outside false\n";
    assert_eq!((output.as_str(), ended.end), (expected, End::Exited(0)), "{log}");
    let (output, ..) = run(template.restore(Some(&disk)).await.unwrap(), as_root("identity")).await;
    let field = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Uid:"), "0\t0\t0\t0");
    // Docker's, but neither MKNOD nor NET_RAW.
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(field(set), "00000000a00405fb");
    }
    let (output, ..) = run(template.restore(Some(&disk)).await.unwrap(), as_root("escape")).await;
    assert_eq!(output, "open [] processes 2\n");
}

async fn a_prepared_template_serves_its_image_alone(ground: &Ground) {
    let Ground { bench, template } = ground;
    let prepared = template.prepared(&bench.disk, 32 << 20, &["bin/guest".to_owned()]).await.unwrap();
    // Opened anew it is the same image.
    let again = Disk::open(&bench.folder.path().join("image.squashfs")).unwrap();
    for disk in [None, Some(&bench.disk), Some(&again)] {
        let (output, _, ended) = run(prepared.restore(disk).await.unwrap(), command(&["drive", "/bin/guest"])).await;
        assert_eq!((output.as_str(), ended.end), ("0\n", End::Exited(0)));
    }
    let other = Disk::open(&image(bench.folder.path(), "other", |_| ())).unwrap();
    let on_base = bench.disk.clone().on(&other).unwrap();
    for disk in [&other, &on_base] {
        assert!(matches!(prepared.restore(Some(disk)).await, Err(Error::Missing(_))));
        assert!(matches!(prepared.prepared(disk, 32 << 20, &[]).await, Err(Error::Missing(_))));
    }
    // What it was made of is as it was.
    let (output, ..) = run(template.restore(Some(&other)).await.unwrap(), command(&["hello"])).await;
    assert_eq!(output, "hello\n");

    // An image that cannot be mounted makes no template.
    let broken = bench.folder.path().join("broken");
    std::fs::write(&broken, vec![0; 4096]).unwrap();
    let broken = Disk::open(&broken).unwrap();
    assert!(matches!(template.prepared(&broken, 32 << 20, &[]).await, Err(Error::Guest(_))));
}

async fn bombs_stay_inside(ground: &Ground) {
    let Ground { bench, template } = ground;
    let (output, _, ended) = run(template.restore(Some(&bench.disk)).await.unwrap(), command(&["fork-bomb"])).await;
    assert_eq!((output.as_str(), ended.end), ("stopped at 63\n", End::Exited(0)));
    assert!(ended.usage.unwrap().pids_refused > 0);

    let (output, _, ended) = run(template.restore(Some(&bench.disk)).await.unwrap(), command(&["fill"])).await;
    assert!(output.starts_with("wrote 31 MiB, then No space left") || output.starts_with("wrote 32 MiB"), "{output}");
    assert_eq!(ended.end, End::Exited(0));
}

async fn nothing_of_one_run_is_seen_by_the_next(ground: &Ground) {
    let Ground { bench, template } = ground;
    let prepared = template.prepared(&bench.disk, 32 << 20, &[]).await.unwrap();
    for number in 0..8 {
        let paused = match number % 2 {
            0 => template.restore(Some(&bench.disk)).await.unwrap(),
            _ => prepared.restore(None).await.unwrap(),
        };
        let (output, _, ended) = run(paused, command(&["canary", &number.to_string()])).await;
        // /tmp, /dev/shm and the image's own /data take it; / and the missing /var/tmp do not.
        assert_eq!((output.as_str(), ended.end), ("found 0 written 3 dirty 0\n", End::Exited(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_is_recorded() {
    let bench = bench().await;
    let shape = microvm::Shape { memory_mib: 384, cpus: 2 };
    let template = bench.host.template(shape).await.unwrap();
    let paused = template.restore(Some(&bench.disk)).await.unwrap();
    let (output, _, ended) = run(paused, command(&["burn", "1000", "200"])).await;
    let usage = ended.usage.unwrap();
    let own = output.lines().find_map(|line| line.strip_prefix("used ")?.strip_suffix(" us")).unwrap();
    let own_us: u64 = own.parse().unwrap();
    assert!(own_us >= 1_900_000, "{output}");
    assert!(usage.cpu_us.abs_diff(own_us) * 10 <= own_us, "{usage:?} beside {own_us} us");
    let mib = usage.memory_peak_bytes >> 20;
    assert!((200..220).contains(&mib), "{mib} MiB");
    assert!((200..220).contains(&(usage.rss_peak_bytes >> 20)), "{usage:?}");
}
