//! What is kept of runs, and how lists find them.

use std::time::Duration;

use http::StatusCode;
use protocol::api::{Invocation, InvocationPage, Key, UsageReport};
use protocol::receipt::{Observation, Outcome};
use protocol::{AccountId, Code, Field, Flag, KeyId, Lane, Problem, RunId, RunPrincipal, RunSource, Timestamp};
use sea_orm::EntityTrait as _;
use serde_json::json;

use super::super::harness::{Client, Ground, suite};
use super::{Runs, Signer, later, observe};
use crate::Config;
use crate::db::columns::Col;
use crate::db::entities::{checkpoints, run_windows};
use crate::settlement::{first_id_at, prune, sweep_once};

suite!(
    a_flood_leaves_a_quiet_history_complete,
    late_halves_of_forgotten_runs_by_account,
    runs_that_are_too_old,
    old_checkpoints,
    filters,
    who_made_them,
    principals_by_their_names,
    wrong_filters_are_named,
    short_pages
);

async fn runs_of(ground: &Ground, account: &str) -> Runs {
    let client = ground.user(&format!("{account}@example.org"), account).await;
    let (function, version) = ground.function(&client, "hello").await;
    Runs { account: client.account().await, function, version, node: ground.node, client }
}

/// A call that is settled at once.
fn call(ground: &Ground, runs: &Runs) -> Observation {
    let (_, seen) = runs.halves(ground, 1, 1);
    Observation { node: None, end: None, ..seen }
}

async fn list(client: &Client, query: &str) -> InvocationPage {
    client.get(&format!("/invocations?{query}")).await.read()
}

fn ids(runs: &[Invocation]) -> Vec<RunId> {
    runs.iter().map(|run| run.run).collect()
}

/// Forgets what is more than so many runs of all accounts.
async fn keep(ground: &Ground, runs_max: u64) {
    let config = Config { runs_max, ..ground.app.config.clone() };
    prune(&ground.app.db, &config, later(100)).await.unwrap();
}

async fn counted(ground: &Ground, account: AccountId) -> i64 {
    let window = run_windows::Entity::find_by_id(Col(account)).one(ground.app.db.read()).await.unwrap();
    window.map_or(0, |window| window.runs)
}

/// Milliseconds pass.
async fn a_moment() -> Timestamp {
    tokio::time::sleep(Duration::from_millis(5)).await;
    let now = Timestamp::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    now
}

/// The same database, with blocks of so many runs.
async fn in_blocks_of(ground: &Ground, block_runs: u64) -> Ground {
    Ground::on(ground.app.config.database.clone(), |config| config.block_runs = block_runs).await
}

async fn a_flood_leaves_a_quiet_history_complete(ground: Ground) {
    let ground = in_blocks_of(&ground, 20).await;
    let (quiet, busy) = (runs_of(&ground, "ada").await, runs_of(&ground, "eve").await);
    let before: Vec<Observation> = (0..20).map(|_| call(&ground, &quiet)).collect();
    let flood: Vec<Observation> = (0..200).map(|_| call(&ground, &busy)).collect();
    observe(&ground, &before).await;
    observe(&ground, &flood).await;
    keep(&ground, 100).await;
    assert_eq!(counted(&ground, busy.account).await, 200, "what is in no block is kept");
    sweep_once(&ground.app, Timestamp::now(), true).await.unwrap();
    for _ in 0..2 {
        keep(&ground, 100).await;
        let all = list(&quiet.client, "limit=200").await;
        assert_eq!(all.items.len(), 20, "whoever has few loses nothing");
        assert!(all.since.unwrap() <= before[0].received, "and hears so: {:?}", all.since);
        let left = list(&busy.client, "limit=200").await;
        let newest: Vec<RunId> = flood.iter().rev().take(80).map(|seen| seen.run).collect();
        assert_eq!((ids(&left.items), left.next), (newest.clone(), None), "whoever has the most loses the oldest");
        let first = RunId::from_uuid(first_id_at(left.since.unwrap()));
        assert!(flood.iter().all(|seen| seen.run < first || newest.contains(&seen.run)), "complete since then");
        assert!(flood[119].run < first, "and not before");
        assert_eq!((counted(&ground, quiet.account).await, counted(&ground, busy.account).await), (20, 80));
    }
    let gone = busy.client.get(&format!("/invocations/{}", flood[0].run)).await;
    assert_eq!(gone.code(), Code::NotFound);
    assert!(gone.read::<Problem>().detail.contains("kept since"), "{gone:?}");
    let unknown = busy.client.get(&format!("/invocations/{}", RunId::new())).await;
    let detail = unknown.read::<Problem>().detail;
    assert!(detail.contains("within a second or so after its end"), "it may be on its way: {detail}");
    let old = RunId::from_uuid(first_id_at(later(-60)));
    let unknown = busy.client.get(&format!("/invocations/{old}")).await.read::<Problem>();
    assert!(!unknown.detail.contains("a second"), "{unknown:?}");
}

