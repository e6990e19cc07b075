//! How the worker is started: as a user of its own where this is root, confined before its first instruction, with an empty
//! environment, no terminal, and handles of what it needs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown, lchown};
use std::os::unix::net;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use command_fds::CommandFdExt as _;
use executor::confined::{Confined, Reach, WorkerCgroup, confinable, is_own_user, own_user};
use executor::{NodeKeys, Told, VmMissing};
use fabric::FirstHop;
use lending::machine::Machine;
use protocol::NodeId;
use protocol::node::Confinement;
use rustix::process::geteuid;
use tokio::net::UnixStream;

use super::handles::{self, Handles};
use super::reach::Way;
use super::taken_over;
use crate::args::LendStart;
use crate::failure::{Exit, Failure};

/// The hidden subcommand.
const SUBCOMMAND: &str = "lent-worker";
/// Of this process's environment, the worker gets these, and those that begin so. Others may be secrets.
const VARIABLES: [&str; 12] = [
    "CROWDCLOUD_NO_EGRESS",
    "CROWDCLOUD_NO_VM",
    "CROWDCLOUD_PAUSE_ON_BATTERY",
    "CROWDCLOUD_PAUSE_WHEN_OWNER_ACTIVE",
    "CROWDCLOUD_QUIET_HOURS",
    "FAILPOINTS",
    "FAILPOINTS_ONCE",
    "NO_COLOR",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "TZ",
    taken_over::VARIABLE,
];
const OF_NODES: &str = "CROWDCLOUD_NODE_";
/// Between two tries to look up the way to the platform.
const RETRY: Duration = Duration::from_secs(5);

/// What this machine's kernel lacks is no hindrance to who says so.
pub(super) fn check_confinement(start: &LendStart) -> Result<(), Failure> {
    match confinable(Reach::Platform(Vec::new())) {
        Confinement::None { missing } if !start.unconfined => {
            Err(Failure::new(Exit::Platform, "unconfined", "This machine cannot confine what it would run")
                .why(format!("a guest that broke out of its sandbox could read your files; missing: {missing}"))
                .help("use a kernel that has it (Linux 5.13 or later), or lend it all the same with --unconfined"))
        }
        _ => Ok(()),
    }
}

/// What is lent, where, and by which settings.
pub(super) struct Place {
    /// The node's settings, by paths of this process.
    config: executor::Config,
    /// The flags that they came from, but for paths.
    flags: Vec<OsString>,
    /// The folder of the keys; the worker's is in it.
    folder: PathBuf,
    user: Option<u32>,
    machine: Machine,
}

/// A worker that was started.
pub(super) struct Spawned {
    pub(super) process: tokio::process::Child,
    pub(super) socket: UnixStream,
    /// As the worker can use it.
    pub(super) way: Way,
    pub(super) told: Told,
    /// Parts of the VM lane are missing that may come: it has no handles of them.
    pub(super) lacks_vm_parts: bool,
    pub(super) held: Vec<fs::File>,
}

impl Place {
    /// Prepares the worker's folder in the node's.
    pub(super) fn open(
        config: &executor::Config,
        flags: Vec<OsString>,
        folder: &Path,
        start: &LendStart,
    ) -> Result<Self, Failure> {
        let data = folder.join("executor");
        let user = hand_over(&data).or_else(|why| match start.unconfined {
            true => {
                tracing::warn!(%why, "the worker has no user of its own");
                Ok(None)
            }
            false => Err(Failure::new(Exit::Platform, "unconfined", "The worker cannot have a user of its own")
                .why(why)
                .help("run this as another user than root, or lend it all the same with --unconfined")),
        })?;
        let machine = Machine::below(&config.machine_root);
        let config = executor::Config { data, ..config.clone() };
        Ok(Self { config, flags, folder: folder.to_owned(), user, machine })
    }

    pub(super) fn grace(&self) -> Duration {
        self.config.grace.duration()
    }

    /// The CPU time of this process and all that it has started.
    pub(super) fn cpu_ticks(&self) -> u64 {
        self.machine.ours(std::process::id())
    }

