//! The guests' kernel: a package unpacked, not installed. Modules come in the order in which they must be loaded,
//! found in what each module says that it depends on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// What the agent needs. What the kernel has built in has no file.
const WANTED: [&str; 5] = ["virtio_mmio", "virtio_blk", "virtio_console", "squashfs", "overlay"];

/// A kernel and its modules.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) image: PathBuf,
    /// As the folder of its modules is called.
    pub(crate) release: String,
    /// In the order of loading.
    pub(crate) modules: Vec<PathBuf>,
}

impl Kernel {
    pub(crate) fn find(folder: &Path) -> Result<Self, Error> {
        let missing = |what: &str| Error::Missing(format!("there is no {what} in {}", folder.display()));
        let releases = folder.join("lib/modules");
        let release = newest(&releases).ok_or_else(|| missing("lib/modules/<release>"))?;
        let image = folder.join(format!("boot/vmlinuz-{release}"));
        if !image.is_file() {
            return Err(missing("boot/vmlinuz of that release"));
        }
        let mut files = BTreeMap::new();
        collect(&releases.join(&release).join("kernel"), &mut files);
        let mut modules = Vec::new();
        for name in WANTED {
            add(name, &files, &mut modules)?;
        }
        Ok(Self { image, release, modules })
    }
}

fn newest(folder: &Path) -> Option<String> {
    let names = std::fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.max()
}

/// All module files by name, as modules are called (with underscores).
fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "ko")
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
        {
            files.insert(name.replace('-', "_"), path.clone());
        }
    }
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, modules: &mut Vec<PathBuf>) -> Result<(), Error> {
    let Some(path) = files.get(name).filter(|path| !modules.contains(path)) else { return Ok(()) };
    let bytes = std::fs::read(path).map_err(Error::io("a module cannot be read"))?;
    for needed in depends(&bytes) {
        add(&needed.replace('-', "_"), files, modules)?;
    }
    modules.push(path.clone());
    Ok(())
}

/// A module says `depends=a,b` among its zero-terminated strings.
fn depends(module: &[u8]) -> Vec<String> {
    let tag = b"\0depends=";
    let Some(at) = module.windows(tag.len()).position(|window| window == tag) else { return Vec::new() };
    let rest = module.get(at + tag.len()..).unwrap_or_default();
    let list = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(list);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::depends;

    #[test]
    fn dependencies_are_read_from_the_module() {
        assert_eq!(depends(b"\x7fELF..\0license=GPL\0depends=virtio_ring,virtio\0x"), ["virtio_ring", "virtio"]);
        assert!(depends(b"\0depends=\0name=x\0").is_empty());
        assert!(depends(b"").is_empty());
    }
}
