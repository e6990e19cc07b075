//! Blocks: how runs get into them, stay findable there, and what becomes of halves that come later still.

use books::{Body, Header};
use protocol::api::{Invocation, InvocationPage};
use protocol::receipt::{NodeReceipt, Observation};
use protocol::{BlobId, ByteSize, Code, Digest, Flag, Problem, RunId, Timestamp};
use sea_orm::{ConnectionTrait as _, EntityTrait as _, QueryOrder as _};

use super::super::harness::{Client, Ground, config, suite};
use super::{Runs, Signer, later, observe};
use crate::db::entities::{blocks, run_windows, runs, samples};
use crate::objects::{self, Address, moving};
use crate::settlement::{Looked, SettleError, prune, sweep_once};
use crate::{App, Config};

suite!(
    blocks_hold_every_run,
    a_full_block_waits_for_nobody,
    stragglers_have_blocks_of_their_own,
    runs_without_rows_are_found,
    late_halves_of_packed_runs,
    no_transaction_reads_the_store,
    corrections_stand_in_a_later_block,
    what_changes_meanwhile_is_packed_again,
    damaged_blocks_are_named,
    too_many_bytes,
    old_headers_go,
    samples_are_a_ring,
    rows_of_an_earlier_release,
);

/// The same database with small blocks, each read from the store again.
pub(super) async fn small(ground: &Ground, block_runs: u64) -> Ground {
    let change = |config: &mut Config| {
        config.block_runs = block_runs;
        config.block_cache = ByteSize(0);
        config.receipts_pause = protocol::Millis(0);
    };
    Ground::on(ground.app.config.database.clone(), change).await
}

pub(super) async fn rows_of_blocks(ground: &Ground) -> Vec<blocks::Model> {
    let rows = blocks::Entity::find().order_by_asc(blocks::Column::Number);
    rows.all(ground.app.db.read()).await.unwrap()
}

async fn rows_of_runs(ground: &Ground) -> usize {
    runs::Entity::find().all(ground.app.db.read()).await.unwrap().len()
}

pub(super) async fn body(ground: &Ground, block: &blocks::Model) -> Body {
    let (app, address) = (&ground.app, Address::Blob(block.blob.unwrap().0));
    let bytes = objects::read_whole(app, app.db.read(), address, ByteSize::mib(8)).await.unwrap();
    Body::open(bytes).unwrap()
}

async fn ids_in(ground: &Ground, block: &blocks::Model) -> Vec<RunId> {
    let body = body(ground, block).await;
    (0..body.frames().len()).flat_map(|frame| body.frame(frame).unwrap()).map(|run| run.run).collect()
}

async fn settle(ground: &Ground, runs: &Runs, node: &mut Signer, count: usize) -> Vec<RunId> {
    let (receipts, seen): (Vec<NodeReceipt>, Vec<Observation>) =
        (0..count).map(|_| runs.halves(ground, 10, 10)).unzip();
    node.submit(receipts).await;
    observe(ground, &seen).await;
    let mut ids: Vec<RunId> = seen.iter().map(|seen| seen.run).collect();
    ids.sort_unstable();
    ids
}

/// All that is settled is packed, and rows are gone as they are after a while.
async fn pack_and_evict(ground: &Ground) {
    sweep_once(&ground.app, later(4_000), true).await.unwrap();
}

async fn page(client: &Client, query: &str) -> InvocationPage {
    client.get(&format!("/invocations?{query}")).await.read()
}

async fn blocks_hold_every_run(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let ids = settle(&ground, &runs, &mut node, 10).await;
    sweep_once(&ground.app, Timestamp::now(), false).await.unwrap();
    assert_eq!(rows_of_blocks(&ground).await, [], "they are few and young");
    sweep_once(&ground.app, Timestamp::now(), true).await.unwrap();
    sweep_once(&ground.app, Timestamp::now(), true).await.unwrap();
    let more = settle(&ground, &runs, &mut node, 3).await;
    // However few there are, they wait for so long.
    sweep_once(&ground.app, later(590), false).await.unwrap();
    assert_eq!(rows_of_blocks(&ground).await.len(), 1);
    sweep_once(&ground.app, later(610), false).await.unwrap();
    let blocks = rows_of_blocks(&ground).await;
    assert_eq!(blocks.iter().map(|block| block.runs).collect::<Vec<_>>(), [10, 3]);
    let headers: Vec<Header> = blocks.iter().map(|block| Header::parse(&block.header).unwrap()).collect();
    assert_eq!((headers[0].number, headers[0].previous), (1, None));
    headers[1].follows(&blocks[0].header).unwrap();
    for (block, (header, ids)) in blocks.iter().zip(headers.iter().zip([ids, more])) {
        let body = body(&ground, block).await;
        body.check(header).unwrap();
        assert_eq!((block.first_run.0, block.last_run.0), (ids[0], ids[ids.len() - 1]));
        assert_eq!(ids_in(&ground, block).await, ids);
        let run = body.find(ids[0]).unwrap().unwrap();
        assert!(run.claimed.is_some() && run.observed.is_some() && run.flag.is_none(), "{run:?}");
        assert_eq!(Digest::of(&body.text().unwrap()), header.body);
    }
    let usage = runs.usage().await;
    let mut totals = headers[0].totals;
    totals.add(&headers[1].totals);
    assert_eq!((totals.runs, totals.wall_us, totals.bytes_out), (usage.runs, usage.wall_us, usage.bytes_out.0));
    assert_eq!(headers[1].month_totals, totals);
}

