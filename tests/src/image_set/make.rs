//! Makes an image of its recipe, once: a tree of files for each layer, its tar, and the archive, which stays in the cache.

use std::fs::{self, File, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::archive::{self, Layout, Packed};
use super::sources::{self, quiet};
use super::{Entry, Form, Layer, Recipe, What};

/// Raised when images are made otherwise of the same recipes.
const MAKING: u32 = 2;
/// Archives of other recipes stay so long: another checkout may have them.
const OTHERS_STAY: Duration = Duration::from_hours(24);
const FINGERPRINT_BYTES: usize = 8;

impl Recipe {
    /// Its archive, which is made where this machine has not got it yet. `say` hears what takes long.
    ///
    /// # Errors
    /// A package or a program that is not to be had.
    pub fn archive(&self, say: &dyn Fn(&str)) -> anyhow::Result<PathBuf> {
        let folder = provision::cache_dir().join("image-set");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let place = folder.join(format!("{}-{}.tar", self.name, self.fingerprint()));
        if place.is_file() {
            return Ok(place);
        }
        // The lock ends with the file. Another process may have made it while this one waited.
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        if !place.is_file() {
            self.make(&folder, &place, say).with_context(|| format!("the image `{}` cannot be made", self.name))?;
            self.forget_others(&folder, &place)?;
        }
        Ok(place)
    }

    fn make(&self, folder: &Path, place: &Path, say: &dyn Fn(&str)) -> anyhow::Result<()> {
        let work = tempfile::tempdir_in(folder)?;
        let fresh = work.path().join("archive");
        let mut layers = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let tree = work.path().join(format!("layer-{number}"));
            fs::create_dir(&tree)?;
            layer.lay_out(&tree, say)?;
            say(&format!("{}: packing layer {} of {}", self.name, number + 1, self.layers.len()));
            if self.form == Form::Files {
                layer.pack(&tree, &fresh)?;
                ensure!(fresh.metadata()?.len() < unpacked(&tree)?, "tar has stored a hole");
            } else {
                let tar = work.path().join("tar");
                layer.pack(&tree, &tar)?;
                layers.push(Packed::pack(fs::read(&tar)?, layer.packing)?);
            }
        }
        match self.form {
            Form::Files => {}
            Form::Oci => one(&self.config, &amd64(), &layers).write(&fresh)?,
            Form::OciArm => one(&self.config, &arm(), &layers).write(&fresh)?,
            Form::OciIndex => among_others(&self.config, &layers).write(&fresh)?,
            Form::Docker => archive::docker(&self.config, &amd64(), &layers, &fresh)?,
        }
        Ok(fs::rename(&fresh, place)?)
    }

    /// Names everything that it is made of.
    fn fingerprint(&self) -> String {
        let Self { layers, config, form, .. } = self;
        let sum = Sha256::digest(format!("{MAKING} {layers:?} {config} {form:?}"));
        sum.iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    fn forget_others(&self, folder: &Path, place: &Path) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let of_this = name.strip_prefix(self.name).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".tar"));
            let is_other = of_this.is_some_and(|sum| sum.len() == 2 * FINGERPRINT_BYTES) && entry.path() != place;
            let age = SystemTime::now().duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            if is_other && age > OTHERS_STAY {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Layer {
    /// Puts its files into an empty folder.
    fn lay_out(&self, tree: &Path, say: &dyn Fn(&str)) -> anyhow::Result<()> {
        for source in &self.sources {
            sources::lay_out(source, tree, say)?;
        }
        self.entries.iter().try_for_each(|entry| {
            entry.lay_out(tree).with_context(|| format!("{} cannot be put into the image", entry.path))
        })
    }

    /// The tar of its folder. All is root's but what belongs to others by the recipe.
    fn pack(&self, tree: &Path, into: &Path) -> anyhow::Result<()> {
        let tar = |owner: u32| {
            let mut tar = Command::new("tar");
            let id = owner.to_string();
            tar.args(["--sparse", "--sort=name", "--mtime=@0", "--numeric-owner", "--owner", &id, "--group", &id]);
            tar.arg("--file").arg(into).arg("--directory").arg(tree);
            tar
        };
        quiet(tar(0).args(["--create", "."]))?;
        for entry in self.entries.iter().filter(|entry| entry.owner != 0) {
            quiet(tar(entry.owner).args(["--append", "--no-recursion"]).arg(format!("./{}", entry.path)))?;
        }
        Ok(())
    }
}

impl Entry {
    fn lay_out(&self, tree: &Path) -> anyhow::Result<()> {
        let path = tree.join(self.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        if path.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            fs::remove_file(&path)?;
        }
        match self.what {
            What::Folder => fs::create_dir_all(&path)?,
            What::Text(text) => fs::write(&path, text)?,
            What::Link(target) => return Ok(symlink(target, &path)?),
            What::Sparse(hole, text) => {
                let mut file = File::create(&path)?;
                file.seek(SeekFrom::Start(hole))?;
                file.write_all(text.as_bytes())?;
            }
        }
        Ok(fs::set_permissions(&path, Permissions::from_mode(self.mode))?)
    }
}

fn amd64() -> Value {
    json!({ "os": "linux", "architecture": "amd64" })
}

fn arm() -> Value {
    json!({ "os": "linux", "architecture": "arm64", "variant": "v8" })
}

/// A layout with one image.
fn one(config: &Value, platform: &Value, layers: &[Packed]) -> Layout {
    let mut layout = Layout::default();
    let image = layout.image(config, platform, layers);
    layout.with(image)
}

/// A layout whose index has the image for this machine among others: for other systems and processors, for a level that
/// no guest has, and what a builder says of an image. Whichever of them is started fails.
fn among_others(config: &Value, layers: &[Packed]) -> Layout {
    let wrong = json!({ "Cmd": ["/bin/sh", "-c", "echo a wrong image; exit 1"] });
    let v4 = json!({ "os": "linux", "architecture": "amd64", "variant": "v4" });
    let windows = json!({ "os": "windows", "architecture": "amd64" });
    let mut layout = Layout::default();
    let mut images: Vec<Value> =
        [windows, arm(), v4].iter().map(|platform| layout.image(&wrong, platform, layers)).collect();
    images.push(layout.image(config, &amd64(), layers));
    let mut said = layout.image(&wrong, &json!({ "os": "unknown", "architecture": "unknown" }), layers);
    said["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    images.push(said);
    let index = layout.index(&images);
    layout.with(index)
}

/// Bytes of all files of a folder, holes included.
fn unpacked(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let (entry, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        bytes += if metadata.is_dir() { unpacked(&entry)? } else { metadata.len() };
    }
    Ok(bytes)
}