/// What one account lost says nothing about another's runs that are as old.
async fn late_halves_of_forgotten_runs_by_account(ground: Ground) {
    let ground = in_blocks_of(&ground, 2).await;
    let (quiet, busy) = (runs_of(&ground, "ada").await, runs_of(&ground, "eve").await);
    let mut node = Signer::hello(&ground).await;
    let (late_receipt, late_seen) = quiet.halves(&ground, 10, 10);
    let (never_receipt, never_seen) = busy.halves(&ground, 10, 10);
    let (long_receipt, long_seen) = busy.halves(&ground, 10, 300_000_000);
    a_moment().await;
    let (receipts, seen): (Vec<_>, Vec<_>) = (0..10).map(|_| busy.halves(&ground, 10, 10)).unzip();
    node.submit(receipts.clone()).await;
    observe(&ground, &seen).await;
    sweep_once(&ground.app, Timestamp::now(), true).await.unwrap();
    keep(&ground, 4).await;
    let usage = busy.usage().await;
    assert_eq!((usage.runs, usage.flagged), (10, 0));

    node.submit(receipts).await;
    node.submit(vec![never_receipt]).await;
    observe(&ground, &seen).await;
    observe(&ground, &[never_seen]).await;
    sweep_once(&ground.app, later(61), true).await.unwrap();
    assert_eq!(busy.usage().await, usage, "each once");
    assert_eq!(list(&busy.client, "").await.items.len(), 4);

    // What went on while others were forgotten had no row.
    observe(&ground, &[long_seen]).await;
    node.submit(vec![long_receipt]).await;
    assert_eq!((busy.usage().await.runs, busy.usage().await.flagged), (11, 0));

    node.submit(vec![late_receipt]).await;
    observe(&ground, std::slice::from_ref(&late_seen)).await;
    assert!(quiet.run(late_seen.run).await.settled);
    assert_eq!(quiet.usage().await.runs, 1, "its account forgot nothing");
}

async fn runs_that_are_too_old(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let seen: Vec<Observation> = (0..3).map(|_| call(&ground, &runs)).collect();
    observe(&ground, &seen).await;
    let now = a_moment().await;
    let in_days = Timestamp(now.0 + i64::from(ground.app.config.runs_days) * 86_400_000);
    prune(&ground.app.db, &ground.app.config, in_days).await.unwrap();
    assert_eq!(list(&runs.client, "").await.items.len(), 3, "what is in no block is kept");
    sweep_once(&ground.app, Timestamp::now(), true).await.unwrap();
    prune(&ground.app.db, &ground.app.config, in_days).await.unwrap();
    let none = list(&runs.client, "").await;
    assert_eq!((none.items, none.since), (vec![], Some(now)));
    assert_eq!(counted(&ground, runs.account).await, 0);
    observe(&ground, &seen).await;
    let new = call(&ground, &runs);
    observe(&ground, std::slice::from_ref(&new)).await;
    assert_eq!(ids(&list(&runs.client, "").await.items), [new.run]);
    assert_eq!(runs.usage().await.runs, 4, "each once");
}

