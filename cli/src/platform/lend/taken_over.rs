//! What a guest would try that has broken out of its sandbox: a test has it done by the worker's own code. It does what a
//! variable of the supervisor's environment lists, and leaves in the node's folder what came of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, getppid, test_kill_process};
use serde::Deserialize;

/// Names what is tried, as JSON.
pub(super) const VARIABLE: &str = "CROWDCLOUD_TAKEN_OVER";
/// Stands for the process that holds the keys.
const SUPERVISOR: &str = "{supervisor}";
/// What came of it, in the node's folder.
const FOUND: &str = "taken-over.json";
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Attempts {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    list: Vec<PathBuf>,
    tcp: Vec<std::net::SocketAddr>,
    unix: Vec<PathBuf>,
    execute: Vec<PathBuf>,
    signal: Vec<String>,
}

/// Tries what the environment lists, if it lists anything.
pub(super) fn as_asked(folder: &Path) {
    let Some(text) = std::env::var_os(VARIABLE) else { return };
    let parent = getppid().map(|pid| pid.as_raw_nonzero().to_string()).unwrap_or_default();
    let text = text.to_string_lossy().replace(SUPERVISOR, &parent);
    let attempts: Attempts = match serde_json::from_str(&text) {
        Ok(attempts) => attempts,
        Err(error) => return tracing::error!(%error, VARIABLE, "is not understood"),
    };
    let found = serde_json::to_vec(&attempts.made(folder)).unwrap_or_default();
    let whole = folder.join(FOUND);
    let partial = whole.with_extension("partial");
    if let Err(error) = fs::write(&partial, found).and_then(|()| fs::rename(&partial, &whole)) {
        tracing::error!(%error, "what was tried cannot be told");
    }
}

impl Attempts {
    /// Each attempt, and what came of it: `done`, or the error.
    fn made(&self, folder: &Path) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut made = |what: &str, at: &dyn std::fmt::Display, result: io::Result<()>| {
            let result = result.map_or_else(|error| format!("{:?}: {error}", error.kind()), |()| "done".to_owned());
            found.insert(format!("{what} {at}"), result);
        };
        for path in &self.read {
            let byte = File::open(path).and_then(|mut file| file.read(&mut [0]).map(drop));
            made("read", &path.display(), byte);
        }
        for path in &self.write {
            made("write", &path.display(), fs::write(path, "x"));
        }
        for path in &self.list {
            made("list", &path.display(), fs::read_dir(path).map(drop));
        }
        for address in &self.tcp {
            made("tcp", address, TcpStream::connect_timeout(address, CONNECTED_WITHIN).map(drop));
        }
        for path in &self.unix {
            made("unix", &path.display(), UnixStream::connect(path).map(drop));
        }
        for path in &self.execute {
            made("execute", &path.display(), Command::new(path).status().map(drop));
        }
        for pid in &self.signal {
            let pid = pid.parse().ok().and_then(Pid::from_raw);
            made(
                "signal",
                &"the supervisor",
                pid.map_or(Ok(()), |pid| test_kill_process(pid).map_err(io::Error::from)),
            );
        }
        made("write", &"its own folder", fs::write(folder.join("own"), "x"));
        found
    }
}
