//! Copies that are lost come back, damaged ones are replaced, and what is to be taken out is emptied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{Blob, ByteSize};

use super::faults::{Fault, Faulty};
use super::{EPOCH, SEGMENT, copies, noise, read};
use crate::{Engine, Error, Kept, Mended, SegmentName, Segments, Store, kept_by_size};

struct Ground {
    engines: Vec<Arc<Faulty>>,
    store: Store,
    blob: Blob,
    bytes: Bytes,
}

async fn trim(segments: &Segments, number: u32) -> Vec<usize> {
    let extra = segments.extra(number, &BTreeSet::new()).await;
    segments.remove(number, &extra, Instant::now() + Duration::from_secs(60)).await
}

/// A blob of two segments with two copies, on engines of these domains.
async fn ground(domains: &[&str]) -> Ground {
    let engines: Vec<_> = domains.iter().map(|domain| Faulty::new(domain)).collect();
    let all = engines.iter().map(|engine| Arc::clone(engine) as Arc<dyn Engine>).collect();
    let store = Store::on(all, copies(2)).with_patience(Duration::from_secs(3));
    let bytes = noise(SEGMENT + 10, 1);
    let blob = store.put_bytes(EPOCH, bytes.clone()).await.unwrap();
    Ground { engines, store, blob, bytes }
}

impl Ground {
    async fn mend(&self) -> Vec<Mended> {
        let segments = self.store.segments(&self.blob).unwrap();
        let mut mended = Vec::new();
        for number in segments.numbers() {
            mended.push(segments.mend(number, &BTreeSet::new()).await);
        }
        mended
    }

    async fn trim(&self) -> Vec<Vec<usize>> {
        let segments = self.store.segments(&self.blob).unwrap();
        let mut removed = Vec::new();
        for number in segments.numbers() {
            removed.push(trim(&segments, number).await);
        }
        removed
    }

    /// Which engines have a whole copy.
    async fn whole(&self) -> Vec<bool> {
        self.store.check(&self.blob).await.iter().map(crate::CopyState::is_whole).collect()
    }

    /// Engines with, and without one.
    async fn with_and_without(&self) -> (usize, usize) {
        let whole = self.whole().await;
        (whole.iter().position(|whole| *whole).unwrap(), whole.iter().position(|whole| !whole).unwrap())
    }

    fn name(&self, number: u32) -> SegmentName {
        SegmentName { blob: self.blob.id, number }
    }
}

#[tokio::test]
async fn a_lost_copy_comes_back_on_another_disk() {
    let ground = ground(&["a", "b", "c"]).await;
    let (victim, spare) = ground.with_and_without().await;
    assert!(
        ground.mend().await.iter().all(|mended| (mended.before, mended.after, mended.written) == (2, 2, ByteSize(0)))
    );

    std::fs::remove_dir_all(ground.engines[victim].folder.path().join("blobs")).unwrap();
    let mended = ground.mend().await;
    assert!(
        mended.iter().all(|mended| (mended.before, mended.after) == (1, 2) && mended.written > ByteSize(0)),
        "{mended:?}"
    );
    assert!(mended.iter().all(|mended| mended.kept[victim] == Kept::Unknown && !mended.is_lost()));
    assert!(ground.whole().await[spare]);
    assert!(read(&ground.store, &ground.blob).await.unwrap() == ground.bytes);

    // It comes back empty: two copies are enough.
    std::fs::create_dir_all(ground.engines[victim].folder.path().join("blobs")).unwrap();
    assert!(ground.mend().await.iter().all(|mended| (mended.before, mended.written) == (2, ByteSize(0))));
}

