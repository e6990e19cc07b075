//! Lines are the same whether they are rows or in blocks: against a plain list of all that was written, with processes that
//! die between object and commit, and batches that come twice; bounds; damage.

mod retention;
mod streams;

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use protocol::api::LogPage;
use protocol::node::{LogLine, LogStream, RunLog};
use protocol::ticket::{Purpose, Ticket};
use protocol::{
    AccountId, ByteSize, Code, Digest, EpochId, FunctionId, Lane, Limits, Millis, RunId, Timestamp, VersionId,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sea_orm::{ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};

use super::pack;
use crate::App;
use crate::config::Config;
use crate::db::columns::Col;
use crate::db::entities::{log_accounts, log_blocks, log_runs, run_logs};
use crate::tests::harness::{Client, Ground, suite};

suite!(
    as_a_plain_list_has_it,
    lines_of_a_run_are_bounded_and_count_once_for_ever,
    a_block_that_cannot_be_read_is_named,
    lines_of_the_release_before_become_blocks
);

/// A user with two functions.
struct Writer {
    client: Client,
    account: AccountId,
    functions: [(FunctionId, VersionId); 2],
}

const NAMES: [&str; 2] = ["hello", "other"];

impl Writer {
    async fn new(ground: &Ground, name: &str) -> Self {
        let client = ground.user(&format!("{name}@example.org"), name).await;
        let mut functions = Vec::new();
        for name in NAMES {
            let (function, version) = ground.function(&client, name).await;
            functions.push((function, version.id));
        }
        Self { account: client.account().await, client, functions: functions.try_into().unwrap() }
    }

    fn log(&self, ground: &Ground, function: usize, run: RunId, lines: Vec<LogLine>) -> RunLog {
        let (function, version) = self.functions[function];
        let ticket = Ticket {
            purpose: Purpose::Run,
            run,
            node: ground.node,
            account: self.account,
            function,
            version,
            artifact: Digest([1; 32]),
            lane: Lane::Wasm,
            limits: Limits::default(),
            epoch: EpochId::new(),
            issued: Timestamp::now(),
            expires: later(20),
        };
        RunLog { run, ticket: ground.app.tickets.issue(&ticket), lines }
    }

    async fn run(&self, run: RunId) -> Vec<String> {
        texts(&self.client.get(&format!("/invocations/{run}/logs")).await.read::<LogPage>().items)
    }

    async fn function(&self, function: usize, query: &str) -> Vec<LogLine> {
        let answer = self.client.get(&format!("/functions/{}/logs{query}", NAMES[function])).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    async fn row(&self, app: &App) -> log_accounts::Model {
        log_accounts::Entity::find_by_id(Col(self.account)).one(app.db.read()).await.unwrap().unwrap()
    }

    async fn rows(&self, app: &App) -> u64 {
        let rows = run_logs::Entity::find().filter(run_logs::Column::AccountId.eq(Col(self.account)));
        rows.count(app.db.read()).await.unwrap()
    }

    async fn blocks(&self, app: &App) -> Vec<log_blocks::Model> {
        let blocks = log_blocks::Entity::find().filter(log_blocks::Column::AccountId.eq(Col(self.account)));
        let mut blocks = blocks.all(app.db.read()).await.unwrap();
        blocks.sort_unstable_by_key(|block| block.number);
        blocks
    }
}

fn line(run: RunId, sequence: u32, text: impl Into<String>) -> LogLine {
    LogLine { run, sequence, at: Timestamp::now(), stream: LogStream::Stdout, text: text.into() }
}

fn lines(run: RunId, sequences: std::ops::Range<u32>) -> Vec<LogLine> {
    sequences.map(|sequence| line(run, sequence, format!("{run} {sequence}"))).collect()
}

fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|line| line.text.clone()).collect()
}

async fn send(ground: &Ground, logs: &[RunLog]) {
    let router = crate::api::nodes::log(ground.app.clone());
    let node = Client::new(router.layer(axum::Extension(fabric::Peer::Node(ground.node))));
    let answer = node.send(Method::POST, "/logs", Some(serde_json::to_value(logs).unwrap())).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
}