async fn a_full_block_waits_for_nobody(ground: Ground) {
    let ground = small(&ground, 4).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let ids = settle(&ground, &runs, &mut node, 10).await;
    sweep_once(&ground.app, Timestamp::now(), false).await.unwrap();
    assert_eq!(rows_of_blocks(&ground).await.len(), 0, "those that began with them may still go on");
    sweep_once(&ground.app, later(11), false).await.unwrap();
    let blocks = rows_of_blocks(&ground).await;
    assert_eq!(blocks.len(), 2);
    assert_eq!(ids_in(&ground, &blocks[0]).await, ids[..4], "the oldest first");
    assert_eq!(ids_in(&ground, &blocks[1]).await, ids[4..8]);
    let window = run_windows::Entity::find().one(ground.app.db.read()).await.unwrap().unwrap();
    assert_eq!((window.runs, window.unpacked), (10, 2));
}

/// What settles when later runs are packed already.
async fn stragglers_have_blocks_of_their_own(ground: Ground) {
    let ground = small(&ground, 4).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (long, long_seen) = runs.halves(&ground, 10, 10);
    let first = settle(&ground, &runs, &mut node, 4).await;
    sweep_once(&ground.app, later(11), false).await.unwrap();
    node.submit(vec![long]).await;
    observe(&ground, std::slice::from_ref(&long_seen)).await;
    let second = settle(&ground, &runs, &mut node, 4).await;
    sweep_once(&ground.app, later(11), false).await.unwrap();
    sweep_once(&ground.app, Timestamp::now(), true).await.unwrap();
    let blocks = rows_of_blocks(&ground).await;
    assert_eq!(blocks.len(), 3);
    for (block, ids) in blocks.iter().zip([first.clone(), second.clone(), vec![long_seen.run]]) {
        assert_eq!(ids_in(&ground, block).await, ids);
    }
    pack_and_evict(&ground).await;
    let listed: Vec<RunId> = page(&runs.client, "limit=200").await.items.iter().map(|run| run.run).collect();
    let newest: Vec<RunId> = second.iter().rev().chain(first.iter().rev()).copied().chain([long_seen.run]).collect();
    assert_eq!(listed, newest, "by their ids, whatever block they are in");
}

async fn runs_without_rows_are_found(ground: Ground) {
    let ground = small(&ground, 3).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let ids = settle(&ground, &runs, &mut node, 8).await;
    let before: Vec<Invocation> = page(&runs.client, "").await.items;
    let shown = runs.run(ids[3]).await;
    pack_and_evict(&ground).await;
    assert_eq!((rows_of_runs(&ground).await, rows_of_blocks(&ground).await.len()), (0, 3));
    assert_eq!(page(&runs.client, "").await.items, before, "the list is as it was");
    assert_eq!(runs.run(ids[3]).await, shown);
    // Others do not see it, nor does a key for another function.
    let eve = ground.user("eve@example.org", "eve").await;
    assert_eq!(eve.get(&format!("/invocations/{}", ids[3])).await.code(), Code::NotFound);
    assert_eq!(page(&eve, "").await.items, []);
    // Newer ones have rows: the list is both.
    let newer = settle(&ground, &runs, &mut node, 2).await;
    let all: Vec<RunId> = page(&runs.client, "").await.items.iter().map(|run| run.run).collect();
    assert_eq!(all, newer.iter().rev().chain(ids.iter().rev()).copied().collect::<Vec<_>>());
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(&runs.client, &format!("limit=3{cursor}")).await;
        paged.extend(page.items.iter().map(|run| run.run));
        let Some(next) = page.next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all, "page by page");
}

