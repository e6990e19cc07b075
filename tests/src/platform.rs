//! A real platform: `crowdcloud up` as a process, on a free port and a folder of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Cli;

/// How long a start may take.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// Local nodes of one platform, at most.
const NODES: u16 = 3;
/// Flags, with spaces between them, for each platform that a test starts without a word on how many processes it is, or how
/// many copies it keeps.
const UP_FLAGS: &str = "CROWDCLOUD_UP_FLAGS";
/// The flags that are such a word.
const OF_PROCESSES: [&str; 5] = ["--separate", "--replicas", "--executors", "--gateways", "--control-planes"];
/// The flags of a test that is about one process, one executor or one folder of blobs, whatever the environment says.
pub const EMBEDDED: [&str; 2] = ["--replicas", "1"];
/// In a node's folder: what its machines run on. To find that out a node boots a guest.
const ACCELERATOR: &str = "machines/accelerator.json";

/// A running platform. Dropping it kills it.
pub struct Platform {
    process: Child,
    /// The portal's address.
    pub url: String,
    /// The link that makes the operator, if there is none yet.
    pub operator_link: Option<String>,
    /// Where each process answers for itself, by name, where services are separate.
    pub services: BTreeMap<String, String>,
    /// What it says of copies of blobs; null where there is one of each.
    pub store: serde_json::Value,
    /// From the start of the process to its first line.
    pub started_in: Duration,
    data: Folder,
}

/// A folder that is removed at the end, or kept because somebody else owns it.
enum Folder {
    Own(tempfile::TempDir),
    Given(PathBuf),
}

impl Platform {
    /// Starts one on a fresh folder.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more flags, on a fresh folder.
    #[must_use]
    pub fn start_with(flags: &[&str]) -> Self {
        Self::launch(Folder::Own(tempfile::tempdir().unwrap()), flags, &[])
    }

    /// Starts one on this folder.
    #[must_use]
    pub fn start_in(data: &Path, flags: &[&str]) -> Self {
        Self::launch(Folder::Given(data.to_owned()), flags, &[])
    }

    /// Starts one whose services are processes of their own.
    #[must_use]
    pub fn start_separate(executors: u16, gateways: u16) -> Self {
        let (executors, gateways) = (executors.to_string(), gateways.to_string());
        Self::start_with(&["--separate", "--executors", &executors, "--gateways", &gateways])
    }

    /// Starts one, of separate services, that die with these variables (see `fabric::fault`).
    #[must_use]
    pub fn start_mortal(variables: &[(&str, &OsStr)]) -> Self {
        Self::start_mortal_set("", variables)
    }

    /// The same with this configuration file.
    #[must_use]
    pub fn start_mortal_set(config: &str, variables: &[(&str, &OsStr)]) -> Self {
        let flags = ["--separate", "--executors", "1", "--gateways", "1"];
        Self::launch(Folder::with(config), &flags, variables)
    }

    /// Starts one with this configuration file and these flags, on a fresh folder.
    #[must_use]
    pub fn start_set(config: &str, flags: &[&str]) -> Self {
        Self::launch(Folder::with(config), flags, &[])
    }

