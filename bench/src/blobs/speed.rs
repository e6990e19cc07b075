//! Puts and gets in a second, by one caller: the store, files by hand, and the release before, in one copy and in two.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use protocol::{Blob, ByteSize, Digest};
use rand::RngCore as _;
use store::Store;

use super::{EPOCH, Found, MIB, count, disk, floor, on_disks};
use crate::checks::{Bound, Check, Goal};
use crate::figures::Figure;
use crate::{Options, say};

const COPIES: [usize; 2] = [1, 2];
/// Each of them has such a part of a measurement's seconds in a round.
const SHARE: f64 = 1.0 / 6.0;

/// What is measured.
struct Operation {
    figure: &'static str,
    ratio: &'static str,
    size: usize,
    /// Over files by hand.
    wanted: f64,
}

const PUT_1_MIB: Operation =
    Operation { figure: "put_1_mib_per_second", ratio: "put_1_mib_ratio", size: MIB, wanted: 0.7 };
const GET_1_MIB: Operation =
    Operation { figure: "get_1_mib_per_second", ratio: "get_1_mib_ratio", size: MIB, wanted: 0.7 };
const PUT_4_KIB: Operation =
    Operation { figure: "put_4_kib_per_second", ratio: "put_4_kib_ratio", size: 4096, wanted: 0.5 };
/// As a round has them.
const OPERATIONS: [Operation; 3] = [PUT_1_MIB, GET_1_MIB, PUT_4_KIB];

/// Who keeps bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Blobs,
    ByHand,
    Chunks,
}

const WAYS: [Way; 3] = [Way::Blobs, Way::ByHand, Way::Chunks];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Blobs => "blobs",
            Self::ByHand => "files by hand",
            Self::Chunks => "the release before",
        }
    }
}

/// One way with its folders.
enum Keeper {
    Blobs(Store),
    ByHand(Vec<PathBuf>),
    Chunks(Arc<[PathBuf]>),
}

/// What it keeps.
enum Kept {
    Blob(Blob),
    File(PathBuf),
    Chunks(PathBuf, Digest),
}

impl Keeper {
    fn new(way: Way, folder: &Path, copies: usize) -> anyhow::Result<Self> {
        if way == Way::Blobs {
            return Ok(Self::Blobs(on_disks(folder, copies)?));
        }
        let folders: Vec<PathBuf> = (1..=copies).map(|number| folder.join(disk(number))).collect();
        for folder in &folders {
            std::fs::create_dir(folder)?;
            if way == Way::Chunks {
                // The store has its own from the start, too.
                floor::make_shards(folder)?;
            }
        }
        Ok(if way == Way::ByHand { Self::ByHand(folders) } else { Self::Chunks(folders.into()) })
    }

    async fn put(&self, bytes: Bytes) -> anyhow::Result<Kept> {
        match self {
            Self::Blobs(store) => Ok(Kept::Blob(store.put_bytes(EPOCH, bytes).await?)),
            Self::ByHand(folders) => {
                let files = folders.iter().cloned().map(|folder| {
                    let bytes = bytes.clone();
                    tokio::task::spawn_blocking(move || floor::keep_file(&folder, &bytes))
                });
                let files = futures::future::try_join_all(files).await?;
                let files: Vec<PathBuf> = files.into_iter().collect::<std::io::Result<_>>()?;
                Ok(Kept::File(files.into_iter().next().context("no folder")?))
            }
            Self::Chunks(folders) => {
                let first = folders.first().context("no folder")?.clone();
                Ok(Kept::Chunks(first, floor::keep_chunks(Arc::clone(folders), bytes).await?))
            }
        }
    }

    async fn get(&self, kept: &Kept) -> anyhow::Result<Bytes> {
        match (self, kept) {
            (Self::Blobs(store), Kept::Blob(blob)) => Ok(store.get(blob).await?.collect(ByteSize::mib(64)).await?),
            (Self::ByHand(_), Kept::File(path)) => {
                let path = path.clone();
                Ok(tokio::task::spawn_blocking(move || std::fs::read(path)).await??.into())
            }
            (Self::Chunks(_), Kept::Chunks(folder, root)) => floor::read_chunks(folder.clone(), *root).await,
            _ => bail!("somebody else keeps it"),
        }
    }
}

/// Bytes that nobody has put before, no chunk of them.
struct Fresh {
    noise: Vec<u8>,
    number: u64,
}

impl Fresh {
    fn new() -> Self {
        let mut noise = vec![0; MIB];
        rand::rng().fill_bytes(&mut noise);
        Self { noise, number: 0 }
    }

    fn next(&mut self, size: usize) -> Bytes {
        let mut bytes = self.noise[..size].to_vec();
        for piece in bytes.chunks_mut(4096) {
            self.number += 1;
            piece[..8].copy_from_slice(&self.number.to_le_bytes());
        }
        bytes.into()
    }
}

