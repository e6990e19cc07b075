//! A sign that the VM lane's parts are being made, for whoever finds them missing: a file with the present step, locked as
//! long as its writer lives.

use std::fs::{File, TryLockError};
use std::io::{Seek as _, Write as _};
use std::path::Path;

const FILE: &str = "vm-lane.preparing";

/// Held while the parts are made.
#[derive(Debug)]
pub struct Preparing(File);

impl Preparing {
    /// In the folder of the parts; none where another process makes them already.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(folder: &Path) -> std::io::Result<Option<Self>> {
        std::fs::create_dir_all(folder)?;
        let file = File::options().create(true).truncate(false).write(true).open(folder.join(FILE))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Says what is being done. Where it cannot, nobody is told: the work goes on.
    pub fn step(&self, step: &str) {
        let mut file = &self.0;
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(step.as_bytes()));
        drop(written);
    }
}

/// The step that another process is at; none where nobody makes these parts.
#[must_use]
pub fn preparing(folder: &Path) -> Option<String> {
    let path = folder.join(FILE);
    let file = File::open(&path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => std::fs::read_to_string(&path).ok(),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_seen_while_its_writer_lives() {
        let folder = std::env::temp_dir().join(format!("crowdcloud-preparing-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(preparing(&folder), None);
        let writer = Preparing::begin(&folder).unwrap().unwrap();
        writer.step("downloading a long name");
        writer.step("unpacking");
        assert_eq!(preparing(&folder).as_deref(), Some("unpacking"));
        assert!(Preparing::begin(&folder).unwrap().is_none(), "one at a time");
        drop(writer);
        assert_eq!(preparing(&folder), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