async fn late_halves_of_packed_runs(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, seen) = runs.halves(&ground, 10, 10);
    let (long_receipt, long_seen) = runs.halves(&ground, 10, 10);
    let (alone, alone_seen) = runs.halves(&ground, 10, 10);
    node.submit(vec![receipt.clone(), alone.clone()]).await;
    observe(&ground, std::slice::from_ref(&seen)).await;
    let others = settle(&ground, &runs, &mut node, 3).await;
    pack_and_evict(&ground).await;
    assert_eq!(rows_of_runs(&ground).await, 0);
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.flagged), (5, 1));
    for _ in 0..2 {
        node.submit(vec![receipt.clone(), alone.clone()]).await;
        observe(&ground, &[seen.clone(), alone_seen.clone()]).await;
        pack_and_evict(&ground).await;
    }
    assert_eq!(runs.usage().await, usage, "each once");
    assert_eq!(runs.run(alone_seen.run).await.flag, Some(Flag::NoObservation), "its time is over");
    // As old as they are, it was in no block: it went on.
    node.submit(vec![long_receipt]).await;
    observe(&ground, std::slice::from_ref(&long_seen)).await;
    assert_eq!(runs.usage().await.runs, 6);
    pack_and_evict(&ground).await;
    assert_eq!(page(&runs.client, "").await.items.len(), 3 + others.len());
    assert_eq!(rows_of_runs(&ground).await, 0);
}

/// However slow it is: nobody else could write meanwhile.
async fn no_transaction_reads_the_store(ground: Ground) {
    let ground = small(&ground, 5).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, seen) = runs.halves(&ground, 10, 10);
    node.submit(vec![receipt]).await;
    observe(&ground, std::slice::from_ref(&seen)).await;
    pack_and_evict(&ground).await;
    let app = &ground.app;
    let settle = async |looked: &Looked| {
        let tx = app.db.begin().await.unwrap();
        let settled = crate::settlement::observe(&tx, std::slice::from_ref(&seen), looked).await;
        tx.commit().await.unwrap();
        settled
    };
    let mut looked = Looked::default();
    let unlooked = match settle(&looked).await {
        Err(SettleError::Unlooked(unlooked)) => unlooked,
        settled => panic!("{settled:?}"),
    };
    looked.look(app, unlooked).await.unwrap();
    let store = ground.folder.path().join("store");
    std::fs::rename(&store, ground.folder.path().join("away")).unwrap();
    settle(&looked).await.unwrap();
    assert_eq!((runs.usage().await.runs, rows_of_runs(&ground).await), (1, 0));
    std::fs::rename(ground.folder.path().join("away"), store).unwrap();
}

async fn corrections_stand_in_a_later_block(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, seen) = runs.halves(&ground, 5000, 3000);
    node.submit(vec![receipt]).await;
    let others = settle(&ground, &runs, &mut node, 2).await;
    sweep_once(&ground.app, later(700), true).await.unwrap();
    assert_eq!(rows_of_runs(&ground).await, 1, "the gateway's half may come for an hour");
    let listed = page(&runs.client, "").await.items;
    assert_eq!(listed.iter().map(|run| run.run).collect::<Vec<_>>(), [others[1], others[0], seen.run]);
    assert_eq!(page(&runs.client, "status=none").await.items.len(), 1);
    observe(&ground, std::slice::from_ref(&seen)).await;
    for packed in [false, true] {
        if packed {
            pack_and_evict(&ground).await;
        }
        let run = runs.run(seen.run).await;
        assert_eq!((run.status, run.usage.wall_us, run.flag), (200, 3000, Some(Flag::NoObservation)));
        let listed = page(&runs.client, "").await.items;
        assert_eq!(listed.iter().filter(|listed| listed.run == seen.run).count(), 1);
        assert_eq!(page(&runs.client, "status=none").await.items, [], "as it was packed first, it is nowhere");
        assert_eq!(page(&runs.client, "status=200&flagged=true").await.items.len(), 1);
    }
    let blocks = rows_of_blocks(&ground).await;
    assert_eq!(blocks.iter().map(|block| (block.runs, block.corrects)).collect::<Vec<_>>(), [(3, false), (1, true)]);
    assert_eq!(runs.usage().await.runs, 3);
}

/// Two control planes pack the same runs: one of them comes first, and each run is in one block.
async fn what_changes_meanwhile_is_packed_again(ground: Ground) {
    let ground = small(&ground, 4).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    // Both have the same store.
    let other = App::open(ground.app.config.clone(), ground.app.store.clone(), None).await.unwrap();
    let mut all = Vec::new();
    for _ in 0..4 {
        all.extend(settle(&ground, &runs, &mut node, 7).await);
        let (one, two) = tokio::join!(sweep_once(&ground.app, later(61), true), sweep_once(&other, later(61), true));
        one.unwrap();
        two.unwrap();
    }
    let blocks = rows_of_blocks(&ground).await;
    let mut packed = Vec::new();
    for (number, block) in (1..).zip(&blocks) {
        assert_eq!(block.number, number);
        packed.extend(ids_in(&ground, block).await);
    }
    packed.sort_unstable();
    all.sort_unstable();
    assert_eq!(packed, all);
}

