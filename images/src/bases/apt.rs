//! Debian's packages by way of apt: which ones, of which version, and their files. apt checks signatures; the lock
//! file says which bytes they were, so that the same lock gives the same base.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::build::BuildError;
use crate::image::Architecture;
use crate::layer::sum_text;

/// As if nothing were installed, and without what is only recommended.
const APT_OPTIONS: [&str; 5] = ["-o", "Dir::State::status=/dev/null", "-o", "APT::Install-Recommends=false", "-qq"];

/// A package of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// `sha256:…` of its file; not known before it was fetched once.
    pub(super) sum: Option<String>,
}

/// All that these packages need, in an order in which each comes after its needs.
pub(super) fn resolve(packages: &[&str], architecture: Architecture) -> Result<Vec<Package>, BuildError> {
    let mut apt = Command::new("apt-get");
    apt.args(APT_OPTIONS).args(["--simulate", "install"]);
    apt.args(packages.iter().map(|package| format!("{package}:{architecture}")));
    let text = match output(&mut apt) {
        Ok(text) => text,
        Err(error) => {
            // A fresh machine has no lists yet. Who may not fetch them is told what apt said first.
            output(Command::new("apt-get").args(["-qq", "update"])).map_err(|_| error)?;
            output(&mut apt)?
        }
    };
    let resolved: Vec<Package> = text.lines().filter_map(resolved).collect();
    if resolved.is_empty() {
        return Err(BuildError::tool("apt-get", "it resolved no packages"));
    }
    Ok(resolved)
}

/// `Inst name (version archive [architecture])`.
fn resolved(line: &str) -> Option<Package> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
    // Before the parenthesis may be the version that is installed.
    let version = rest.split_once('(')?.1.split(' ').next()?;
    let name = name.split(':').next()?;
    Some(Package { name: name.to_owned(), version: version.to_owned(), sum: None })
}

/// A package's file, fetched where it is not there yet, its sum checked or found.
pub(super) fn fetch(package: &mut Package, architecture: Architecture, folder: &Path) -> Result<PathBuf, BuildError> {
    let path = match find(package, folder)? {
        Some(path) => path,
        None => {
            let wanted = format!("{}:{architecture}={}", package.name, package.version);
            let mut apt = Command::new("apt-get");
            // Downloads of a user of apt's own would fail in a folder that only we may write.
            apt.args(["-qq", "-o", "APT::Sandbox::User=root", "download", &wanted]).current_dir(folder);
            output(&mut apt)?;
            find(package, folder)?.ok_or_else(|| BuildError::tool("apt-get", format!("it fetched no {wanted}")))?
        }
    };
    let found = sum_text(&Sha256::digest(fs::read(&path)?));
    match &package.sum {
        Some(expected) if *expected != found => {
            let package = package.name.clone();
            Err(BuildError::Exchanged { package, expected: expected.clone(), found })
        }
        _ => {
            package.sum = Some(found);
            Ok(path)
        }
    }
}

fn find(package: &Package, folder: &Path) -> Result<Option<PathBuf>, BuildError> {
    let start = format!("{}_{}_", package.name, package.version.replace(':', "%3a"));
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&start) && name.ends_with(".deb") {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// A lock file's lines: name, version, sum.
pub(super) fn lock_text(packages: &[Package], title: &str) -> String {
    let line = |package: &Package| {
        format!("{} {} {}\n", package.name, package.version, package.sum.as_deref().unwrap_or_default())
    };
    packages.iter().map(line).fold(format!("# {title}\n"), |text, line| text + &line)
}

/// Reads a lock file; none where it is for another title.
pub(super) fn read_lock(text: &str, title: &str) -> Option<Vec<Package>> {
    let mut lines = text.lines();
    if lines.next()?.strip_prefix("# ")? != title {
        return None;
    }
    lines
        .map(|line| {
            let mut fields = line.split(' ').map(str::to_owned);
            Some(Package { name: fields.next()?, version: fields.next()?, sum: Some(fields.next()?) })
        })
        .collect()
}

/// Runs a program; its output, or what it complained about.
pub(super) fn output(command: &mut Command) -> Result<String, BuildError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| BuildError::tool(&program, error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(BuildError::tool(&program, complaint.lines().take(5).collect::<Vec<_>>().join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_lines_are_read() {
        let package = resolved("Inst libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64]) []").unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("libc6", "2.36-9+deb12u14"));
        let package = resolved("Inst zlib1g:arm64 [1:1.2] (1:1.2.13 Debian:12 [arm64])").unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("zlib1g", "1:1.2.13"));
        assert_eq!(resolved("Conf libc6 (2.36 Debian)"), None);
    }

    #[test]
    fn a_lock_comes_back_and_only_for_its_recipe() {
        let sum = Some("sha256:00".to_owned());
        let packages = vec![Package { name: "a".to_owned(), version: "1:2-3".to_owned(), sum }];
        let text = lock_text(&packages, "shell 1");
        assert_eq!(read_lock(&text, "shell 1"), Some(packages));
        assert_eq!(read_lock(&text, "shell 2"), None);
        assert_eq!(read_lock("# shell 1\nbroken", "shell 1"), None);
    }
}