async fn with(ground: &Ground, change: impl FnOnce(&mut Config)) -> Ground {
    Ground::on(ground.app.config.database.clone(), change).await
}

fn later(seconds: i64) -> Timestamp {
    Timestamp(Timestamp::now().0 + seconds * 1000)
}

/// Packs all that waits, and where rows are old enough to go, they go.
async fn sweep(ground: &Ground, seconds: i64) {
    super::sweep(&ground.app, later(seconds)).await.unwrap();
}

/// A process stores an account's next block, and dies.
async fn dies_after_the_object(ground: &Ground, writer: &Writer) {
    let app = &ground.app;
    drop(pack::put(app, &writer.row(app).await).await.unwrap());
}

/// All that one account has written, in the order in which it came.
#[derive(Default)]
struct Model {
    lines: Vec<(usize, LogLine)>,
    runs: BTreeMap<RunId, usize>,
}

impl Model {
    fn of_run(&self, run: RunId) -> Vec<String> {
        let mut lines: Vec<&LogLine> = self.lines.iter().map(|(_, line)| line).filter(|line| line.run == run).collect();
        lines.sort_by_key(|line| line.sequence);
        lines.into_iter().map(|line| line.text.clone()).collect()
    }

    fn of_function(&self, function: usize) -> Vec<String> {
        self.lines.iter().filter(|(of, _)| *of == function).map(|(_, line)| line.text.clone()).collect()
    }
}

async fn agrees(ground: &Ground, writer: &Writer, model: &Model, seed: u64) {
    for run in model.runs.keys() {
        assert_eq!(writer.run(*run).await, model.of_run(*run), "seed {seed}, {run}");
    }
    for (function, name) in NAMES.iter().enumerate() {
        let all = texts(&writer.function(function, "?since=1h").await);
        assert_eq!(all, model.of_function(function), "seed {seed}, {name}");
        let tail = texts(&writer.function(function, "").await);
        let wanted = model.of_function(function);
        assert_eq!(tail, wanted[wanted.len().saturating_sub(200)..], "seed {seed}, the tail of {name}");
    }
    let blocks = writer.blocks(&ground.app).await;
    let numbers: Vec<i64> = blocks.iter().map(|block| block.number).collect();
    assert_eq!(numbers, (1..=i64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>(), "seed {seed}");
    let packed: i64 = blocks.iter().map(|block| block.lines).sum();
    let row = writer.row(&ground.app).await;
    let all = i64::try_from(model.lines.len()).unwrap();
    assert_eq!(
        (row.waiting, row.bytes),
        (all - packed, blocks.iter().map(|block| block.bytes).sum::<i64>()),
        "seed {seed}"
    );
    assert_eq!(u64::try_from(row.row_count).unwrap(), writer.rows(&ground.app).await, "seed {seed}");
}

async fn as_a_plain_list_has_it(ground: Ground) {
    let ground = with(&ground, |config| {
        (config.log_block_lines_max, config.log_block_age_max) = (7, Millis::seconds(60));
        config.log_rows_age = Millis::seconds(120);
    })
    .await;
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let writer = Writer::new(&ground, &format!("ada{seed}")).await;
        let other = Writer::new(&ground, &format!("eve{seed}")).await;
        let mut model = Model::default();
        let mut sent: Vec<RunLog> = Vec::new();
        for _ in 0..40 {
            match random.random_range(0..10) {
                0..=4 => {
                    let function = random.random_range(0..2);
                    let known: Vec<RunId> =
                        model.runs.iter().filter(|(_, of)| **of == function).map(|(run, _)| *run).collect();
                    let again = !known.is_empty() && random.random_bool(0.4);
                    let run = if again { known[random.random_range(0..known.len())] } else { RunId::new() };
                    // Numbers may come before lesser ones.
                    let next =
                        model.lines.iter().filter(|(_, line)| line.run == run).map(|(_, line)| line.sequence + 1);
                    let from = next.max().unwrap_or(0) + random.random_range(0..2);
                    let new = lines(run, from..from + random.random_range(1..6));
                    model.runs.insert(run, function);
                    model.lines.extend(new.iter().map(|line| (function, line.clone())));
                    let log = writer.log(&ground, function, run, new);
                    let foreign = RunId::new();
                    send(&ground, &[log.clone(), other.log(&ground, 0, foreign, lines(foreign, 0..2))]).await;
                    sent.push(log);
                }
                5 if !sent.is_empty() => {
                    let again = sent[random.random_range(0..sent.len())].clone();
                    send(&ground, &[again.clone(), again]).await;
                }
                6 if !model.lines.is_empty() => dies_after_the_object(&ground, &writer).await,
                7 => sweep(&ground, 0).await,
                8 => sweep(&ground, 61).await,
                _ => sweep(&ground, 300).await,
            }
        }
        sweep(&ground, 0).await;
        if !model.lines.is_empty() {
            agrees(&ground, &writer, &model, seed).await;
        }
        // All packed, then without rows.
        for round in 1..20 {
            sweep(&ground, 300 + 100 * round).await;
        }
        agrees(&ground, &writer, &model, seed).await;
        assert_eq!(writer.row(&ground.app).await.waiting, 0);
        sweep(&ground, 5000).await;
        assert_eq!(writer.rows(&ground.app).await, 0, "seed {seed}");
        agrees(&ground, &writer, &model, seed).await;
    }
}