async fn old_checkpoints(ground: Ground) {
    let mut node = Signer::hello(&ground).await;
    let left = async || checkpoints::Entity::find().all(ground.app.db.read()).await.unwrap().len();
    for _ in 0..3 {
        node.submit(vec![]).await;
    }
    a_moment().await;
    crate::keep::prune_checkpoints(&ground.app).await.unwrap();
    assert_eq!(left().await, 3, "young ones are kept");
    let short = Ground::on(ground.app.config.database.clone(), |config| config.checkpoints_days = 0).await;
    crate::keep::prune_checkpoints(&short.app).await.unwrap();
    assert_eq!(left().await, 0);
    // The chain goes on.
    ground.lead().await;
    node.submit(vec![]).await;
    assert_eq!(left().await, 1);
}

async fn filters(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let ended = |outcome, status| Observation { outcome, status, ..call(&ground, &runs) };
    let mut seen = vec![ended(Outcome::Succeeded, 200), ended(Outcome::Failed, 502), ended(Outcome::TimedOut, 504)];
    let middle = a_moment().await;
    seen.push(ended(Outcome::Succeeded, 404));
    seen.push(Observation { lane: Lane::Vm, ..call(&ground, &runs) });
    seen.push(Observation { version_number: 2, ..call(&ground, &runs) });
    seen[1].code = Some(Code::Trap);
    seen.push(ended(Outcome::Succeeded, 999));
    seen.push(ended(Outcome::Cancelled, 0));
    seen.push(runs.halves(&ground, 1, 1).1);
    observe(&ground, &seen).await;
    // The last one's receipt does not come.
    sweep_once(&ground.app, later(61), false).await.unwrap();
    let cases: [(String, &[usize]); 28] = [
        ("limit=10".into(), &[8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ("version=2".into(), &[5]),
        ("version=3".into(), &[]),
        ("outcome=failed".into(), &[1]),
        ("outcome=failed,timed_out".into(), &[2, 1]),
        ("outcome=succeeded,failed".into(), &[8, 6, 5, 4, 3, 1, 0]),
        ("function=hello&outcome=cancelled,timed_out".into(), &[7, 2]),
        // As the list shows it, and both kinds of words together.
        ("outcome=trap".into(), &[1]),
        ("outcome=no_response".into(), &[]),
        ("outcome=timed_out,trap".into(), &[2, 1]),
        ("outcome=trap&status=5xx&function=hello".into(), &[1]),
        ("status=404".into(), &[3]),
        // The words of usage by status.
        ("status=9xx".into(), &[6]),
        ("status=none".into(), &[7]),
        ("status=999".into(), &[6]),
        ("flagged=true".into(), &[8]),
        ("flagged=false&status=4xx".into(), &[3]),
        ("status=5xx".into(), &[2, 1]),
        ("function=hello&status=4xx".into(), &[3]),
        ("status=2xx".into(), &[8, 5, 4, 0]),
        ("lane=vm".into(), &[4]),
        ("lane=vm&status=5xx".into(), &[]),
        ("function=hello&version=1&outcome=succeeded&status=200&lane=wasm".into(), &[8, 0]),
        (format!("from={middle}"), &[8, 7, 6, 5, 4, 3]),
        (format!("to={middle}"), &[2, 1, 0]),
        (format!("to={middle}&outcome=timed_out&function=hello"), &[2]),
        (format!("from={middle}&outcome=timed_out"), &[]),
        (format!("from={middle}&to={}&lane=wasm", later(60)), &[8, 7, 6, 5, 3]),
    ];
    // Of rows, and of a block alone.
    for age in [0, 61, 4_000] {
        sweep_once(&ground.app, later(age), age > 0).await.unwrap();
        for (query, wanted) in &cases {
            let page = list(&runs.client, query).await;
            let wanted: Vec<RunId> = wanted.iter().map(|at| seen[*at].run).collect();
            assert_eq!((ids(&page.items), page.next), (wanted, None), "{query}, after {age} s");
        }
    }
    let flagged = list(&runs.client, "flagged=true").await;
    assert_eq!(flagged.items[0].flag, Some(Flag::NoReceipt), "it says why");
    let usage: UsageReport = runs.client.get("/usage?by=status").await.read();
    let mut classes: Vec<&str> = usage.items.iter().map(|group| group.key.as_str()).collect();
    classes.sort_unstable();
    assert_eq!(classes, ["2xx", "4xx", "5xx", "9xx", "none"]);
    for group in &usage.items {
        let found = list(&runs.client, &format!("status={}", group.key)).await;
        assert_eq!(found.items.len() as u64, group.usage.runs, "{}", group.key);
    }
}

/// What made a run, and on whose behalf, is told of each and searched for.
async fn who_made_them(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let key = RunPrincipal::Key(KeyId::new());
    let nightly = RunPrincipal::Trigger("nightly".parse().unwrap());
    let made = |source, principal: &RunPrincipal| Observation {
        source: Some(source),
        principal: Some(principal.clone()),
        ..call(&ground, &runs)
    };
    let seen = [
        call(&ground, &runs),
        made(RunSource::Call, &RunPrincipal::Public),
        made(RunSource::Call, &key),
        made(RunSource::Schedule, &nightly),
        made(RunSource::Queue, &nightly),
    ];
    observe(&ground, &seen).await;
    for seen in &seen {
        let shown = runs.run(seen.run).await;
        assert_eq!((shown.source, &shown.principal), (seen.source, &seen.principal));
    }
    let listed = list(&runs.client, "limit=1").await.items.remove(0);
    assert_eq!((listed.source, &listed.principal), (Some(RunSource::Queue), &Some(nightly)));
    let unknown: serde_json::Value = runs.client.get(&format!("/invocations/{}", seen[0].run)).await.read();
    assert!(unknown.get("source").is_none() && unknown.get("principal").is_none(), "{unknown}");
    let cases: [(String, &[usize]); 9] = [
        ("source=call".into(), &[2, 1]),
        ("source=schedule,queue".into(), &[4, 3]),
        ("source=test,job".into(), &[]),
        ("principal=public".into(), &[1]),
        (format!("principal={key}"), &[2]),
        ("principal=trigger:nightly".into(), &[4, 3]),
        ("function=hello&principal=trigger%3Anightly&source=queue&status=2xx".into(), &[4]),
        (format!("principal={}", KeyId::new()), &[]),
        ("principal=public&outcome=failed".into(), &[]),
    ];
    for (query, wanted) in cases {
        let page = list(&runs.client, &query).await;
        let wanted: Vec<RunId> = wanted.iter().map(|at| seen[*at].run).collect();
        assert_eq!((ids(&page.items), page.next), (wanted, None), "{query}");
    }
}

/// As usage shows them: a key by its name, a member by the e-mail address. Of others nothing is told.
async fn principals_by_their_names(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let made: Key = runs.client.post("/keys", json!({"name": "ci bot", "scopes": ["invoke"]})).await.read();
        keys.push(made.id);
    }
    ground.user("eve@example.org", "eve").await;
    let ada = runs.client.get("/me").await.read::<protocol::api::Me>().user.unwrap().id;
    let made = |principal| Observation { principal: Some(principal), ..call(&ground, &runs) };
    let seen = [
        made(RunPrincipal::Key(keys[0])),
        made(RunPrincipal::User(ada)),
        made(RunPrincipal::Public),
        made(RunPrincipal::Key(keys[1])),
    ];
    observe(&ground, &seen).await;
    for (name, wanted) in [("ci%20bot", vec![3, 0]), ("ada%40example.org", vec![1]), ("Ada@Example.org", vec![1])] {
        let page = list(&runs.client, &format!("principal={name}")).await;
        let wanted: Vec<RunId> = wanted.into_iter().map(|at: usize| seen[at].run).collect();
        assert_eq!(ids(&page.items), wanted, "{name}");
    }
    // A member's own runs, and those of their keys: the same as in usage.
    for (query, wanted) in [
        ("member=Ada%40Example.org".to_owned(), vec![3, 1, 0]),
        (format!("member={ada}"), vec![3, 1, 0]),
        (format!("member={ada}&principal=ci%20bot"), vec![3, 0]),
        (format!("member={ada}&principal=public"), vec![]),
    ] {
        let page = list(&runs.client, &query).await;
        let wanted: Vec<RunId> = wanted.into_iter().map(|at: usize| seen[at].run).collect();
        assert_eq!((ids(&page.items), page.next), (wanted, None), "{query}");
        let usage: UsageReport = runs.client.get(&format!("/usage?{query}")).await.read();
        assert_eq!(usage.total.runs, u64::try_from(page.items.len()).unwrap(), "{query}");
    }
    for nobody in ["eve@example.org", "nobody@example.org", "ci"] {
        let answer = runs.client.get(&format!("/invocations?principal={nobody}")).await;
        assert_eq!(answer.code(), Code::InvalidRequest, "{nobody}");
        assert!(answer.read::<Problem>().detail.contains("neither the name of a key"), "{answer:?}");
    }
}

async fn wrong_filters_are_named(ground: Ground) {
    let runs = Runs::start(&ground).await;
    for (query, field, code) in [
        ("outcome=odd", "outcome", Code::InvalidRequest),
        ("outcome=failed,", "outcome", Code::InvalidRequest),
        ("outcome=", "outcome", Code::InvalidRequest),
        ("status=10xx", "status", Code::InvalidRequest),
        ("status=fine", "status", Code::InvalidRequest),
        ("version=v1", "version", Code::InvalidRequest),
        ("lane=gpu", "lane", Code::InvalidRequest),
        ("source=odd", "source", Code::InvalidRequest),
        ("source=call,", "source", Code::InvalidRequest),
        ("principal=", "principal", Code::InvalidRequest),
        ("principal=ci", "principal", Code::InvalidRequest),
        ("principal=public,trigger:nightly", "principal", Code::InvalidRequest),
        ("member=", "member", Code::InvalidRequest),
        ("member=nobody@example.org", "member", Code::InvalidRequest),
        ("from=yesterday", "from", Code::InvalidRequest),
        ("to=1", "to", Code::InvalidRequest),
        ("from=2027-01-02T00:00:00Z&to=2027-01-01T00:00:00Z", "to", Code::InvalidRequest),
        ("cursor=odd", "cursor", Code::InvalidRequest),
        ("function=none&status=5xx", "function", Code::FunctionNotFound),
        ("key=any", "key", Code::InvalidRequest),
    ] {
        let answer = runs.client.get(&format!("/invocations?{query}")).await;
        assert_eq!(answer.code(), code, "{query}");
        let problem: Problem = answer.read();
        assert_eq!(problem.field.as_ref().map(Field::as_str), Some(field), "{query}: {problem:?}");
    }
}

/// A page looks at so many runs: it may be short, or empty, and says where to go on.
async fn short_pages(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let mut seen: Vec<Observation> = (0..25).map(|_| call(&ground, &runs)).collect();
    (seen[2].lane, seen[24].lane) = (Lane::Vm, Lane::Vm);
    (seen[0].outcome, seen[0].status) = (Outcome::Failed, 502);
    seen[2].source = Some(RunSource::Job);
    observe(&ground, &seen).await;
    let small = Ground::on(ground.app.config.database.clone(), |config| config.runs_scanned_max = 10).await;
    let client = runs.client.on(small.router.clone());
    for function in ["", "&function=hello"] {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = list(&client, &format!("lane=vm{function}{cursor}")).await;
            pages.push(ids(&page.items));
            assert!(page.since.is_some() && pages.len() <= 3, "{pages:?}");
            let Some(next) = page.next else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(pages, [vec![seen[24].run], vec![], vec![seen[2].run]]);
        // Its next page begins behind what was looked at.
        let first = list(&client, &format!("source=job{function}")).await;
        assert!(first.items.is_empty() && first.next.is_some(), "{first:?}");
        // What only has to be read in order is not searched for; neither is what went wrong, however rare.
        let all = list(&client, &format!("limit=200{function}")).await;
        assert_eq!((all.items.len(), all.next), (25, None));
        for wrong in ["outcome=failed", "status=5xx"] {
            let failed = list(&client, &format!("{wrong}{function}")).await;
            assert_eq!((ids(&failed.items), failed.next), (vec![seen[0].run], None));
        }
    }
    // A full page goes on after its last run.
    let first = list(&client, "outcome=succeeded&limit=3").await;
    assert_eq!(ids(&first.items), [seen[24].run, seen[23].run, seen[22].run]);
    let second = list(&client, &format!("outcome=succeeded&limit=3&cursor={}", first.next.unwrap())).await;
    assert_eq!(second.items[0].run, seen[21].run);
    assert_eq!(client.get("/invocations?limit=0").await.status, StatusCode::BAD_REQUEST);
}
