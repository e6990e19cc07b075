//! `lend --install`: a service of systemd, for the machine where root asks for it, else for the user.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::args::Lend;
use crate::failure::{Exit, Failure};
use crate::output::Output;

const UNIT: &str = "crowdcloud-node.service";

/// Writes the unit, and says how it is started.
pub(super) fn install(output: &Output, args: &Lend, data: &Path) -> Result<(), Failure> {
    let is_root = geteuid().is_root();
    let folder = args.start.unit_folder.clone().map_or_else(|| units(is_root), Ok)?;
    let failed = |why: std::io::Error| {
        Failure::new(Exit::Platform, "unit", format!("{} cannot be written", folder.join(UNIT).display())).why(why)
    };
    let service = Service {
        program: std::env::current_exe()?,
        data: data.canonicalize().map_err(failed)?,
        vm_tools: Some(crate::platform::vm_tools()).filter(|folder| folder.exists()),
        flags: flags(args),
        is_root,
    };
    let text = service.unit()?;
    fs::create_dir_all(&folder).map_err(failed)?;
    let path = folder.join(UNIT);
    fs::write(&path, text).map_err(failed)?;
    output.result(&serde_json::json!({ "unit": path }), || path.display().to_string())?;
    let user = if is_root { "" } else { "--user " };
    output.note(format!("start it with: systemctl {user}daemon-reload && systemctl {user}enable --now {UNIT}"));
    if !is_root {
        output.note("to lend also while you are not logged in: loginctl enable-linger");
    }
    Ok(())
}

/// Where systemd looks for units.
fn units(is_root: bool) -> Result<PathBuf, Failure> {
    if is_root {
        return Ok(PathBuf::from("/etc/systemd/system"));
    }
    let named = std::env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = named.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    let config = config.ok_or_else(|| Failure::new(Exit::Usage, "unit", "There is no home folder"))?;
    Ok(config.join("systemd/user"))
}

/// What of the flags is not kept in the node's folder.
fn flags(args: &Lend) -> Vec<String> {
    let flags = [(args.start.unconfined, "--unconfined"), (args.start.behind_proxy, "--behind-proxy")];
    flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag.to_owned()).collect()
}

struct Service {
    program: PathBuf,
    data: PathBuf,
    vm_tools: Option<PathBuf>,
    flags: Vec<String>,
    is_root: bool,
}

impl Service {
    /// Its unit. Memory that is written and executed stays possible, which compiled functions need, and so does KVM:
    /// `ProtectClock` would take all devices but the clock.
    fn unit(&self) -> Result<String, Failure> {
        let data = text(&self.data)?;
        let program = text(&self.program)?;
        let start: Vec<String> = [program, "lend", "--data", data]
            .into_iter()
            .chain(self.flags.iter().map(String::as_str))
            .map(|word| quoted(&word.replace('$', "$$")))
            .collect();
        let mut read = vec![quoted(&path(program))];
        if let Some(tools) = &self.vm_tools {
            read.push(quoted(&path(text(tools)?)));
        }
        let folder = quoted(&path(data));
        let target = if self.is_root { "multi-user.target" } else { "default.target" };
        let network = if self.is_root { "Wants=network-online.target\nAfter=network-online.target\n" } else { "" };
        Ok(format!(
            "[Unit]\nDescription=Lends this machine to CrowdCloud\n{network}\n\
             [Service]\nExecStart={}\nRestart=on-failure\nRestartSec=5\nRestartPreventExitStatus=2\n\
             KillMode=mixed\nTimeoutStopSec=30\nDelegate=yes\nLimitNOFILE=65536\nNoNewPrivileges=yes\n\
             PrivateTmp=yes\nProtectSystem=strict\n\
             ProtectHome=tmpfs\nBindPaths={folder}\nReadWritePaths={folder}\nBindReadOnlyPaths={}\n\
             RestrictNamespaces=yes\nRestrictRealtime=yes\nRestrictSUIDSGID=yes\nLockPersonality=yes\n\
             ProtectHostname=yes\nProtectKernelLogs=yes\nProtectKernelModules=yes\n\n\
             [Install]\nWantedBy={target}\n",
            start.join(" "),
            read.join(" ")
        ))
    }
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().filter(|text| !text.contains(char::is_control)).ok_or_else(|| {
        Failure::usage(format!("{} cannot stand in a unit", path.display())).help("name another folder with --data DIR")
    })
}

/// A path among others, where a colon has a meaning.
fn path(text: &str) -> String {
    text.replace('\\', "\\\\").replace(':', "\\:")
}

/// A word of a unit's line.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn service(is_root: bool) -> Service {
        Service {
            program: "/bin/true".into(),
            data: "/tmp/a node's 100% \"data\"".into(),
            vm_tools: Some("/tmp".into()),
            flags: vec!["--cores=2".to_owned(), "--quiet-hours=22:00-07:00 Europe/Berlin".to_owned()],
            is_root,
        }
    }

    #[test]
    fn a_unit_has_the_command_and_holds_it_back() {
        let unit = service(true).unit().unwrap();
        let start = "ExecStart=\"/bin/true\" \"lend\" \"--data\" \"/tmp/a node's 100%% \\\"data\\\"\" \"--cores=2\" \
                     \"--quiet-hours=22:00-07:00 Europe/Berlin\"\n";
        assert!(unit.contains(start), "{unit}");
        for line in ["ProtectHome=", "ProtectSystem=strict", "PrivateTmp=yes", "RestrictNamespaces=yes", "Delegate="] {
            assert!(unit.contains(&format!("\n{line}")), "{line}: {unit}");
        }
        assert!(
            unit.contains("\nRestartPreventExitStatus=2\n"),
            "who has left does not come back by being started again"
        );
        assert_eq!((Exit::of(protocol::Code::NodeLeft), Exit::Usage as u8), (Exit::Usage, 2));
        assert!(!unit.contains("MemoryDenyWriteExecute"), "compiled functions would not run");
    }

    #[test]
    fn systemd_takes_the_units() {
        for (is_root, user) in [(true, &[][..]), (false, &["--user"][..])] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(UNIT);
            fs::write(&file, service(is_root).unit().unwrap()).unwrap();
            let mut verify = Command::new("systemd-analyze");
            match verify.arg("verify").args(user).arg(&file).env("XDG_RUNTIME_DIR", folder.path()).output() {
                Ok(done) => {
                    let said = String::from_utf8_lossy(&done.stderr);
                    assert!(done.status.success() && !said.contains(UNIT), "{said}");
                }
                Err(error) => eprintln!("not tested here: systemd-analyze: {error}"),
            }
        }
    }
}
