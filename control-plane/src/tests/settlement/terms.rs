//! Terms of settlement's leader: two never both commit, and a leader that works keeps its office.

use std::time::Duration;

use sea_orm::EntityTrait as _;

use super::super::harness::{Ground, suite};
use crate::db::count;
use crate::db::entities::{counters, leader};
use crate::leader::{Office, lead};
use crate::settlement::usurp;

suite!(
    a_renewal_waits_for_no_cut,
    a_cut_that_was_overtaken_changes_nothing,
    a_takeover_waits_for_a_commit,
    the_end_of_a_cut_renews_the_lease,
);

/// What a cut changes first.
const SETTLED: &str = "settle";
const SOON: Duration = Duration::from_secs(5);

async fn settled(ground: &Ground) -> i64 {
    counters::Entity::find_by_id(SETTLED).one(ground.app.db.read()).await.unwrap().unwrap().value
}

async fn a_renewal_waits_for_no_cut(ground: Ground) {
    let (db, lease) = (&ground.app.db, usurp(&ground.app).await);
    let tx = db.begin().await.unwrap();
    assert!(lease.stands(&tx).await.unwrap());
    count(&tx, SETTLED, 1).await.unwrap();
    if !db.has_one_writer() {
        assert!(tokio::time::timeout(SOON, lease.renew(db)).await.unwrap().unwrap());
    }
    assert!(lease.seal(&tx).await.unwrap().is_some());
    tx.commit().await.unwrap();
    assert!(lease.renew(db).await.unwrap());
    usurp(&ground.app).await;
    assert!(!lease.renew(db).await.unwrap(), "another one leads");
}

async fn a_cut_that_was_overtaken_changes_nothing(ground: Ground) {
    let (db, before) = (&ground.app.db, usurp(&ground.app).await);
    let settled_before = settled(&ground).await;
    let tx = db.begin().await.unwrap();
    assert!(before.stands(&tx).await.unwrap());
    count(&tx, SETTLED, 1).await.unwrap();
    if db.has_one_writer() {
        // Nobody can overtake it before its end.
        tx.rollback().await.unwrap();
        usurp(&ground.app).await;
        let tx = db.begin().await.unwrap();
        count(&tx, SETTLED, 1).await.unwrap();
        assert!(before.seal(&tx).await.unwrap().is_none());
    } else {
        let after = tokio::time::timeout(SOON, usurp(&ground.app)).await.unwrap();
        assert!(after.epoch() > before.epoch());
        assert!(before.seal(&tx).await.unwrap().is_none());
        drop(tx);
    }
    let tx = db.begin().await.unwrap();
    assert!(!before.stands(&tx).await.unwrap());
    drop(tx);
    assert_eq!(settled(&ground).await, settled_before);
}

async fn a_takeover_waits_for_a_commit(ground: Ground) {
    let (db, before) = (&ground.app.db, usurp(&ground.app).await);
    let tx = db.begin().await.unwrap();
    let counted = count(&tx, SETTLED, 1).await.unwrap();
    assert!(before.seal(&tx).await.unwrap().is_some());
    let app = ground.app.clone();
    let takeover = tokio::spawn(async move { usurp(&app).await });
    // Time enough for a takeover that waits for nobody.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!takeover.is_finished());
    tx.commit().await.unwrap();
    let after = tokio::time::timeout(SOON, takeover).await.unwrap().unwrap();
    assert!(after.epoch() > before.epoch());
    assert_eq!(settled(&ground).await, counted, "the next leader sees what was committed");
}

async fn the_end_of_a_cut_renews_the_lease(ground: Ground) {
    let (db, length) = (&ground.app.db, Duration::from_secs(60));
    leader::Entity::delete_many().exec(db.write()).await.unwrap();
    let instance = protocol::InstanceId::new();
    let lease = crate::leader::Lease::take(db, Office::Settlement, instance, length).await.unwrap().unwrap();
    crate::leader::resign(db, Office::Settlement, instance).await.unwrap();
    let tx = db.begin().await.unwrap();
    let sealed = lease.seal(&tx).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    lease.renewed(sealed);
    assert_eq!(lead(db, Office::Settlement, protocol::InstanceId::new(), length).await.unwrap(), None);
    assert!(tokio::time::timeout(Duration::from_millis(20), lease.ended()).await.is_err());
}