    /// Resolves when the VM lane's parts are there that were missing.
    pub(super) async fn vm_parts_come(&self, every: Duration) {
        while self.vm_missing().await.is_some() {
            tokio::time::sleep(every).await;
        }
    }

    async fn vm_missing(&self) -> Option<VmMissing> {
        let config = self.config.clone();
        tokio::task::spawn_blocking(move || executor::vm_lane_missing(&config)).await.ok().flatten()
    }

    /// Starts a worker.
    pub(super) async fn spawn(&self, keys: &NodeKeys, node: NodeId, way: &Way) -> Result<Spawned, Failure> {
        let failed = |why: &dyn std::fmt::Display| {
            Failure::new(Exit::Platform, "worker", "What works for the platform cannot be started").why(why)
        };
        let lacks_vm_parts = matches!(self.vm_missing().await, Some(VmMissing::Yet(_)));
        let hop = FirstHop::of(&way.origin).map_err(|why| failed(&why))?;
        let (reach, hop) = reach(self.config.no_egress, hop).await;
        let way = Way { hop: Some(hop), ..way.clone() };
        let of_keys = executor::Config { data: self.folder.clone(), ..self.config.clone() };
        let fingerprint = executor::fingerprint(&of_keys).map_err(|why| failed(&why))?;
        let qemu = executor::find_qemu(&self.config);
        let program = std::env::current_exe()?;
        let cgroup = self.cgroup();
        let divides = cgroup.as_ref().map(WorkerCgroup::folder);
        let confined = executor::confined::prepare(&self.config, &program, qemu.as_deref(), reach, self.user, divides);
        let Confined { prepared, told, held } = confined.map_err(|why| failed(&why))?;
        let (ours, theirs) = net::UnixStream::pair()?;
        let mut handles = Handles::default();
        handles.add(theirs, handles::SUPERVISOR);
        let control = executor::bind_control(&lending::control::socket(&self.folder)).map_err(|why| failed(&why))?;
        handles.add(control, handles::CONTROL);
        let flags = self.flags_with(&mut handles, &program, qemu.as_deref()).map_err(|why| failed(&why))?;
        let mut command = Command::new(handles::path(handles::PROGRAM));
        command.arg0("crowdcloud").arg(SUBCOMMAND).arg("--supervisor").arg(std::process::id().to_string());
        command.arg(format!("--node-id={node}")).args(flags).env_clear().envs(environment()).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        without_terminal(&mut command);
        if let Some(cgroup) = &cgroup {
            cgroup.enter(&mut command).map_err(|why| failed(&why))?;
        }
        // In this order: a handle's number may be that of something which is needed to confine.
        prepared.before_exec(&mut command);
        command.fd_mappings(handles.0).map_err(|why| failed(&why))?;
        let mut command = tokio::process::Command::from(command);
        let process = command.kill_on_drop(true).spawn().map_err(|why| failed(&why))?;
        ours.set_nonblocking(true)?;
        let told = Told { public: keys.public(), fingerprint, confinement: Some(told) };
        Ok(Spawned { process, socket: UnixStream::from_std(ours)?, way, told, lacks_vm_parts, held })
    }

    /// What the worker divides among its machines, where this process may divide its own.
    fn cgroup(&self) -> Option<WorkerCgroup> {
        let made = WorkerCgroup::make(self.user);
        made.inspect_err(|why| tracing::debug!(%why, "the worker has no cgroup of its own")).ok()
    }

