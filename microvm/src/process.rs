//! A QEMU process: made by a thread that lives as long as this program, because the kernel kills the child with the
//! thread that made it; found again by its folder, should this program be killed and that not suffice.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use command_fds::{CommandFdExt, FdMapping};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use crate::config::{CONSOLE_BYTES, Config};
use crate::error::Error;
use crate::qemu::Qemu;
use crate::sys;

/// What a process gets.
pub(crate) struct Spec {
    pub(crate) arguments: Vec<String>,
    /// Beside monitor and agent: the file and its number.
    pub(crate) files: Vec<(OwnedFd, i32)>,
}

/// A running QEMU. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    pub(crate) pid: u32,
    pub(crate) console: Console,
    /// Goes with it.
    _folder: Folder,
}

/// A machine's own folder; it goes with the machine.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, "a machine's folder stays");
        }
    }
}

/// The end of what a guest's kernel said.
#[derive(Clone, Default)]
pub(crate) struct Console(Arc<Mutex<VecDeque<u8>>>);

impl Console {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock();
        kept.extend(bytes);
        let surplus = kept.len().saturating_sub(CONSOLE_BYTES);
        kept.drain(..surplus);
    }

    /// As text, control characters left out.
    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.lock().iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        text.chars().filter(|character| *character == '\n' || !character.is_control()).collect()
    }
}

/// Makes processes.
pub(crate) struct Spawner {
    orders: mpsc::UnboundedSender<Order>,
    next: AtomicU32,
}

struct Order {
    command: Command,
    made: oneshot::Sender<std::io::Result<Child>>,
}

impl Spawner {
    /// Its thread ends with the spawner, and with the thread all children: keep it as long as the machines.
    pub(crate) fn new() -> Result<Self, Error> {
        let (orders, mut inbox) = mpsc::unbounded_channel::<Order>();
        let runtime = tokio::runtime::Handle::current();
        let work = move || {
            let _inside = runtime.enter();
            while let Some(Order { mut command, made }) = inbox.blocking_recv() {
                // Nobody waits any more: the child is killed when it is dropped.
                let _ = made.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("microvm-spawner".to_owned()).spawn(work).map_err(Error::io("a thread"))?;
        Ok(Self { orders, next: AtomicU32::new(0) })
    }

    /// Starts QEMU; with it come its monitor's and its agent's sockets.
    pub(crate) async fn spawn(&self, config: &Config, spec: Spec) -> Result<(Process, UnixStream, UnixStream), Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let uid = sys::is_root().then(|| config.first_uid + number % Config::UIDS);
        let folder = config.work.join(format!("{}-{number}", std::process::id()));
        sys::private_folder(&folder, uid).map_err(Error::io("a machine's folder"))?;
        let folder = Folder(folder);
        let (monitor, monitor_theirs) = pair()?;
        let (agent, agent_theirs) = pair()?;
        let own =
            [(monitor_theirs, super::command_line::fds::MONITOR), (agent_theirs, super::command_line::fds::AGENT)];
        let Qemu { mut command, tree } = Qemu::find(&config.qemu, config.qemu_tree.as_deref())?;
        command.args(spec.arguments).current_dir(&folder.0).kill_on_drop(true);
        // Its start is short, and much of it goes to the first touch of each page of its heap.
        command.env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let files = own.into_iter().chain(tree).chain(spec.files);
        let mappings = files.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }).collect();
        command.as_std_mut().fd_mappings(mappings).map_err(|error| Error::Qemu(error.to_string()))?;
        sys::confine(command.as_std_mut(), uid);
        let (made, child) = oneshot::channel();
        self.orders.send(Order { command, made }).map_err(|_| Error::Qemu("no spawner".to_owned()))?;
        let child = child.await.map_err(|_| Error::Qemu("no spawner".to_owned()))?;
        let mut child = child.map_err(|error| Error::Missing(format!("{}: {error}", config.qemu.display())))?;
        let pid = child.id().ok_or_else(|| Error::Qemu("it ended at once".to_owned()))?;
        remember(&folder.0, pid)?;
        let console = Console::default();
        keep(&console, child.stdout.take());
        keep(&console, child.stderr.take());
        Ok((Process { child, pid, console, _folder: folder }, monitor, agent))
    }
}

impl Process {
    /// It has not ended yet.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Resolves when it has ended, with how.
    pub(crate) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Kills it and waits until it has gone.
    pub(crate) async fn kill(&mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, pid = self.pid, "a machine had gone");
        }
    }
}

/// A pair of connected sockets: ours, and one to be handed over.
pub(crate) fn pair() -> Result<(UnixStream, OwnedFd), Error> {
    let make = || {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((UnixStream::from_std(ours)?, OwnedFd::from(theirs)))
    };
    make().map_err(Error::io("a pair of sockets"))
}

/// Keeps the end of an output, and reads all of it, so that QEMU never waits.
fn keep(console: &Console, output: Option<impl tokio::io::AsyncRead + Unpin + Send + 'static>) {
    let Some(mut output) = output else { return };
    let console = console.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok(read @ 1..) = output.read(&mut buffer).await {
            console.push(buffer.get(..read).unwrap_or_default());
        }
    });
}

/// Both numbers together name the process, also when its number is given to another.
fn remember(folder: &Path, pid: u32) -> Result<(), Error> {
    let start = sys::start_time(pid).unwrap_or(0);
    std::fs::write(folder.join("pid"), format!("{pid} {start}\n")).map_err(Error::io("a machine's folder"))
}

/// Kills what an earlier program of this folder left behind. How many.
pub(crate) fn sweep(work: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(work) else { return 0 };
    let mut killed = 0;
    for folder in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let text = std::fs::read_to_string(folder.join("pid")).unwrap_or_default();
        let mut numbers = text.split_ascii_whitespace();
        let pid = numbers.next().and_then(|number| number.parse::<u32>().ok());
        let start = numbers.next().and_then(|number| number.parse::<u64>().ok());
        if let (Some(pid), Some(start)) = (pid, start)
            && sys::start_time(pid) == Some(start)
        {
            sys::kill(pid);
            killed += 1;
        }
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "an old machine's folder stays");
        }
    }
    killed
}

/// A private copy of a file's handle, to be inherited.
pub(crate) fn inherit(file: &File) -> Result<OwnedFd, Error> {
    file.try_clone().map(OwnedFd::from).map_err(Error::io("a file's handle"))
}
