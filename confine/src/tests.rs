//! A child, which is this test binary, confines itself or is confined before it is executed; then it tries one thing,
//! and ends with 0 or the error's number. Unconfined, each of these things works or fails otherwise.

use std::io::{self, Error as IoError};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use libc::{EACCES, EINVAL, ENOSYS, EPERM};
use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, geteuid, getppid, getrlimit, test_kill_process};

use crate::{Children, Confinement, Enforcement, Error, Folder, Identity, Network};

const ATTEMPT: &str = "CONFINE_ATTEMPT";
const FOLDER: &str = "CONFINE_FOLDER";
const HOW: &str = "CONFINE_HOW";
const PORTS: &str = "CONFINE_PORTS";
/// What no error's number is.
const OTHERWISE: i32 = 250;
/// An identity that nobody has.
const NOBODY_ELSE: u32 = 1_879_060_000;

/// How the child is confined.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// By itself.
    Itself,
    /// Between fork and exec.
    BeforeExec,
    /// Not at all.
    Not,
}

/// Not a test of its own: what the children do.
#[test]
fn child() {
    let (Ok(attempt), Some(folder)) = (env::var(ATTEMPT), env::var_os(FOLDER).map(PathBuf::from)) else { return };
    let ports: Vec<u16> = env::var(PORTS).unwrap().split(',').map(|port| port.parse().unwrap()).collect();
    if env::var(HOW).unwrap() == format!("{:?}", How::Itself) {
        confinement(&attempt, &folder, &ports).prepare().unwrap().apply().unwrap();
    }
    let code = match attempted(&attempt, &folder, &ports) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(OTHERWISE),
    };
    std::process::exit(code);
}

/// What the child of this attempt may do: the network and processes are those that the attempt is about.
fn confinement(attempt: &str, folder: &Path, ports: &[u16]) -> Confinement {
    let network = match attempt {
        "socket" | "pair" => Network::None,
        "local socket" | "other socket" => Network::Local,
        "named port"
        | "other port"
        | "listen"
        | "datagram"
        | "other protocol"
        | "UNIX socket beside ports"
        | "pair beside ports"
        | "pair of datagrams" => Network::Tcp(ports[..1].to_vec()),
        "UNIX socket beside the internet" | "any port" | "datagram to anybody" | "listen beside the internet" => {
            Network::Internet
        }
        _ => Network::Any,
    };
    let children = if attempt == "fork" { Children::Refused } else { Children::Allowed };
    let (read, write) = (vec![folder.join("readable")], vec![folder.join("writable")]);
    Confinement { read, write, network, children, own_process: true, ..Confinement::default() }
}

fn attempted(attempt: &str, folder: &Path, ports: &[u16]) -> io::Result<()> {
    let writable = folder.join("writable");
    match attempt {
        "read what is named" => fs::read(folder.join("readable/file")).map(drop),
        "write what is named" => {
            fs::write(writable.join("new"), "x")?;
            fs::create_dir(writable.join("folder"))?;
            fs::rename(writable.join("new"), writable.join("folder/moved"))?;
            fs::remove_dir_all(writable.join("folder"))
        }
        "read a home" => fs::read(folder.join("home/key")).map(drop),
        "list a home" => fs::read_dir(folder.join("home")).map(drop),
        "write what may be read" => fs::write(folder.join("readable/file"), "x"),
        "make what may be read" => fs::write(folder.join("readable/new"), "x"),
        "execute" => Command::new("/bin/true").status().map(drop),
        "signal" => test_kill_process(getppid().unwrap()).map_err(IoError::from),
        "abstract socket" => UnixStream::connect_addr(&abstract_name(folder)).map(drop),
        "socket" | "local socket" | "UNIX socket beside ports" | "UNIX socket beside the internet" => {
            UnixDatagram::unbound().map(drop)
        }
        "pair" | "pair beside ports" => UnixStream::pair().map(drop),
        "pair of datagrams" => UnixDatagram::pair().map(drop),
        "other socket" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "named port" => TcpStream::connect(("127.0.0.1", ports[0])).map(drop),
        "other port" | "any port" => TcpStream::connect(("127.0.0.1", ports[1])).map(drop),
        "listen" | "listen beside the internet" => TcpListener::bind("127.0.0.1:0").map(drop),
        "datagram" | "datagram to anybody" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "own process" => fs::read("/proc/self/status").map(drop),
        "another process" => fs::read(format!("/proc/{}/status", getppid().unwrap().as_raw_nonzero())).map(drop),
        "other protocol" => call(libc::SYS_socket, [libc::AF_INET, libc::SOCK_STREAM, 262]),
        "thread" => std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap()),
        "fork" => fork(),
        "clone3" => call(libc::SYS_clone3, [0; 3]),
        "foreign number" => call(0x4000_0000 | libc::SYS_getpid, [0; 3]),
        "calls" => refused(&[
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_fsopen,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
            libc::SYS_open_by_handle_at,
            libc::SYS_kexec_load,
            libc::SYS_init_module,
            libc::SYS_finit_module,
        ]),
        "namespaces" => namespaces(),
        "privileges" => {
            let kept = !rustix::thread::no_new_privs()?;
            let core = getrlimit(Resource::Core).maximum != Some(0);
            if kept || core { Err(IoError::other("as before")) } else { Ok(()) }
        }
        "inspection" => match dumpable_behavior()? {
            DumpableBehavior::NotDumpable => Ok(()),
            _ => Err(IoError::other("as before")),
        },
        other => panic!("{other}"),
    }
}

