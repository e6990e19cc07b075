//! One supervised child process: started again when it dies, or when it says nothing for two seconds.
//!
//! ```text
//!   starting --"ready"--> running --silent 2 s--> kill -9 --+
//!      ^                     |                              |
//!      +------ pause <-------+--------- dies ---------------+        stop: SIGTERM, then SIGKILL
//! ```
//! A thread for each child spawns and watches it as long as it lives, because the kernel's "die with your parent"
//! signal belongs to the thread that spawned. The child writes a line to its standard output each quarter second.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child as Process, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::failure::Failure;

/// What a child writes when it can be used, and then while it lives.
pub(crate) const READY_LINE: &str = "ready";
pub(crate) const PULSE_LINE: &str = "pulse";
/// The same, while it brings the database up to date.
pub(crate) const MIGRATING_LINE: &str = "migrating";
/// How often.
pub(crate) const PULSE_EVERY: Duration = Duration::from_millis(250);

/// A child that was silent for so long hangs.
const SILENT_MAX: Duration = Duration::from_secs(2);
/// From its start to its first line.
const FIRST_LINE_WITHIN: Duration = Duration::from_secs(10);
/// How often the thread looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Between the end of a child and its next start; doubled while it dies young.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A child that lived for so long did not die young.
const YOUNG: Duration = Duration::from_secs(2);
/// Lines that wait for the thread.
const LINES_MAX: usize = 64;

/// What to start.
pub(crate) struct Spec {
    /// For people and `pids.json`.
    pub(crate) name: String,
    /// The subcommand and its flags.
    pub(crate) arguments: Vec<OsString>,
    /// The public socket, as the child's standard input: a connection waits in it while no child accepts.
    pub(crate) listener: Option<Arc<TcpListener>>,
}

/// A supervised child.
pub(crate) struct Child {
    pub(crate) name: String,
    control: Arc<Control>,
    ready: watch::Receiver<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Control {
    stop: AtomicBool,
    stop_within: Mutex<Duration>,
    /// 0: none.
    pid: AtomicU32,
    migrating: AtomicBool,
}

impl Child {
    /// Starts it and its thread.
    pub(crate) fn start(spec: Spec) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let control = Arc::new(Control::default());
        let (ready_sender, ready) = watch::channel(false);
        let (name, watched) = (spec.name.clone(), control.clone());
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || supervise(&program, &spec, &watched, &ready_sender))?;
        Ok(Self { name, control, ready, thread: Some(thread) })
    }

    /// The process now.
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.control.pid.load(Ordering::Acquire)).filter(|pid| *pid != 0)
    }

    /// Whether it brings the database up to date.
    pub(crate) fn is_migrating(&self) -> bool {
        self.control.migrating.load(Ordering::Acquire)
    }

    /// Resolves when it can be used for the first time.
    pub(crate) async fn ready(&self) {
        let mut ready = self.ready.clone();
        drop(ready.wait_for(|ready| *ready).await);
    }

    /// Asks it to end, and ends it when it does not.
    pub(crate) async fn stop(mut self, within: Duration) {
        *self.control.stop_within.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = within;
        self.control.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::Release);
    }
}

fn supervise(program: &std::path::Path, spec: &Spec, control: &Control, ready: &watch::Sender<bool>) {
    let mut pause = PAUSE_MIN;
    while !control.stop.load(Ordering::Acquire) {
        let started = Instant::now();
        match spawn(program, spec) {
            Ok((mut process, lines)) => {
                control.pid.store(process.id(), Ordering::Release);
                let why = watch_process(&mut process, &lines, control, ready);
                control.pid.store(0, Ordering::Release);
                control.migrating.store(false, Ordering::Release);
                let Some(why) = why else {
                    let within = *control.stop_within.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    return end(process, within);
                };
                drop(process.kill());
                drop(process.wait());
                tracing::warn!(name = spec.name, why, "restarting process");
            }
            Err(error) => tracing::error!(name = spec.name, %error, "cannot be started"),
        }
        pause = if started.elapsed() > YOUNG { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        std::thread::sleep(pause);
    }
}

/// Starts the process, in a group of its own: a Ctrl-C is for the parent, which stops its children in order.
fn spawn(program: &std::path::Path, spec: &Spec) -> std::io::Result<(Process, Receiver<String>)> {
    let stdin = match &spec.listener {
        Some(listener) => Stdio::from(OwnedFd::from(listener.try_clone()?)),
        None => Stdio::null(),
    };
    let mut process = Command::new(program)
        .args(&spec.arguments)
        .arg("--supervisor")
        .arg(std::process::id().to_string())
        .stdin(stdin)
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let (sender, lines) = sync_channel(LINES_MAX);
    if let Some(stdout) = process.stdout.take() {
        std::thread::Builder::new().name(format!("{} pulse", spec.name)).spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        })?;
    }
    Ok((process, lines))
}

/// Until it is to be stopped (nothing), or is dead or hangs (why).
fn watch_process(
    process: &mut Process,
    lines: &Receiver<String>,
    control: &Control,
    ready: &watch::Sender<bool>,
) -> Option<String> {
    let mut allowed = FIRST_LINE_WITHIN;
    let mut heard = Instant::now();
    loop {
        if control.stop.load(Ordering::Acquire) {
            return None;
        }
        match lines.recv_timeout(LOOK_EVERY) {
            Ok(line) => {
                (heard, allowed) = (Instant::now(), SILENT_MAX);
                control.migrating.store(line == MIGRATING_LINE, Ordering::Release);
                if line == READY_LINE {
                    ready.send_replace(true);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK_EVERY),
        }
        match process.try_wait() {
            Ok(Some(status)) => return Some(format!("it has ended: {status}")),
            Err(error) => return Some(error.to_string()),
            Ok(None) if heard.elapsed() > allowed => return Some(format!("it was silent for {allowed:?}")),
            Ok(None) => {}
        }
    }
}

fn end(mut process: Process, within: Duration) {
    let id = i32::try_from(process.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = id {
        // It may be dead already: then there is nobody to ask.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        if !matches!(process.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    drop(process.kill());
    drop(process.wait());
}
