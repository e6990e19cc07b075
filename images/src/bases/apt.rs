//! Debian's packages by way of apt: which ones, of which version, and their files. apt checks signatures; the lock
//! file says which bytes they were, so that the same lock gives the same base.

use std::fs;
use std::path::{Path, PathBuf};

use provision::Apt;
use sha2::{Digest as _, Sha256};

use super::build::BuildError;
use crate::image::Architecture;
use crate::layer::sum_text;

/// A package of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// `sha256:…` of its file; not known before it was fetched once.
    pub(super) sum: Option<String>,
}

/// All that these packages need but what the filter leaves out, in the order of their names, and their files in a folder.
pub(super) fn resolve_and_fetch(
    packages: &[&str],
    architecture: Architecture,
    keeps: &dyn Fn(&str) -> bool,
    folder: &Path,
) -> Result<Vec<Package>, BuildError> {
    let wanted: Vec<String> = packages.iter().map(|package| format!("{package}:{architecture}")).collect();
    let resolved = Apt::open()?.attempt(&mut |apt| {
        let resolved = apt.resolve(&wanted)?.into_iter().filter(|package| keeps(&package.name));
        let mut packages: Vec<Package> =
            resolved.map(|package| Package { name: package.name, version: package.version, sum: None }).collect();
        packages.sort_by(|one, other| one.name.cmp(&other.name));
        download(apt, &packages, architecture, folder)?;
        Ok(packages)
    });
    Ok(resolved?)
}

/// Packages' files, fetched where they are not there yet.
pub(super) fn fetch(packages: &[Package], architecture: Architecture, folder: &Path) -> Result<(), BuildError> {
    Ok(Apt::open()?.attempt(&mut |apt| download(apt, packages, architecture, folder))?)
}

fn download(
    apt: &Apt,
    packages: &[Package],
    architecture: Architecture,
    folder: &Path,
) -> Result<(), provision::Error> {
    let missing = packages.iter().filter(|package| find(package, folder).is_none());
    let exact: Vec<String> =
        missing.map(|package| format!("{}:{architecture}={}", package.name, package.version)).collect();
    if exact.is_empty() { Ok(()) } else { apt.download(&exact, folder) }
}

/// A package's file in the folder, its sum checked or found.
pub(super) fn check(package: &mut Package, folder: &Path) -> Result<PathBuf, BuildError> {
    let missing = || BuildError::tool("apt-get", format!("it fetched no {} {}", package.name, package.version));
    let path = find(package, folder).ok_or_else(missing)?;
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

fn find(package: &Package, folder: &Path) -> Option<PathBuf> {
    let start = format!("{}_{}_", package.name, package.version.replace(':', "%3a"));
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name.starts_with(&start) && name.ends_with(".deb")).then(|| entry.path())
    })
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

#[cfg(test)]
mod tests {
    use super::*;

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
