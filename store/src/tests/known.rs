//! What a store is told of itself: how many copies, and which engines it has had.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use protocol::StoreId;

use super::faults::Faulty;
use super::{EPOCH, copies, noise, read};
use crate::engine::Disk;
use crate::{Claims, CopyState, Deleted, Engine, Error, Kept, Store, Taken};

fn engines(domains: &[&str]) -> Vec<Arc<dyn Engine>> {
    domains.iter().map(|domain| Faulty::new(domain) as Arc<dyn Engine>).collect()
}

#[tokio::test]
async fn every_clone_keeps_as_many_copies_as_it_is_told() {
    let store = Store::on(engines(&["a", "b", "c"]), copies(1));
    let (clone, earlier) = (store.clone(), store.as_of_now());
    let whole = async |store: &Store| {
        let blob = store.put_bytes(EPOCH, noise(10, 1)).await.unwrap();
        store.check(&blob).await.iter().filter(|copy| CopyState::is_whole(copy)).count()
    };
    assert_eq!(whole(&store).await, 1);
    store.set_copies(copies(3));
    for told in [&clone, &earlier] {
        assert_eq!((told.copies_wanted(), whole(told).await), (3, 3));
    }
    store.set_copies(copies(4));
    assert!(matches!(clone.put_bytes(EPOCH, noise(10, 1)).await, Err(Error::TooFewDisks { wanted: 4, left: 3 })));
}

#[tokio::test]
async fn what_an_absent_engine_may_have_is_neither_lost_nor_deleted() {
    let all = engines(&["a", "b", "c"]);
    let names: Vec<String> = all.iter().map(|engine| engine.name().to_owned()).collect();
    let known: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), None)).collect();
    let before = Store::on(all[..2].to_vec(), copies(2));
    let blob = before.put_bytes(EPOCH, noise(10, 1)).await.unwrap();
    before.set_known(names[..2].iter().map(|name| (name.clone(), None)).collect());
    assert!(before.absent().is_empty() && before.disks().await.len() == 2);

    // It is started without both that have it.
    let store = Store::on(all[2..].to_vec(), copies(1));
    let mend = async || store.segments(&blob).unwrap().mend(0, &BTreeSet::new()).await;
    assert!(matches!(read(&store, &blob).await, Err(Error::Missing { .. })));
    assert!(mend().await.is_lost());
    store.set_known(known.clone());
    let absent: BTreeSet<String> = store.absent().into_keys().collect();
    assert_eq!(absent, names[..2].iter().cloned().collect::<BTreeSet<_>>());
    let failed = read(&store, &blob).await;
    assert!(matches!(&failed, Err(Error::Engine(error)) if absent.contains(&error.engine)), "{failed:?}");
    assert!(failed.unwrap_err().to_string().contains("not among the disks"));
    let mended = mend().await;
    assert_eq!((mended.is_lost(), &mended.kept[..]), (false, &[Kept::Missing, Kept::Unknown][..]));
    assert!(matches!(store.delete(blob.id, blob.size).await, Ok(Deleted::InPart(_))));
    let told = store.disks().await;
    assert_eq!(told.iter().filter(|disk| disk.failing.is_some()).count(), 2, "{told:?}");

    // It is told since when, and once it is there again that is over.
    assert_eq!(store.absent(), store.absent());
    let again = Store::changing(copies(1));
    again.set_known(known);
    again.set_engines(all);
    assert!(again.absent().is_empty());
    assert_eq!(read(&again, &blob).await.unwrap(), noise(10, 1));
    assert!(matches!(again.delete(blob.id, blob.size).await, Ok(Deleted::Everywhere)));
}

/// By its mark it is known, whatever its folder is called now.
#[tokio::test]
async fn a_disk_with_another_name_is_not_absent() {
    let temporary = tempfile::tempdir().unwrap();
    let (old, new) = (temporary.path().join("old"), temporary.path().join("new"));
    let on = |folder: &Path| Store::on(vec![Arc::new(Disk::at(folder)) as Arc<dyn Engine>], copies(1));
    let (id, store) = (StoreId::new(), on(&old));
    assert!(store.claim(id, &Claims::Taken(&Taken::default())).await.is_empty());
    let known = store.claimed_places();
    assert!(known.len() == 1 && known.values().all(Option::is_some));
    std::fs::rename(&old, &new).unwrap();
    let moved = on(&new);
    moved.set_known(known);
    assert_eq!(moved.absent().len(), 1, "nobody has looked");
    assert!(moved.claim(id, &Claims::Taken(&Taken::default())).await.is_empty());
    assert!(moved.absent().is_empty());
}
