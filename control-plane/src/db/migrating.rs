//! Whether the schema is being brought up to date, for whoever waits for this process to become ready: with much data that
//! takes long, and a process that is ended meanwhile begins it anew.

use std::sync::atomic::{AtomicUsize, Ordering};

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// Whether a control plane of this process brings its database up to date, or waits for another one that does.
#[must_use]
pub fn is_migrating() -> bool {
    UNDER_WAY.load(Ordering::Acquire) > 0
}

/// Until it is dropped, a migration is under way.
pub(super) struct Migrating(());

impl Migrating {
    pub(super) fn begin() -> Self {
        UNDER_WAY.fetch_add(1, Ordering::AcqRel);
        Self(())
    }
}

impl Drop for Migrating {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::AcqRel);
    }
}
