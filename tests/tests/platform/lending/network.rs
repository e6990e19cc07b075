//! Lenders' machines as hosts of their own: each has a network that leads out to the platform's one public port, and one of
//! them only a proxy. The core's host has its own, too. (Namespaces of this machine: `tests/src/network.rs`.)
//!
//! ```text
//! attic  10.77.1.2 ---- 10.77.1.1 core, 10.77.0.1
//! cellar 10.77.2.2 ---- 10.77.2.1 core
//! office 10.78.0.2 ---- 10.78.0.1 proxy 10.77.3.2 ---- 10.77.3.1 core
//! ```

mod copies;
mod hostile;
mod intercepted;
mod joining;
mod journey;
mod pauses;
mod revoked;

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tests::{
    Answer, Cli, DoneExt as _, EMBEDDED, End, Host, Platform, Proxy, children_of, run_steps, signal, steps, wait_until,
};

use super::joining::node;
use crate::run_path::get;

/// Where machines find the platform.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const PORT: u16 = 443;
/// A machine that was started is online by then.
const ONLINE_WITHIN: Duration = Duration::from_secs(5);
/// A test's machines join from a few addresses, each of which is one client. They are not measured, which takes seconds of
/// each and happens in `lending::joining`: who has joined is online.
const CONFIG: &str = "[control-plane]\njoins-max = 1000\nnode-checks-every = \"0s\"\nsettle-wait-max = \"12s\"\n";
/// Not of this process's environment.
const OF_PROXIES: [&str; 8] =
    ["NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// The hosts, and the platform on one of them.
struct Ground {
    platform: Platform,
    /// Whose machines and functions they are.
    ada: Cli,
    key: String,
    folder: tempfile::TempDir,
    proxy: Proxy,
    core: Host,
    attic: Host,
    cellar: Host,
    office: Host,
    proxy_host: Host,
}

/// A machine that lends. Dropped, it is killed.
struct Machine {
    name: String,
    data: PathBuf,
    process: Child,
    heard: Arc<Mutex<String>>,
}

/// `10.a.b.c`
const fn at(a: u8, b: u8, c: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, a, b, c)
}

impl Ground {
    /// The platform's own node takes nothing; this thread is on the core's host from now on.
    fn start(flags: &[&str]) -> Self {
        let [core, attic, cellar, office, proxy_host] = [(); 5].map(|()| Host::alone());
        core.ip(&format!("addr add {PUBLIC}/32 dev lo"));
        for (number, host) in [(1, &attic), (2, &cellar), (3, &proxy_host)] {
            let link = format!("to{number}");
            let own = End { link: &link, address: at(77, number, 1) };
            core.join(own, host, End { link: "wan", address: at(77, number, 2) });
            host.ip(&format!("route add {PUBLIC}/32 via {}", own.address));
        }
        proxy_host.join(
            End { link: "lan", address: at(78, 0, 1) },
            &office,
            End { link: "wan", address: at(78, 0, 2) },
        );
        core.enter();
        let public = format!("{PUBLIC}:{PORT}");
        let proxy = proxy_host.within(|| Proxy::start(&format!("{}:3128", at(78, 0, 1)), &public, &public));
        let (listen, host) = (format!("0.0.0.0:{PORT}"), PUBLIC.to_string());
        let own = ["--listen", listen.as_str(), "--host", host.as_str(), "--tls-self-signed"];
        let platform = Platform::start_set(CONFIG, &[&EMBEDDED[..], &own[..], flags].concat());
        let ada = platform.user("ada");
        let key = ada.token();
        ada.deploy("hello", "--timeout 5s --concurrency 1000");
        ada.deploy("probe", "--timeout 30s --concurrency 1000");
        let folder = tempfile::tempdir().unwrap();
        let ground = Self { platform, ada, key, folder, proxy, core, attic, cellar, office, proxy_host };
        ground.ada.ok(&format!("lend pause --node local-1 --data {}", ground.platform.data().display()));
        ground
    }

    /// A token, made where machines find the platform.
    fn token(&self, name: &str) -> String {
        let made = self.ada.shell(&format!(
            "curl --silent --fail --insecure --noproxy '*' -H 'authorization: Bearer {}' \
             -H 'content-type: application/json' -d '{{\"name\": \"{name}\"}}' https://{PUBLIC}/api/v1/nodes/tokens",
            self.key
        ));
        let made: Value = serde_json::from_str(&made.ok()).unwrap();
        made["token"].as_str().unwrap().to_owned()
    }

