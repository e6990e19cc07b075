//! Resident memory of this process while one large blob is put, and while it is read again.

use std::convert::Infallible;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::TryStreamExt as _;
use protocol::ByteSize;
use rand::RngCore as _;

use super::{EPOCH, Found, MIB, count, on_disks};
use crate::checks::{Bound, Goal};
use crate::figures::Figure;
use crate::memory::own_kib;
use crate::say;

/// The blob: it is on the disk for a while.
pub(super) const PASSED: ByteSize = ByteSize::mib(5 * 1024);
/// What passes before memory is looked at, and between two looks.
const FIRST: u64 = 256 * MIB as u64;
const LOOK_EVERY: u64 = 16 * MIB as u64;
/// The most over the least.
const FLAT: f64 = 1.25;

/// Looks at memory as bytes pass.
#[derive(Default)]
struct Watch {
    passed: u64,
    looked: u64,
    mib: Vec<f64>,
}

impl Watch {
    fn pass(&mut self, bytes: usize) {
        self.passed += bytes as u64;
        if self.passed >= FIRST && self.passed - self.looked >= LOOK_EVERY {
            self.looked = self.passed;
            self.mib.extend(own_kib().map(|kib| count(usize::try_from(kib).unwrap_or(usize::MAX)) / 1024.0));
        }
    }

    fn found(self, what: &'static str, found: &mut Found) -> anyhow::Result<()> {
        ensure!(self.passed == PASSED.0, "{} of {} bytes passed", self.passed, PASSED.0);
        let resident = Figure::new(what, "resident_mib", None, self.mib);
        ensure!(resident.min > 0.0, "nothing is known of this process's memory");
        let most_over_least = resident.max / resident.min;
        found.goals.push(Goal::new(
            format!("{what}: resident memory, most over least"),
            Bound::AtMost,
            FLAT,
            most_over_least,
        ));
        found.figures.extend([resident, Figure::new(what, "most_over_least", None, vec![most_over_least])]);
        Ok(())
    }
}

/// Measures it.
pub(super) async fn measure() -> anyhow::Result<Found> {
    let folder = tempfile::tempdir()?;
    let store = on_disks(folder.path(), 1)?;
    let free = store.engines().first().context("no disk")?.space().await?.free;
    ensure!(free / 5 * 4 > PASSED.0, "{} has too little room: {PASSED} and a quarter more", folder.path().display());
    say(&format!("{PASSED} pass"));
    let mut noise = vec![0; MIB];
    rand::rng().fill_bytes(&mut noise);
    let piece = Bytes::from(noise);
    let mut found = Found::default();

    let mut watch = Watch::default();
    let pieces = (0..PASSED.0 / MIB as u64).map(|_| {
        watch.pass(piece.len());
        Ok::<_, Infallible>(piece.clone())
    });
    let blob = store.put_stream(EPOCH, futures::stream::iter(pieces), PASSED).await?;
    watch.found("a put of 5 GiB", &mut found)?;

    let mut watch = Watch::default();
    let mut object = store.get(&blob).await?;
    while let Some(piece) = object.try_next().await? {
        watch.pass(piece.len());
    }
    watch.found("a get of 5 GiB", &mut found)?;
    Ok(found)
}
