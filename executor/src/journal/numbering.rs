//! Which number the checkpoint of a segment has, and its file: the segment's own one, until the control plane turns out to
//! stand elsewhere.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::segment;

/// How far the numbers of checkpoints and files are from those of the segments, shared by who makes files and who sends
/// them. The difference wraps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbering(Arc<Mutex<u64>>);

impl Numbering {
    /// The number of this segment's checkpoint, and of its file.
    pub(super) fn of(&self, segment: u64) -> u64 {
        segment.wrapping_add(*self.0.lock())
    }

    /// Makes the file of a new segment. Nobody renames any meanwhile.
    pub(super) fn create(&self, folder: &Path, segment: u64) -> io::Result<segment::Writer> {
        let shift = self.0.lock();
        segment::Writer::create(folder, segment.wrapping_add(*shift))
    }

    /// From now on this segment, the oldest that is left, is the checkpoint of that number, and the others follow.
    pub(super) fn put(&self, folder: &Path, segment: u64, number: u64) -> io::Result<()> {
        let mut shift = self.0.lock();
        let first = segment.wrapping_add(*shift);
        let mut files = segment::list(folder)?;
        files.retain(|file| *file >= first);
        // None meets another that has not moved yet.
        if number > first {
            files.reverse();
        }
        for file in files {
            std::fs::rename(segment::path(folder, file), segment::path(folder, file - first + number))?;
        }
        *shift = number.wrapping_sub(segment);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_move_both_ways_and_new_ones_follow() {
        let folder = tempfile::tempdir().unwrap();
        let numbering = Numbering::default();
        for segment in [7, 8, 9] {
            drop(numbering.create(folder.path(), segment).unwrap());
        }
        for (number, wanted) in [(3, [3, 4, 5]), (4, [4, 5, 6]), (100, [100, 101, 102]), (7, [7, 8, 9])] {
            numbering.put(folder.path(), 7, number).unwrap();
            assert_eq!(segment::list(folder.path()).unwrap(), wanted);
            assert_eq!(numbering.of(8), number + 1);
        }
        numbering.put(folder.path(), 7, 1).unwrap();
        drop(numbering.create(folder.path(), 10).unwrap());
        assert_eq!(segment::list(folder.path()).unwrap(), [1, 2, 3, 4]);
    }
}
