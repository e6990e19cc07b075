//! Everything about a node that can be set, with its bounds.

use std::ffi::OsString;
use std::path::PathBuf;

use fabric::shares::TenantShare;
use lending::QuietHours;
use protocol::node::PublicKey;
use protocol::{ByteSize, Millis, NodeId};

use crate::sys;

/// A node's settings.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// The node's folder: artifact cache, journal, its own keys.
    #[arg(long = "node-data", env = "CROWDCLOUD_NODE_DATA", value_name = "DIR")]
    pub data: PathBuf,
    /// The node's id.
    #[arg(long = "node-id", env = "CROWDCLOUD_NODE_ID", value_name = "ID")]
    pub node: NodeId,
    /// The root key of the platform that this machine has joined, with which what tells machines apart is hashed. None: it
    /// says nothing of its machine.
    #[arg(skip)]
    pub platform: Option<PublicKey>,
    /// A name for people.
    #[arg(long = "node-name", env = "CROWDCLOUD_NODE_NAME", default_value = "node", value_name = "NAME")]
    pub name: String,
    /// Cores lent.
    #[arg(long = "node-cores", visible_alias = "cores", env = "CROWDCLOUD_NODE_CORES", default_value_t = machine_cores(), value_name = "N")]
    pub cores: u32,
    /// Memory lent: the sum of the limits of all runs at once. Default: half of the machine's.
    #[arg(long = "node-memory", visible_alias = "memory", env = "CROWDCLOUD_NODE_MEMORY", default_value_t = default_memory(), value_name = "SIZE")]
    pub memory: ByteSize,
    /// Disk space lent, for compiled artifacts and images. Default: what both may have.
    #[arg(long = "node-disk", visible_alias = "disk", env = "CROWDCLOUD_NODE_DISK", value_name = "SIZE")]
    pub disk: Option<ByteSize>,
    /// Traffic of runs that is lent in a calendar month; then the node pauses until the month's end.
    #[arg(long = "node-traffic", visible_alias = "traffic", env = "CROWDCLOUD_NODE_TRAFFIC", value_name = "SIZE")]
    pub traffic: Option<ByteSize>,
    /// No connections of guests to other hosts.
    #[arg(long = "no-egress", env = "CROWDCLOUD_NO_EGRESS")]
    pub no_egress: bool,
    /// When nothing is lent: `Mon-Fri 22:00-07:00; Sat,Sun 00:00-24:00 Europe/Berlin`.
    #[arg(long = "quiet-hours", env = "CROWDCLOUD_QUIET_HOURS", value_name = "HOURS")]
    pub quiet_hours: Option<QuietHours>,
    /// Pause while the machine is busy with something else, or short of memory.
    #[arg(long = "pause-when-owner-active", env = "CROWDCLOUD_PAUSE_WHEN_OWNER_ACTIVE")]
    pub pause_when_owner_active: bool,
    /// Pause while the machine runs on its battery.
    #[arg(long = "pause-on-battery", env = "CROWDCLOUD_PAUSE_ON_BATTERY")]
    pub pause_on_battery: bool,
    /// The folder with the machine's `proc` and `sys`.
    #[arg(long = "machine-root", hide = true, default_value = "/", value_name = "DIR")]
    pub machine_root: PathBuf,
    /// Runs at once.
    #[arg(long = "node-slots", env = "CROWDCLOUD_NODE_SLOTS", default_value_t = 128, value_name = "N")]
    pub slots: u32,
    /// What one account may have of the node, in percent of what all others leave of it: of its slots, its memory, and
    /// all else that `finite` lists.
    #[arg(long = "node-tenant-share", env = "CROWDCLOUD_NODE_TENANT_SHARE", default_value_t = TenantShare::DEFAULT, value_name = "PERCENT")]
    pub tenant_share: TenantShare,
    /// Compiles that wait for a slot; with more, the run or the deploy is told that the node is busy.
    #[arg(long = "node-compiles-waiting-max", default_value_t = 256, value_name = "N")]
    pub compiles_waiting_max: u32,
    /// Artifacts that compile at once.
    #[arg(long = "node-compile-slots", default_value_t = 2, value_name = "N")]
    pub compile_slots: u32,
    /// Compiled artifacts on disk; the least recently used go first.
    #[arg(long = "node-cache", env = "CROWDCLOUD_NODE_CACHE", default_value_t = ByteSize::mib(4096), value_name = "SIZE")]
    pub cache: ByteSize,
    /// Machine code that is loaded; the least recently used goes first.
    #[arg(long = "node-code", default_value_t = ByteSize::mib(512), value_name = "SIZE")]
    pub code: ByteSize,
    /// The largest artifact.
    #[arg(long = "node-artifact-max", default_value_t = ByteSize::mib(256), value_name = "SIZE")]
    pub artifact_max: ByteSize,
    /// Address space of the process that compiles an artifact.
    #[arg(long = "node-compile-memory", default_value_t = ByteSize::mib(2048), value_name = "SIZE")]
    pub compile_memory: ByteSize,
    /// CPU time to compile the largest artifacts, on all cores together; small ones get less.
    #[arg(long = "node-compile-cpu", default_value_t = Millis::seconds(120), value_name = "TIME")]
    pub compile_cpu: Millis,
    /// Time to compile an artifact, however busy the machine is.
    #[arg(long = "node-compile-timeout", default_value_t = Millis::seconds(300), value_name = "TIME")]
    pub compile_timeout: Millis,
    /// Address space of the process that makes an image of an artifact.
    #[arg(long = "node-convert-memory", default_value_t = ByteSize::mib(4096), value_name = "SIZE")]
    pub convert_memory: ByteSize,
    /// Time to make an image of an artifact.
    #[arg(long = "node-convert-timeout", default_value_t = Millis::seconds(60), value_name = "TIME")]
    pub convert_timeout: Millis,
    /// Of each instance's memory, so much stays resident for the next instance.
    #[arg(long = "node-keep-resident", default_value_t = ByteSize::mib(2), value_name = "SIZE")]
    pub keep_resident: ByteSize,
    /// Instances' memories that stay resident when nothing runs.
    #[arg(long = "node-warm", default_value_t = 32, value_name = "N")]
    pub warm: u32,
    /// Bytes of a run's log that are kept.
    #[arg(long = "node-log-max", default_value_t = ByteSize::kib(64), value_name = "SIZE")]
    pub log_max: ByteSize,
    /// Lines of logs that wait to be sent; more are lost. Each takes at least its part of `node-log-bytes`.
    #[arg(long = "node-log-queue", default_value_t = 16_384, value_name = "N")]
    pub log_queue: usize,
    /// Bytes of logs that wait to be sent; more are lost.
    #[arg(long = "node-log-bytes", default_value_t = ByteSize::mib(16), value_name = "SIZE")]
    pub log_bytes: ByteSize,
    /// Connections of guests to other hosts at once, in each lane.
    #[arg(long = "node-egress-max", default_value_t = 1024, value_name = "N")]
    pub egress_max: u32,
    /// Names that are looked up for guests at once, in each lane: each takes a thread.
    #[arg(long = "node-lookups-max", default_value_t = 16, value_name = "N")]
    pub lookups_max: u32,
    /// Receipts on disk that the control plane has not committed yet; with more, the node says that it is busy.
    #[arg(long = "node-journal-max", default_value_t = ByteSize::mib(1024), value_name = "SIZE")]
    pub journal_max: ByteSize,
    /// Receipts that wait to be written; with more, the node says that it is busy.
    #[arg(long = "node-receipt-queue", default_value_t = 16_384, value_name = "N")]
    pub receipt_queue: usize,
    /// On shutdown, running functions get so long to end.
    #[arg(long = "node-grace", env = "CROWDCLOUD_NODE_GRACE", default_value_t = Millis::seconds(3), value_name = "TIME")]
    pub grace: Millis,
    /// No VM lane, whatever the machine has.
    #[arg(long = "no-vm", env = "CROWDCLOUD_NO_VM")]
    pub no_vm: bool,
    /// The folder with what the VM lane needs: `kernel`, `guest-agent`, `bases`. Without it there is no VM lane.
    #[arg(long = "vm-tools", env = "CROWDCLOUD_VM_TOOLS", value_name = "DIR")]
    pub vm_tools: Option<PathBuf>,
    /// QEMU's program. Default: `qemu-system-x86_64` in the PATH, or what `cargo xtask up` fetched.
    #[arg(long = "vm-qemu", env = "CROWDCLOUD_QEMU", value_name = "FILE")]
    pub vm_qemu: Option<PathBuf>,
    /// The tree that QEMU was unpacked into, where its path does not tell.
    #[arg(long = "vm-qemu-tree", hide = true, value_name = "DIR")]
    pub vm_qemu_tree: Option<PathBuf>,
    /// Another kernel for guests: an unpacked kernel package.
    #[arg(long = "vm-kernel", env = "CROWDCLOUD_VM_KERNEL", value_name = "DIR")]
    pub vm_kernel: Option<PathBuf>,
    /// Images of the VM lane on disk; the least recently used go first.
    #[arg(long = "node-images", env = "CROWDCLOUD_NODE_IMAGES", default_value_t = ByteSize::mib(8192), value_name = "SIZE")]
    pub images: ByteSize,
    /// A folder for blobs of the platform, of an operator's own node; again for more disks. Others are not asked to keep any.
    #[arg(long = "store-dir", env = "CROWDCLOUD_NODE_STORE_DIR", value_name = "DIR", value_delimiter = ',')]
    pub store_dir: Vec<PathBuf>,
    /// Of these folders, one whose disk is to be taken by an empty one: without this, a folder that has lost its disk is taken
    /// for one that is not mounted, and is not served.
    #[arg(long = "store-dir-new", value_name = "DIR", value_delimiter = ',')]
    pub store_dir_new: Vec<PathBuf>,
    /// What these disks fail with, as a whole. Default: this machine, and the device that each is on. `/NAME` is a part behind
    /// these, for nodes of one machine that are to count as several all the same.
    #[arg(long = "store-domain", env = "CROWDCLOUD_NODE_STORE_DOMAIN", value_name = "NAME")]
    pub store_domain: Option<String>,
    /// The command that compiles: it calls [`crate::compile::child_main`]. None: this program's own hidden
    /// subcommand.
    #[arg(skip)]
    pub compile_command: Option<Vec<OsString>>,
}

