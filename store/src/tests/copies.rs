//! Several engines: a put needs copies in distinct failure domains, whatever one engine does; a read needs one of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{Blob, ByteSize};

use super::faults::{Fault, Faulty};
use super::{EPOCH, SEGMENT, copies, files_below, noise, pieces, read, read_range, segment};
use crate::engine::Disk;
use crate::put::CLEANUPS_MAX;
use crate::{BLOB_SIZE_MAX, Deleted, Engine, Error, Piece, SegmentName, Store};

const FAULTS: [Fault; 5] = [Fault::Full, Fault::ReadOnly, Fault::Gone, Fault::Hangs, Fault::Rotten];

/// Long for a disk, short for a test.
const PATIENCE: Duration = Duration::from_secs(3);

struct Ground {
    engines: Vec<Arc<Faulty>>,
    store: Store,
}

/// A store of two copies on engines of these domains.
fn ground(domains: &[&str]) -> Ground {
    let engines: Vec<_> = domains.iter().map(|domain| Faulty::new(domain)).collect();
    let store = Store::on(engines.iter().map(|engine| Arc::clone(engine) as Arc<dyn Engine>).collect(), copies(2));
    Ground { engines, store: store.with_patience(PATIENCE) }
}

impl Ground {
    /// Which engines have a whole copy, by the check.
    async fn whole(&self, blob: &Blob) -> Vec<bool> {
        self.store.check(blob).await.iter().map(crate::CopyState::is_whole).collect()
    }
}

#[tokio::test]
async fn each_segment_is_on_as_many_engines_as_are_wanted() {
    let ground = ground(&["a", "b", "c"]);
    let mut kept_by = [0_usize; 3];
    for seed in 0..12 {
        let blob = ground.store.put_bytes(EPOCH, noise(1_000, seed)).await.unwrap();
        let whole = ground.whole(&blob).await;
        assert_eq!(whole.iter().filter(|whole| **whole).count(), 2);
        for (kept, whole) in kept_by.iter_mut().zip(whole) {
            *kept += usize::from(whole);
        }
    }
    assert!(kept_by.iter().all(|kept| *kept > 0), "blobs are spread: {kept_by:?}");
}

/// Whichever of three engines has whichever fault, before a put or after it.
#[tokio::test]
async fn one_engine_that_fails_is_passed_over() {
    let bytes = noise(SEGMENT + 100_000, 1);
    for fault in FAULTS {
        for victim in 0..3 {
            let ground = ground(&["a", "b", "c"]);
            let before = ground.store.put_bytes(EPOCH, bytes.clone()).await.unwrap();
            ground.engines[victim].set(fault);
            assert!(read(&ground.store, &before).await.unwrap() == bytes, "{fault:?} of {victim}");
            let during = ground.store.put_bytes(EPOCH, bytes.clone()).await.unwrap();
            assert!(read(&ground.store, &during).await.unwrap() == bytes, "{fault:?} of {victim}");
            let range = read_range(&ground.store, &during, 65_000..66_000).await.unwrap();
            assert_eq!(range, bytes.slice(65_000..66_000));

            // The others alone have it, where the fault was one of writing.
            ground.engines[victim].set(Fault::None);
            let copies = ground.whole(&during).await;
            assert_eq!(copies.iter().filter(|whole| **whole).count(), 2);
            if fault != Fault::Rotten {
                assert!(!copies[victim], "{fault:?} of {victim}");
            }
        }
    }
}

#[tokio::test]
async fn a_segment_that_one_engine_lost_is_read_from_the_other() {
    let ground = ground(&["a", "b"]);
    let bytes = noise(2 * SEGMENT + 10, 1);
    let blob = ground.store.put_bytes(EPOCH, bytes.clone()).await.unwrap();
    let name = |number| SegmentName { blob: blob.id, number };
    ground.engines[0].disk.delete(name(1)).await.unwrap();
    ground.engines[1].disk.put(name(2), Bytes::from_static(b"rubbish")).await.unwrap();
    assert!(read(&ground.store, &blob).await.unwrap() == bytes);
    let states = ground.store.check(&blob).await;
    assert_eq!((states[0].segments, states[0].missing, states[0].damaged), (3, 1, 0));
    assert_eq!((states[1].segments, states[1].missing, states[1].damaged), (3, 0, 1));

    // What is damaged everywhere is an error, and so is what is nowhere.
    ground.engines[0].disk.put(name(2), Bytes::new()).await.unwrap();
    let damaged = read(&ground.store, &blob).await;
    assert!(matches!(damaged, Err(Error::Corrupt { piece: Piece::Segment(of), .. }) if of == name(2)), "{damaged:?}");
    ground.store.delete_segment(name(2)).await.unwrap();
    let missing = read(&ground.store, &blob).await;
    assert!(matches!(missing, Err(Error::Missing { piece: Piece::Segment(of) }) if of == name(2)), "{missing:?}");
    // With an engine that does not answer it is not known to be lost.
    ground.engines[0].set(Fault::Gone);
    assert!(matches!(read(&ground.store, &blob).await, Err(Error::Engine(_))));
}

