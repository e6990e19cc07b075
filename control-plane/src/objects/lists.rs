//! What all engines list, beside what the index has: both are in the order of blobs' ids, so that each is gone through once.

use std::collections::{BTreeSet, VecDeque};

use protocol::Epoch;
use store::{Kept, Listed, SegmentName, Store};

/// Segments of one page of an engine's list.
const PAGE: usize = 1_000;

/// How far each engine's list has been gone through.
pub(super) struct Lists(Vec<Cursor>);

struct Cursor {
    disk: usize,
    page: VecDeque<Listed>,
    after: Option<SegmentName>,
    ended: bool,
    failed: bool,
    /// Below it, what the index does not have it will never have.
    horizon: Epoch,
    /// Segments that the index does not have, and may have later.
    unindexed: u64,
}

impl Lists {
    /// Of a store that is told of no others meanwhile: they are asked by their places.
    pub(super) fn new(store: &Store, horizon: Epoch) -> Self {
        let cursor = |disk| Cursor {
            disk,
            page: VecDeque::new(),
            after: None,
            ended: false,
            failed: false,
            horizon,
            unindexed: 0,
        };
        Self((0..store.engines().len()).map(cursor).collect())
    }

    /// What the engines have of a segment that comes after all that were asked for.
    pub(super) async fn kept(&mut self, store: &Store, wanted: Listed) -> Vec<Kept> {
        futures::future::join_all(self.0.iter_mut().map(|cursor| cursor.kept(store, wanted))).await
    }

    /// The engines, by their places, whose lists cannot be read.
    pub(super) fn failing(&self) -> BTreeSet<usize> {
        self.0.iter().filter(|cursor| cursor.failed).map(|cursor| cursor.disk).collect()
    }

    /// Goes through the rest of an engine's list; how many segments it has that the index may have later. None where the
    /// list could not be read to its end.
    pub(super) async fn unindexed(&mut self, store: &Store, disk: usize) -> Option<u64> {
        let cursor = self.0.get_mut(disk)?;
        while !cursor.failed {
            while let Some(listed) = cursor.page.pop_front() {
                cursor.pass(listed);
            }
            if cursor.ended {
                return Some(cursor.unindexed);
            }
            cursor.turn_over(store).await;
        }
        None
    }
}

impl Cursor {
    async fn kept(&mut self, store: &Store, wanted: Listed) -> Kept {
        loop {
            if self.failed {
                return Kept::Unknown;
            }
            match self.page.front().copied() {
                Some(listed) if listed.name < wanted.name => {
                    self.page.pop_front();
                    self.pass(listed);
                }
                Some(listed) if listed.name == wanted.name => {
                    self.page.pop_front();
                    return if listed.bytes == wanted.bytes { Kept::Whole } else { Kept::Damaged };
                }
                Some(_) => return Kept::Missing,
                None if self.ended => return Kept::Missing,
                None => self.turn_over(store).await,
            }
        }
    }

    fn pass(&mut self, listed: Listed) {
        if listed.name.blob.epoch() >= self.horizon {
            self.unindexed += 1;
        }
    }

    async fn turn_over(&mut self, store: &Store) {
        match store.list_on(self.disk, self.after, PAGE).await {
            Ok(page) => {
                self.ended = page.len() < PAGE;
                self.after = page.last().map(|listed| listed.name).or(self.after);
                self.page = page.into();
            }
            Err(error) => {
                tracing::warn!(%error, "a disk of the store cannot be listed: its copies do not count");
                self.failed = true;
            }
        }
    }
}
