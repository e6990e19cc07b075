//! Hosts on this machine, each with a network of its own, joined by pairs of virtual links. Their namespaces have no names:
//! the kernel takes them away with the last process that is in them, also where a test was killed.
//!
//! Only root can make them: tests that need them have `needs_namespaces` in their names.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Of `/proc/net/tcp`.
const ESTABLISHED: &str = "01";
const LISTENING: &str = "0A";
/// What a queue of a slow link holds.
const QUEUE: [&str; 4] = ["burst", "16kb", "latency", "400ms"];

/// A host. What is started within it has its network, and no other.
pub struct Host {
    namespace: File,
}

/// One end of a link between two hosts.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// As its host calls it.
    pub link: &'a str,
    /// Its address; the other end is in the same /24.
    pub address: Ipv4Addr,
}

impl Host {
    /// A host without links.
    ///
    /// # Panics
    /// When this is not root.
    #[must_use]
    pub fn alone() -> Self {
        let host = Self { namespace: std::thread::spawn(own_network).join().unwrap() };
        host.ip("link set lo up");
        host
    }

    /// Runs this on the host; threads and processes that it starts stay there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let there = || {
            self.enter();
            work()
        };
        std::thread::scope(|scope| scope.spawn(there).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// This thread is on the host from now on.
    ///
    /// # Panics
    /// When this is not root.
    pub fn enter(&self) {
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Joins two hosts.
    pub fn join(&self, own: End<'_>, other: &Self, far: End<'_>) {
        let namespace = format!("/proc/{}/fd/{}", std::process::id(), other.namespace.as_raw_fd());
        self.ip(&format!("link add name {} type veth peer name {} netns {namespace}", own.link, far.link));
        for (host, end) in [(self, own), (other, far)] {
            host.ip(&format!("addr add {}/24 dev {}\nlink set {} up", end.address, end.link, end.link));
        }
    }

    /// Lines of `ip`.
    ///
    /// # Panics
    /// When it refuses one.
    pub fn ip(&self, lines: &str) {
        self.within(|| {
            let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
            writeln!(ip.stdin.take().unwrap(), "{lines}").unwrap();
            assert!(ip.wait().unwrap().success(), "{lines}");
        });
    }

    /// Whether anything goes through this link.
    pub fn plug(&self, link: &str, is_in: bool) {
        self.ip(&format!("link set {link} {}", if is_in { "up" } else { "down" }));
    }

    /// What goes out through this link goes no faster, such as `2mbit`; none: as fast as it can.
    ///
    /// # Panics
    /// When the kernel refuses it.
    pub fn slow(&self, link: &str, rate: Option<&str>) {
        let mut tc = Command::new("tc");
        match rate {
            Some(rate) => tc.args(["qdisc", "replace", "dev", link, "root", "tbf", "rate", rate]).args(QUEUE),
            None => tc.args(["qdisc", "del", "dev", link, "root"]),
        };
        assert!(self.within(move || tc.status()).unwrap().success(), "{link}: {rate:?}");
    }

    /// Its TCP connections to this port.
    #[must_use]
    pub fn connections_to(&self, port: u16) -> usize {
        let far = format!(":{port:04X}");
        self.sockets(|_, remote, state| remote.ends_with(&far) && state == ESTABLISHED)
    }

    /// The TCP ports that it listens at.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.sockets(|_, _, state| state == LISTENING)
    }

    /// Whether a connection can be opened from it.
    #[must_use]
    pub fn reaches(&self, address: SocketAddr) -> bool {
        self.within(|| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
    }

    /// Counts its TCP sockets by local address, remote address and state.
    fn sockets(&self, is_one: impl Fn(&str, &str, &str) -> bool) -> usize {
        let tables = self.within(|| {
            ["tcp", "tcp6"]
                .map(|table| std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default())
        });
        let lines = tables.iter().flat_map(|table| table.lines().skip(1));
        let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
        fields.filter(|fields| fields.len() > 3 && is_one(fields[1], fields[2], fields[3])).count()
    }
}

/// A network without links, as long as somebody is in it or holds its file.
#[allow(unsafe_code, reason = "a thread leaves the network of its process")]
fn own_network() -> File {
    // SAFETY: the thread's descriptors stay those of its process.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    File::open("/proc/thread-self/ns/net").unwrap()
}
