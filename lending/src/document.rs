//! What is kept on disk: the owner's wishes and what was counted. Each file is written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use protocol::Timestamp;
use protocol::node::{RevisedWish, WishedPause};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::caps::Wish;
use crate::pause::OwnerPause;

/// What the owner wants: on the machine, and from afar. The latter only lowers what the former says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// The form's version.
    pub v: u8,
    /// Counts up with each change.
    pub revision: u64,
    /// Said on the machine.
    pub own: Wish,
    /// Said from afar, as the platform has told it.
    pub remote: RevisedWish,
    /// The pause of those from afar that was ended on the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_here: Option<Timestamp>,
    /// A pause that the owner asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<OwnerPause>,
    /// Nothing new is taken.
    pub draining: bool,
}

impl Document {
    /// The form that this code writes.
    pub const VERSION: u8 = 1;

    /// The pause that the owner wants from afar, unless they have ended it on the machine.
    pub(crate) fn remote_pause(&self) -> Option<WishedPause> {
        self.remote.wish.pause.filter(|pause| self.ended_here.is_none() || pause.since != self.ended_here)
    }
}

/// Reads a document, which may not be there yet.
///
/// # Errors
/// When it cannot be read, or is no such document: caps that are not known must not be taken for none.
pub fn read<T: DeserializeOwned + Default>(path: &Path) -> io::Result<T> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error),
    }
}

/// Writes a document.
///
/// # Errors
/// When it cannot be written; the former one is there still.
pub fn write<T: Serialize>(path: &Path, document: &T) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(&serde_json::to_vec(document)?)?;
    file.sync_all()?;
    fs::rename(partial, path)
}

#[cfg(test)]
mod tests {
    use protocol::node::{CapsWish, PauseSource};

    use super::*;

    #[test]
    fn a_document_is_read_as_it_was_written_and_a_damaged_one_is_no_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wish.json");
        assert_eq!(read::<Document>(&path).unwrap(), Document::default());
        let document = Document {
            v: Document::VERSION,
            revision: 3,
            own: Wish {
                caps: CapsWish { cores: Some(2), ..CapsWish::default() },
                quiet_hours: Some("22:00-07:00 UTC".parse().unwrap()),
            },
            paused: Some(OwnerPause { by: PauseSource::Cli, until: None }),
            ..Document::default()
        };
        write(&path, &document).unwrap();
        assert_eq!(read::<Document>(&path).unwrap(), document);
        fs::write(&path, b"{").unwrap();
        assert!(read::<Document>(&path).is_err());
    }
}