async fn lines_of_a_run_are_bounded_and_count_once_for_ever(ground: Ground) {
    let ground = with(&ground, |config| config.log_size_max = ByteSize(1000)).await;
    let writer = Writer::new(&ground, "ada").await;
    let (run, many) = (RunId::new(), RunId::new());
    let first = writer.log(&ground, 0, run, vec![line(run, 0, "x".repeat(600)), line(run, 1, "y".repeat(300))]);
    // Lines without a text, too.
    let empty = |from: u32| writer.log(&ground, 0, many, (from..from + 3000).map(|n| line(many, n, "")).collect());
    for cleared in [false, true] {
        let more = writer.log(&ground, 0, run, vec![line(run, 2, "z".repeat(200)), line(run, 0, "forged")]);
        for log in [&first, &more, &empty(0), &empty(2000)] {
            send(&ground, std::slice::from_ref(log)).await;
        }
        let written = writer.run(run).await;
        assert_eq!(written, ["x".repeat(600), "y".repeat(300)], "cleared: {cleared}");
        assert_eq!(writer.run(many).await.len(), usize::try_from(RunLog::LINES_MAX).unwrap(), "cleared: {cleared}");
        sweep(&ground, 1000).await;
        sweep(&ground, 2000).await;
        assert_eq!(writer.rows(&ground.app).await, 0);
    }
    let known = || async { log_runs::Entity::find().count(ground.app.db.read()).await.unwrap() };
    super::prune(&ground.app, later(300)).await.unwrap();
    assert_eq!(known().await, 2, "its lines are still taken");
    super::prune(&ground.app, later(7200)).await.unwrap();
    assert_eq!(known().await, 0);
}