fn abstract_name(folder: &Path) -> SocketAddr {
    SocketAddr::from_abstract_name(folder.as_os_str().as_encoded_bytes()).unwrap()
}

#[allow(unsafe_code, reason = "calls that no library makes")]
fn call(number: i64, [a, b, c]: [i32; 3]) -> io::Result<()> {
    // SAFETY: no argument is an address that is mapped.
    let result = unsafe { libc::syscall(number, i64::from(a), i64::from(b), i64::from(c), -1_i64, -1_i64, -1_i64) };
    if result == -1 { Err(IoError::last_os_error()) } else { Ok(()) }
}

/// Succeeds if each of these calls is refused, whatever its arguments.
fn refused(calls: &[i64]) -> io::Result<()> {
    for number in calls {
        let error = call(*number, [-1; 3]).err().and_then(|error| error.raw_os_error());
        if error != Some(EPERM) {
            eprintln!("call {number}: {error:?}");
            return Err(IoError::from_raw_os_error(OTHERWISE));
        }
    }
    Ok(())
}

/// Succeeds if no namespace can be made. With these flags the kernel refuses all of them anyhow, otherwise.
fn namespaces() -> io::Result<()> {
    let flags = [libc::CLONE_NEWNS, libc::CLONE_NEWCGROUP, libc::CLONE_NEWUTS, libc::CLONE_NEWIPC];
    for flag in flags.into_iter().chain([libc::CLONE_NEWUSER, libc::CLONE_NEWPID, libc::CLONE_NEWNET]) {
        let error =
            call(libc::SYS_clone, [flag | libc::CLONE_THREAD, 0, 0]).err().and_then(|error| error.raw_os_error());
        if error != Some(EPERM) {
            return Err(IoError::from_raw_os_error(error.unwrap_or(OTHERWISE)));
        }
    }
    Ok(())
}

#[allow(unsafe_code, reason = "the standard library forks only to execute")]
fn fork() -> io::Result<()> {
    // SAFETY: the child ends at once.
    match unsafe { libc::fork() } {
        -1 => Err(IoError::last_os_error()),
        // SAFETY: nothing of this process is touched.
        0 => unsafe { libc::_exit(0) },
        _ => Ok(()),
    }
}

/// A folder, and listeners that children may try to reach.
struct Ground {
    folder: tempfile::TempDir,
    tcp: [TcpListener; 2],
    _unix: UnixListener,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, file) in [("readable", "file"), ("writable", "file"), ("home", "key")] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join(file), "x").unwrap();
        }
        let tcp = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let unix = UnixListener::bind_addr(&abstract_name(folder.path())).unwrap();
        Self { folder, tcp, _unix: unix }
    }

    /// What becomes of an attempt: 0, or the error's number.
    fn outcome(&self, how: How, attempt: &str) -> i32 {
        let folder = self.folder.path();
        let ports = self.tcp.each_ref().map(|listener| listener.local_addr().unwrap().port());
        let program = env::current_exe().unwrap();
        let mut command = Command::new(&program);
        command.args(["--exact", "tests::child", "--nocapture"]).env(ATTEMPT, attempt).env(FOLDER, folder);
        command.env(HOW, format!("{how:?}")).env(PORTS, ports.map(|port| port.to_string()).join(","));
        if how == How::BeforeExec {
            let mut confinement = confinement(attempt, folder, &ports);
            confinement.execute.push(program);
            let libraries = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"].map(PathBuf::from);
            confinement.execute.extend(libraries.into_iter().filter(|path| path.exists()));
            confinement.prepare().unwrap().before_exec(&mut command);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        output.status.code().unwrap_or_else(|| panic!("{how:?}, {attempt}: {}, {said}", output.status))
    }

    /// Each attempt with what becomes of it unconfined, and confined in either way.
    fn check(&self, attempts: &[(&str, i32, i32)]) {
        for (attempt, free, confined) in attempts {
            assert_eq!(self.outcome(How::Not, attempt), *free, "unconfined: {attempt}");
            for how in [How::Itself, How::BeforeExec] {
                assert_eq!(self.outcome(how, attempt), *confined, "{how:?}: {attempt}");
            }
        }
    }
}