/// The file of a block's body.
pub(super) fn segment(ground: &Ground, block: &blocks::Model) -> std::path::PathBuf {
    let segments = ground.segments(block.blob.unwrap().0);
    assert_eq!(segments.len(), 1);
    segments[0].clone()
}

async fn damaged_blocks_are_named(ground: Ground) {
    let ground = small(&ground, 3).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipts, seen): (Vec<NodeReceipt>, Vec<Observation>) = (0..9).map(|_| runs.halves(&ground, 10, 10)).unzip();
    node.submit(receipts.clone()).await;
    observe(&ground, &seen).await;
    pack_and_evict(&ground).await;
    let blocks = rows_of_blocks(&ground).await;
    assert_eq!(blocks.len(), 3);
    // The first is gone, and the second is something else.
    std::fs::remove_file(segment(&ground, &blocks[0])).unwrap();
    std::fs::write(segment(&ground, &blocks[1]), b"something else").unwrap();
    for query in ["limit=200", "status=2xx", "limit=4"] {
        let first = page(&runs.client, query).await;
        let listed: Vec<RunId> = first.items.iter().map(|run| run.run).collect();
        assert_eq!(listed, [seen[8].run, seen[7].run, seen[6].run], "the rest goes on: {query}");
        assert_eq!((first.damaged, first.next), (vec![1, 2], None), "{query}");
    }
    let whole = page(&runs.client, "limit=2").await;
    assert_eq!((whole.items.len(), whole.damaged), (2, vec![]), "nobody has asked for the others");
    for (at, block) in [(0, 1), (4, 2)] {
        let answer = runs.client.get(&format!("/invocations/{}", seen[at].run)).await;
        assert_eq!(answer.code(), Code::NotFound);
        let problem: Problem = answer.read();
        assert!(problem.detail.contains(&format!("block {block}, which is damaged")), "{problem:?}");
    }
    // In doubt nobody is billed twice.
    let usage = runs.usage().await;
    node.submit(receipts).await;
    observe(&ground, &seen).await;
    pack_and_evict(&ground).await;
    assert_eq!(runs.usage().await, usage);
}

async fn too_many_bytes(ground: Ground) {
    let ground = small(&ground, 5).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let ids = settle(&ground, &runs, &mut node, 15).await;
    pack_and_evict(&ground).await;
    let blocks = rows_of_blocks(&ground).await;
    let bytes: i64 = blocks.iter().map(|block| block.bytes).sum();
    let keep = async |bytes: i64, seconds: i64| {
        let history_bytes_max = ByteSize(u64::try_from(bytes).unwrap());
        let config = Config { history_bytes_max, ..ground.app.config.clone() };
        prune(&ground.app.db, &config, later(seconds)).await.unwrap();
    };
    keep(bytes, 100).await;
    keep(bytes - 1, 30).await;
    assert_eq!(page(&runs.client, "").await.items.len(), 15, "a gateway may still speak of them");
    keep(bytes - 1, 100).await;
    let left = page(&runs.client, "").await;
    assert_eq!(
        left.items.iter().map(|run| run.run).collect::<Vec<_>>(),
        ids[5..].iter().rev().copied().collect::<Vec<_>>()
    );
    assert!(ids[4] < RunId::from_uuid(crate::settlement::first_id_at(left.since.unwrap())), "and says since when");
    let blocks = rows_of_blocks(&ground).await;
    assert!(blocks[0].blob.is_none() && Header::parse(&blocks[0].header).is_ok(), "the header stays");
    let window = run_windows::Entity::find().one(ground.app.db.read()).await.unwrap().unwrap();
    assert_eq!((window.runs, window.packed_bytes), (10, blocks[1].bytes + blocks[2].bytes));
}

