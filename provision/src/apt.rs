//! Debian's packages, resolved and downloaded as anybody: apt gets lists and a cache of its own, so that nobody needs to
//! be root and no `apt-get update` of the system is needed before. It reads the system's sources and keys, and checks
//! signatures as always. It resolves as if nothing were installed, so that what is here never stands in the way.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, cache_dir};

/// A package of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Without its architecture.
    pub name: String,
    /// As Debian writes it.
    pub version: String,
}

/// apt with a folder of its own, for one process at a time.
#[derive(Debug)]
pub struct Apt {
    config: PathBuf,
    /// Held as long as this is: apt gives up where another one writes the same lists.
    _lock: File,
}

impl Apt {
    /// apt in the cache, once no other process uses it.
    ///
    /// # Errors
    /// The cache cannot be used.
    pub fn open() -> Result<Self, Error> {
        Self::open_in(&cache_dir().join("apt"))
    }

    /// apt in this folder.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open_in(folder: &Path) -> Result<Self, Error> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(folder.join(part)).map_err(Error::cache(folder))?;
        }
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(Error::cache(&lock_path))?;
        lock.lock().map_err(Error::cache(&lock_path))?;
        let config = folder.join("apt.conf");
        std::fs::write(&config, config_text(folder)).map_err(Error::cache(&config))?;
        Ok(Self { config, _lock: lock })
    }

    /// Does some work. Where it fails, the lists may be missing or old: once more with new ones, from the beginning, for
    /// a version that was found in old lists is not to be had.
    ///
    /// # Errors
    /// Those of the work.
    pub fn attempt<T>(&self, work: &mut dyn FnMut(&Self) -> Result<T, Error>) -> Result<T, Error> {
        let first = match work(self) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        // One source of many that fails is no reason to give up: what counts is whether the packages are to be had.
        let updated = self.run("apt-get", &["update"]);
        work(self).map_err(|second| match updated {
            Ok(_) => second,
            Err(Error::Tool { program, detail }) => Error::tool(&program, format!("{detail}; {first}")),
            Err(other) => other,
        })
    }

    /// All that these packages need, in an order in which each comes after its needs.
    ///
    /// # Errors
    /// What apt said.
    pub fn resolve(&self, packages: &[String]) -> Result<Vec<Package>, Error> {
        let mut arguments = vec!["--simulate", "install"];
        arguments.extend(packages.iter().map(String::as_str));
        let resolved: Vec<Package> = self.run("apt-get", &arguments)?.lines().filter_map(resolved).collect();
        if resolved.is_empty() { Err(Error::tool("apt-get", "it resolved no packages")) } else { Ok(resolved) }
    }

    /// Downloads packages (`name`, `name=version`, `name:architecture=version`) into a folder.
    ///
    /// # Errors
    /// What apt said.
    pub fn download(&self, packages: &[String], into: &Path) -> Result<(), Error> {
        let mut apt = self.command("apt-get");
        output(apt.args(["-qq", "download"]).args(packages).current_dir(into)).map(drop)
    }

    /// Runs a program of apt's on these lists; what it prints.
    ///
    /// # Errors
    /// What it said.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String, Error> {
        output(self.command(program).arg("-qq").args(arguments))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.config).env("LC_ALL", "C.UTF-8");
        command
    }
}

/// Hooks after an update are the system's, and descriptions, translations and icons are nobody's here. `_apt`, as whom
/// root's apt would download, may not enter a folder of ours.
fn config_text(folder: &Path) -> String {
    let quoted = |path: PathBuf| path.display().to_string();
    let mut text = format!(
        "Dir::State \"{}\";\nDir::State::status \"/dev/null\";\nDir::Cache \"{}\";\n",
        quoted(folder.join("state")),
        quoted(folder.join("cache"))
    );
    text.push_str("APT::Sandbox::User \"root\";\nAPT::Install-Recommends \"false\";\n");
    text.push_str("Acquire::Languages \"none\";\nAcquire::Retries \"2\";\nAcquire::http::Timeout \"30\";\n");
    text.push_str("Acquire::https::Timeout \"30\";\n");
    for hook in ["Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"] {
        text.push_str(&format!("#clear APT::Update::{hook};\n"));
    }
    for target in ["DEP-11", "DEP-11-icons", "DEP-11-icons-small", "DEP-11-icons-large", "DEP-11-icons-hidpi", "CNF"] {
        text.push_str(&format!("#clear Acquire::IndexTargets::deb::{target};\n"));
    }
    text
}

/// `Inst name (version archive [architecture])`.
fn resolved(line: &str) -> Option<Package> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
    // Before the parenthesis may be the version that is installed.
    let version = rest.split_once('(')?.1.split(' ').next()?;
    let name = name.split(':').next()?;
    Some(Package { name: name.to_owned(), version: version.to_owned() })
}

/// Unpacks a package's files into a folder; its scripts do not run.
///
/// # Errors
/// What `dpkg-deb` said.
pub fn unpack(package: &Path, into: &Path) -> Result<(), Error> {
    output(Command::new("dpkg-deb").arg("--extract").arg(package).arg(into)).map(drop)
}

/// The packages' files in a folder.
///
/// # Errors
/// The folder cannot be read.
pub fn archives(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::cache(folder))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "deb")).collect();
    found.sort();
    Ok(found)
}

/// Runs a program; its output, or what it complained about.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|error| Error::tool(&program, format!("cannot be run: {error}")))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&done.stderr);
    let lines: Vec<&str> = complaint.lines().map(str::trim).filter(|line| !line.is_empty()).take(5).collect();
    let detail = if lines.is_empty() { done.status.to_string() } else { lines.join("; ") };
    Err(Error::tool(&program, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f01_packages_resolve_whatever_the_machine_has_installed() {
        let folder = std::env::temp_dir().join(format!("crowdcloud-apt-{}", std::process::id()));
        let apt = Apt::open_in(&folder).unwrap();
        let seen = apt.run("apt-config", &["dump"]).unwrap();
        drop(apt);
        assert!(seen.contains("Dir::State::status \"/dev/null\""), "{seen}");
        // Nobody but root could write the system's.
        assert!(seen.contains(&format!("Dir::State \"{}", folder.display())), "{seen}");
        assert!(seen.contains(&format!("Dir::Cache \"{}", folder.display())), "{seen}");
        // Hooks of the system write what only root may.
        let is_hook = |line: &&str| line.starts_with("APT::Update::") && line.contains(":: \"");
        assert_eq!(seen.lines().find(is_hook), None);
        std::fs::remove_dir_all(&folder).unwrap();
        // The set-up has fetched lists, and they are fetched here where it was not run.
        let apt = Apt::open().unwrap();
        let resolved = apt.attempt(&mut |apt| apt.resolve(&["qemu-system-x86".to_owned()])).unwrap();
        for name in ["qemu-system-x86", "libc6", "libglib2.0-0"] {
            assert!(resolved.iter().any(|package| package.name.starts_with(name)), "{name} is not in {resolved:?}");
        }
    }

    #[test]
    fn apts_lines_are_read() {
        let package = resolved("Inst libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64]) []").unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("libc6", "2.36-9+deb12u14"));
        let package = resolved("Inst zlib1g:arm64 [1:1.2] (1:1.2.13 Debian:12 [arm64])").unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("zlib1g", "1:1.2.13"));
        assert_eq!(resolved("Conf libc6 (2.36 Debian)"), None);
    }
}
