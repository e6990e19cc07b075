//! From a confinement to filters of system calls. They list what is refused: a list of what is allowed would end
//! programs whenever a library learns a new call, and Landlock, which restricts what files and ports are reached,
//! allows by name.

use std::collections::BTreeMap;

use libc::c_int;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::confinement::{Children, Confinement, Network};

/// What no confined process may do, with any argument.
const REFUSED: [i64; 48] = [
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // Namespaces; `clone` is below.
    libc::SYS_unshare,
    libc::SYS_setns,
    // Large and rarely used parts of the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fanotify_init,
    // Files around their paths.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // The machine.
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
];

/// Those that not every processor has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: [i64; 4] = [libc::SYS_kexec_file_load, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt];
#[cfg(target_arch = "aarch64")]
const REFUSED_HERE: [i64; 1] = [libc::SYS_kexec_file_load];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const REFUSED_HERE: [i64; 0] = [];

/// `clone` makes these; with the flag of time namespaces it can make none.
const NAMESPACES: [c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Families of the internet; by the last, programs learn this machine's own addresses.
const INTERNET: [c_int; 3] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Types of pairs of which each end can be connected to another socket instead.
const UNCONNECTED: [c_int; 2] = [libc::SOCK_DGRAM, libc::SOCK_RAW];
/// Types of sockets beside streams; not every C library has names for the last two, DCCP and packets.
const NOT_STREAMS: [c_int; 6] = [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_SEQPACKET, 6, 10];
/// Above it are flags.
const SOCKET_TYPE: u64 = 0xf;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// All filters; each is asked for each call, and one refusal suffices.
pub(super) fn filters(confinement: &Confinement) -> Result<Vec<BpfProgram>, BackendError> {
    let refused = REFUSED.into_iter().chain(REFUSED_HERE).map(|call| (call, Vec::new()));
    let mut rules: Rules = refused.collect();
    clone(&mut rules, confinement.children)?;
    sockets(&mut rules, &confinement.network)?;
    // Its flags are in memory, where no filter looks: whoever calls it falls back to `clone`.
    let unknown: Rules = [(libc::SYS_clone3, Vec::new())].into();
    let mut filters = vec![program(rules, libc::EPERM)?, program(unknown, libc::ENOSYS)?];
    filters.extend(foreign_numbers());
    Ok(filters)
}

fn program(rules: Rules, error: c_int) -> Result<BpfProgram, BackendError> {
    let processor = TargetArch::try_from(std::env::consts::ARCH)?;
    let refusal = SeccompAction::Errno(error.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refusal, processor)?.try_into()
}

fn clone(rules: &mut Rules, children: Children) -> Result<(), BackendError> {
    let mut refused = Vec::new();
    for flag in NAMESPACES {
        refused.push(SeccompRule::new(vec![has(0, flag)?])?);
    }
    if children == Children::Refused {
        let no_thread = condition(0, SeccompCmpOp::MaskedEq(number(libc::CLONE_THREAD)), 0)?;
        refused.push(SeccompRule::new(vec![no_thread])?);
        #[cfg(target_arch = "x86_64")]
        rules.extend([(libc::SYS_fork, Vec::new()), (libc::SYS_vfork, Vec::new())]);
    }
    rules.insert(libc::SYS_clone, refused);
    Ok(())
}

fn sockets(rules: &mut Rules, network: &Network) -> Result<(), BackendError> {
    let refused = match network {
        Network::Any => return Ok(()),
        Network::None => {
            rules.insert(libc::SYS_socketpair, Vec::new());
            Vec::new()
        }
        Network::Local => vec![of_no_family(&[libc::AF_UNIX])?],
        Network::Tcp(_) => {
            rules.insert(libc::SYS_socketpair, of_types(&UNCONNECTED)?);
            let mut refused = vec![of_no_family(&[libc::AF_INET, libc::AF_INET6])?];
            refused.extend(of_types(&NOT_STREAMS)?);
            // Other protocols with streams (MPTCP, SCTP) reach ports that Landlock does not look at.
            let not_default = condition(2, SeccompCmpOp::Ne, 0)?;
            let not_tcp = condition(2, SeccompCmpOp::Ne, libc::IPPROTO_TCP)?;
            refused.push(SeccompRule::new(vec![not_default, not_tcp])?);
            refused
        }
        Network::Internet => {
            rules.insert(libc::SYS_socketpair, of_types(&UNCONNECTED)?);
            vec![of_no_family(&INTERNET)?]
        }
    };
    rules.insert(libc::SYS_socket, refused);
    Ok(())
}

/// Sockets of other families than these.
fn of_no_family(families: &[c_int]) -> Result<SeccompRule, BackendError> {
    let others: Result<_, _> = families.iter().map(|family| condition(0, SeccompCmpOp::Ne, *family)).collect();
    SeccompRule::new(others?)
}

/// Sockets of any of these types.
fn of_types(types: &[c_int]) -> Result<Vec<SeccompRule>, BackendError> {
    let is = |kind: &c_int| condition(1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), *kind);
    types.iter().map(|kind| SeccompRule::new(vec![is(kind)?])).collect()
}

fn has(argument: u8, flag: c_int) -> Result<SeccompCondition, BackendError> {
    condition(argument, SeccompCmpOp::MaskedEq(number(flag)), flag)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, number(value))
}

fn number(value: c_int) -> u64 {
    u64::from(value.unsigned_abs())
}

/// The x32 ABI, which a kernel may offer beside its own, has other numbers for the same calls. Nobody here uses it.
#[cfg(target_arch = "x86_64")]
fn foreign_numbers() -> Option<BpfProgram> {
    use seccompiler::sock_filter;
    const LOAD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const FIRST: u32 = 0x4000_0000;
    let step = |code, jt, k| sock_filter { code, jt, jf: 0, k };
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    Some(vec![
        step(LOAD, 0, 0),
        step(JUMP_IF_AT_LEAST, 1, FIRST),
        step(RETURN, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, refused),
    ])
}

#[cfg(not(target_arch = "x86_64"))]
fn foreign_numbers() -> Option<BpfProgram> {
    None
}
