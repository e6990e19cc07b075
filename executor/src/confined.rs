//! What a node's process may still do where it works for a stranger on a lender's machine. Whoever starts it confines it
//! before it executes anything, and with it all that it starts: children that compile, and QEMU. A guest that breaks out of
//! its sandbox finds no home, no seed, and nobody to connect to but the platform.
//!
//! What it may read is named. Other processes are not among it: a node reads of `/proc` what is the whole machine's, and
//! what is its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use confine::{Children, Confinement, Enforcement, Error, Identity, Network, Prepared};
use protocol::node::{self, printable};
use provision::Tree;
use rustix::process::geteuid;

use crate::config::Config;

pub use microvm::WorkerCgroup;

/// Users of nodes' processes, beyond those of machines and of children that compile.
const FIRST_UID: u32 = microvm::Config::FIRST_UID + 2 * microvm::Config::UIDS;
const UIDS: u32 = 4096;
/// Files that it may have open: as many as most systems give a service that asks for more.
const OPEN_FILES_MAX: u64 = 65_536;

/// Libraries, programs' data, certificates of the system.
const SYSTEM: [&str; 5] = ["/usr", "/lib", "/lib32", "/lib64", "/libx32"];
/// What starts programs.
const LOADERS: [&str; 2] = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
const SETTINGS: [&str; 11] = [
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/pki/tls/certs",
    "/etc/resolv.conf",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
];
/// Where the file with the name servers is renewed by the system: the file's own handle would be that of an old one.
const RESOLVERS: [&str; 2] = ["/run/systemd/resolve", "/run/resolvconf"];
/// What the kernel tells of the whole machine.
const MACHINE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/pressure",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/sys/class/power_supply",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/kernel/mm/transparent_hugepage",
];
const RANDOM: [&str; 3] = ["/dev/random", "/dev/urandom", "/dev/zero"];
const DEVICES: [&str; 2] = ["/dev/kvm", "/dev/null"];

/// Whom a node's process reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// The platform, or a proxy before it, at these TCP ports.
    Platform(Vec<u16>),
    /// Everybody, for guests that may.
    Internet,
}

/// A confinement of a node's process that is ready to be put in force.
pub struct Confined {
    /// It goes into the child.
    pub prepared: Prepared,
    /// How far the kernel enforces it.
    pub told: node::Confinement,
    /// The kernel forgets which files of `/proc` may be read with their entries, which are there as long as these are open.
    pub held: Vec<File>,
}

/// How far this machine's kernel would confine a node's process.
#[must_use]
pub fn confinable(reach: Reach) -> node::Confinement {
    told(&Confinement { network: network(reach), ..Confinement::default() }.enforcement())
}

/// The user that a node's process becomes where this is root, which never executes; none where this is nobody special.
#[must_use]
pub fn own_user() -> Option<u32> {
    geteuid().is_root().then(|| FIRST_UID + rand::random::<u32>() % UIDS)
}

/// Whether this is such a user.
#[must_use]
pub fn is_own_user(uid: u32) -> bool {
    (FIRST_UID..FIRST_UID + UIDS).contains(&uid)
}

/// Prepares the confinement of the node with these settings: its program, QEMU where it was found, and the cgroup that it
/// divides among its machines.
///
/// # Errors
/// When a path cannot be opened, or the kernel refuses what it said it has.
pub fn prepare(
    config: &Config,
    program: &Path,
    qemu: Option<&Path>,
    reach: Reach,
    user: Option<u32>,
    cgroup: Option<&Path>,
) -> Result<Confined, Error> {
    let mut read = there(SYSTEM.iter().chain(&SETTINGS).chain(&MACHINE).chain(&RANDOM));
    read.extend(power_supplies());
    read.extend(RESOLVERS.iter().map(PathBuf::from).filter(|folder| is_resolver(folder)));
    read.extend(config.vm_tools.iter().chain(&config.vm_kernel).filter(|path| path.exists()).cloned());
    let mut execute = there(LOADERS.iter());
    execute.push(program.to_owned());
    if let Some(qemu) = qemu {
        execute.push(qemu.to_owned());
        read.extend(Tree::of(qemu).map(|tree| tree.root().to_owned()));
    }
    let mut write = there(DEVICES.iter());
    write.push(config.data.clone());
    write.extend(cgroup.map(Path::to_owned));
    let held = read.iter().filter(|path| path.starts_with("/proc")).filter_map(|path| File::open(path).ok()).collect();
    let groups = kvm_group().into_iter().collect();
    let confinement = Confinement {
        read,
        write,
        execute,
        own_process: true,
        network: network(reach),
        children: Children::Allowed,
        identity: user.map(|id| Identity { id, groups }),
        open_files_max: Some(OPEN_FILES_MAX.min(open_files_max())),
    };
    let prepared = confinement.prepare()?;
    let told = told(prepared.enforcement());
    Ok(Confined { prepared, told, held })
}

fn network(reach: Reach) -> Network {
    match reach {
        Reach::Platform(ports) => Network::Tcp(ports),
        Reach::Internet => Network::Internet,
    }
}

fn told(enforcement: &Enforcement) -> node::Confinement {
    let missing = enforcement.missing().map(|missing| printable(&missing));
    match missing {
        None => node::Confinement::Full,
        Some(missing) if enforcement.is_open() => node::Confinement::None { missing },
        Some(missing) => node::Confinement::Partial { missing },
    }
}

fn there<'a>(paths: impl Iterator<Item = &'a &'a str>) -> Vec<PathBuf> {
    paths.map(PathBuf::from).filter(|path| path.exists()).collect()
}

/// The machine's batteries and mains, wherever their links lead.
fn power_supplies() -> Vec<PathBuf> {
    let all = fs::read_dir("/sys/class/power_supply").into_iter().flatten().flatten();
    all.filter_map(|supply| supply.path().canonicalize().ok()).collect()
}

fn is_resolver(folder: &Path) -> bool {
    fs::canonicalize("/etc/resolv.conf").is_ok_and(|file| file.parent() == Some(folder))
}

/// The group that may use KVM.
fn kvm_group() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/dev/kvm").ok().map(|device| device.gid()).filter(|gid| *gid != 0)
}

fn open_files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_reads_no_home_and_no_other_process() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(folder.path().to_owned(), protocol::NodeId::new(), "attic");
        let program = std::env::current_exe().unwrap();
        let confined = prepare(&config, &program, None, Reach::Platform(vec![4222]), None, None).unwrap();
        assert_eq!(confined.told, confinable(Reach::Platform(vec![4222])));
        let named = SYSTEM.iter().chain(&SETTINGS).chain(&MACHINE).chain(&RESOLVERS);
        for path in named.map(Path::new) {
            assert!(
                !["/home", "/root", "/proc", "/run", "/etc"].iter().any(|open| path == Path::new(open)),
                "{path:?}"
            );
        }
    }

    #[test]
    fn users_of_nodes_are_told_from_those_of_machines() {
        assert!(is_own_user(FIRST_UID) && !is_own_user(FIRST_UID - 1) && !is_own_user(0));
        assert_eq!(own_user().is_some(), geteuid().is_root());
        assert!(own_user().is_none_or(is_own_user));
    }
}