    /// The worker's flags: paths are those of what it inherits.
    fn flags_with(&self, handles: &mut Handles, program: &Path, qemu: Option<&Path>) -> io::Result<Vec<OsString>> {
        handles.open(program, handles::PROGRAM)?;
        let mut flags = self.flags.clone();
        flags.push(flag("--node-data", &handles.open(&self.config.data, handles::DATA)?));
        let parts = [
            ("--vm-tools", self.config.vm_tools.as_deref(), handles::VM_TOOLS),
            ("--vm-kernel", self.config.vm_kernel.as_deref(), handles::VM_KERNEL),
        ];
        for (name, path, number) in parts {
            match path {
                Some(path) if path.exists() => flags.push(flag(name, &handles.open(path, number)?)),
                Some(path) => flags.push(flag(name, path)),
                None => {}
            }
        }
        if let Some(qemu) = qemu {
            let seen_at = match executor::unpacked_in(qemu) {
                Some(tree) => {
                    let root = handles.open(&tree, handles::QEMU)?;
                    flags.push(flag("--vm-qemu-tree", &root));
                    root.join(qemu.strip_prefix(&tree).unwrap_or(qemu))
                }
                None => qemu.to_owned(),
            };
            flags.push(flag("--vm-qemu", &seen_at));
        }
        Ok(flags)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A socket that nobody listens at would say nothing.
        fs::remove_file(lending::control::socket(&self.folder)).ok();
    }
}

fn flag(name: &str, value: &Path) -> OsString {
    let mut flag = OsString::from(format!("{name}="));
    flag.push(value);
    flag
}

fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    let is_passed =
        |name: &OsStr| name.to_str().is_some_and(|name| VARIABLES.contains(&name) || name.starts_with(OF_NODES));
    std::env::vars_os().filter(move |(name, _)| is_passed(name))
}

/// A session of its own: whoever shares a terminal with its owner can type into it.
#[allow(unsafe_code, reason = "it happens between fork and exec")]
fn without_terminal(command: &mut Command) {
    // SAFETY: one system call.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}

/// Whom the worker reaches: without egress the first host on the way to the platform, whose addresses it is told, for it may
/// look up no names.
async fn reach(no_egress: bool, hop: FirstHop) -> (Reach, FirstHop) {
    if !no_egress {
        return (Reach::Internet, hop);
    }
    loop {
        match hop.clone().looked_up().await {
            Ok(hop) => return (Reach::Platform(vec![hop.port]), hop),
            Err(error) => tracing::warn!(%error, host = hop.host, "the way to the platform cannot be looked up"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Makes the worker's folder, and gives it to a user of its own where this is root. Who that is.
fn hand_over(folder: &Path) -> io::Result<Option<u32>> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let owner = fs::symlink_metadata(folder)?.uid();
    if !geteuid().is_root() || is_own_user(owner) {
        return Ok(Some(owner).filter(|owner| geteuid().is_root() && is_own_user(*owner)));
    }
    let Some(user) = own_user() else { return Ok(None) };
    // What is in it was root's. Nobody else could have changed it, and links are not followed.
    give_all(folder, user)?;
    Ok(Some(user))
}

fn give_all(folder: &Path, user: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give_all(&entry.path(), user)?;
        } else {
            lchown(entry.path(), Some(user), Some(user))?;
        }
    }
    chown(folder, Some(user), Some(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_gets_no_secrets_of_the_environment() {
        let names: Vec<OsString> = environment().map(|(name, _)| name).collect();
        assert!(
            !names.iter().any(|name| name == "HOME" || name == "PATH" || name == "CROWDCLOUD_LEND_TOKEN"),
            "{names:?}"
        );
    }

    #[tokio::test]
    async fn without_egress_a_worker_reaches_the_platform_s_port_alone() {
        let hop = FirstHop { host: "localhost".to_owned(), port: 8443, addresses: Vec::new(), proxy: None };
        let (with, same) = reach(false, hop.clone()).await;
        assert!(with == Reach::Internet && same == hop);
        let (without, found) = reach(true, hop).await;
        assert_eq!(without, Reach::Platform(vec![8443]));
        assert!(!found.addresses.is_empty() && found.addresses.iter().all(|at| at.ip().is_loopback()));
    }

    #[test]
    fn a_folder_is_handed_over_once_and_keeps_its_user() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("executor");
        let first = hand_over(&data).unwrap();
        assert_eq!(first.is_some(), geteuid().is_root());
        assert_eq!(hand_over(&data).unwrap(), first);
        assert_eq!(fs::metadata(&data).unwrap().uid(), first.unwrap_or_else(|| geteuid().as_raw()));
    }
}