/// One way with one number of copies, and what its rounds found, by operation.
struct Contender {
    way: Way,
    copies: usize,
    rates: [Vec<f64>; OPERATIONS.len()],
}

impl Contender {
    fn figure(&self, operation: usize) -> Figure {
        let copies = if self.copies == 1 { "1 copy" } else { "2 copies" };
        let name = format!("{}, {copies}", self.way.name());
        Figure::new(&name, OPERATIONS[operation].figure, None, self.rates[operation].clone())
    }

    /// One round, in fresh folders.
    async fn round(&mut self, window: Duration, fresh: &mut Fresh) -> anyhow::Result<usize> {
        let folder = tempfile::tempdir()?;
        let keeper = Keeper::new(self.way, folder.path(), self.copies)?;
        let mut kept = Vec::new();
        let put_large = puts(&keeper, PUT_1_MIB.size, window, fresh, &mut kept).await?;
        let get_large = gets(&keeper, window, &kept).await?;
        let large = kept.len();
        let put_small = puts(&keeper, PUT_4_KIB.size, window, fresh, &mut kept).await?;
        // The small ones are read too, but not measured.
        gets(&keeper, Duration::ZERO, &kept[large..]).await?;
        for (rates, rate) in self.rates.iter_mut().zip([put_large, get_large, put_small]) {
            rates.push(rate);
        }
        Ok(kept.len())
    }
}

/// Puts in a second; what was put, and its digest.
async fn puts(
    keeper: &Keeper,
    size: usize,
    window: Duration,
    fresh: &mut Fresh,
    kept: &mut Vec<(Kept, Digest)>,
) -> anyhow::Result<f64> {
    let (mut took, mut puts) = (Duration::ZERO, 0);
    while puts == 0 || took < window {
        let bytes = fresh.next(size);
        let digest = Digest::of(&bytes);
        let begun = Instant::now();
        let put = keeper.put(bytes).await?;
        took += begun.elapsed();
        kept.push((put, digest));
        puts += 1;
    }
    Ok(count(puts) / took.as_secs_f64())
}

/// Gets in a second, of one after the other, each at least once.
async fn gets(keeper: &Keeper, window: Duration, kept: &[(Kept, Digest)]) -> anyhow::Result<f64> {
    let (mut took, mut gets) = (Duration::ZERO, 0);
    for (kept_one, digest) in kept.iter().cycle() {
        if gets >= kept.len() && took >= window {
            break;
        }
        let begun = Instant::now();
        let bytes = keeper.get(kept_one).await?;
        took += begun.elapsed();
        ensure!(Digest::of(&bytes) == *digest, "what was put did not come back");
        gets += 1;
    }
    Ok(count(gets) / took.as_secs_f64())
}

/// Measures everything.
pub(super) async fn measure(options: &Options) -> anyhow::Result<Found> {
    let window = Duration::from_secs_f64(options.seconds * SHARE);
    let mut fresh = Fresh::new();
    let mut contenders: Vec<Contender> = COPIES
        .into_iter()
        .flat_map(|copies| WAYS.map(|way| Contender { way, copies, rates: Default::default() }))
        .collect();
    let mut kept = 0;
    for round in 0..options.rounds as usize {
        say(&format!("round {} of {}: puts and gets", round + 1, options.rounds));
        // Another one begins each time.
        for turn in 0..contenders.len() {
            let which = (round + turn) % contenders.len();
            kept += contenders[which].round(window, &mut fresh).await?;
        }
    }
    let mut found = Found::default();
    for of_copies in contenders.chunks(WAYS.len()) {
        let [blobs, by_hand, before] = of_copies else { bail!("one of the ways is missing") };
        for (place, operation) in OPERATIONS.iter().enumerate() {
            let [blobs, by_hand, before] = [blobs, by_hand, before].map(|contender| contender.figure(place));
            let over_hand = blobs.over(&by_hand, operation.ratio);
            let what = format!("{}: {}", over_hand.of, operation.ratio);
            found.goals.push(Goal::new(what, Bound::AtLeast, operation.wanted, over_hand.median));
            let over_before = blobs.over(&before, operation.ratio);
            found.figures.extend([blobs, by_hand, before, over_hand, over_before]);
        }
    }
    found.checks.push(Check::new("all that was put came back", true, kept.to_string()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_way_keeps_what_it_is_given() {
        let mut fresh = Fresh::new();
        for way in WAYS {
            for copies in COPIES {
                let mut contender = Contender { way, copies, rates: Default::default() };
                assert_eq!(contender.round(Duration::ZERO, &mut fresh).await.unwrap(), 2);
                assert!(contender.rates.iter().all(|rates| rates.len() == 1 && rates[0] > 0.0));
            }
        }
    }
}
