//! How much an image may cost before it is refused, counted while it is read.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::ByteSize;

use crate::error::{Bound, Error};

/// Bounds on one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Uncompressed bytes of an archive, and of all of its layers together. Disk use is at most twice that.
    pub bytes: ByteSize,
    /// What a compressed byte may expand to, once `ratio_from` came out.
    pub ratio: u64,
    /// Below this, the ratio does not matter: empty files compress well.
    pub ratio_from: ByteSize,
    /// Files, folders and links, those that later layers hide included.
    pub entries: u64,
    /// Bytes of all names and link targets: they are held in memory.
    pub names: ByteSize,
    /// Bytes of a path, and of a link's target.
    pub path: usize,
    /// Folders within folders.
    pub depth: usize,
    /// Layers.
    pub layers: usize,
    /// Bytes of each manifest, index and configuration.
    pub manifest: ByteSize,
    /// Distinct owners: users and groups.
    pub owners: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: ByteSize::mib(2048),
            ratio: 250,
            ratio_from: ByteSize::mib(64),
            entries: 200_000,
            names: ByteSize::mib(64),
            path: 4096,
            depth: 100,
            layers: 128,
            manifest: ByteSize::mib(4),
            owners: 1024,
        }
    }
}

/// Cancels a conversion from another thread.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// The conversion ends with [`Error::Cancelled`] soon.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts what one conversion costs. Readers cannot return our errors, so that the first one is kept here.
pub(crate) struct Gauge {
    pub(crate) limits: Limits,
    stop: Stop,
    bytes: Cell<u64>,
    entries: Cell<u64>,
    names: Cell<u64>,
    tripped: RefCell<Option<Error>>,
}

impl Gauge {
    pub(crate) fn new(limits: Limits, stop: Stop) -> Self {
        let zero = || Cell::new(0);
        Self { limits, stop, bytes: zero(), entries: zero(), names: zero(), tripped: RefCell::default() }
    }

    pub(crate) fn check_stop(&self) -> Result<(), Error> {
        if self.stop.is_stopped() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Counts an entry, and the bytes that are kept of it in memory.
    pub(crate) fn add_entry(&self, names: usize) -> Result<(), Error> {
        add(&self.entries, 1, self.limits.entries, Bound::Entries)?;
        let names = u64::try_from(names).unwrap_or(u64::MAX);
        add(&self.names, names, self.limits.names.0, Bound::Names)
    }

    /// Counts uncompressed bytes.
    pub(crate) fn add_bytes(&self, count: u64) -> Result<(), Error> {
        add(&self.bytes, count, self.limits.bytes.0, Bound::Bytes)
    }

    /// What is inside is counted anew after the archive around it was looked through.
    pub(crate) fn restart(&self) {
        for counter in [&self.bytes, &self.entries, &self.names] {
            counter.set(0);
        }
    }

    /// Carries an error of ours through a reader.
    pub(crate) fn trip(&self, error: Error) -> io::Error {
        self.tripped.borrow_mut().get_or_insert(error);
        io::Error::other("see the gauge")
    }

    /// What a reader's error means: ours, or a broken archive.
    pub(crate) fn explain(&self, error: &impl std::fmt::Display) -> Error {
        self.tripped.borrow_mut().take().unwrap_or_else(|| Error::unreadable(error))
    }
}

fn add(counter: &Cell<u64>, count: u64, limit: u64, bound: Bound) -> Result<(), Error> {
    let sum = counter.get().saturating_add(count);
    counter.set(sum);
    if sum > limit { Err(Error::TooLarge { bound, limit }) } else { Ok(()) }
}

/// Counts what comes out of a decompressor, against all limits.
pub(crate) struct Metered<'a, R> {
    inner: R,
    gauge: &'a Gauge,
    /// Compressed bytes that this comes from; none where nothing expands.
    packed: Option<u64>,
    total: u64,
}

impl<'a, R> Metered<'a, R> {
    pub(crate) fn new(inner: R, gauge: &'a Gauge, packed: Option<u64>) -> Self {
        Self { inner, gauge, packed, total: 0 }
    }

    fn count(&mut self, count: u64) -> Result<(), Error> {
        self.gauge.check_stop()?;
        self.gauge.add_bytes(count)?;
        self.total += count;
        let limits = &self.gauge.limits;
        let expands = self.packed.is_some_and(|packed| self.total > packed.saturating_mul(limits.ratio));
        if expands && self.total > limits.ratio_from.0 {
            return Err(Error::TooLarge { bound: Bound::Ratio, limit: limits.ratio });
        }
        Ok(())
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.count(u64::try_from(count).unwrap_or(u64::MAX)).map_err(|error| self.gauge.trip(error))?;
        Ok(count)
    }
}