#[tokio::test]
async fn a_damaged_copy_is_replaced_from_a_good_one() {
    let ground = ground(&["a", "b"]).await;
    let name = ground.name(1);
    let disk = &ground.engines[0].disk;
    let mut kept = disk.read(name, None).await.unwrap().unwrap().to_vec();
    kept[12] ^= 1;
    disk.put(name, kept.into()).await.unwrap();
    let mended = ground.mend().await;
    assert_eq!((mended[0].before, mended[1].before, mended[1].after), (2, 1, 2));
    assert_eq!(mended[1].kept, [Kept::Damaged, Kept::Whole]);
    assert_eq!(ground.whole().await, [true, true]);

    // With no good one left nothing is put, and nothing is taken away.
    for engine in &ground.engines {
        engine.disk.put(name, Bytes::from_static(b"rubbish")).await.unwrap();
    }
    let lost = ground.mend().await.remove(1);
    assert!(lost.is_lost() && !lost.extra && (lost.before, lost.after) == (0, 0), "{lost:?}");
    assert!(ground.trim().await.iter().all(Vec::is_empty));
    assert_eq!(ground.engines[0].disk.has(name).await.unwrap(), Some(7));
}

#[tokio::test]
async fn extra_copies_go_once_enough_have_been_read() {
    let ground = ground(&["a", "b", "c"]).await;
    let (one, spare) = ground.with_and_without().await;
    let name = ground.name(0);
    let segment = ground.engines[one].disk.read(name, None).await.unwrap().unwrap();
    ground.engines[spare].disk.put(name, segment.clone()).await.unwrap();

    // Of three copies two are rotten: the good one and a new one stay.
    let other = (0..3).find(|disk| ![one, spare].contains(disk)).unwrap();
    for rotten in [one, other] {
        ground.engines[rotten].disk.put(name, Bytes::from(vec![7; segment.len()])).await.unwrap();
    }
    assert!(ground.trim().await.iter().all(Vec::is_empty), "one good copy is not enough");
    let mended = ground.mend().await.remove(0);
    assert_eq!((mended.before, mended.after, mended.extra), (1, 2, true), "{mended:?}");
    assert_eq!(ground.trim().await[0].len(), 1);
    let has = |disk: usize| ground.engines[disk].disk.has(name);
    let all = [has(0).await.unwrap(), has(1).await.unwrap(), has(2).await.unwrap()];
    assert_eq!(all.iter().flatten().count(), 2);
    assert!(read(&ground.store, &ground.blob).await.unwrap() == ground.bytes);
}

#[tokio::test]
async fn a_drained_disk_gets_nothing_and_is_emptied() {
    let ground = ground(&["a", "b", "c"]).await;
    let (leaving, _) = ground.with_and_without().await;
    let drained = BTreeSet::from([ground.engines[leaving].name().to_owned()]);
    ground.store.drain(&drained);
    let disks = ground.store.disks().await;
    assert_eq!(ground.store.domains_without("another", &disks), 2);
    let mended = ground.mend().await;
    assert!(mended.iter().all(|mended| mended.after == 2 && mended.extra), "{mended:?}");
    assert!(ground.trim().await.iter().all(|removed| *removed == [leaving]));
    for seed in 2..8 {
        ground.store.put_bytes(EPOCH, noise(10, seed)).await.unwrap();
    }
    assert!(ground.store.list_on(leaving, None, 10).await.unwrap().is_empty());
    assert!(read(&ground.store, &ground.blob).await.unwrap() == ground.bytes);

    // Without a third one nothing could be put.
    let two: BTreeSet<_> = ground.engines.iter().take(2).map(|engine| engine.name().to_owned()).collect();
    ground.store.drain(&two);
    let refused = ground.store.put_bytes(EPOCH, noise(10, 9)).await;
    assert!(matches!(refused, Err(Error::TooFewDisks { wanted: 2, left: 1 })), "{refused:?}");
    ground.store.drain(&BTreeSet::new());
    ground.store.put_bytes(EPOCH, noise(10, 9)).await.unwrap();
}

