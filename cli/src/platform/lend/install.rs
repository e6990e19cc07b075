//! `lend --install`: a service of systemd, for the machine where root asks for it, else for the user; and `--dry-run`,
//! which only shows it.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::args::Lend;
use crate::failure::{Exit, Failure};
use crate::output::Output;

const UNIT: &str = "crowdcloud-node.service";
/// A user's services end with the last log-in, but for this.
const LINGER: &str = "loginctl enable-linger";

/// Writes the unit, and says how it is started.
pub(super) fn install(output: &Output, args: &Lend, data: &Path) -> Result<(), Failure> {
    let plan = Plan::of(args, data)?;
    let failed = |why: std::io::Error| {
        Failure::new(Exit::Platform, "unit", format!("{} cannot be written", plan.path().display())).why(why)
    };
    fs::create_dir_all(&plan.folder).map_err(failed)?;
    fs::write(plan.path(), &plan.unit).map_err(failed)?;
    output.result(&serde_json::json!({ "unit": plan.path() }), || plan.path().display().to_string())?;
    output.note(format!("start it with: {}", plan.start().join(" && ")));
    if !plan.is_root {
        output.note(format!("to lend also while you are not logged in: {LINGER}"));
    }
    Ok(())
}

/// Says what `install` would do, and does nothing.
pub(super) fn show(output: &Output, args: &Lend, data: &Path) -> Result<(), Failure> {
    let plan = Plan::of(args, data)?;
    let shown = serde_json::json!({ "unit": plan.path(), "text": plan.unit, "commands": plan.start() });
    output.result(&shown, || plan.text())
}

/// What is installed, and where.
struct Plan {
    folder: PathBuf,
    unit: String,
    is_root: bool,
}

impl Plan {
    fn of(args: &Lend, data: &Path) -> Result<Self, Failure> {
        let is_root = geteuid().is_root();
        let folder = args.start.unit_folder.clone().map_or_else(|| units(is_root), Ok)?;
        let service = Service {
            program: std::env::current_exe()?,
            // Before the machine has joined, there is none.
            data: data.canonicalize().or_else(|_| std::path::absolute(data))?,
            vm_tools: Some(crate::platform::vm_tools()).filter(|folder| folder.exists()),
            flags: flags(args),
            is_root,
        };
        Ok(Self { folder, unit: service.unit()?, is_root })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(UNIT)
    }

    /// What its user types then.
    fn start(&self) -> [String; 2] {
        let user = if self.is_root { "" } else { "--user " };
        [format!("systemctl {user}daemon-reload"), format!("systemctl {user}enable --now {UNIT}")]
    }

    /// The unit, with what would be done before and after it.
    fn text(&self) -> String {
        let start: String = self.start().iter().map(|command| format!("#   {command}\n")).collect();
        let linger = if self.is_root { String::new() } else { format!("#   {LINGER}\n") };
        format!(
            "# would be written to {}\n# would be started by:\n{start}{linger}\n{}",
            self.path().display(),
            self.unit
        )
    }
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
    fn what_would_be_installed_is_shown_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (units, data) = (folder.path().join("units"), folder.path().join("node"));
        let (at, of) = (units.display(), data.display());
        let line = format!("crowdcloud lend --install --dry-run --unconfined --unit-folder {at} --data {of}");
        let cli = <crate::args::Cli as clap::Parser>::try_parse_from(line.split_whitespace()).unwrap();
        let crate::args::Command::Lend(lend) = cli.command else { panic!("it is lend") };
        assert!(lend.start.dry_run);
        show(&Output::new(&cli.global), &lend, &data).unwrap();
        let said = Plan::of(&lend, &data).unwrap().text();
        for part in [&*format!("{at}/{UNIT}\n"), "enable --now", "daemon-reload", "\n[Service]\n", "--unconfined"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.contains(&format!("\"--data\" \"{of}\"")), "{said}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
        let alone = <crate::args::Cli as clap::Parser>::try_parse_from(["crowdcloud", "lend", "--dry-run"]);
        assert!(alone.err().unwrap().to_string().contains("--install"));
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