#[test]
fn needs_landlock_only_named_paths_are_reached() {
    Ground::new().check(&[
        ("read what is named", 0, 0),
        ("write what is named", 0, 0),
        ("read a home", 0, EACCES),
        ("list a home", 0, EACCES),
        ("write what may be read", 0, EACCES),
        ("make what may be read", 0, EACCES),
        ("execute", 0, EACCES),
        ("own process", 0, 0),
        ("another process", 0, EACCES),
    ]);
}

#[test]
fn needs_landlock_signals_and_ports_are_reached_only_where_named() {
    let ground = Ground::new();
    let gaps = Confinement { network: Network::Tcp(Vec::new()), ..Confinement::default() }.enforcement();
    let has = |gap| !gaps.gaps().contains(&gap);
    if has(crate::Gap::Scopes) {
        ground.check(&[("signal", 0, EPERM), ("abstract socket", 0, EPERM)]);
    }
    if has(crate::Gap::TcpPorts) {
        ground.check(&[
            ("named port", 0, 0),
            ("other port", 0, EACCES),
            ("listen", 0, EACCES),
            ("any port", 0, 0),
            ("listen beside the internet", 0, EACCES),
        ]);
    }
}

#[test]
fn sockets_are_refused_but_the_kind_that_is_granted() {
    Ground::new().check(&[
        ("socket", 0, EPERM),
        ("pair", 0, EPERM),
        ("local socket", 0, 0),
        ("other socket", 0, EPERM),
        ("datagram", 0, EPERM),
        ("UNIX socket beside ports", 0, EPERM),
        ("pair beside ports", 0, 0),
        ("pair of datagrams", 0, EPERM),
        ("UNIX socket beside the internet", 0, EPERM),
        ("datagram to anybody", 0, 0),
    ]);
    let ground = Ground::new();
    assert_ne!(ground.outcome(How::Not, "other protocol"), EPERM);
    assert_eq!(ground.outcome(How::Itself, "other protocol"), EPERM);
}

#[test]
fn calls_that_reach_others_or_rare_parts_of_the_kernel_are_refused() {
    let mut attempts = vec![
        ("calls", OTHERWISE, 0),
        ("namespaces", EINVAL, 0),
        ("clone3", EINVAL, ENOSYS),
        // It falls back to the older call.
        ("thread", 0, 0),
        ("fork", 0, EPERM),
    ];
    if cfg!(target_arch = "x86_64") {
        let free = Ground::new().outcome(How::Not, "foreign number");
        assert_ne!(free, EPERM);
        attempts.push(("foreign number", free, EPERM));
    }
    Ground::new().check(&attempts);
}

#[test]
fn no_privileges_come_back_and_nobody_looks_inside() {
    let ground = Ground::new();
    ground.check(&[("privileges", OTHERWISE, 0)]);
    assert_eq!(ground.outcome(How::Not, "inspection"), OTHERWISE);
    assert_eq!(ground.outcome(How::Itself, "inspection"), 0);
}

#[test]
fn root_becomes_somebody_else_and_others_cannot() {
    let identity = Some(Identity { id: NOBODY_ELSE, groups: vec![NOBODY_ELSE + 1] });
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "id -u; id -g; id -G"]);
    let paths = ["/bin", "/lib", "/lib64", "/usr", "/etc", "/proc"].map(PathBuf::from);
    let execute = paths.into_iter().filter(|path| path.exists()).collect();
    let confinement =
        Confinement { execute, identity, network: Network::Any, children: Children::Allowed, ..Confinement::default() };
    confinement.prepare().unwrap().before_exec(&mut command);
    let output = command.output();
    if geteuid().is_root() {
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        assert_eq!(said, format!("{NOBODY_ELSE}\n{NOBODY_ELSE}\n{NOBODY_ELSE} {}\n", NOBODY_ELSE + 1));
    } else {
        assert_eq!(output.unwrap_err().raw_os_error(), Some(EPERM));
    }
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let confinement = Confinement { read: vec!["/nonexistent/input".into()], ..Confinement::default() };
    match confinement.prepare() {
        Err(error @ Error::Path(_)) => assert!(error.to_string().contains("/nonexistent/input"), "{error}"),
        // Without Landlock nobody looks.
        Ok(prepared) => assert_ne!(*prepared.enforcement(), Enforcement::Full),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_held_folder_is_reached_also_where_its_path_is_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("before")).unwrap();
    let held = Folder::open(&folder.path().join("before")).unwrap();
    fs::rename(folder.path().join("before"), folder.path().join("after")).unwrap();
    fs::write(held.path().join("file"), "x").unwrap();
    assert!(folder.path().join("after/file").exists());
}
