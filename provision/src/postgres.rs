//! A PostgreSQL server of one's own, in a folder, for tests and measurements. It refuses to run as root, so root starts it as
//! the user that its package has made.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Error, find, program};

const INITDB: &str = "initdb";
const SERVER: &str = "postgres";
/// The user that Debian's package makes.
const USER: &str = "postgres";
const READY_WITHIN: Duration = Duration::from_secs(20);
const QUIT_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// In what a server keeps: it has been made before.
const MADE: &str = "PG_VERSION";
/// The line of `postmaster.pid` that says whether the server takes connections.
const STATUS_LINE: usize = 7;

/// The server; it dies with this.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    port: u16,
}

impl Postgres {
    /// Starts one with these settings, such as `fsync=off`, and waits until it takes connections. It keeps all in `data` of
    /// this folder; what another one left there when it was stopped, it goes on with.
    ///
    /// # Errors
    /// When PostgreSQL is not there, or does not start.
    pub fn start(folder: &Path, settings: &[&str]) -> Result<Self, Error> {
        let missing = || Error::tool(INITDB, program(INITDB).map_or_else(String::new, |program| program.help()));
        let initdb = find(INITDB).ok_or_else(missing)?;
        let owner = if is_root() { Some((id("-u")?, id("-g")?)) } else { None };
        if let Some((user, group)) = owner {
            let owned = std::os::unix::fs::chown(folder, Some(user), Some(group));
            owned.map_err(|error| Error::tool(INITDB, error))?;
        }
        let data = folder.join("data");
        if !data.join(MADE).exists() {
            let mut init = unprivileged(&initdb, folder, owner);
            init.args(["-A", "trust", "-U", USER, "--no-sync", "-E", "UTF8", "-D"]).arg(&data);
            let made = init.status().map_err(|error| Error::tool(INITDB, error))?;
            if !made.success() {
                return Err(Error::tool(INITDB, made));
            }
        }
        let failed = |error: std::io::Error| Error::tool(SERVER, error);
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(failed)?;
        let mut server = unprivileged(&initdb.with_file_name(SERVER), folder, owner);
        server.arg("-D").arg(&data).args(["-p", &free.port().to_string(), "-k"]).arg(folder);
        for setting in ["listen_addresses=127.0.0.1"].iter().chain(settings) {
            server.args(["-c", *setting]);
        }
        let mut started = Self { child: server.spawn().map_err(failed)?, port: free.port() };
        started.ready(&data)?;
        Ok(started)
    }

    /// The URL of a database of this name, which is there or is made by whoever asks.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The server's process; those of its connections are its children.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends its connections and then itself, so that all that it knows is in its folder.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(mut self) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::tool(SERVER, error);
        self.signal("INT").map_err(failed)?;
        let ended = self.child.wait().map_err(failed)?;
        if ended.success() { Ok(()) } else { Err(Error::tool(SERVER, ended)) }
    }

    fn signal(&self, name: &str) -> std::io::Result<()> {
        let line = format!("kill -{name} {}", self.child.id());
        Command::new("sh").args(["-c", &line]).status().map(drop)
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn ready(&mut self, data: &Path) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            let file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            if file.lines().nth(STATUS_LINE).is_some_and(|status| status.trim() == "ready") {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Error::tool(SERVER, format!("it ended at once: {status}")));
            }
            if begun.elapsed() > READY_WITHIN {
                return Err(Error::tool(SERVER, format!("it is not ready within {READY_WITHIN:?}")));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Postgres {
    /// The processes of its connections end with it, which they would not at once were it killed.
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let begun = Instant::now();
        if self.signal("QUIT").is_ok() {
            while !self.has_ended() && begun.elapsed() < QUIT_WITHIN {
                std::thread::sleep(LOOK_EVERY);
            }
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn unprivileged(program: &Path, folder: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = crate::command(program);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn id(which: &str) -> Result<u32, Error> {
    let said = Command::new("id").args([which, USER]).output().map_err(|error| Error::tool("id", error))?;
    let number = String::from_utf8_lossy(&said.stdout).trim().parse();
    number.map_err(|_| Error::tool("id", format!("there is no user `{USER}`")))
}