#[tokio::test]
async fn too_few_failure_domains_are_refused() {
    let bytes = || pieces(noise(10, 1), vec![]);
    // Two folders of one disk are one domain: nothing is even read.
    let one_domain = ground(&["a", "a"]);
    let refused = one_domain.store.put_stream(EPOCH, bytes(), BLOB_SIZE_MAX).await;
    assert!(matches!(refused, Err(Error::TooFewDisks { wanted: 2, left: 1 })), "{refused:?}");
    assert_eq!(one_domain.engines[0].calls.load(Ordering::SeqCst), 0);

    for fault in [Fault::ReadOnly, Fault::Gone, Fault::Hangs] {
        let ground = ground(&["a", "b", "b"]);
        ground.engines[0].set(fault);
        let refused = ground.store.put_stream(EPOCH, bytes(), BLOB_SIZE_MAX).await;
        assert!(matches!(refused, Err(Error::TooFewDisks { wanted: 2, left: 1 })), "{fault:?}: {refused:?}");
    }
    let full = ground(&["a", "b"]);
    full.engines[1].set(Fault::Full);
    let refused = full.store.put_stream(EPOCH, bytes(), BLOB_SIZE_MAX).await;
    assert!(matches!(refused, Err(Error::NoRoom { wanted: 2, left: 1 })), "{refused:?}");
    assert_eq!(refused.unwrap_err().code().status(), 507);

    // The other folder of a disk may still work.
    let half = ground(&["a", "b", "b"]);
    half.engines[1].set(Fault::ReadOnly);
    let blob = half.store.put_stream(EPOCH, bytes(), BLOB_SIZE_MAX).await.unwrap();
    assert_eq!(half.whole(&blob).await, [true, false, true]);
}

/// The real disk's own word for it.
#[tokio::test]
async fn a_disk_keeps_a_reserve_free() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap().reserving(ByteSize(u64::MAX));
    let store = Store::on(vec![Arc::new(disk)], copies(1));
    let refused = store.put_bytes(EPOCH, noise(10, 1)).await;
    assert!(matches!(refused, Err(Error::NoRoom { wanted: 1, left: 0 })), "{refused:?}");
    assert!(files_below(folder.path()).is_empty());
}

/// One that hangs costs the first segment its time, not every one.
#[tokio::test]
async fn an_engine_that_has_failed_comes_last() {
    let ground = ground(&["a", "b", "c"]);
    ground.engines[0].set(Fault::Hangs);
    let begun = Instant::now();
    for seed in 0..10 {
        let blob = ground.store.put_bytes(EPOCH, noise(1_000, seed)).await.unwrap();
        read(&ground.store, &blob).await.unwrap();
    }
    assert!(begun.elapsed() < 4 * PATIENCE, "{:?}", begun.elapsed());
    assert!(ground.engines[0].calls.load(Ordering::SeqCst) <= 1);
}

/// However long ago: each time that it is tried costs somebody its time. One probe at once sees that it works again.
#[tokio::test]
async fn one_that_fails_comes_last_until_a_probe_succeeds() {
    let ground = ground(&["a", "b", "c"]);
    ground.engines[0].set(Fault::Hangs);
    let put_some = async |seeds: std::ops::Range<u8>| {
        for seed in seeds {
            ground.store.put_bytes(EPOCH, noise(1_000, seed)).await.unwrap();
        }
    };
    let calls = || ground.engines[0].calls.load(Ordering::SeqCst);
    put_some(0..10).await;
    assert_eq!(calls(), 1);
    ground.store.copies.places().iter().for_each(|place| place.age());
    put_some(10..20).await;
    assert_eq!(calls(), 1, "it is not tried again");

    // Two probes, and one try: whoever asks too often has none.
    tokio::join!(ground.store.disks(), ground.store.disks());
    assert_eq!(calls(), 2);
    for _ in 0..3 {
        ground.store.probe_failing();
    }
    tokio::time::sleep(PATIENCE + Duration::from_secs(1)).await;
    assert_eq!(calls(), 3);
    ground.engines[0].set(Fault::None);
    ground.store.disks().await;
    let before = calls();
    put_some(20..30).await;
    assert!(calls() > before, "it takes its part");
}