    fn launch(data: Folder, flags: &[&str], variables: &[(&str, &OsStr)]) -> Self {
        remind(data.path());
        let started = Instant::now();
        let listen: &[&str] = if flags.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let mut process = command(data.path())
            .args(listen)
            .arg("--json")
            .args(flags)
            .args(more_flags(flags, &std::env::var(UP_FLAGS).unwrap_or_default()))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            drop(reader.read_line(&mut line));
            drop(sender.send(line));
            // Whatever comes later must not fill the pipe.
            drop(std::io::copy(&mut reader, &mut std::io::sink()));
        });
        let line = receiver.recv_timeout(STARTS_WITHIN).unwrap_or_default();
        let Ok(welcome) = serde_json::from_str::<serde_json::Value>(&line) else {
            drop(process.kill());
            panic!("the platform did not start: {line:?}");
        };
        Self {
            process,
            url: welcome["url"].as_str().unwrap().to_owned(),
            operator_link: welcome["operator_link"].as_str().map(str::to_owned),
            services: serde_json::from_value(welcome["services"].clone()).unwrap_or_default(),
            store: welcome["store"].clone(),
            started_in: started.elapsed(),
            data,
        }
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// A user of this platform, on a machine of their own.
    #[must_use]
    pub fn cli(&self) -> Cli {
        Cli::at(&self.url)
    }

    /// A user who has signed up.
    #[must_use]
    pub fn user(&self, account: &str) -> Cli {
        let cli = self.cli();
        cli.signup(account);
        cli
    }

    /// `host:port`
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The `crowdcloud up` process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// All processes, by name.
    #[must_use]
    pub fn pids(&self) -> BTreeMap<String, u32> {
        let text = std::fs::read(self.data().join("run/pids.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// One process, waiting until there is one.
    #[must_use]
    pub fn pid_of(&self, name: &str) -> u32 {
        let mut found = None;
        wait_until(&format!("{name} runs"), Duration::from_secs(20), || {
            found = self.pids().get(name).copied().filter(|pid| alive(*pid));
            found.is_some()
        });
        found.unwrap()
    }

    /// Sends a signal, then waits for the end, at most `within`.
    pub fn end(&mut self, with: Signal, within: Duration) -> ExitStatus {
        signal(self.pid(), with);
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the platform has not ended within {within:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it as Ctrl-C does, within the five seconds that it has.
    pub fn stop(&mut self) {
        let status = self.end(Signal::INT, Duration::from_secs(5));
        assert!(status.success(), "{status}");
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        self.end(Signal::KILL, Duration::from_secs(5));
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            signal(self.pid(), Signal::TERM);
            for _ in 0..600 {
                if !matches!(self.process.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Self::Own(folder) = self {
            remember(folder.path());
        }
    }
}

impl Folder {
    /// A fresh one, with this configuration file.
    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Self::Own(folder)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Given(path) => path,
        }
    }
}

/// What the environment adds to the flags of a test.
fn more_flags<'a>(flags: &[&str], more: &'a str) -> Vec<&'a str> {
    if flags.iter().any(|flag| OF_PROCESSES.contains(flag)) { Vec::new() } else { more.split_whitespace().collect() }
}

/// Where platforms that follow find what one has found out about this machine.
fn remembered() -> PathBuf {
    crate::target().join("accelerator.json")
}

/// Keeps what the first node has found out about this machine.
fn remember(data: &Path) {
    let Ok(found) = std::fs::read(node(data, 1).join(ACCELERATOR)) else { return };
    let place = remembered();
    if std::fs::read(&place).is_ok_and(|known| known == found) {
        return;
    }
    // Another test may read it now.
    let new = place.with_extension(std::process::id().to_string());
    drop(std::fs::write(&new, found).and_then(|()| std::fs::rename(&new, &place)));
}

/// Gives new nodes what one has found out about this machine, as if they were started again; where QEMU or the agent is
/// another one since, they find out again.
fn remind(data: &Path) {
    let Ok(found) = std::fs::read(remembered()) else { return };
    for number in 1..=NODES {
        let place = node(data, number).join(ACCELERATOR);
        if !place.exists() {
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(&place, &found).unwrap();
        }
    }
}

/// What a local node keeps.
fn node(data: &Path, number: u16) -> PathBuf {
    data.join(format!("nodes/local-{number}"))
}

/// `crowdcloud up` on this folder, without what the environment says of platforms.
fn command(data: &Path) -> Command {
    let mut command = Command::new(crate::program());
    for name in ["CROWDCLOUD_DATA", "CROWDCLOUD_LISTEN", "CROWDCLOUD_NATS_URL", "CROWDCLOUD_URL", "CROWDCLOUD_KEY"] {
        command.env_remove(name);
    }
    command.arg("up").arg("--data").arg(data).stdin(Stdio::null());
    command
}

/// Sends a signal; a process that has gone is fine.
pub fn signal(pid: u32, which: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, which);
    }
}

/// Whether the process is there, and not a zombie.
#[must_use]
pub fn alive(pid: u32) -> bool {
    let mut text = String::new();
    let Ok(mut file) = std::fs::File::open(format!("/proc/{pid}/stat")) else { return false };
    file.read_to_string(&mut text).is_ok() && !text.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))
}

/// The processes whose parent is this one.
#[must_use]
pub fn children_of(pid: u32) -> Vec<u32> {
    let parent = |child: u32| -> Option<u32> {
        let text = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        text.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
    };
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|child| parent(*child) == Some(pid)).collect()
}

/// Waits until it is so.
///
/// # Panics
/// When it is not so in time.
pub fn wait_until(what: &str, within: Duration, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !so() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_adds_flags_where_a_test_says_nothing_of_processes() {
        let more = |flags: &[&str]| more_flags(flags, "--replicas 2  --executors 3");
        for flags in [&[][..], &["--cores", "1"]] {
            assert_eq!(more(flags), ["--replicas", "2", "--executors", "3"]);
        }
        for flags in [&EMBEDDED[..], &["--separate"], &["--listen", "127.0.0.1:0", "--control-planes", "2"]] {
            assert!(more(flags).is_empty(), "{flags:?}");
        }
        assert!(more_flags(&[], "").is_empty());
    }
}
