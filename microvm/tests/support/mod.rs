//! What tests and measurements of real guests share: the agent, the kernel, an image, and verbs.

#![allow(unreachable_pub, reason = "shared by programs of one file each")]
#![allow(dead_code, reason = "each program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use microvm::{Config, Contract, Disk, Egress, Ended, Host, Paused, Run, Shape, Template, Workload};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const SHAPE: Shape = Shape { memory_mib: 128, cpus: 1 };
pub const LONG: Duration = Duration::from_secs(300);

/// Static programs for guests, and the kernel, made or fetched once.
pub struct Parts {
    pub agent: PathBuf,
    pub guest: PathBuf,
    pub kernel: PathBuf,
}

pub fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
        let triple = "x86_64-unknown-linux-gnu";
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(workspace).env("CARGO_TARGET_DIR", &target);
        cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", microvm::fetch::AGENT_RUSTFLAGS);
        cargo.args(["build", "--quiet", "--package", "guest-agent", "--profile", "agent", "--target", triple]);
        assert!(cargo.args(["--bins", "--examples"]).status().unwrap().success(), "the guest's programs do not build");
        let built = target.join(triple).join("agent");
        let cache = std::env::var_os("CROWDCLOUD_CACHE").map_or_else(|| target.join("microvm"), PathBuf::from);
        std::fs::create_dir_all(&cache).unwrap();
        let kernel = match std::env::var_os("CROWDCLOUD_GUEST_KERNEL") {
            Some(folder) => PathBuf::from(folder),
            None => microvm::fetch::kernel(&cache).unwrap(),
        };
        Parts { agent: built.join("guest-agent"), guest: built.join("examples/guest"), kernel }
    })
}

/// A host of its own, with an image of the test program.
pub struct Bench {
    pub host: Host,
    pub disk: Disk,
    pub folder: tempfile::TempDir,
}

pub fn config(work: &Path) -> Config {
    let parts = parts();
    let named = std::env::var_os("CROWDCLOUD_QEMU").map(PathBuf::from);
    let qemu = named.unwrap_or_else(|| program("qemu-system-x86_64"));
    Config {
        qemu,
        kernel: parts.kernel.clone(),
        agent: parts.agent.clone(),
        work: work.to_owned(),
        qemu_tree: None,
        first_uid: Config::FIRST_UID,
    }
}

/// A program of this machine, or one that was fetched.
fn program(name: &str) -> PathBuf {
    provision::find(name).unwrap_or_else(|| panic!("`cargo xtask setup` fetches {name}"))
}

/// Which accelerator works is found out once for all tests of this machine.
pub fn share_the_probe(work: &Path) {
    let shared = shared_probe();
    std::fs::create_dir_all(work).unwrap();
    if shared.is_file() {
        std::fs::copy(shared, work.join("accelerator.json")).unwrap();
    }
}

fn shared_probe() -> PathBuf {
    parts().agent.with_file_name("accelerator.json")
}

pub async fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("machines");
    share_the_probe(&work);
    let host = Host::open(config(&work)).await.unwrap();
    let _ = std::fs::copy(work.join("accelerator.json"), shared_probe());
    let disk = Disk::open(&image(folder.path(), "image", |_| ())).unwrap();
    Bench { host, disk, folder }
}

/// A bench and one template, for tests that leave both as they were: each boot of a guest takes seconds.
pub struct Ground {
    pub bench: Bench,
    pub template: Arc<Template>,
}

pub async fn ground() -> Ground {
    let bench = bench().await;
    let template = Arc::new(bench.host.template(SHAPE).await.unwrap());
    Ground { bench, template }
}

/// A squashfs image of the test program and what `more` adds.
pub fn image(folder: &Path, name: &str, more: impl FnOnce(&Path)) -> PathBuf {
    let root = folder.join(format!("{name}.root"));
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("data")).unwrap();
    std::os::unix::fs::chown(root.join("data"), Some(1000), Some(1000)).unwrap();
    std::fs::copy(&parts().guest, root.join("bin/guest")).unwrap();
    more(&root);
    let image = folder.join(format!("{name}.squashfs"));
    let mut make = provision::command(&program("mksquashfs"));
    make.arg(&root).arg(&image).args(["-quiet", "-no-progress", "-noappend", "-noI", "-noD", "-noF", "-noX"]);
    let made = make.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    image
}

/// A command: the test program with these arguments.
pub fn command(arguments: &[&str]) -> Workload {
    let argv = ["guest"].iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
    Workload {
        contract: Contract::Command,
        argv,
        env: vec!["PATH=/bin".to_owned()],
        cwd: "/".to_owned(),
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
        memory_bytes: None,
        pids_max: 64,
        files_max: 1024,
        overlay_bytes: 32 << 20,
        egress: Egress::None,
    }
}

/// A server on port 8080.
pub fn server(arguments: &[&str], listen_within: Duration) -> Workload {
    let listen_within_ms = u32::try_from(listen_within.as_millis()).unwrap();
    let mut workload = command(arguments);
    workload.contract = Contract::Server { port: 8080, listen_within_ms };
    workload.env.push("PORT=8080".to_owned());
    workload
}

/// Gives a command its stdin, and waits for all that it says and for its end.
pub async fn finish(mut run: Run, input: &[u8]) -> (Vec<u8>, String, Ended) {
    let (mut reader, mut writer) = tokio::io::split(run.stdio.take().unwrap());
    let feed = async move {
        // A command need not read its stdin.
        let _ = writer.write_all(input).await;
        let _ = writer.shutdown().await;
    };
    let (mut output, mut log) = (Vec::new(), Vec::new());
    let read = async {
        let _ = reader.read_to_end(&mut output).await;
    };
    let read_log = async {
        let _ = run.stderr.read_to_end(&mut log).await;
    };
    tokio::join!(feed, read, read_log);
    let ended = run.ended().await;
    (output, String::from_utf8_lossy(&log).into_owned(), ended)
}

/// Runs one command to its end.
pub async fn run(paused: Paused, workload: Workload) -> (String, String, Ended) {
    let run = paused.start(workload, LONG).await.unwrap();
    let (output, log, ended) = finish(run, b"").await;
    (String::from_utf8_lossy(&output).into_owned(), log, ended)
}
