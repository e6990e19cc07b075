//! Looks for what is missing or wrong on this machine; and opens the portal.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use protocol::api::{Node, NodeDetails, Page};
use protocol::node::TrustLevel;
use reqwest::Method;
use serde::Serialize;

use super::store;
use crate::args::KeyPlace;
use crate::config::UserConfig;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// `vm-setup` brings what is downloaded, `cargo xtask setup` also what is built.
const VM_LANE_HELP: &str = "`crowdcloud vm-setup` fetches QEMU, the guests' kernel and the bases; `cargo xtask setup` \
                            does that too, and builds the guest agent and wasm-guest; without the lane, wasm runs";

/// What makes a VM's guests as fast as the machine.
const KVM_HELP: &str = "nothing must be done: the wasm lane is as fast as ever. For fast VMs: a machine with hardware \
                        virtualisation, switched on in its firmware (a rented one: with nested virtualisation, or bare \
                        metal); the module, `sudo modprobe kvm_intel` or `kvm_amd`; and the right to open /dev/kvm, \
                        `sudo usermod -aG kvm $USER` and a new log-in. Then restart the node";

/// What a kernel lacks to confine processes.
const CONFINEMENT_HELP: &str = "functions run as ever; artifacts of strangers are compiled with fewer bounds. A newer \
                                kernel has it; where it is new enough, add `landlock` to the list of `lsm=` on its \
                                command line, and let containers make the calls of Landlock and seccomp";

/// What own nodes wait for.
const NODES_HELP: &str = "they get their own account's runs meanwhile. `crowdcloud nodes show NODE` says what each lacks; \
                          `crowdcloud nodes confirm NODE` lets `own` placement use one";

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    /// Wrong is not fatal: something can be done without it.
    optional: bool,
    found: String,
    help: String,
}

impl Check {
    fn new(name: &'static str, found: Result<String, String>, help: &str) -> Self {
        let ok = found.is_ok();
        Self {
            name,
            ok,
            optional: false,
            found: found.unwrap_or_else(|why| why),
            help: if ok { String::new() } else { help.to_owned() },
        }
    }

    fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// `vm-setup`
pub(crate) fn vm_setup(context: &Context, bases: &[protocol::Base], into: Option<PathBuf>) -> Result<(), Failure> {
    let folder = into.unwrap_or_else(crate::platform::vm_tools);
    let all = [protocol::Base::Shell, protocol::Base::Python];
    let wanted = if bases.is_empty() { &all[..] } else { bases };
    let fetched = executor::fetch_vm_tools(&folder, wanted, &|step| context.output.note(step));
    let missing = fetched.map_err(|why| {
        Failure::new(Exit::Platform, "vm_setup", "The VM lane's parts cannot be fetched")
            .why(why)
            .help("apt-get and dpkg-deb of Debian are needed, and a way to Debian's packages")
    })?;
    if let Some(why) = &missing {
        context.output.note(format!("the VM lane still lacks a part: {why}"));
    }
    let value = serde_json::json!({ "folder": folder, "missing": missing });
    context.output.result(&value, || folder.display().to_string())?;
    Ok(())
}

/// `doctor`
pub(crate) async fn doctor(context: &Context, place: &KeyPlace) -> Result<(), Failure> {
    if let Some(told) = store::told_unused(place) {
        context.output.note(told);
    }
    let mut checks = vec![
        Check::new("user's configuration", configuration(), "chmod 600 the file, or log in again"),
        Check::new("platform", platform(context).await, "start one with `crowdcloud up`, or name one with --url"),
        Check::new("key", key(context).await, "`crowdcloud signup` or `crowdcloud login`"),
        Check::new("own nodes", own_nodes(context).await, NODES_HELP).optional(),
        Check::new(
            "nats-server",
            crate::platform::nats_binary().map(|path| path.display().to_string()).map_err(|failure| failure.what()),
            "`cargo xtask up` fetches it; or set CROWDCLOUD_NATS_SERVER",
        )
        .optional(),
        Check::new("VM lane", vm_lane(), VM_LANE_HELP).optional(),
        Check::new("confinement", confinement(executor::compile::confinement_missing()), CONFINEMENT_HELP).optional(),
        Check::new("cargo", tool("cargo"), "needed for Rust templates: install Rust").optional(),
    ];
    if vm_lane().is_ok() {
        checks.push(Check::new("VM speed", vm_speed(&open_kvm()), KVM_HELP).optional());
    }
    checks.extend(store_keys(place));
    checks.extend(processes(&place.data));
    let failed = checks.iter().any(|check| !check.ok && !check.optional);
    context.output.result(&serde_json::json!({ "items": checks, "next": null }), || {
        let mut text = String::new();
        for check in &checks {
            let mark = match (check.ok, check.optional) {
                (true, _) => "ok",
                (false, true) => "--",
                (false, false) => "!!",
            };
            text.push_str(&format!("{mark}  {}: {}\n", check.name, check.found));
            if !check.help.is_empty() {
                text.push_str(&format!("    help: {}\n", check.help));
            }
        }
        text
    })?;
    if failed { Err(Failure::silent(Exit::Platform)) } else { Ok(()) }
}

fn vm_lane() -> Result<String, String> {
    let folder = crate::platform::vm_tools();
    if let Some(why) = executor::vm_tools_missing(&folder) {
        return Err(why);
    }
    let mut found = vec![folder.display().to_string()];
    if !executor::vm_runs_wasm(&folder) {
        found.push("images alone: no wasm-guest, which `cargo xtask setup` builds".to_owned());
    }
    let bases = executor::vm_bases_missing(&folder);
    found.extend(bases.iter().map(|base| format!("no base {}: `crowdcloud vm-setup` makes it", base.as_str())));
    Ok(found.join("; "))
}

/// How far the kernel confines what handles the artifacts of strangers.
fn confinement(missing: Option<String>) -> Result<String, String> {
    match missing {
        None => Ok("Landlock and seccomp confine what compiles and converts artifacts".to_owned()),
        Some(missing) => Err(format!("not restricted by this kernel: {missing}")),
    }
}

fn open_kvm() -> std::io::Result<()> {
    std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").map(drop)
}

/// What runs the instructions of this machine's VMs: the processor, or software that translates them.
fn vm_speed(kvm: &std::io::Result<()>) -> Result<String, String> {
    let why = match kvm {
        Ok(()) => return Ok("/dev/kvm can be opened: guests run on the processor itself".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "there is no /dev/kvm".to_owned(),
        Err(error) => format!("/dev/kvm cannot be opened ({error})"),
    };
    Err(format!(
        "{why}: QEMU translates the guests' instructions in software (TCG). VMs work, some 5 to 20 times slower than on \
         the processor, and start in seconds where a snapshot cannot be used"
    ))
}

fn configuration() -> Result<String, String> {
    let path = UserConfig::path().map_err(|failure| failure.what())?;
    match std::fs::metadata(&path) {
        Err(_) => Ok(format!("{} (not there yet)", path.display())),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            Err(format!("{} can be read by others", path.display()))
        }
        Ok(_) => UserConfig::load(&path).map(|_| path.display().to_string()).map_err(|failure| failure.what()),
    }
}

async fn platform(context: &Context) -> Result<String, String> {
    let client = context.anonymous().map_err(|failure| failure.what())?;
    let request = client.request(Method::GET, "/readyz").map_err(|failure| failure.what())?;
    client.send(request).await.map_err(|failure| failure.what())?;
    Ok(context.url.clone())
}

async fn key(context: &Context) -> Result<String, String> {
    let client = context.client().map_err(|failure| failure.what())?;
    let account = context.account(&client).await.map_err(|failure| failure.what())?;
    Ok(format!("account {account}"))
}

/// Which of the account's nodes others do not trust yet, or `own` placement does not use.
async fn own_nodes(context: &Context) -> Result<String, String> {
    let told = |failure: Failure| failure.what();
    // Whoever has no key is told so already.
    let Ok(client) = context.client() else { return Ok("none".to_owned()) };
    let page: Page<Node> = client.get("/nodes?limit=200").await.map_err(told)?;
    let (mut waiting, mut nodes) = (Vec::new(), 0);
    for node in page.items.iter().filter(|node| node.level.is_some_and(|level| level < TrustLevel::Operator)) {
        nodes += 1;
        let details: NodeDetails = client.get(&format!("/nodes/{}", node.id)).await.map_err(told)?;
        let new = (node.level == Some(TrustLevel::New)).then(|| details.missing.first()).flatten();
        let unconfirmed = details.confirmed.is_none().then(|| "not confirmed by its owner".to_owned());
        let why: Vec<String> = new.map(|missing| format!("new: {missing}")).into_iter().chain(unconfirmed).collect();
        if !why.is_empty() {
            waiting.push(format!("{}: {}", node.name, why.join(", ")));
        }
    }
    match (nodes, waiting.is_empty()) {
        (0, _) => Ok("none".to_owned()),
        (_, true) => Ok(protocol::words::count(nodes, "node")),
        (_, false) => Err(waiting.join("; ")),
    }
}

fn tool(name: &str) -> Result<String, String> {
    let output = Command::new(name).arg("--version").stderr(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        _ => Err("not found".to_owned()),
    }
}

/// What is wrong with the store's master keys; nothing where this machine has none.
fn store_keys(place: &KeyPlace) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name, found: String, help: &str| checks.push(Check::new(name, Err(found), help).optional());
    match store::findings(place) {
        Err(failure) => add("store's keys", failure.what(), failure.remedy()),
        Ok(findings) => {
            if !findings.unexported.is_empty() {
                // Nothing else brings a lost key back.
                let help = format!(
                    "`{}` writes all keys; keep that elsewhere than the data: without them neither the store nor any \
                     backup of it can be read",
                    store::export_line(place)
                );
                let numbers: Vec<String> = findings.unexported.iter().map(ToString::to_string).collect();
                add("store's keys", format!("no export has the master key {}", numbers.join(", ")), &help);
            }
            if !findings.damaged.is_empty() {
                let help = "move the file away; where the key is missed, `crowdcloud store key import` brings it back";
                add("store's keys' files", format!("{}: no master key", paths(&findings.damaged)), help);
            }
            if !findings.exposed.is_empty() {
                let found = format!("others than the owner may open {}", paths(&findings.exposed));
                add("store's keys' modes", found, "`chmod go= PATH`; who has the keys can read copies of the store");
            }
        }
    }
    checks
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The processes of `crowdcloud up --separate` in this folder.
fn processes(data: &Path) -> Vec<Check> {
    let pids = crate::platform::pids(data);
    let alive = |pid: u32| Path::new(&format!("/proc/{pid}")).exists();
    let text: Vec<String> =
        pids.iter().map(|(name, pid)| format!("{name} {pid}{}", if alive(*pid) { "" } else { " (gone)" })).collect();
    if text.is_empty() { Vec::new() } else { vec![Check::new("processes", Ok(text.join(", ")), "")] }
}

/// `open`
pub(crate) async fn open(context: &Context, function: Option<&str>) -> Result<(), Failure> {
    let url = match function {
        Some(function) => format!("{}/functions/{}", context.url, crate::client::segment(function)),
        None => format!("{}/", context.url),
    };
    context.output.result(&serde_json::json!({ "url": url }), || url.clone())?;
    if context.output.interactive {
        let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        let opened = tokio::process::Command::new(opener)
            .arg(&url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await;
        if !opened.is_ok_and(|status| status.success()) {
            context.output.note("no browser could be started here: open the URL yourself");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn what_the_kernel_does_not_restrict_is_told() {
        assert!(confinement(None).is_ok());
        let part = confinement(Some("TCP ports (Linux 6.7)".to_owned()));
        assert!(part.as_ref().unwrap_err().contains("TCP ports"), "{part:?}");
        let check = Check::new("confinement", part, CONFINEMENT_HELP).optional();
        assert!(!check.ok && check.optional && check.help.contains("landlock"));
    }

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The folder of keys, which nobody else may open, with one key; and both ways to name it.
    fn keys(data: &Path) -> (PathBuf, [KeyPlace; 2]) {
        let folder = data.join("store-keys");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("3.key"), [7; 32]).unwrap();
        chmod(&folder, 0o700);
        chmod(&folder.join("3.key"), 0o600);
        let elsewhere = KeyPlace { data: data.join("x"), keys: Some(folder.clone()), unused: None };
        (folder, [KeyPlace { data: data.to_owned(), keys: None, unused: None }, elsewhere])
    }

    #[test]
    fn a_master_key_that_is_nowhere_else_is_told_with_what_to_do() {
        let data = tempfile::tempdir().unwrap();
        let none = KeyPlace { data: data.path().to_owned(), keys: None, unused: None };
        assert!(store_keys(&none).is_empty(), "no platform has run here");
        let (folder, places) = keys(data.path());
        let flags = [format!("--data {}", data.path().display()), format!("--keys {}", folder.display())];
        for (place, flag) in places.iter().zip(flags) {
            let checks = store_keys(place);
            assert_eq!(checks.len(), 1, "{checks:?}");
            assert!(!checks[0].ok && checks[0].optional && checks[0].found.ends_with(" 3"), "{checks:?}");
            assert!(checks[0].help.contains(&format!("crowdcloud store key export {flag} -o")), "{checks:?}");
        }
        let folder = control_plane::KeyFolder::at(folder);
        folder.note(&folder.export(None).unwrap()).unwrap();
        assert!(store_keys(&places[0]).is_empty());
        // An older one that came later: exports of before do not have it.
        std::fs::write(folder.path().join("2.key"), [6; 32]).unwrap();
        chmod(&folder.path().join("2.key"), 0o600);
        let checks = store_keys(&places[0]);
        assert!(checks.len() == 1 && checks[0].found.ends_with(" 2"), "{checks:?}");
    }

    #[test]
    fn keys_that_others_may_open_or_that_are_none_are_told() {
        let data = tempfile::tempdir().unwrap();
        let (folder, places) = keys(data.path());
        let exported = control_plane::KeyFolder::at(&folder);
        exported.note(&exported.export(None).unwrap()).unwrap();
        chmod(&folder.join("3.key"), 0o640);
        let checks = store_keys(&places[0]);
        assert!(checks.len() == 1 && checks[0].found.ends_with("3.key"), "{checks:?}");
        chmod(&folder.join("3.key"), 0o600);
        std::fs::write(folder.join("4.key"), b"short").unwrap();
        let checks = store_keys(&places[0]);
        assert!(checks.len() == 1 && checks[0].found.contains("4.key: no master key"), "{checks:?}");
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::write(&folder, b"").unwrap();
        let checks = store_keys(&places[0]);
        assert!(checks.len() == 1 && checks[0].help.starts_with("check the folder"), "{checks:?}");
    }

    #[test]
    fn slow_virtual_machines_are_told_with_what_to_do() {
        assert!(vm_speed(&Ok(())).is_ok());
        let missing = vm_speed(&Err(Error::from(ErrorKind::NotFound)));
        assert!(missing.as_ref().unwrap_err().starts_with("there is no /dev/kvm: QEMU translates"), "{missing:?}");
        let denied = vm_speed(&Err(Error::from(ErrorKind::PermissionDenied))).unwrap_err();
        assert!(denied.contains("permission denied") && denied.contains("times slower"), "{denied}");
        let check = Check::new("VM speed", missing, KVM_HELP).optional();
        assert!(!check.ok && check.optional && check.help.contains("kvm"));
    }
}
