//! Whatever happens, the history is complete: halves in any order, packs that are killed, corrections, evictions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use books::download::{Event, Period, Reader};
use protocol::api::{Invocation, InvocationPage, UsageSums};
use protocol::receipt::{NodeReceipt, Observation, Outcome};
use protocol::{ByteSize, Code, Flag, Millis, RunId, Timestamp};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::super::harness::{Ground, suite};
use super::{Runs, Signer, later, observe};
use crate::Config;
use crate::settlement::{prune, sweep_once};

suite!(whatever_happens_the_history_is_complete);

/// Of what happens, for each kind of block; `CROWDCLOUD_HISTORY_SEEDS` says more.
const SEEDS: u64 = 3;

/// A half that is to come.
enum Half {
    Receipt(Box<NodeReceipt>),
    Seen(Box<Observation>),
}

/// What lists are asked for, and which runs fit.
type Case = (&'static str, fn(&Invocation) -> bool);

const CASES: [Case; 9] = [
    ("", |_| true),
    ("&function=hello", |_| true),
    ("&function=other", |_| false),
    ("&outcome=failed", |run| run.outcome == Outcome::Failed),
    ("&outcome=trap,timed_out", |run| run.code == Some(Code::Trap) || run.outcome == Outcome::TimedOut),
    ("&status=5xx", |run| (500..600).contains(&run.status)),
    ("&status=none&function=hello", |run| run.status == 0),
    ("&flagged=true", |run| run.flag.is_some()),
    ("&flagged=false&status=2xx", |run| run.flag.is_none() && (200..300).contains(&run.status)),
];

async fn whatever_happens_the_history_is_complete(ground: Ground) {
    let seeds = std::env::var("CROWDCLOUD_HISTORY_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    // As many runs of a block, and runs that a page looks at.
    for (block_runs, scanned) in [(3, 5_000), (5, 4)] {
        let change = |config: &mut Config| {
            (config.block_runs, config.runs_scanned_max) = (block_runs, scanned);
            (config.block_cache, config.receipts_pause) = (ByteSize(0), Millis(0));
        };
        let ground = Ground::on(ground.app.config.database.clone(), change).await;
        let name = format!("ada{block_runs}");
        let client = ground.user(&format!("{name}@example.org"), &name).await;
        let (function, version) = ground.function(&client, "hello").await;
        ground.function(&client, "other").await;
        let runs = Runs { account: client.account().await, function, version, node: ground.node, client };
        let mut node = Signer::hello(&ground).await;
        let mut all = BTreeMap::new();
        for seed in 0..seeds {
            let mut random = StdRng::seed_from_u64(seed);
            turn(&ground, &runs, &mut node, &mut random, &mut all).await;
            // What is open is given up, and rows are gone where they may.
            sweep_once(&ground.app, later(700), random.random_bool(0.5)).await.unwrap();
            compare(&runs, &mut all, seed).await;
        }
        forgotten(&ground, &runs, &mut node, &all).await;
    }
}

/// Some runs of which the halves come in any order, now and then twice, with whatever else happens in between.
async fn turn(
    ground: &Ground,
    runs: &Runs,
    node: &mut Signer,
    random: &mut StdRng,
    all: &mut BTreeMap<RunId, Option<Invocation>>,
) {
    let mut halves = Vec::new();
    for _ in 0..14 {
        let (receipt, mut seen) = runs.halves(ground, random.random_range(1..9_000), 9_000);
        match random.random_range(0..6) {
            0 => (seen.outcome, seen.status, seen.code) = (Outcome::Failed, 502, Some(Code::Trap)),
            1 => (seen.outcome, seen.status) = (Outcome::TimedOut, 504),
            2 => (seen.node, seen.end) = (None, None),
            _ => {}
        }
        all.insert(seen.run, None);
        // One of them may never come.
        let missing = random.random_range(0..8);
        if missing != 0 || seen.node.is_none() {
            halves.push(Half::Seen(Box::new(seen)));
        }
        if missing != 1 || halves.is_empty() {
            halves.push(Half::Receipt(Box::new(receipt)));
        }
    }
    let again = halves.len() / 4;
    halves.shuffle(random);
    let repeated: Vec<Half> = halves.iter().take(again).map(copy).collect();
    halves.extend(repeated);
    for half in halves {
        match half {
            Half::Receipt(receipt) => node.submit(vec![*receipt]).await,
            Half::Seen(seen) => observe(ground, &[*seen]).await,
        }
        if random.random_bool(0.3) {
            let patience = [0, 11, 61, 700, 3_700][random.random_range(0..5)];
            let all = random.random_bool(0.4);
            let sweep = Box::pin(sweep_once(&ground.app, later(patience), all));
            match random.random_bool(0.5) {
                true => sweep.await.unwrap(),
                // Killed somewhere on its way, between the object and the commit for instance.
                false => {
                    let within = Duration::from_micros(random.random_range(0..8_000));
                    drop(tokio::time::timeout(within, sweep).await);
                }
            }
        }
    }
}

fn copy(half: &Half) -> Half {
    match half {
        Half::Receipt(receipt) => Half::Receipt(receipt.clone()),
        Half::Seen(seen) => Half::Seen(seen.clone()),
    }
}

/// All pages of a list.
async fn listed(runs: &Runs, query: &str, limit: u32) -> Vec<Invocation> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    for _ in 0..10_000 {
        let answer = runs.client.get(&format!("/invocations?limit={limit}{query}{cursor}")).await;
        let page: InvocationPage = answer.read();
        assert!(page.damaged.is_empty() && page.items.len() <= limit as usize, "{page:?}");
        items.extend(page.items);
        let Some(next) = page.next else { return items };
        let next = format!("&cursor={next}");
        assert_ne!(next, cursor, "it goes on: {query}");
        cursor = next;
    }
    panic!("{query}: the list has no end");
}

/// What can be said of a run without its placement.
fn brief(run: Invocation) -> Invocation {
    Invocation { placement: None, ..run }
}

async fn compare(runs: &Runs, all: &mut BTreeMap<RunId, Option<Invocation>>, seed: u64) {
    let mut shown = Vec::new();
    for (id, earlier) in all.iter_mut().rev() {
        let run = brief(runs.run(*id).await);
        assert!(run.settled, "seed {seed}: {run:?}");
        match earlier {
            // It may be corrected, once, and then it is not dearer.
            Some(earlier) if earlier.flag == Some(Flag::NoObservation) && earlier.method.is_empty() => {
                assert!(run.usage.wall_us <= earlier.usage.wall_us, "seed {seed}: {earlier:?} {run:?}");
            }
            Some(earlier) => assert_eq!(*earlier, run, "seed {seed}: what is settled stays"),
            None => {}
        }
        *earlier = Some(run.clone());
        shown.push(run);
    }
    for (query, fits) in CASES {
        let wanted: Vec<&Invocation> = shown.iter().filter(|run| fits(run)).collect();
        for limit in [4, 200] {
            let listed = listed(runs, query, limit).await;
            assert_eq!(listed.iter().collect::<Vec<_>>(), wanted, "seed {seed}: {query}, by {limit}");
        }
    }
    let usage = runs.usage().await;
    let sum = |of: fn(&Invocation) -> u64| shown.iter().map(of).sum::<u64>();
    assert_eq!(usage.runs, shown.len() as u64, "seed {seed}: each is settled once");
    assert_eq!(usage.wall_us, sum(|run| run.usage.wall_us), "seed {seed}");
    assert_eq!(usage.flagged, sum(|run| u64::from(run.flag.is_some())), "seed {seed}");
    assert_eq!(usage.failed, sum(|run| u64::from(run.outcome == Outcome::Failed)), "seed {seed}");
    in_blocks(runs, &shown, &usage, seed).await;
}

/// The last lines of all blocks are the runs as they are shown, and their sums are those of usage.
async fn in_blocks(runs: &Runs, shown: &[Invocation], usage: &UsageSums, seed: u64) {
    let answer = runs.client.get("/receipts").await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let mut reader = Reader::new(Period::default());
    let mut last = BTreeMap::new();
    for line in text.lines() {
        if let Event::Run { run, .. } = reader.line(line.as_bytes()) {
            last.insert(run.run, run);
        }
    }
    let report = reader.end();
    assert!(report.is_whole(), "seed {seed}: {report:?}");
    assert_eq!(last.keys().copied().collect::<BTreeSet<_>>(), shown.iter().map(|run| run.run).collect(), "seed {seed}");
    for run in shown {
        let line = &last[&run.run];
        let of_line = (line.billed, line.flag, line.status, line.outcome, line.code, line.received);
        assert_eq!(of_line, (run.usage, run.flag, run.status, run.outcome, run.code, run.received), "seed {seed}");
    }
    let totals = &report.totals;
    assert_eq!((totals.runs, totals.wall_us, totals.flagged), (usage.runs, usage.wall_us, usage.flagged), "{seed}");
    assert_eq!((totals.cpu_us, totals.memory_kib_ms), (usage.cpu_us, usage.memory_kib_ms), "seed {seed}");
    assert_eq!((totals.bytes_in, totals.bytes_out), (usage.bytes_in.0, usage.bytes_out.0), "seed {seed}");
    assert_eq!(totals.reserved_cpu_us, usage.reserved_cpu_us, "seed {seed}");
    assert_eq!(totals.reserved_memory_kib_ms, usage.reserved_memory_kib_ms, "seed {seed}");
}

/// What is forgotten stays settled, and the list is complete since the time that it tells.
async fn forgotten(ground: &Ground, runs: &Runs, node: &mut Signer, all: &BTreeMap<RunId, Option<Invocation>>) {
    sweep_once(&ground.app, later(4_000), true).await.unwrap();
    let usage = runs.usage().await;
    let config = Config { runs_max: 20, ..ground.app.config.clone() };
    // Those that no gateway has told of stay for two hours.
    prune(&ground.app.db, &config, later(3 * 3_600)).await.unwrap();
    let page: InvocationPage = runs.client.get("/invocations?limit=200").await.read();
    let since = page.since.unwrap();
    let first = RunId::from_uuid(crate::settlement::first_id_at(since));
    let listed: BTreeSet<RunId> = page.items.iter().map(|run| run.run).collect();
    assert!(listed.len() <= 20 && all.range(first..).all(|(run, _)| listed.contains(run)), "{since}");
    let old = all.keys().find(|run| !listed.contains(run)).copied().unwrap();
    let (mut receipt, mut seen) = runs.halves(ground, 10, 10);
    (receipt.run, receipt.ticket, seen.run) = (old, runs.ticket(ground, old), old);
    seen.received = Timestamp(since.0 - 1);
    node.submit(vec![receipt]).await;
    observe(ground, &[seen]).await;
    sweep_once(&ground.app, later(4_000), true).await.unwrap();
    assert_eq!(runs.usage().await, usage, "it was settled");
}
