//! Engines that fail on demand: a real disk behind a wrapper, each in a failure domain of its own.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use protocol::node::Mark;

use crate::engine::{Disk, EngineError, Trouble};
use crate::{Engine, Listed, SegmentName, Space};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// Puts find no room.
    Full,
    /// Puts are refused.
    ReadOnly,
    /// Everything fails.
    Gone,
    /// Nothing is ever answered.
    Hangs,
    /// Each read has one bit that is wrong.
    Rotten,
}

/// A disk with a fault.
pub(super) struct Faulty {
    pub(super) disk: Disk,
    pub(super) folder: tempfile::TempDir,
    fault: Mutex<Fault>,
    /// Calls of any sort.
    pub(super) calls: AtomicUsize,
}

impl Faulty {
    pub(super) fn new(domain: &str) -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap().in_domain(domain);
        Arc::new(Self { disk, folder, fault: Mutex::new(Fault::None), calls: AtomicUsize::new(0) })
    }

    pub(super) fn set(&self, fault: Fault) {
        *self.fault.lock() = fault;
    }

    async fn check(&self, writes: bool) -> Result<(), EngineError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let fault = *self.fault.lock();
        let trouble = match fault {
            Fault::Full if writes => Trouble::Full,
            Fault::ReadOnly if writes => Trouble::Failed,
            Fault::Gone => Trouble::Failed,
            Fault::Hangs => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Trouble::Failed
            }
            _ => return Ok(()),
        };
        let source = format!("{fault:?}").into();
        Err(EngineError { engine: self.name().to_owned(), verb: "do it", trouble, source })
    }
}

impl Engine for Faulty {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn domain(&self) -> &str {
        self.disk.domain()
    }

    fn put(&self, name: SegmentName, segment: Bytes) -> BoxFuture<'_, Result<(), EngineError>> {
        async move {
            self.check(true).await?;
            self.disk.put(name, segment).await
        }
        .boxed()
    }

    fn read(&self, name: SegmentName, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>> {
        async move {
            self.check(false).await?;
            let read = self.disk.read(name, range).await?;
            if *self.fault.lock() != Fault::Rotten {
                return Ok(read);
            }
            Ok(read.map(|read| {
                let mut read = read.to_vec();
                let middle = read.len() / 2;
                read[middle] ^= 4;
                read.into()
            }))
        }
        .boxed()
    }

    fn has(&self, name: SegmentName) -> BoxFuture<'_, Result<Option<u64>, EngineError>> {
        async move {
            self.check(false).await?;
            self.disk.has(name).await
        }
        .boxed()
    }

    fn delete(&self, name: SegmentName) -> BoxFuture<'_, Result<(), EngineError>> {
        async move {
            self.check(true).await?;
            self.disk.delete(name).await
        }
        .boxed()
    }

    fn list(&self, after: Option<SegmentName>, most: usize) -> BoxFuture<'_, Result<Vec<Listed>, EngineError>> {
        async move {
            self.check(false).await?;
            self.disk.list(after, most).await
        }
        .boxed()
    }

    fn mark(&self) -> BoxFuture<'_, Result<Option<Mark>, EngineError>> {
        async move {
            self.check(false).await?;
            self.disk.mark().await
        }
        .boxed()
    }

    fn set_mark(&self, mark: Mark) -> BoxFuture<'_, Result<Mark, EngineError>> {
        async move {
            self.check(true).await?;
            self.disk.set_mark(mark).await
        }
        .boxed()
    }

    fn space(&self) -> BoxFuture<'_, Result<Space, EngineError>> {
        self.disk.space()
    }
}