#[tokio::test]
async fn delete_and_list_go_over_all_engines() {
    let ground = ground(&["a", "b", "c"]);
    let mut blobs = Vec::new();
    for seed in 0..5 {
        blobs.push(ground.store.put_bytes(EPOCH, noise(SEGMENT + 1, seed)).await.unwrap());
    }
    blobs.sort_by_key(|blob| blob.id);
    let expected: Vec<_> =
        blobs.iter().flat_map(|blob| [0, 1].map(|number| SegmentName { blob: blob.id, number })).collect();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = ground.store.list(after, 3).await.unwrap();
        seen.extend(page.iter().map(|listed| listed.name));
        if page.len() < 3 {
            break;
        }
        after = seen.last().copied();
    }
    assert_eq!(seen, expected);

    // One engine cannot: the others do, and it is said.
    ground.engines[0].set(Fault::Gone);
    assert!(ground.store.list(None, 100).await.unwrap().len() >= 5);
    for blob in &blobs {
        assert!(matches!(ground.store.delete(blob.id, blob.size).await, Ok(Deleted::InPart(_))));
    }
    assert!(ground.store.list(None, 100).await.unwrap().is_empty());
    ground.engines[0].set(Fault::None);
    for blob in &blobs {
        for _ in 0..2 {
            assert!(matches!(ground.store.delete(blob.id, blob.size).await, Ok(Deleted::Everywhere)));
        }
        assert!(matches!(read(&ground.store, blob).await, Err(Error::Missing { .. })));
    }
    assert!(ground.engines.iter().all(|engine| files_below(&engine.folder.path().join("blobs")).is_empty()));
}

/// One that hangs does not cost each deletion its time.
#[tokio::test]
async fn deletions_do_not_wait_for_an_engine_that_hangs() {
    let ground = ground(&["a", "b", "c"]);
    ground.engines[0].set(Fault::Hangs);
    let begun = Instant::now();
    for random in 0..10 {
        let deleted = ground.store.delete_segment(segment(1, random, 0)).await;
        assert!(matches!(deleted, Ok(Deleted::InPart(_))), "{deleted:?}");
    }
    assert!(begun.elapsed() < 3 * PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(ground.engines[0].calls.load(Ordering::SeqCst), 1);
    for engine in &ground.engines[1..] {
        engine.set(Fault::Gone);
    }
    assert!(matches!(ground.store.delete_segment(segment(1, 0, 0)).await, Err(Error::Engine(_))));
}

/// What was stored of an upload that broke off is deleted, without anybody's doing.
#[tokio::test]
async fn a_broken_upload_leaves_nothing() {
    let ground = ground(&["a", "b"]);
    let bytes = noise(4 * SEGMENT, 1);
    let below = ByteSize(bytes.len() as u64 - 1);
    let refused = ground.store.put_stream(EPOCH, pieces(bytes.clone(), vec![SEGMENT; 3]), below).await;
    assert!(matches!(refused, Err(Error::TooLarge { max }) if max == below));

    let breaks = futures::StreamExt::chain(
        futures::stream::iter([Ok(bytes.clone())]),
        futures::stream::iter([Err("the caller went away")]),
    );
    assert!(matches!(ground.store.put_stream(EPOCH, breaks, BLOB_SIZE_MAX).await, Err(Error::Source(_))));

    // A caller that goes away drops the future.
    let waits = futures::StreamExt::chain(pieces(bytes, vec![]), futures::stream::pending());
    let put = ground.store.put_stream(EPOCH, waits, BLOB_SIZE_MAX);
    assert!(tokio::time::timeout(Duration::from_millis(300), put).await.is_err());

    let deadline = Instant::now() + Duration::from_secs(20);
    while !ground.engines.iter().all(|engine| files_below(&engine.folder.path().join("blobs")).is_empty()) {
        assert!(Instant::now() < deadline, "segments are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// However many break off at once, and however long their deletions take.
#[tokio::test]
async fn few_broken_uploads_are_cleaned_up_after_at_once() {
    let engine = Faulty::new("a");
    let store = Store::on(vec![Arc::clone(&engine) as Arc<dyn Engine>], copies(1)).with_patience(PATIENCE);
    let calls = || engine.calls.load(Ordering::SeqCst);
    let uploads = 2 * CLEANUPS_MAX;
    let mut running = Vec::new();
    for _ in 0..uploads {
        let waits = futures::StreamExt::chain(pieces(noise(SEGMENT + 1, 1), vec![]), futures::stream::pending());
        let store = store.clone();
        running.push(tokio::spawn(async move { store.put_stream(EPOCH, waits, BLOB_SIZE_MAX).await }));
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while files_below(&engine.folder.path().join("blobs")).len() < uploads {
        assert!(Instant::now() < deadline, "they are put");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    engine.set(Fault::Hangs);
    let before = calls();
    for upload in running {
        upload.abort();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let deletes = calls() - before;
    assert!((1..=CLEANUPS_MAX).contains(&deletes), "{deletes}");
}

#[tokio::test]
async fn room_is_missing_where_too_few_domains_have_it() {
    let size = ByteSize::mib(1);
    let Ground { store, .. } = ground(&["one", "two"]);
    assert_eq!(store.missing_room(size, |_| 0).await.unwrap(), ByteSize(0));
    // One byte more than there can be, whatever else is written to the disk meanwhile.
    let missing = store.missing_room(size, |space| space.total + 1).await.unwrap();
    assert!(missing > size, "{missing}");
    // Two engines of one domain keep one copy.
    let Ground { store, .. } = ground(&["one", "one"]);
    let refused = store.missing_room(size, |_| 0).await;
    assert!(matches!(refused, Err(Error::TooFewDisks { wanted: 2, left: 1 })), "{refused:?}");
}
