//! Only engines that are this store's are used, and those that are new and empty.

use std::collections::BTreeSet;
use std::fs;

use protocol::StoreId;

use super::{EPOCH, noise, read};
use crate::{ClaimError, Error, Store};

#[tokio::test]
async fn what_is_anothers_or_lost_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (id, other) = (StoreId::new(), StoreId::new());
    let (new, store) = (BTreeSet::new(), Store::disk(folder.path()).unwrap());
    let known = store.engines().map(|engine| engine.name().to_owned()).collect();
    store.claim(id, &new).await.unwrap();
    let blob = store.put_bytes(EPOCH, noise(10, 1)).await.unwrap();
    for seen in [&new, &known] {
        store.claim(id, seen).await.unwrap();
        let refused = store.claim(other, seen).await;
        assert!(matches!(refused, Err(ClaimError::Another { found, wanted, .. }) if (found, wanted) == (id, other)));
    }

    // Its disk is not mounted: the folder below is empty.
    let away = folder.path().with_extension("away");
    fs::rename(folder.path(), &away).unwrap();
    let below = Store::disk(folder.path()).unwrap();
    assert!(matches!(below.claim(id, &known).await, Err(ClaimError::Lost { store, .. }) if store == id));
    assert!(!folder.path().join("store.id").exists());
    // Somebody says that it is to be so.
    fs::write(folder.path().join("store.id"), id.to_string()).unwrap();
    below.claim(id, &known).await.unwrap();

    fs::remove_dir_all(folder.path()).unwrap();
    fs::rename(&away, folder.path()).unwrap();
    fs::remove_file(folder.path().join("store.id")).unwrap();
    let store = Store::disk(folder.path()).unwrap();
    assert!(matches!(store.claim(id, &new).await, Err(ClaimError::Unmarked { .. })), "whose bytes are they?");
    assert_eq!(read(&store, &blob).await.unwrap(), noise(10, 1));
    fs::write(folder.path().join("store.id"), "rubbish").unwrap();
    assert!(matches!(store.claim(id, &new).await, Err(ClaimError::Engine(_))));
}

/// Its disk is unmounted while it is used, and another process makes the folders anew.
#[tokio::test]
async fn what_stands_in_the_place_of_a_disk_is_not_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::disk(folder.path()).unwrap();
    store.claim(StoreId::new(), &BTreeSet::new()).await.unwrap();
    let blob = store.put_bytes(EPOCH, noise(10, 1)).await.unwrap();
    let away = folder.path().with_extension("away");
    fs::rename(folder.path(), &away).unwrap();
    drop(Store::disk(folder.path()).unwrap());
    assert!(matches!(read(&store, &blob).await, Err(Error::Engine(_))), "it is not lost");
    assert!(matches!(store.delete(blob.id, blob.size).await, Err(Error::Engine(_))));
    assert!(matches!(store.list(None, 1).await, Err(Error::Engine(_))));
    let refused = store.put_bytes(EPOCH, noise(10, 2)).await;
    assert!(matches!(refused, Err(Error::TooFewDisks { wanted: 1, left: 0 })), "{refused:?}");
    fs::remove_dir_all(folder.path()).unwrap();
    fs::rename(&away, folder.path()).unwrap();
    assert_eq!(read(&store, &blob).await.unwrap(), noise(10, 1));
}