async fn a_block_that_cannot_be_read_is_named(ground: Ground) {
    let ground = with(&ground, |config| config.log_block_lines_max = 3).await;
    let writer = Writer::new(&ground, "ada").await;
    let runs: Vec<RunId> = (0..4).map(|_| RunId::new()).collect();
    for run in &runs {
        send(&ground, &[writer.log(&ground, 0, *run, lines(*run, 0..3))]).await;
    }
    sweep(&ground, 1000).await;
    sweep(&ground, 2000).await;
    let blocks = writer.blocks(&ground.app).await;
    assert_eq!((blocks.len(), writer.rows(&ground.app).await), (4, 0));
    let segment = |block: &log_blocks::Model| ground.segments(block.blob.unwrap().0).remove(0);
    // One is missing, one is damaged.
    std::fs::remove_file(segment(&blocks[0])).unwrap();
    std::fs::write(segment(&blocks[2]), b"other").unwrap();
    let of_function = texts(&writer.function(0, "?since=1h").await);
    let read: Vec<String> = [&runs[1], &runs[3]].into_iter().flat_map(|run| texts(&lines(*run, 0..3))).collect();
    assert_eq!(of_function.len(), 8, "{of_function:?}");
    assert!(of_function[0].starts_with("Block 1 ") && of_function[0].contains("missing"), "{of_function:?}");
    assert!(of_function[4].starts_with("Block 3 ") && of_function[4].contains("damaged"), "{of_function:?}");
    assert_eq!([&of_function[1..4], &of_function[5..]].concat(), read);
    assert_eq!(texts(&writer.function(0, "").await), of_function);
    assert_eq!(writer.run(runs[1]).await, texts(&lines(runs[1], 0..3)));
    // It has all of this run's lines: that it cannot be read is said where the run is known.
    let gone = writer.client.get(&format!("/invocations/{}/logs", runs[0])).await;
    assert_eq!(gone.code(), Code::NotFound);
    send(&ground, &[writer.log(&ground, 0, runs[0], lines(runs[0], 3..4))]).await;
    let part: LogPage = writer.client.get(&format!("/invocations/{}/logs", runs[0])).await.read();
    assert_eq!(part.items[0].text, format!("{} 3", runs[0]));
    assert!(part.items[1].text.starts_with("Block 1 ") && part.items[1].stream == LogStream::Platform);
}

async fn lines_of_the_release_before_become_blocks(ground: Ground) {
    let writer = Writer::new(&ground, "ada").await;
    let run = RunId::new();
    let log = |sequence: u32, length: usize| {
        writer.log(&ground, 0, run, vec![line(run, sequence, sequence.to_string().repeat(length))])
    };
    send(&ground, &[log(0, 10), log(1, 10)]).await;
    ground.before_blobs("log_blocks").await;
    for sql in [
        "DROP TABLE log_blocks",
        "DROP TABLE log_accounts",
        "DROP TABLE log_runs",
        "DROP INDEX run_logs_account",
        "CREATE INDEX run_logs_at ON run_logs (at)",
        "DELETE FROM seaql_migrations WHERE version = 'm0015_logs'",
    ] {
        ground.app.db.write().execute_unprepared(sql).await.unwrap();
    }
    let none = ground.user("eve@example.org", "eve").await.account().await;
    let next = with(&ground, |config| config.log_size_max = ByteSize(60)).await;
    let before = Timestamp::now();
    // What was written before counts: the lines themselves, and their bytes.
    let log = |sequence: u32, length: usize| {
        writer.log(&next, 0, run, vec![line(run, sequence, sequence.to_string().repeat(length))])
    };
    send(&next, &[log(0, 10), log(1, 10), log(2, 10), log(3, 20)]).await;
    let writer = Writer { client: writer.client.on(next.router.clone()), ..writer };
    let all: Vec<String> = (0..3).map(|sequence: u32| sequence.to_string().repeat(10)).collect();
    for seconds in [0, 1000, 2000] {
        assert_eq!(writer.run(run).await, all);
        sweep(&next, seconds).await;
    }
    assert_eq!(writer.run(run).await, all);
    assert_eq!((writer.blocks(&next.app).await.len(), writer.rows(&next.app).await), (1, 0));
    let row = writer.row(&next.app).await;
    assert_eq!((row.waiting, row.row_count), (0, 0), "however many were counted");
    assert!(row.since.0 <= before && row.since.0 > Timestamp(0), "complete since its first line");
    let of_none = log_accounts::Entity::find_by_id(Col(none)).one(next.app.db.read()).await.unwrap().unwrap();
    assert!(of_none.since.0 > Timestamp(0), "what was pruned before is not known");
}
