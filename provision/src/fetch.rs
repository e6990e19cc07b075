//! Brings a program's packages into the cache: downloaded, unpacked, and there as a whole or not at all.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::apt::{self, Apt};
use crate::find::{find, works};
use crate::programs::{Program, Source, program};
use crate::tree::{FOLDER, LIST};
use crate::{Error, cache_dir};

/// The loader that starts a program of a tree is the system's, and fits no C library but the system's.
const SYSTEMS: &str = "libc6";

/// The program of this name: found, or fetched. `say` hears of what takes long.
///
/// # Errors
/// Why it cannot be had.
pub fn fetch(name: &str, say: &dyn Fn(&str)) -> Result<PathBuf, Error> {
    if let Some(found) = find(name) {
        return Ok(found);
    }
    let unpacked = program(name).and_then(|program| Some((program, place(program)?, parts(program)?)));
    let (program, place, (package, with)) = unpacked.ok_or_else(|| Error::NotUnpacked(name.to_owned()))?;
    let folder = home(package);
    std::fs::create_dir_all(folder.parent().unwrap_or(&folder)).map_err(Error::cache(&folder))?;
    let lock_path = folder.with_extension("lock");
    let lock = File::create(&lock_path).map_err(Error::cache(&lock_path))?;
    lock.lock().map_err(Error::cache(&lock_path))?;
    // Another process may have fetched it while this one waited.
    if let Some(found) = find(name) {
        return Ok(found);
    }
    let fresh = folder.with_extension("new");
    remove(&fresh)?;
    let fetched = bring(package, with, &fresh, say);
    if let Err(error) = fetched {
        remove(&fresh)?;
        return Err(error);
    }
    // A program of the old tree may be running: what it has open stays.
    remove(&folder)?;
    std::fs::rename(&fresh, &folder).map_err(Error::cache(&folder))?;
    works(&place, program.probe).map_err(|detail| Error::Broken { program: name.to_owned(), detail })?;
    Ok(place)
}

/// Where a program is once it was fetched; none where it is not unpacked.
pub(crate) fn place(program: &Program) -> Option<PathBuf> {
    let (package, _) = parts(program)?;
    Some(home(package).join(FOLDER).join("usr/bin").join(program.name))
}

fn parts(program: &Program) -> Option<(&'static str, &'static [&'static str])> {
    match program.source {
        Source::Unpacked { package, with } => Some((package, with)),
        _ => None,
    }
}

fn home(package: &str) -> PathBuf {
    cache_dir().join("programs").join(package)
}

/// Libraries, the package itself, and what of its other needs it cannot run without.
fn bring(package: &str, with: &[&str], fresh: &Path, say: &dyn Fn(&str)) -> Result<(), Error> {
    let wanted = |name: &str| name == package || with.contains(&name) || (name.starts_with("lib") && name != SYSTEMS);
    let tree = fresh.join(FOLDER);
    std::fs::create_dir_all(&tree).map_err(Error::cache(&tree))?;
    let apt = Apt::open()?;
    say(&format!("looking {package} up"));
    let packages = apt.attempt(&mut |apt| {
        let mut packages = apt.resolve(&[package.to_owned()])?;
        packages.retain(|package| wanted(&package.name));
        let exact: Vec<String> = packages.iter().map(|one| format!("{}={}", one.name, one.version)).collect();
        say(&format!("downloading {package} and its libraries: {} packages", exact.len()));
        apt.download(&exact, fresh)?;
        Ok(packages)
    })?;
    drop(apt);
    say(&format!("unpacking {package}"));
    for archive in apt::archives(fresh)? {
        apt::unpack(&archive, &tree)?;
        std::fs::remove_file(&archive).map_err(Error::cache(&archive))?;
    }
    readable(&tree)?;
    let list: String = packages.iter().map(|one| format!("{} {}\n", one.name, one.version)).collect();
    std::fs::write(fresh.join(LIST), list).map_err(Error::cache(fresh))?;
    // Who is handed the tree can read it, and gets no further up.
    std::fs::set_permissions(fresh, Permissions::from_mode(0o700)).map_err(Error::cache(fresh))
}

/// For everybody to read and nobody to gain rights by: not all that is run here is run as whoever fetched it.
fn readable(folder: &Path) -> Result<(), Error> {
    let set = |path: &Path, bits: u32| {
        std::fs::set_permissions(path, Permissions::from_mode(bits)).map_err(Error::cache(path))
    };
    set(folder, 0o755)?;
    for entry in std::fs::read_dir(folder).map_err(Error::cache(folder))? {
        let path = entry.map_err(Error::cache(folder))?.path();
        let metadata = path.symlink_metadata().map_err(Error::cache(&path))?;
        if metadata.is_dir() {
            readable(&path)?;
        } else if metadata.is_file() {
            set(&path, if metadata.mode() & 0o111 == 0 { 0o644 } else { 0o755 })?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::cache(folder)(error)),
        _ => Ok(()),
    }
}
