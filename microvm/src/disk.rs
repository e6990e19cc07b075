//! A workload's image as a drive.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::config::DISK_BYTES;
use crate::error::Error;

/// An opened image: it stays what it is, also when its file is deleted. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Disk {
    pub(crate) image: Arc<File>,
    /// What the image lies on.
    pub(crate) base: Option<Arc<File>>,
}

impl Disk {
    /// Opens a squashfs image. All drives have the same size, so a smaller image is made longer by a hole at its end;
    /// the file must be writable the first time.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("the image cannot be opened"))?;
        let length = file.metadata().map_err(Error::io("the image"))?.len();
        if length > DISK_BYTES {
            return Err(Error::Missing(format!("the image has {length} bytes, at most {DISK_BYTES} are possible")));
        }
        if length < DISK_BYTES {
            let writable = File::options().write(true).open(path).map_err(Error::io("the image cannot be written"))?;
            writable.set_len(DISK_BYTES).map_err(Error::io("the image cannot be made longer"))?;
        }
        Ok(Self { image: Arc::new(file), base: None })
    }

    /// The same image, on a base: what it does not have is the base's.
    pub fn on(self, base: &Self) -> Result<Self, Error> {
        match base.base {
            None => Ok(Self { base: Some(Arc::clone(&base.image)), ..self }),
            Some(_) => Err(Error::Missing("a base lies on nothing".to_owned())),
        }
    }

    /// Whether it lies on this very base: the same file, however often it was opened.
    pub(crate) fn is_on(&self, base: &Self) -> bool {
        let own = self.base.as_deref().and_then(identity);
        own.is_some() && own == identity(&base.image)
    }

    /// Whether it is this very image, on the same base if it has one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let own = identity(&self.image);
        own.is_some()
            && own == identity(&other.image)
            && self.base.as_deref().map(identity) == other.base.as_deref().map(identity)
    }

    /// A drive with nothing on it, for a template that mounts nothing.
    pub(crate) fn empty() -> Result<Self, Error> {
        let file = crate::sys::memory_file("empty-disk", DISK_BYTES).map_err(Error::io("an empty drive"))?;
        Ok(Self { image: Arc::new(file), base: None })
    }
}

/// What names an open file for good.
fn identity(file: &File) -> Option<(u64, u64)> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok()
}
