//! What is left of reading when one of two disks is gone: its folder is removed between two looks at the same blobs.

use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;
use futures::TryStreamExt as _;
use protocol::Blob;
use rand::RngCore as _;
use store::{CopyState, Store};

use super::{EPOCH, Found, MIB, count, disk, on_disks};
use crate::checks::{Bound, Check, Goal};
use crate::figures::Figure;
use crate::{Options, say};

const BLOBS: usize = 16;
const BLOB: usize = 8 * MIB;
const WANTED: f64 = 0.5;
const FIGURE: &str = "get_mib_per_second";

/// Measures it.
pub(super) async fn measure(options: &Options) -> anyhow::Result<Found> {
    let (mut healthy, mut degraded) = (Vec::new(), Vec::new());
    let mut noise = vec![0; BLOB];
    rand::rng().fill_bytes(&mut noise);
    let bytes = Bytes::from(noise);
    for round in 1..=options.rounds {
        say(&format!("round {round} of {}: one of two disks is gone", options.rounds));
        let folder = tempfile::tempdir()?;
        let store = on_disks(folder.path(), 2)?;
        let mut blobs = Vec::with_capacity(BLOBS);
        for _ in 0..BLOBS {
            blobs.push(store.put_bytes(EPOCH, bytes.clone()).await?);
        }
        // Neither has the first look at any of them.
        for blob in &blobs {
            let copies = store.check(blob).await;
            ensure!(copies.len() == 2 && copies.iter().all(CopyState::is_whole), "{copies:?}");
        }
        healthy.push(mib_per_second(&store, &blobs).await?);
        std::fs::remove_dir_all(folder.path().join(disk(1)))?;
        degraded.push(mib_per_second(&store, &blobs).await?);
    }
    let healthy = Figure::new("2 copies", FIGURE, None, healthy);
    let degraded = Figure::new("2 copies, 1 disk lost", FIGURE, None, degraded);
    let ratio = degraded.over(&healthy, "ratio");
    let goal = Goal::new("get with one of two disks lost over get with both", Bound::AtLeast, WANTED, ratio.median);
    let read = format!("{BLOBS} of {BLOBS} blobs in each round");
    let check = Check::new("with one of two disks lost every blob is read", true, read);
    Ok(Found { figures: vec![healthy, degraded, ratio], goals: vec![goal], checks: vec![check] })
}

/// The store checks each of them as it is read, and the whole at its end.
async fn mib_per_second(store: &Store, blobs: &[Blob]) -> anyhow::Result<f64> {
    let begun = Instant::now();
    for blob in blobs {
        let (mut object, mut read) = (store.get(blob).await?, 0);
        while let Some(piece) = object.try_next().await? {
            read += piece.len();
        }
        ensure!(read == BLOB, "{read} bytes of a blob of {BLOB}");
    }
    Ok(count(blobs.len() * BLOB / MIB) / begun.elapsed().as_secs_f64())
}