#[tokio::test]
async fn disks_say_how_they_are() {
    let ground = ground(&["a", "b", "c"]).await;
    let healthy = ground.store.disks().await;
    assert!(healthy.iter().all(|disk| disk.failing.is_none() && !disk.full && disk.space.is_some()), "{healthy:?}");

    ground.engines[1].set(Fault::ReadOnly);
    for seed in 0..12 {
        ground.store.put_bytes(EPOCH, noise(10, seed)).await.unwrap();
    }
    let failing = |disks: &[crate::DiskState]| disks[1].failing.clone();
    let first = failing(&ground.store.disks().await).unwrap();
    assert!(first.why.contains("ReadOnly"), "{first:?}");
    assert_eq!(failing(&ground.store.disks().await).unwrap().since, first.since, "it goes on");

    ground.engines[1].set(Fault::None);
    assert_eq!(failing(&ground.store.disks().await), None, "it was tried");
    ground.engines[2].set(Fault::Full);
    for seed in 0..12 {
        ground.store.put_bytes(EPOCH, noise(10, seed)).await.unwrap();
    }
    let full = ground.store.disks().await;
    assert_eq!((full[0].full, full[2].full, full[2].failing.clone()), (false, true, None));
}

#[tokio::test]
async fn engines_that_change_are_known_by_name_and_held_by_place() {
    let engines: Vec<_> = ["a", "b", "c"].into_iter().map(Faulty::new).collect();
    let these = |places: &[usize]| places.iter().map(|at| Arc::clone(&engines[*at]) as Arc<dyn Engine>).collect();
    let store = Store::changing(copies(2)).with_patience(Duration::from_secs(3));
    // It is drained before it is known.
    store.drain(&BTreeSet::from([engines[0].name().to_owned()]));
    store.set_engines(these(&[0, 1, 2]));
    let blob = store.put_bytes(EPOCH, noise(10, 1)).await.unwrap();
    assert!(store.list_on(0, None, 10).await.unwrap().is_empty());
    store.drain(&BTreeSet::new());
    let name = SegmentName { blob: blob.id, number: 0 };
    let segment = engines[1].disk.read(name, None).await.unwrap().unwrap();
    engines[0].disk.put(name, segment).await.unwrap();

    let (before, segments, none) = (store.as_of_now(), store.segments(&blob).unwrap(), BTreeSet::new());
    store.set_engines(these(&[2, 0]));
    assert!(!before.is_of_now() && store.is_of_now());
    assert_eq!(before.engines().len(), 3);
    let mended = segments.mend(0, &none).await;
    assert_eq!((mended.kept, mended.extra), (vec![Kept::Whole; 3], true), "by the places of that time");
    assert!(trim(&segments, 0).await.is_empty(), "one of those that were read is not the store's any more");
    assert_eq!(store.segments(&blob).unwrap().mend(0, &none).await.kept, [Kept::Whole; 2]);
    store.set_engines(these(&[2, 1, 0]));
    assert_eq!(trim(&store.segments(&blob).unwrap(), 0).await.len(), 1);
    store.set_engines(Vec::new());
    assert!(!store.segments(&blob).unwrap().mend(0, &none).await.is_lost(), "nobody knows");
}

/// Three copies, of which one is to go.
async fn with_an_extra_copy() -> (Ground, usize) {
    let ground = ground(&["a", "b", "c"]).await;
    let (one, spare) = ground.with_and_without().await;
    let segment = ground.engines[one].disk.read(ground.name(0), None).await.unwrap().unwrap();
    ground.engines[spare].disk.put(ground.name(0), segment).await.unwrap();
    let extra = ground.store.segments(&ground.blob).unwrap().extra(0, &BTreeSet::new()).await;
    assert_eq!(extra.len(), 1);
    (ground, extra[0])
}

