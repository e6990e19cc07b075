//! Makes a base: apt resolves and fetches, `dpkg-deb` unpacks, and what no package has is written here. No script of a
//! package runs, nothing is installed, and no rights are needed.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use protocol::ByteSize;

use super::apt;
use super::outline::Outline;
use super::python;
use super::recipe::{self, Recipe};
use super::{Base, BaseId, Shelf};
use crate::error::Error;
use crate::image::{Architecture, Dropped, User};
use crate::layer::{self, Ground, Rules};
use crate::limits::{Gauge, Limits, Stop};
use crate::source::{Blob, Store, Stores};
use crate::squash;
use crate::tree::{Body, FolderOverLink, Meta, Tree};

const PACKAGES: &str = "packages";
const TURN: &str = "turn";

/// Why there is no base.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A program failed, or is not there.
    #[error("`{program}` failed: {detail}; a base needs Debian's apt-get and dpkg-deb")]
    Tool {
        /// Which.
        program: String,
        /// What it said.
        detail: String,
    },
    /// A package is not the one of the lock file.
    #[error("the package {package} has the digest {found}, and {expected} in the lock file; delete one of both")]
    Exchanged {
        /// Which.
        package: String,
        /// What the lock file says.
        expected: String,
        /// What was fetched.
        found: String,
    },
    /// A version of the lock file is not to be had any more: Debian keeps the newest alone.
    #[error("packages of {lock} cannot be fetched: {detail}; without that file, today's versions are taken")]
    Gone {
        /// The lock file.
        lock: PathBuf,
        /// What apt said.
        detail: String,
    },
    /// The packages make no image.
    #[error("the base cannot be put together: {0}")]
    Image(#[from] Error),
    /// Its packages cannot be had.
    #[error("{0}; a base needs Debian's apt-get and dpkg-deb, and its packages")]
    Packages(#[from] provision::Error),
    /// Files of this machine.
    #[error("a file of the base: {0}")]
    Io(#[from] io::Error),
}

impl BuildError {
    pub(super) fn tool(program: &str, detail: impl std::fmt::Display) -> Self {
        Self::Tool { program: program.to_owned(), detail: detail.to_string() }
    }
}

/// The base, made where it is not on the shelf yet. The lock file beside it says which packages it has; where one is
/// there already, it has these.
///
/// # Errors
/// What is missing on this machine.
pub fn build(id: BaseId, architecture: Architecture, shelf: &Shelf) -> Result<Base, BuildError> {
    if let Ok(base) = shelf.open(id, architecture) {
        return Ok(base);
    }
    let packages_folder = shelf.folder().join(PACKAGES);
    fs::create_dir_all(&packages_folder)?;
    // Two at once would fetch into each other's files. The lock ends with the file.
    let turn = File::create(shelf.folder().join(TURN))?;
    turn.lock()?;
    if let Ok(base) = shelf.open(id, architecture) {
        return Ok(base);
    }
    let recipe = recipe::of(id, architecture);
    let title = format!("{id} for {architecture}, recipe {}", recipe::RECIPE);
    let lock = shelf.file(id, architecture, "lock");
    let known = fs::read_to_string(&lock).ok().and_then(|text| apt::read_lock(&text, &title));
    let mut packages = match known {
        Some(packages) => {
            let fetched = apt::fetch(&packages, architecture, &packages_folder);
            fetched.map_err(|error| BuildError::Gone { lock: lock.clone(), detail: error.to_string() })?;
            packages
        }
        None => {
            let keeps = |name: &str| !recipe::is_left_out(name);
            apt::resolve_and_fetch(&recipe.packages, architecture, &keeps, &packages_folder)?
        }
    };
    let files: Result<Vec<PathBuf>, BuildError> =
        packages.iter_mut().map(|package| apt::check(package, &packages_folder)).collect();
    let files = files?;
    let base = assemble(id, architecture, shelf, &recipe, &files)?;
    write_whole(&lock, &apt::lock_text(&packages, &title))?;
    write_whole(&shelf.description(id, architecture), &serde_json::to_string(&base).map_err(io::Error::from)?)?;
    Ok(base)
}

/// A file that is there as a whole or not at all.
fn write_whole(path: &Path, text: &str) -> Result<(), BuildError> {
    let scratch = path.with_extension("partial");
    fs::write(&scratch, text)?;
    Ok(fs::rename(scratch, path)?)
}

fn assemble(
    id: BaseId,
    architecture: Architecture,
    shelf: &Shelf,
    recipe: &Recipe,
    packages: &[PathBuf],
) -> Result<Base, BuildError> {
    let limits = Limits { bytes: ByteSize::mib(8192), ..Limits::default() };
    let gauge = Gauge::new(limits, Stop::default());
    let (tars, blobs) = unpack(packages, shelf.folder())?;
    let stores = Stores::open(tars, shelf.folder(), &gauge)?;
    let mut tree = Tree::new(&gauge);
    let layer = tree.next_layer(FolderOverLink::Follows);
    for (link, target) in recipe::ROOT_LINKS {
        tree.ensure_folder(target.as_bytes())?;
        tree.put(link.as_bytes(), Meta::LINK, Body::Symlink(target.as_bytes().into()))?;
    }
    let rules = Rules::package(recipe::keeps);
    let mut dropped = Dropped::default();
    for blob in blobs {
        layer::apply(&mut tree, Ground { stores: &stores, gauge: &gauge }, blob, &rules, &mut dropped)?;
    }
    let put_file = |tree: &mut Tree<'_>, path: &str, bytes: &[u8]| {
        let blob = stores.spill().keep(bytes, &gauge)?;
        tree.put(path.as_bytes(), Meta::FILE, Body::File(blob))
    };
    let certificates = trusted(&tree, layer, &stores)?;
    put_file(&mut tree, recipe::TRUSTED_TOGETHER, &certificates)?;
    for (path, text) in &recipe.files {
        put_file(&mut tree, path, text.as_bytes())?;
    }
    for (path, target) in &recipe.links {
        if tree.find(path.as_bytes()).is_none() {
            tree.put(path.as_bytes(), Meta::LINK, Body::Symlink(target.as_bytes().into()))?;
        }
    }
    for (path, mode) in recipe::FOLDERS {
        let User { uid, gid } = if path.starts_with("home/") { User::FUNCTION } else { User { uid: 0, gid: 0 } };
        tree.put_folder(path.as_bytes(), Meta { mode, uid, gid, mtime: 0 })?;
    }
    if recipe.python {
        let scratch = tempfile::tempdir_in(shelf.folder())?;
        for (path, bytes) in python::compile(packages, architecture, scratch.path())? {
            put_file(&mut tree, &path, &bytes)?;
        }
    }
    let squashed = squash::write(&tree, layer, &stores, shelf.folder(), &gauge)?;
    let outline = Outline::of(tree.walk(layer));
    Ok(Base { id, architecture, recipe: recipe::RECIPE, rootfs: squashed.rootfs, env: recipe.env.clone(), outline })
}

/// As `update-ca-certificates` puts them together.
fn trusted(tree: &Tree<'_>, layer: u32, stores: &Stores) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    for (path, node) in tree.walk(layer) {
        if let Body::File(blob) = node.body
            && path.starts_with(recipe::TRUSTED.as_bytes())
            && path.ends_with(b".crt")
        {
            all.extend(stores.all(blob)?);
            if !all.ends_with(b"\n") {
                all.push(b'\n');
            }
        }
    }
    Ok(all)
}

/// All packages' files as tars, one after the other in a file without a name.
fn unpack(packages: &[PathBuf], folder: &Path) -> Result<(File, Vec<Blob>), BuildError> {
    let mut tars = tempfile::tempfile_in(folder)?;
    let mut blobs = Vec::new();
    for package in packages {
        let offset = tars.seek(SeekFrom::End(0))?;
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.arg("--fsys-tarfile").arg(package).stdout(Stdio::from(tars.try_clone()?));
        let status = dpkg.status().map_err(|error| BuildError::tool("dpkg-deb", error))?;
        if !status.success() {
            return Err(BuildError::tool("dpkg-deb", format!("{} on {}", status, package.display())));
        }
        let len = tars.seek(SeekFrom::End(0))? - offset;
        blobs.push(Blob { store: Store::Input, offset, len });
    }
    Ok((tars, blobs))
}