async fn old_headers_go(ground: Ground) {
    let ground = small(&ground, 2).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    settle(&ground, &runs, &mut node, 6).await;
    pack_and_evict(&ground).await;
    let after_days = async |days: i64| {
        prune(&ground.app.db, &ground.app.config, later(days * 86_400)).await.unwrap();
        rows_of_blocks(&ground).await.iter().map(|block| block.number).collect::<Vec<_>>()
    };
    let bodies: Vec<BlobId> = rows_of_blocks(&ground).await.iter().map(|block| block.blob.unwrap().0).collect();
    let kept = moving::left_after_sweeps(&ground.app).await;
    assert!(bodies.iter().all(|body| kept.contains(body)));
    assert_eq!(after_days(395).await, [1, 2, 3], "for 13 months, without bodies");
    let kept = moving::left_after_sweeps(&ground.app).await;
    assert!(!kept.is_empty() && !bodies.iter().any(|body| kept.contains(body)), "nothing of them is left");
    assert_eq!(after_days(397).await, [3], "the last one is what the next goes on from");
    settle(&ground, &runs, &mut node, 1).await;
    // Its id is that of a time which is forgotten.
    let usage = runs.usage().await;
    assert_eq!(usage.runs, 6);
}

async fn samples_are_a_ring(ground: Ground) {
    let change = |config: &mut Config| (config.block_runs, config.training_samples_max) = (300, 250);
    let ground = Ground::on(ground.app.config.database.clone(), change).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let count = async || samples::Entity::find().all(ground.app.db.read()).await.unwrap().len();
    for (settled, kept) in [(10, 10), (230, 210), (230, 250)] {
        for part in (0..settled).step_by(100) {
            settle(&ground, &runs, &mut node, (settled - part).min(100)).await;
        }
        pack_and_evict(&ground).await;
        assert_eq!(count().await, kept, "at most 200 of a block, and 250 in all");
    }
    let learned = crate::training::newest(&ground.app, 1_000).await.unwrap();
    assert_eq!(learned.len(), 250, "rows are gone, and it goes on");
    let fresh = settle(&ground, &runs, &mut node, 20).await;
    assert_eq!(crate::training::newest(&ground.app, 100).await.unwrap().len(), 100);
    let all = crate::training::newest(&ground.app, 1_000).await.unwrap();
    assert_eq!(all.len(), 250 + fresh.len());
    assert!(all.iter().all(|run| run.wall.as_micros() == 10 && !run.failed), "{:?}", all[0]);
}

/// Settled rows are packed, also those that are in a segment of an earlier release.
async fn rows_of_an_earlier_release(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let ids = settle(&ground, &runs, &mut node, 9).await;
    let (open, open_seen) = runs.halves(&ground, 10, 10);
    node.submit(vec![open]).await;
    let shown = page(&runs.client, "").await.items;
    let db = &ground.app.db;
    ground.before_blobs("blocks").await;
    for sql in [
        "DROP INDEX runs_unpacked",
        "DROP INDEX run_windows_waiting",
        "DROP INDEX run_windows_full",
        "DROP TABLE blocks",
        "DROP TABLE samples",
        "ALTER TABLE runs DROP COLUMN block",
        "ALTER TABLE run_windows DROP COLUMN unpacked",
        "ALTER TABLE run_windows DROP COLUMN unpacked_since",
        "ALTER TABLE run_windows DROP COLUMN packed_bytes",
        "ALTER TABLE run_windows DROP COLUMN evicted",
        "DELETE FROM counters WHERE name = 'samples'",
        "CREATE INDEX runs_unlogged ON runs (run_id) WHERE settled AND segment IS NULL",
        "UPDATE runs SET segment = 1 WHERE run_id IN (SELECT run_id FROM runs WHERE settled LIMIT 5)",
        "DELETE FROM seaql_migrations WHERE version = 'm0013_blocks'",
    ] {
        db.write().execute_unprepared(sql).await.unwrap();
    }
    db.close().await;
    let store = store::Store::disk(ground.folder.path().join("store")).unwrap();
    let mut config = config(ground.folder.path(), ground.app.config.database.clone(), ground.node);
    config.block_runs = 4;
    let app = App::open(config, store, None).await.unwrap();
    let ground = Ground { router: crate::router(app.clone()), app, ..ground };
    let client = runs.client.on(ground.router.clone());
    assert_eq!(page(&client, "").await.items, shown);
    sweep_once(&ground.app, later(11), false).await.unwrap();
    let sizes: Vec<i64> = rows_of_blocks(&ground).await.iter().map(|block| block.runs).collect();
    assert_eq!(sizes, [4, 4, 1], "in bounded steps");
    observe(&ground, std::slice::from_ref(&open_seen)).await;
    pack_and_evict(&ground).await;
    assert_eq!(rows_of_runs(&ground).await, 0);
    let listed: Vec<RunId> = page(&client, "").await.items.iter().map(|run| run.run).collect();
    assert_eq!(listed, [open_seen.run].into_iter().chain(ids.into_iter().rev()).collect::<Vec<_>>());
}
