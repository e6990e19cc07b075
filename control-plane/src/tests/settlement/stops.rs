//! Stops while there is much to do: they wait for nobody, and nothing is lost. And cuts that wait while others settle.

use std::time::{Duration, Instant};

use fabric::{FabricError, Serving};
use protocol::batch::BatchAck;
use protocol::receipt::Observation;
use protocol::{Code, EpochId, RunId};
use sea_orm::{EntityTrait as _, PaginatorTrait as _};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::super::harness::{Ground, suite};
use super::cuts::{a_moment, batch, holding, rows};
use super::sources::alone;
use super::{Runs, later, observe};
use crate::db::entities::blocks;
use crate::settlement::{self, Looked};

suite!(
    a_stop_begins_no_cut,
    a_stop_gives_up_a_cut_that_cannot_end,
    a_stop_leaves_a_backlog_of_blocks,
    a_cut_is_joined_anew_where_others_settled_meanwhile,
);

/// However much there is to do, on a machine that is slow.
const STOPPED_WITHIN: Duration = Duration::from_secs(3);

async fn a_stop_begins_no_cut(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let held = holding(&ground, Duration::from_secs(60)).await;
    let stop = CancellationToken::new();
    let mut cuts = settlement::begin_until(&held.app, stop.clone()).await;
    let seen = runs.halves(&ground, 10, 10).1;
    let told = batch(&held.anonymous(), EpochId::new(), 1, std::slice::from_ref(&seen));
    a_moment().await;
    assert!(!told.is_finished());
    stop.cancel();
    let answer = tokio::time::timeout(STOPPED_WITHIN, told).await.unwrap().unwrap();
    assert_eq!(answer.code(), Code::ControlPlaneUnavailable);
    tokio::time::timeout(STOPPED_WITHIN, cuts.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(rows(&ground).await, 0);
}

async fn a_stop_gives_up_a_cut_that_cannot_end(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let stop = CancellationToken::new();
    let (tried, first_try) = oneshot::channel();
    let mount = || async { Ok::<Vec<Serving>, FabricError>(Vec::new()) };
    let term = tokio::spawn(settlement::lead(ground.app.clone(), mount, tried, stop.clone()));
    drop(first_try.await);
    // Somebody settles, and does not come to an end.
    let tx = ground.app.db.begin().await.unwrap();
    settlement::observe(&tx, &[alone(&runs, &ground)], &Looked::default()).await.unwrap();
    let (epoch, client) = (EpochId::new(), ground.anonymous());
    let seen: Vec<Observation> = (0..200).map(|_| alone(&runs, &ground)).collect();
    let told: Vec<_> = seen.chunks(10).zip(1..).map(|(some, number)| batch(&client, epoch, number, some)).collect();
    a_moment().await;
    stop.cancel();
    tokio::time::timeout(STOPPED_WITHIN, term).await.unwrap().unwrap();
    for told in told {
        assert_eq!(told.await.unwrap().code(), Code::ControlPlaneUnavailable);
    }
    tx.rollback().await.unwrap();
    assert_eq!(rows(&ground).await, 0);
    ground.lead().await;
    for (some, number) in seen.chunks(10).zip(1..) {
        let answer = batch(&client, epoch, number, some).await.unwrap();
        assert_eq!(answer.read::<BatchAck>().committed, number);
    }
    assert_eq!(runs.usage().await.platform_failed, 200);
}

async fn packed(ground: &Ground) -> u64 {
    blocks::Entity::find().count(ground.app.db.read()).await.unwrap()
}

async fn a_stop_leaves_a_backlog_of_blocks(ground: Ground) {
    const RUNS: u64 = 1_000;
    let ground = Ground::on(ground.app.config.database.clone(), |config| config.block_runs = 1).await;
    let runs = Runs::start(&ground).await;
    // They began so long ago that they are packed at once.
    let then = settlement::first_id_at(later(-60)).as_u128();
    let old = |seen: Observation| {
        let id = then | (seen.run.uuid().as_u128() & ((1 << 80) - 1));
        Observation { run: RunId::from_uuid(uuid::Uuid::from_u128(id)), ..seen }
    };
    let seen: Vec<Observation> = (0..RUNS).map(|_| old(alone(&runs, &ground))).collect();
    observe(&ground, &seen).await;
    let stop = CancellationToken::new();
    let sweep = tokio::spawn(settlement::sweep(ground.app.clone(), stop.clone()));
    let begun = Instant::now();
    while packed(&ground).await == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is packed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    tokio::time::timeout(STOPPED_WITHIN, sweep).await.unwrap().unwrap();
    // A commit may have been on its way.
    a_moment().await;
    let left = packed(&ground).await;
    assert!(left < RUNS, "it went on to the end");
    a_moment().await;
    assert_eq!(packed(&ground).await, left);
}

async fn a_cut_is_joined_anew_where_others_settled_meanwhile(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let (epoch, client) = (EpochId::new(), ground.anonymous());
    for (number, is_same, settled) in [(1, false, 2), (2, true, 3)] {
        let seen = alone(&runs, &ground);
        let others = if is_same { seen.clone() } else { alone(&runs, &ground) };
        let tx = ground.app.db.begin().await.unwrap();
        settlement::observe(&tx, std::slice::from_ref(&others), &Looked::default()).await.unwrap();
        let told = batch(&client, epoch, number, std::slice::from_ref(&seen));
        // It is planned by now, and waits.
        a_moment().await;
        assert!(!told.is_finished());
        tx.commit().await.unwrap();
        assert_eq!(told.await.unwrap().read::<BatchAck>().committed, number);
        assert_eq!(runs.usage().await.platform_failed, settled, "each run counts once");
    }
}