impl Config {
    /// A node with this folder, id and name, and defaults else.
    #[must_use]
    pub fn new(data: PathBuf, node: NodeId, name: impl Into<String>) -> Self {
        Self {
            data,
            node,
            platform: None,
            name: name.into(),
            cores: machine_cores(),
            memory: default_memory(),
            disk: None,
            traffic: None,
            no_egress: false,
            quiet_hours: None,
            pause_when_owner_active: false,
            pause_on_battery: false,
            machine_root: PathBuf::from("/"),
            slots: 128,
            tenant_share: TenantShare::DEFAULT,
            compiles_waiting_max: 256,
            compile_slots: 2,
            cache: ByteSize::mib(4096),
            code: ByteSize::mib(512),
            artifact_max: ByteSize::mib(256),
            compile_memory: ByteSize::mib(2048),
            compile_cpu: Millis::seconds(120),
            compile_timeout: Millis::seconds(300),
            convert_memory: ByteSize::mib(4096),
            convert_timeout: Millis::seconds(60),
            keep_resident: ByteSize::mib(2),
            warm: 32,
            log_max: ByteSize::kib(64),
            log_queue: 16_384,
            log_bytes: ByteSize::mib(16),
            egress_max: 1024,
            lookups_max: 16,
            journal_max: ByteSize::mib(1024),
            receipt_queue: 16_384,
            grace: Millis::seconds(3),
            no_vm: false,
            vm_tools: None,
            vm_qemu: None,
            vm_qemu_tree: None,
            vm_kernel: None,
            images: ByteSize::mib(8192),
            store_dir: Vec::new(),
            store_dir_new: Vec::new(),
            store_domain: None,
            compile_command: None,
        }
    }
}

/// The cores of this machine.
#[must_use]
pub fn machine_cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

/// The memory of this machine.
#[must_use]
pub fn machine_memory() -> ByteSize {
    ByteSize(sys::memory_total())
}

fn default_memory() -> ByteSize {
    // Whole units: the default's text must be one that can be read again.
    let half = machine_memory().0 / 2;
    let unit = if half >= 1 << 30 { 1 << 30 } else { 1 << 20 };
    ByteSize(half / unit * unit)
}
