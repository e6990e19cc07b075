//! One segment of the journal: the receipts of one checkpoint, in a file named by its sequence number.
//!
//! An entry: length (big endian, 32 bits), the first four bytes of the BLAKE3 of the JSON, the JSON. A torn last
//! entry is what a crash in the middle of a write leaves; it is cut off.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use protocol::receipt::NodeReceipt;
use protocol::wire::Written;

const EXTENSION: &str = "receipts";
/// An entry longer than this is damage, not a receipt.
const ENTRY_BYTES_MAX: usize = 64 << 10;

/// The file of a sequence number.
pub(super) fn path(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("{sequence:016}.{EXTENSION}"))
}

/// The sequence numbers that are on disk, ascending.
pub(super) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION)
            && let Some(sequence) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
        {
            found.push(sequence);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A segment that receipts are added to.
pub(super) struct Writer {
    file: File,
    bytes: u64,
    pub(super) count: usize,
}

impl Writer {
    /// A new segment; one of this number must not exist.
    pub(super) fn create(folder: &Path, sequence: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path(folder, sequence))?;
        Ok(Self { file, bytes: 0, count: 0 })
    }

    /// Adds receipts in one write: with the operating system alive, they survive the end of this process. Says how many
    /// bytes they take.
    pub(super) fn append(&mut self, receipts: &[Written<NodeReceipt>]) -> io::Result<u64> {
        let mut bytes = Vec::with_capacity(receipts.iter().map(|receipt| receipt.text().len() + 8).sum());
        for receipt in receipts {
            let json = receipt.text().as_bytes();
            let length = u32::try_from(json.len()).map_err(io::Error::other)?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&check(json));
            bytes.extend_from_slice(json);
        }
        if let Err(error) = self.file.write_all(&bytes) {
            // All of the batch is tried again elsewhere: none of it may stay here.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        let added = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes += added;
        self.count += receipts.len();
        Ok(added)
    }

    /// Also survives the end of the operating system.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The receipts of a segment, up to the first that is torn.
pub(super) fn read(folder: &Path, sequence: u64) -> io::Result<Vec<NodeReceipt>> {
    let bytes = std::fs::read(path(folder, sequence))?;
    let mut rest = bytes.as_slice();
    let mut receipts = Vec::new();
    while let Some((receipt, after)) = entry(rest) {
        receipts.push(receipt);
        rest = after;
    }
    if !rest.is_empty() {
        tracing::warn!(sequence, bytes = rest.len(), "the end of a journal segment is torn");
    }
    Ok(receipts)
}

fn entry(bytes: &[u8]) -> Option<(NodeReceipt, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (mark, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= ENTRY_BYTES_MAX)?;
    let json = rest.get(..length)?;
    if check(json) != *mark {
        return None;
    }
    Some((serde_json::from_slice(json).ok()?, &rest[length..]))
}

fn check(json: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = *blake3::hash(json).as_bytes();
    [a, b, c, d]
}
