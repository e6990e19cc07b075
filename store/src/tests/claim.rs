//! Only engines that are this store's are used, and those that are new and empty.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use protocol::{BlobId, StoreId};

use super::{EPOCH, copies, noise, read};
use crate::engine::Disk;
use crate::{ClaimError, Claims, Engine, Error, Store, Taken};

/// As a platform opens its folders.
fn on(folders: &[&Path]) -> Store {
    let disks = folders
        .iter()
        .enumerate()
        .map(|(number, folder)| Arc::new(Disk::at(folder).in_domain(number.to_string())) as Arc<dyn Engine>);
    Store::on(disks.collect(), NonZeroUsize::MIN).claimed_only()
}

/// What is known of a store by its engines, and by blobs of its index.
fn taken(known: &BTreeSet<String>, blobs: &[BlobId]) -> Taken {
    Taken { known: known.clone(), blobs: blobs.iter().copied().collect(), had_none: false }
}

#[tokio::test]
async fn what_is_anothers_or_lost_is_set_aside() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("store");
    let (id, other) = (StoreId::new(), StoreId::new());
    let (new, store) = (Taken::default(), on(&[&folder]));
    let refused = store.put_bytes(EPOCH, noise(10, 1)).await;
    assert!(
        matches!(refused, Err(Error::TooFewDisks { wanted: 1, left: 0 })),
        "nobody knows yet whose it is: {refused:?}"
    );
    assert!(!folder.exists(), "nothing is made before it is taken");
    assert!(matches!(&store.claim(id, &Claims::Marked).await[..], [ClaimError::New { .. }]), "others do not take it");
    assert!(store.claim(id, &Claims::Taken(&new)).await.is_empty());
    let blob = store.put_bytes(EPOCH, noise(10, 1)).await.unwrap();
    let known = taken(&store.claimed(), &[]);
    assert_eq!((known.known.len(), store.unclaimed()), (1, 0));
    for claims in [Claims::Marked, Claims::Taken(&new), Claims::Taken(&known)] {
        let store = on(&[&folder]);
        assert!(store.claim(id, &claims).await.is_empty());
        assert_eq!(read(&store, &blob).await.unwrap(), noise(10, 1));
        let refused = store.claim(other, &claims).await.remove(0);
        assert!(matches!(refused, ClaimError::Another { found, wanted, .. } if (found, wanted) == (id, other)));
        assert!(refused.is_of_another());
        assert!(matches!(read(&store, &blob).await, Err(Error::Engine(_))), "nothing is said to be lost");
        assert!(matches!(store.delete(blob.id, blob.size).await, Err(Error::Engine(_))));
    }

    // Its disk is not mounted: the folder below is empty.
    let away = temporary.path().join("away");
    fs::rename(&folder, &away).unwrap();
    fs::create_dir(&folder).unwrap();
    let below = on(&[&folder]);
    assert!(
        matches!(&below.claim(id, &Claims::Taken(&known)).await[..], [ClaimError::Lost { store, .. }] if *store == id)
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    assert!(below.disks().await[0].failing.as_ref().unwrap().why.contains("mounted"));
    // It is mounted.
    fs::remove_dir(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    assert!(below.claim(id, &Claims::Taken(&known)).await.is_empty());
    assert!(read(&below, &blob).await.unwrap() == noise(10, 1) && below.disks().await[0].failing.is_none());

    // Whose bytes are they? Those that the index has are its own.
    fs::remove_file(folder.join("store.id")).unwrap();
    assert!(matches!(&on(&[&folder]).claim(id, &Claims::Taken(&new)).await[..], [ClaimError::Unmarked { .. }]));
    let empty = temporary.path().join("empty");
    let earlier = Taken { had_none: true, ..taken(&BTreeSet::new(), &[blob.id]) };
    let both = on(&[&folder, &empty]);
    assert!(matches!(&both.claim(id, &Claims::Taken(&earlier)).await[..], [ClaimError::Lost { .. }]), "not mounted?");
    assert_eq!(both.claimed().len(), 1);
    assert!(both.claim(id, &Claims::Taken(&taken(&both.claimed(), &[]))).await.is_empty(), "a further one");

    // By two names it is one disk still.
    let link = temporary.path().join("link");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    let twice = on(&[&folder, &link]);
    assert!(matches!(&twice.claim(id, &Claims::Taken(&new)).await[..], [ClaimError::Twice { .. }]));
    assert_eq!((twice.claimed().len(), read(&twice, &blob).await.unwrap()), (1, noise(10, 1)));
    fs::write(folder.join("store.id"), "rubbish").unwrap();
    assert!(matches!(&on(&[&folder]).claim(id, &Claims::Taken(&new)).await[..], [ClaimError::Engine(_)]));
}

/// Its disk is unmounted while it is used, and another process makes the folders anew.
#[tokio::test]
async fn what_stands_in_the_place_of_a_disk_is_not_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::disk(folder.path()).unwrap();
    assert!(store.claim(StoreId::new(), &Claims::Taken(&Taken::default())).await.is_empty());
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

/// One of three disks is dead when the platform starts, and comes back while it runs.
#[tokio::test]
async fn the_others_do_without_one_that_is_dead() {
    let temporary = tempfile::tempdir().unwrap();
    let folders = ["a", "b", "c"].map(|name| temporary.path().join(name));
    let all = || {
        let disks = folders.iter().zip(["a", "b", "c"]);
        let disks = disks.map(|(folder, domain)| Arc::new(Disk::at(folder).in_domain(domain)) as Arc<dyn Engine>);
        Store::on(disks.collect(), copies(2)).claimed_only()
    };
    let (id, store) = (StoreId::new(), all());
    assert!(store.claim(id, &Claims::Taken(&Taken::default())).await.is_empty());
    let known = taken(&store.claimed(), &[]);
    let blob = store.put_bytes(EPOCH, noise(10, 1)).await.unwrap();
    let away = temporary.path().join("away");
    fs::rename(&folders[1], &away).unwrap();
    fs::write(&folders[1], "no folder").unwrap();

    let store = all();
    assert!(matches!(&store.claim(id, &Claims::Taken(&known)).await[..], [ClaimError::Engine(_)]));
    assert_eq!((store.claimed().len(), store.unclaimed()), (2, 1));
    assert_eq!(read(&store, &blob).await.unwrap(), noise(10, 1));
    let during = store.put_bytes(EPOCH, noise(10, 2)).await.unwrap();
    assert_eq!(store.check(&during).await.iter().filter(|copy| copy.is_whole()).count(), 2);
    fs::remove_file(&folders[1]).unwrap();
    fs::rename(&away, &folders[1]).unwrap();
    assert!(store.claim(id, &Claims::Taken(&known)).await.is_empty());
    assert_eq!(store.unclaimed(), 0);
}