    /// `crowdcloud lend` for the machine of this name.
    fn lend(&self, name: &str, flags: &[&str]) -> Command {
        let mut command = super::joining::lend(&self.data(name), flags);
        for variable in OF_PROXIES {
            command.env_remove(variable);
        }
        command.arg("--no-vm");
        command
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new machine, online.
    fn join(&self, host: &Host, name: &str, flags: &[&str]) -> Machine {
        let token = self.token(name);
        let began = Instant::now();
        let machine = Machine::start(host, name, self.lend(name, &[&["--token", token.as_str()][..], flags].concat()));
        self.wait_online(&machine);
        eprintln!("{name} is online after {:?}", began.elapsed());
        machine
    }

    /// The same through the office's proxy.
    fn join_by_proxy(&self, name: &str) -> Machine {
        let token = self.token(name);
        let mut command = self.lend(name, &["--token", &token]);
        command.env("HTTPS_PROXY", &self.proxy.url);
        let machine = Machine::start(&self.office, name, command);
        self.wait_online(&machine);
        machine
    }

    fn is_online(&self, name: &str) -> bool {
        // One that is measured works for its own account.
        node(&self.ada, name).is_some_and(|node| node["state"] == "calibrating" || node["state"] == "online")
    }

    fn wait_online(&self, machine: &Machine) {
        let deadline = Instant::now() + ONLINE_WITHIN;
        while !self.is_online(&machine.name) {
            assert!(Instant::now() < deadline, "{} is not online: {}", machine.name, machine.said());
        }
    }

    /// The node's id.
    fn id(&self, machine: &Machine) -> String {
        node(&self.ada, &machine.name).unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// Calls the function.
    fn call(&self, path: &str) -> Answer {
        get(&format!("{}/f/ada/probe{path}", self.platform.url), Some(&self.key))
    }

    /// A call that this machine, the only one that takes any, does.
    fn works(&self, machine: &Machine) {
        let id = self.id(machine);
        wait_until(&format!("{} works", machine.name), ONLINE_WITHIN, || {
            let answer = self.call("/burn?ms=1");
            answer.status == 200 && answer.header("x-crowdcloud-node") == Some(id.as_str())
        });
    }

    fn public() -> SocketAddr {
        SocketAddr::from((PUBLIC, PORT))
    }
}

impl Machine {
    fn start(host: &Host, name: &str, mut command: Command) -> Self {
        let data = data_of(&command);
        let mut process = host.within(move || command.stderr(Stdio::piped()).spawn()).unwrap();
        let heard = Arc::new(Mutex::new(String::new()));
        let (stderr, hearing) = (BufReader::new(process.stderr.take().unwrap()), Arc::clone(&heard));
        // Nobody may have to wait until it is read.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut heard = hearing.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Self { name: name.to_owned(), data, process, heard }
    }

    /// What it has said so far.
    fn said(&self) -> String {
        self.heard.lock().unwrap().clone()
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The process that works.
    fn worker(&self) -> u32 {
        let mut found = None;
        wait_until("there is a worker", ONLINE_WITHIN, || {
            found = children_of(self.pid()).first().copied();
            found.is_some()
        });
        found.unwrap()
    }

    /// How it ends, by itself and in this time.
    fn ends(&mut self, within: Duration) -> ExitStatus {
        let mut status = None;
        wait_until(&format!("{} has ended: {}", self.name, self.said()), within, || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Ends it as Ctrl-C does.
    fn stop(mut self) {
        signal(self.pid(), Signal::INT);
        let status = self.ends(Duration::from_secs(10));
        assert!(status.success(), "{status}: {}", self.said());
    }

    /// `crowdcloud lend VERB` on the machine.
    fn lend(&self, ada: &Cli, arguments: &str) -> String {
        ada.ok(&format!("lend {arguments} --data {}", self.data.display()))
    }

    /// What it says to its owner.
    fn status(&self, ada: &Cli) -> Value {
        serde_json::from_str(&self.lend(ada, "status --json")).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The worker dies with it.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The folder that `--data` names.
fn data_of(command: &Command) -> PathBuf {
    let mut arguments = command.get_args().skip_while(|argument| *argument != "--data").skip(1);
    arguments.next().map(PathBuf::from).unwrap_or_default()
}

/// A command in a file system of its own, in which these paths are others.
fn where_others_are(paths: &[(&Path, &str)], command: &Command) -> Command {
    let mut line = OsString::from("set -e; ");
    for (path, place) in paths {
        line.push(format!("mount --bind {} {place}; ", path.display()));
    }
    line.push("exec \"$0\" \"$@\"");
    let mut other = Command::new("unshare");
    other.args(["--mount", "sh", "-c"]).arg(line).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other.stdin(Stdio::null());
    other
}

/// Each step has machines of its own, which are gone when it ends.
#[test]
fn needs_namespaces_lenders_elsewhere_join_work_and_stay_whose_they_are() {
    let ground = Ground::start(&[]);
    let steps = steps![
        joining::machines_join_within_seconds_and_listen_nowhere,
        joining::a_token_is_good_once_and_only_as_it_was_made,
        joining::a_response_that_was_lost_comes_again,
        intercepted::behind_a_proxy_there_is_one_way_and_nobody_reads_along,
        copies::a_copied_disk_and_a_restored_snapshot_are_no_second_node,
        copies::a_clock_that_is_a_day_off_changes_nothing,
        pauses::a_machine_is_its_owners_within_a_second,
        hostile::a_hostile_node_hears_nothing_and_disturbs_nobody,
        revoked::a_revoked_machine_is_cut_off_under_load,
    ];
    run_steps(&ground, &steps);
}
