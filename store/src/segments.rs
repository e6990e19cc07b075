//! What engines have: deleting it, listing it, and checking it.

use std::collections::BTreeMap;
use std::ops::Range;

use protocol::{Blob, BlobId, ByteSize};

use crate::engine::EngineError;
use crate::sealing::{self, Opener};
use crate::{CopyState, Error, Listed, SegmentName, Store};

/// How far a deletion came.
#[derive(Debug)]
pub enum Deleted {
    /// No engine has any of it.
    Everywhere,
    /// An engine failed or is absent, for this reason, and may still have some of it; the others have nothing.
    InPart(EngineError),
}

impl Store {
    /// Deletes a blob of this size: each of its segments on every engine. No error where there is none.
    ///
    /// # Errors
    /// When every engine fails.
    pub async fn delete(&self, id: BlobId, size: ByteSize) -> Result<Deleted, Error> {
        self.delete_segments(id, sealing::segments(size)?).await
    }

    /// Deletes one segment on every engine. No error where there is none.
    ///
    /// # Errors
    /// When every engine fails.
    pub async fn delete_segment(&self, name: SegmentName) -> Result<Deleted, Error> {
        self.delete_segments(name.blob, name.number..name.number.saturating_add(1)).await
    }

    /// Deletes these segments of a blob.
    pub(crate) async fn delete_segments(&self, blob: BlobId, numbers: Range<u32>) -> Result<Deleted, Error> {
        let (mut any, mut failed) = (false, None);
        for deleted in self.copies.delete(blob, numbers).await? {
            match deleted {
                Ok(()) => any = true,
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if any => Ok(Deleted::InPart(error)),
            Some(error) => Err(error.into()),
            None => Ok(Deleted::Everywhere),
        }
    }

    /// Segments that engines have, in the order of their names, after this one: each once, with the bytes of all its
    /// copies. Fewer than `most`: there are no more. What is put meanwhile may be missing. An engine that fails is passed
    /// over.
    ///
    /// # Errors
    /// When every engine fails.
    pub async fn list(&self, after: Option<SegmentName>, most: usize) -> Result<Vec<Listed>, Error> {
        let mut merged = BTreeMap::<SegmentName, u64>::new();
        let (mut any, mut failed) = (false, None);
        for listed in self.copies.list(after, most).await {
            match listed {
                Ok(listed) => {
                    any = true;
                    for Listed { name, bytes } in listed {
                        *merged.entry(name).or_default() += bytes;
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if !any => Err(error.into()),
            _ => Ok(merged.into_iter().take(most).map(|(name, bytes)| Listed { name, bytes }).collect()),
        }
    }

    /// What each engine has of the blob. Reads all of it from all of them.
    pub async fn check(&self, blob: &Blob) -> Vec<CopyState> {
        let (Ok(opener), Ok(numbers)) = (Opener::new(blob), sealing::segments(blob.size)) else { return Vec::new() };
        let names: Vec<_> = numbers.map(|number| SegmentName { blob: blob.id, number }).collect();
        let is_whole = |name: SegmentName, kept| opener.open(&opener.segment(name.number), kept).map(drop);
        self.copies.survey(&names, is_whole).await
    }
}
