//! Disks that lie: their lists hide what they have, or claim what they have not, and they give other bytes. No copy is
//! deleted because of it, and nobody reads anything wrong.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use protocol::node::Mark;
use protocol::{AccountId, Blob};
use store::engine::{Disk, EngineError};
use store::{Engine, Listed, SegmentName, Space, Store};

use super::repair::{DISKS, copies, office, on, some_blobs, two};
use super::{in_hours, read, sweep};
use crate::App;
use crate::objects::Care;
use crate::objects::repair::Repair;
use crate::tests::harness::{Ground, suite};

suite!(a_list_that_lies_costs_no_copy, other_bytes_are_never_given);

/// What a disk says.
#[derive(Debug, Clone)]
pub(super) enum Lie {
    /// The truth.
    None,
    /// That it has nothing.
    Hides,
    /// That it has all these.
    Claims(Vec<Listed>),
    /// That each segment is this one.
    Swaps(SegmentName),
    /// The truth, but after so many reads nothing until it says something else.
    Waits(usize),
}

pub(super) struct Liar {
    disk: Disk,
    lie: Mutex<Lie>,
}

impl Liar {
    pub(super) fn says(&self, lie: Lie) {
        *self.lie.lock() = lie;
    }
}

impl Engine for Liar {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn domain(&self) -> &str {
        self.disk.domain()
    }

    fn put(&self, name: SegmentName, segment: Bytes) -> BoxFuture<'_, Result<(), EngineError>> {
        self.disk.put(name, segment)
    }

    fn read(&self, name: SegmentName, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>> {
        let (mut given, mut waits) = (name, false);
        match &mut *self.lie.lock() {
            Lie::Swaps(other) => given = *other,
            Lie::Waits(0) => waits = true,
            Lie::Waits(left) => *left -= 1,
            Lie::None | Lie::Hides | Lie::Claims(_) => {}
        }
        async move {
            while waits && matches!(*self.lie.lock(), Lie::Waits(_)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.disk.read(given, range).await
        }
        .boxed()
    }

    fn has(&self, name: SegmentName) -> BoxFuture<'_, Result<Option<u64>, EngineError>> {
        self.disk.has(name)
    }

    fn delete(&self, name: SegmentName) -> BoxFuture<'_, Result<(), EngineError>> {
        self.disk.delete(name)
    }

    fn list(&self, after: Option<SegmentName>, most: usize) -> BoxFuture<'_, Result<Vec<Listed>, EngineError>> {
        let lie = self.lie.lock().clone();
        match lie {
            Lie::Hides => futures::future::ready(Ok(Vec::new())).boxed(),
            Lie::Claims(mut all) => {
                all.retain(|listed| after.is_none_or(|after| listed.name > after));
                all.truncate(most);
                futures::future::ready(Ok(all)).boxed()
            }
            Lie::None | Lie::Swaps(_) | Lie::Waits(_) => self.disk.list(after, most),
        }
    }

    fn mark(&self) -> BoxFuture<'_, Result<Option<Mark>, EngineError>> {
        self.disk.mark()
    }

    fn set_mark(&self, mark: Mark) -> BoxFuture<'_, Result<Mark, EngineError>> {
        self.disk.set_mark(mark)
    }

    fn space(&self) -> BoxFuture<'_, Result<Space, EngineError>> {
        self.disk.space()
    }
}

/// The same platform, with two copies on three disks that lie when they are told to.
pub(super) async fn on_liars(ground: Ground) -> (Ground, [Arc<Liar>; 3]) {
    let liars = DISKS.map(|name| {
        let disk = Disk::open(&ground.folder.path().join(name)).unwrap().in_domain(name);
        Arc::new(Liar { disk, lie: Mutex::new(Lie::None) })
    });
    let engines = liars.iter().map(|liar| Arc::clone(liar) as Arc<dyn Engine>).collect();
    (on(ground, Store::on(engines, two())).await, liars)
}

async fn are_whole(app: &App, blobs: &[Blob], what: &str) {
    for blob in blobs {
        assert_eq!(copies(app, blob).await, 2, "{what}: {}", blob.id);
        assert_eq!(read(app, blob.id).await.unwrap().len() as u64, blob.size.0, "{what}: {}", blob.id);
    }
}

async fn a_list_that_lies_costs_no_copy(ground: Ground) {
    let (ground, liars) = on_liars(ground).await;
    let app = &ground.app;
    let blobs = some_blobs(app, AccountId::new()).await;
    let segments = |blob: &Blob| store::kept_by_size(blob.id, blob.size).unwrap().collect::<Vec<_>>();
    let mut all: Vec<Listed> = blobs.iter().flat_map(segments).collect();
    all.sort_by_key(|listed| listed.name);
    let short = all.iter().map(|listed| Listed { bytes: 3, ..*listed }).collect();
    let lies = [("it hides all", Lie::Hides), ("it claims all", Lie::Claims(all)), ("all is cut", Lie::Claims(short))];
    let (mut repair, office) = (Repair::new(&Care::new(app)), office(app).await);
    for (what, lie) in lies {
        // Each of them by itself, and then all at once.
        for some in [&liars[..1], &liars[1..2], &liars[2..], &liars] {
            for liar in some {
                liar.says(lie.clone());
            }
            let look = repair.whole(office).await.unwrap().last.unwrap();
            assert_eq!((look.copied, look.removed, look.fewer, look.lost), (0, 0, 0, 0), "{what}: {look:?}");
            sweep(app, in_hours(2)).await;
            for liar in &liars {
                liar.says(Lie::None);
            }
            are_whole(app, &blobs, what).await;
        }
    }
}

async fn other_bytes_are_never_given(ground: Ground) {
    let (ground, liars) = on_liars(ground).await;
    let app = &ground.app;
    let blobs = some_blobs(app, AccountId::new()).await;
    let (mut repair, office) = (Repair::new(&Care::new(app)), office(app).await);
    for (disk, liar) in liars.iter().enumerate() {
        let other = app.store.list_on(disk, None, 1).await.unwrap()[0].name;
        liar.says(Lie::Swaps(other));
        for (number, blob) in blobs.iter().enumerate() {
            let bytes = read(app, blob.id).await.unwrap();
            let expected = if blob.size.0 == 3_000 { number } else { 77 };
            assert!(bytes.iter().all(|byte| usize::from(*byte) == expected), "{}", blob.id);
        }
        let look = repair.whole(office).await.unwrap().last.unwrap();
        assert_eq!((look.removed, look.lost), (0, 0), "{look:?}");
        liar.says(Lie::None);
        are_whole(app, &blobs, "it gives other bytes").await;
    }
}
