//! The nats-server child: its start, its end, and what is said when it cannot be had.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fabric::{Authority, Fabric, FabricConfig, FabricError, Identity, NatsServer, NatsServerConfig, UserKey, subjects};
use protocol::{InstanceId, NodeId};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::harness::Ground;

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

fn gone_within(pid: Pid, within: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < within {
        // A zombie that waits for the test's own init counts as gone.
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        if test_kill_process(pid).is_err() || state.contains(") Z ") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_cleanly_and_starts_on_the_same_folder() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(&folder.path().join("keys")).unwrap();
    let config = Ground::config(folder.path());
    let server = NatsServer::start(config.clone(), &authority).await.unwrap();
    let pid = process(server.pid().unwrap());
    // A key-value bucket, as the core makes it.
    let core = core(&server.url(), &authority).await;
    let jetstream = async_nats::jetstream::new(core.nats().clone());
    let bucket = async_nats::jetstream::kv::Config { bucket: "kept".to_owned(), ..Default::default() };
    jetstream.create_key_value(bucket).await.unwrap().put("key", "value".into()).await.unwrap();
    let begun = Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(test_kill_process(pid).is_err());

    // A folder of the release that had one account: its key is the core's, whose data are there.
    for new in ["nats-lenders.nk", "nats-account.jwt", "nats-lenders.jwt", "nats-system.jwt", "nats-operator.jwt"] {
        std::fs::remove_file(folder.path().join("keys").join(new)).unwrap();
    }
    let authority = Authority::open(&folder.path().join("keys")).unwrap();
    let server = NatsServer::start(config, &authority).await.unwrap();
    let core = self::core(&server.url(), &authority).await;
    let jetstream = async_nats::jetstream::new(core.nats().clone());
    let bucket = jetstream.get_key_value("kept").await.unwrap();
    assert_eq!(bucket.get("key").await.unwrap().unwrap(), "value");
    for key in std::fs::read_dir(folder.path().join("keys")).unwrap() {
        let mode = key.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    server.stop().await;
}

#[test]
fn accounts_are_signed_once() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    Authority::open(folder.path()).unwrap();
    let names = ["nats-operator.jwt", "nats-account.jwt", "nats-lenders.jwt", "nats-system.jwt", "nats-accounts.conf"];
    let first = names.map(read);
    Authority::open(folder.path()).unwrap();
    assert_eq!(names.map(read), first);
    // Another key, or half a file: signed anew.
    std::fs::remove_file(folder.path().join("nats-lenders.nk")).unwrap();
    std::fs::write(folder.path().join("nats-system.jwt"), "e.y").unwrap();
    Authority::open(folder.path()).unwrap();
    let second = names.map(read);
    let same = [0, 1, 2, 3, 4].map(|at| first[at] == second[at]);
    assert_eq!(same, [true, true, false, false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_apart() {
    let ground = Ground::start().await;
    let core = core(&ground.server.url(), &ground.authority).await;
    let among_nodes = ground.core().await;
    let mut heard = core.events("cc.>").await.unwrap();
    among_nodes.publish(subjects::CONTROL_PULSE, b"of lenders").await.unwrap();
    // Answered after what was sent before it.
    let mut heard_there = among_nodes.events("cc.>").await.unwrap();
    core.publish(subjects::CONTROL_PULSE, b"of the core").await.unwrap();
    assert_eq!(heard.next().await.unwrap().payload, "of the core");
    among_nodes.publish(subjects::CONTROL_PULSE, b"of lenders").await.unwrap();
    assert_eq!(heard_there.next().await.unwrap().payload, "of lenders");

    // JetStream is the core's alone.
    let bucket = || async_nats::jetstream::kv::Config { bucket: "cc-test".to_owned(), ..Default::default() };
    async_nats::jetstream::new(core.nats().clone()).create_key_value(bucket()).await.unwrap();
    let refused = async_nats::jetstream::new(among_nodes.nats().clone()).create_key_value(bucket()).await;
    assert!(refused.is_err());
}

async fn core(url: &str, authority: &Authority) -> Fabric {
    let credentials = authority.core_user("core").unwrap();
    let identity = Identity::Core(InstanceId::new());
    Fabric::connect(FabricConfig { url: url.to_owned(), credentials, identity, name: "core".to_owned() }).await.unwrap()
}

#[tokio::test]
async fn what_is_missing_or_taken_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(&folder.path().join("keys")).unwrap();
    let missing = NatsServerConfig { binary: "/no/such/nats-server".into(), ..Ground::config(folder.path()) };
    let error = NatsServer::start(missing, &authority).await.err().unwrap().to_string();
    assert!(error.contains("/no/such/nats-server") && error.contains("cargo xtask up"), "{error}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let config = NatsServerConfig { listen, ..Ground::config(folder.path()) };
    let error = NatsServer::start(config, &authority).await.err().unwrap().to_string();
    assert!(error.contains(&listen.to_string()) && error.contains("choose another port"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_refused() {
    let ground = Ground::start().await;
    let folder = tempfile::tempdir().unwrap();
    let stranger = Authority::open(folder.path()).unwrap();
    let node = NodeId::new();
    let config = FabricConfig {
        url: ground.server.url(),
        credentials: UserKey::generate().of_node(stranger.registrar(), node).unwrap(),
        identity: Identity::Node(node),
        name: "stranger".to_owned(),
    };
    let error = Fabric::connect(config).await.err().unwrap();
    assert!(matches!(&error, FabricError::Connect { reason, .. } if reason.contains("Authorization")), "{error}");
}

const PARENT_OF: &str = "FABRIC_TEST_PARENT_OF";

/// Not a test of its own: the process that `it_dies_with_its_parent` kills.
#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_waits() {
    let Some(folder) = std::env::var_os(PARENT_OF) else { return };
    let folder = Path::new(&folder);
    let authority = Authority::open(&folder.join("keys")).unwrap();
    let server = NatsServer::start(Ground::config(folder), &authority).await.unwrap();
    std::fs::write(folder.join("ready.new"), server.pid().unwrap().to_string()).unwrap();
    std::fs::rename(folder.join("ready.new"), folder.join("ready")).unwrap();
    std::future::pending::<()>().await;
}

#[test]
fn it_dies_with_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::a_parent_that_waits"])
        .env(PARENT_OF, folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let pid = loop {
        if let Ok(pid) = std::fs::read_to_string(folder.path().join("ready")) {
            break process(pid.parse().unwrap());
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(test_kill_process(pid).is_ok());
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(gone_within(pid, Duration::from_secs(2)), "an orphan is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_is_ended_and_a_stranger_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(&folder.path().join("keys")).unwrap();
    let config = Ground::config(folder.path());
    // Makes the folder and its configuration.
    NatsServer::start(config.clone(), &authority).await.unwrap().stop().await;
    let written = std::path::absolute(config.folder.join("nats-server.conf")).unwrap();
    let mut orphan = Command::new(&config.binary).arg("-c").arg(written).stderr(Stdio::null()).spawn().unwrap();
    let pid_file = config.folder.join("nats-server.pid");
    let begun = Instant::now();
    while !pid_file.exists() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let server = NatsServer::start(config.clone(), &authority).await.unwrap();
    assert!(gone_within(process(orphan.id()), Duration::from_secs(1)));
    orphan.wait().unwrap();
    server.stop().await;

    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    std::fs::write(&pid_file, stranger.id().to_string()).unwrap();
    let server = NatsServer::start(config, &authority).await.unwrap();
    assert!(stranger.try_wait().unwrap().is_none(), "a reused pid was killed");
    kill_process(process(stranger.id()), Signal::KILL).unwrap();
    stranger.wait().unwrap();
    server.stop().await;
}