/// It may be done at any time: until then the copy is not counted, and none is put in its place.
#[tokio::test]
async fn a_delete_that_is_late_leaves_no_copy_that_counts() {
    let (ground, victim) = with_an_extra_copy().await;
    let segments = ground.store.segments(&ground.blob).unwrap();
    ground.engines[victim].set(Fault::Hangs);
    let begun = Instant::now();
    assert!(segments.remove(0, &[victim], begun + Duration::from_millis(200)).await.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(2), "it has no more time: {:?}", begun.elapsed());
    assert!(ground.store.has_unsure_deletes());

    // It answers again, and its probe succeeds.
    ground.engines[victim].set(Fault::None);
    let disks = ground.store.disks().await;
    assert!(disks.iter().all(|disk| disk.failing.is_none()), "{disks:?}");
    let other = (0..3).find(|disk| *disk != victim).unwrap();
    ground.engines[other].disk.delete(ground.name(0)).await.unwrap();
    let mended = segments.mend(0, &BTreeSet::new()).await;
    assert_eq!((mended.kept[victim], mended.kept[other]), (Kept::Whole, Kept::Missing));
    assert_eq!((mended.before, mended.after, mended.extra), (1, 2, false), "{mended:?}");
    assert!(ground.engines[other].disk.has(ground.name(0)).await.unwrap().is_some());
    assert!(trim(&segments, 0).await.is_empty());
    ground.engines[victim].disk.delete(ground.name(0)).await.unwrap();
    assert_eq!(segments.mend(0, &BTreeSet::new()).await.before, 2);
}

#[tokio::test]
async fn nothing_is_deleted_too_late_or_by_what_a_failing_disk_says() {
    let (ground, victim) = with_an_extra_copy().await;
    let segments = ground.store.segments(&ground.blob).unwrap();
    assert!(segments.remove(0, &[victim], Instant::now()).await.is_empty());
    assert!(!ground.store.has_unsure_deletes(), "it was not begun");
    let failing = (0..3).find(|disk| *disk != victim).unwrap();
    ground.engines[failing].set(Fault::ReadOnly);
    for seed in 2..14 {
        ground.store.put_bytes(EPOCH, noise(10, seed)).await.unwrap();
    }
    assert!(trim(&segments, 0).await.is_empty(), "one of the others fails");
    ground.engines[failing].set(Fault::None);
    ground.store.disks().await;
    assert_eq!(trim(&segments, 0).await, [victim]);
}

/// Whoever reads all copies does not wait for it again and again.
#[tokio::test]
async fn one_that_has_just_hung_is_not_asked_for_a_copy() {
    let ground = ground(&["a", "b", "c"]).await;
    let (victim, _) = ground.with_and_without().await;
    ground.engines[victim].set(Fault::Hangs);
    let first = ground.mend().await;
    assert!(first.iter().all(|mended| mended.kept[victim] == Kept::Unknown && !mended.is_lost()), "{first:?}");
    let calls = ground.engines[victim].calls.load(Ordering::SeqCst);
    ground.mend().await;
    assert_eq!(ground.engines[victim].calls.load(Ordering::SeqCst), calls);
}

#[tokio::test]
async fn disks_that_fail_or_are_full_have_no_room_for_what_another_has() {
    let ground = ground(&["a", "b", "c", "c"]).await;
    let name = |disk: usize| ground.engines[disk].name().to_owned();
    let without = async |disk: usize| ground.store.domains_without(&name(disk), &ground.store.disks().await);
    assert_eq!((without(0).await, without(2).await), (2, 3));
    ground.engines[1].set(Fault::Full);
    for seed in 2..14 {
        ground.store.put_bytes(EPOCH, noise(10, seed)).await.unwrap();
    }
    assert_eq!((without(0).await, without(1).await), (1, 2));
    ground.engines[0].set(Fault::ReadOnly);
    for seed in 2..14 {
        drop(ground.store.put_bytes(EPOCH, noise(10, seed)).await);
    }
    assert_eq!((without(2).await, without(1).await), (1, 1));
}

#[test]
fn what_whole_segments_are_listed_as_follows_from_the_size() {
    let blob = super::segment(1, 2, 0).blob;
    let bytes = |size: u64| kept_by_size(blob, ByteSize(size)).unwrap().map(|kept| kept.bytes).collect::<Vec<_>>();
    assert_eq!(bytes(0), [8 + 16]);
    assert_eq!(bytes(1), [8 + 1 + 16]);
    assert_eq!(bytes(65_537), [8 + 65_537 + 32]);
    assert_eq!(bytes(SEGMENT as u64), [4_195_336]);
    assert_eq!(bytes(SEGMENT as u64 + 1), [4_195_336, 25]);
}
