//! Sums of usage: by each dimension, corrected, folded, moved, forgotten; and one report for JSON and CSV.

use http::StatusCode;
use protocol::api::{Key, Me, UsageReport, UsageSums};
use protocol::receipt::{Observation, Outcome};
use protocol::{Code, FunctionId, KeyId, Problem, RunPrincipal, RunSource, Timestamp};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DbBackend, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    Statement, Value,
};
use serde_json::json;

use super::harness::{Client, Ground, config, suite};
use super::settlement::{Runs, Signer, later, observe};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::usage_sums;
use crate::usage::KEYS_MAX;

suite!(
    each_dimension_has_the_same_total,
    csv_says_what_json_says,
    a_late_half_moves_what_was_counted,
    rare_values_are_one,
    a_key_of_a_function_sees_that_function,
    minutes_and_hours_are_forgotten,
    earlier_sums_are_kept,
);

const DIMENSIONS: [&str; 11] =
    ["function", "version", "lane", "principal", "member", "source", "status", "minute", "hour", "day", "month"];

pub(super) async fn report(client: &Client, query: &str) -> UsageReport {
    let answer = client.get(&format!("/usage?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {answer:?}");
    answer.read()
}

async fn of_function(client: &Client) -> UsageSums {
    client.get("/functions/hello/usage").await.read()
}

pub(super) fn names(report: &UsageReport) -> Vec<&str> {
    report.items.iter().map(|group| group.name.as_str()).collect()
}

/// A run that reached no node: one half is all of it.
pub(super) fn alone(runs: &Runs, ground: &Ground) -> Observation {
    let (_, mut seen) = runs.halves(ground, 0, 100);
    (seen.node, seen.end, seen.outcome, seen.status) = (None, None, Outcome::PlatformFailed, 503);
    seen
}

/// Runs of all kinds.
pub(super) async fn some_runs(ground: &Ground, runs: &Runs) {
    let mut node = Signer::hello(ground).await;
    let key: Key = runs.client.post("/keys", json!({"name": "ci", "scopes": ["read"]})).await.read();
    let user = runs.client.get("/me").await.read::<Me>().user.unwrap();
    let trigger = |name: &str| RunPrincipal::Trigger(name.parse().unwrap());
    let mut receipts = Vec::new();
    let mut all = vec![alone(runs, ground)];
    for (source, principal, status, version_number) in [
        (RunSource::Call, RunPrincipal::Public, 200, 1),
        (RunSource::Call, RunPrincipal::Key(key.id), 404, 1),
        (RunSource::Test, RunPrincipal::User(user.id), 200, 2),
        (RunSource::Schedule, trigger("nightly"), 500, 10),
        (RunSource::Queue, trigger("orders"), 200, 2),
    ] {
        let (receipt, mut seen) = runs.halves(ground, 4_000, 5_000);
        (seen.source, seen.principal) = (Some(source), Some(principal));
        (seen.status, seen.version_number) = (status, version_number);
        receipts.push(receipt);
        all.push(seen);
    }
    observe(ground, &all).await;
    node.submit(receipts).await;
}

async fn each_dimension_has_the_same_total(ground: Ground) {
    let runs = Runs::start(&ground).await;
    some_runs(&ground, &runs).await;
    let usage = of_function(&runs.client).await;
    assert_eq!((usage.runs, usage.succeeded, usage.platform_failed, usage.flagged), (6, 5, 1, 0));
    assert_eq!((usage.wall_us, usage.cpu_us, usage.bytes_out.0, usage.egress_bytes.0), (20_000, 2_500, 100, 150));
    assert_eq!((usage.warm, usage.cached, usage.cold), (5, 0, 0));
    // One CPU, 128 MiB; 1 MiB was used.
    assert_eq!((usage.reserved_cpu_us, usage.reserved_memory_kib_ms), (20_000, 20 * 128 * 1024));
    assert_eq!(usage.memory_kib_ms, 20 * 1024);
    let latency = usage.latency.unwrap();
    assert!(latency.p50_us.abs_diff(5_000) <= 5_000 / 32 && latency.p50_us == latency.p99_us, "{latency:?}");

    for by in DIMENSIONS {
        let report = report(&runs.client, &format!("by={by}")).await;
        assert_eq!(report.total, usage, "{by}");
        assert_eq!((serde_json::to_value(report.by).unwrap(), &report.next), (by.into(), &None));
        let sums: [fn(&UsageSums) -> u64; 8] = [
            |sums| sums.runs,
            |sums| sums.platform_failed,
            |sums| sums.warm,
            |sums| sums.wall_us,
            |sums| sums.cpu_us,
            |sums| sums.reserved_memory_kib_ms,
            |sums| sums.bytes_out.0,
            |sums| sums.egress_bytes.0,
        ];
        for sum in sums {
            assert_eq!(
                report.items.iter().map(|group| sum(&group.usage)).sum::<u64>(),
                sum(&usage),
                "{by}: {report:?}"
            );
        }
    }
    let by = async |by: &str| report(&runs.client, &format!("by={by}")).await;
    assert_eq!(names(&by("function").await), ["hello"]);
    assert_eq!(names(&by("version").await), ["hello@v1", "hello@v2", "hello@v10"]);
    assert_eq!(names(&by("lane").await), ["wasm"]);
    assert_eq!(names(&by("source").await), ["call", "queue", "schedule", "test", "unknown"]);
    assert_eq!(names(&by("status").await), ["2xx", "4xx", "5xx"]);
    let principals = by("principal").await;
    let wanted = ["ada@example.org", "ci", "public", "trigger:nightly", "trigger:orders", "unknown"];
    assert_eq!(names(&principals), wanted);
    assert!(principals.items[1].key.starts_with("key_"), "{principals:?}");
    // What ran for a key is its user's.
    let members = by("member").await;
    assert_eq!(names(&members), ["ada@example.org", "public", "trigger:nightly", "trigger:orders", "unknown"]);
    assert_eq!((&members.items[0].key, members.items[0].usage.runs), (&principals.items[0].key, 2));
    let today = Timestamp::now().to_string();
    assert_eq!(names(&by("day").await), [&today[..10]]);

    // A part of it, and nothing of it.
    let since = later(-60);
    assert_eq!(report(&runs.client, &format!("by=lane&from={since}")).await.total, usage);
    let before = report(&runs.client, &format!("from={}&to={}", later(-7200), later(-3600))).await;
    assert_eq!((before.total, before.items.len()), (UsageSums::default(), 0));
    assert_eq!(report(&runs.client, "function=hello&from=1999-01-01").await.total, usage);

    // Page by page.
    let first = report(&runs.client, "by=principal&limit=4").await;
    assert_eq!((names(&first), first.total), (wanted[..4].to_vec(), usage));
    let rest = report(&runs.client, &format!("by=principal&limit=4&cursor={}", first.next.unwrap())).await;
    assert_eq!((names(&rest), &rest.next), (wanted[4..].to_vec(), &None));
}

async fn csv_says_what_json_says(ground: Ground) {
    let runs = Runs::start(&ground).await;
    some_runs(&ground, &runs).await;
    for by in DIMENSIONS {
        let report = report(&runs.client, &format!("by={by}")).await;
        let answer = runs.client.get(&format!("/usage?by={by}&format=csv")).await;
        assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
        let accepted = runs.client.with("accept", "text/csv").get(&format!("/usage?by={by}")).await;
        assert_eq!(accepted.body, answer.body);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let mut lines = text.split_terminator("\r\n").map(|line| line.split(',').collect::<Vec<_>>());
        let header = lines.next().unwrap();
        let lines: Vec<Vec<&str>> = lines.collect();
        assert_eq!(lines.len(), report.items.len());
        for (line, group) in lines.iter().zip(&report.items) {
            let of = |name: &str| line[header.iter().position(|column| *column == name).unwrap()];
            assert_eq!((of("key"), of("name")), (group.key.as_str(), group.name.as_str()));
            assert_eq!(of("at"), group.at.map(|at| at.to_string()).unwrap_or_default());
            if group.at.is_none() {
                assert_eq!((of("from"), of("to")), (report.from.to_string().as_str(), report.to.to_string().as_str()));
            }
            let usage = serde_json::to_value(group.usage).unwrap();
            for (name, value) in usage.as_object().unwrap().iter().filter(|(name, _)| *name != "latency") {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                assert_eq!(of(name), value, "{name}");
            }
            let p95 = group.usage.latency.map(|latency| latency.p95_us.to_string()).unwrap_or_default();
            assert_eq!(of("ended_p95_us"), p95);
        }
    }
}

async fn a_late_half_moves_what_was_counted(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, mut seen) = runs.halves(&ground, 5_000, 3_000);
    seen.source = Some(RunSource::Call);
    node.submit(vec![receipt]).await;
    crate::settlement::sweep_once(&ground.app, later(61), false).await.unwrap();
    assert_eq!(names(&report(&runs.client, "by=status").await), ["none"]);
    assert_eq!(names(&report(&runs.client, "by=source").await), ["unknown"]);
    observe(&ground, &[seen]).await;
    for (by, name) in [("status", "2xx"), ("source", "call"), ("hour", ""), ("function", "hello")] {
        let report = report(&runs.client, &format!("by={by}")).await;
        assert!(names(&report) == [name] || by == "hour", "{report:?}");
        let usage = report.items[0].usage;
        assert_eq!((report.items.len(), usage.runs, usage.wall_us, usage.flagged), (1, 1, 3_000, 1), "{by}");
        assert!(usage.latency.unwrap().p99_us < 3_100, "{usage:?}");
    }
}

async fn rows(app: &App, span: i32) -> u64 {
    let rows = usage_sums::Entity::find().filter(usage_sums::Column::Span.eq(span));
    rows.count(app.db.read()).await.unwrap()
}

/// Whoever makes values without end makes the table no larger than that.
async fn rare_values_are_one(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let of_key = || Observation { principal: Some(RunPrincipal::Key(KeyId::new())), ..alone(&runs, &ground) };
    let seen: Vec<Observation> = (0..KEYS_MAX + 30).map(|_| of_key()).collect();
    for some in seen.chunks(50) {
        observe(&ground, some).await;
    }
    // Those that are kept go on to be counted.
    let again = Observation { principal: seen[0].principal.clone(), ..alone(&runs, &ground) };
    observe(&ground, &[again]).await;
    assert_eq!(rows(&ground.app, 86_400).await, KEYS_MAX + 1);
    let first = report(&runs.client, "by=principal&limit=200").await;
    let rest = report(&runs.client, &format!("by=principal&limit=200&cursor={}", first.next.unwrap())).await;
    assert_eq!((first.items.len(), names(&rest)), (200, vec!["other"]));
    assert_eq!((rest.items[0].usage.runs, rest.total.runs), (30, KEYS_MAX + 31));
    assert_eq!(names(&report(&runs.client, "by=version").await), ["hello@v1", "hello@other"]);
    assert_eq!(of_function(&runs.client).await.runs, KEYS_MAX + 31, "of a function all are known");

    // Functions without end are one as well.
    let of_function = || Observation { function: FunctionId::new(), ..of_key() };
    let seen: Vec<Observation> = (0..KEYS_MAX + 10).map(|_| of_function()).collect();
    observe(&ground, &seen).await;
    assert_eq!(rows(&ground.app, 86_400).await, 2 * KEYS_MAX + 1);
    let total = report(&runs.client, "by=function").await.total;
    assert_eq!(total.runs, 2 * KEYS_MAX + 41);
    let hello = report(&runs.client, "by=function&function=hello").await;
    assert_eq!((names(&hello), hello.total.runs), (vec!["hello"], KEYS_MAX + 31));
}

async fn a_key_of_a_function_sees_that_function(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let (other, _) = ground.function(&runs.client, "other").await;
    let mut seen = vec![alone(&runs, &ground), alone(&runs, &ground), alone(&runs, &ground)];
    seen[0].function = other;
    observe(&ground, &seen).await;
    assert_eq!(names(&report(&runs.client, "by=function").await), ["hello", "other"]);
    let asked = json!({"name": "bound", "scopes": ["read"], "function": "hello"});
    let key = runs.client.post("/keys", asked).await.read::<Key>().secret.unwrap();
    let bound = runs.client.with_key(&key);
    let of_bound = report(&bound, "by=function").await;
    assert_eq!((names(&of_bound), of_bound.total.runs), (vec!["hello"], 2));
    let hidden = bound.get("/usage?function=other").await;
    let field = hidden.read::<Problem>().field.map(|field| field.to_string());
    assert_eq!((hidden.code(), field.as_deref()), (Code::FunctionNotFound, Some("function")));
    let caller = runs.client.key(&["invoke"]).await;
    assert_eq!(caller.get("/usage").await.code(), Code::Forbidden);
    let eve = ground.user("eve@example.org", "eve").await;
    assert_eq!(report(&eve, "by=principal").await.total, UsageSums::default());

    // What is deleted has been used.
    assert!(runs.client.delete("/functions/other").await.status.is_success());
    assert_eq!(names(&report(&runs.client, "by=function").await), ["hello", "other (deleted)"]);
}

async fn minutes_and_hours_are_forgotten(ground: Ground) {
    let runs = Runs::start(&ground).await;
    observe(&ground, &[alone(&runs, &ground)]).await;
    let usage = of_function(&runs.client).await;
    let count = async || (rows(&ground.app, 60).await, rows(&ground.app, 3_600).await, rows(&ground.app, 86_400).await);
    let forget = async || crate::usage::prune(&ground.app.db, Timestamp::now()).await.unwrap();
    forget().await;
    assert_eq!(count().await, (1, 1, 1));
    let days_later = async |days: i64| {
        let sql = format!("UPDATE usage_sums SET began = began - {}", days * 86_400_000);
        ground.app.db.write().execute_unprepared(&sql).await.unwrap();
    };
    days_later(5).await;
    forget().await;
    assert_eq!(count().await, (0, 1, 1));
    assert_eq!(report(&runs.client, &format!("by=hour&from={}", later(-10 * 86_400))).await.total, usage);
    days_later(100).await;
    forget().await;
    assert_eq!(count().await, (0, 0, 1));
    assert_eq!(of_function(&runs.client).await, usage);

    // What is left is a day: the period is rounded to days, and says so.
    let asked = format!("from={}&to={}", later(-105 * 86_400 - 60), later(-105 * 86_400 + 60));
    let report = report(&runs.client, &asked).await;
    assert_eq!((report.total, report.from.0 % 86_400_000, report.to.0 % 86_400_000), (usage, 0, 0));
}

/// What an earlier release has summed by function and minute is there still, and what comes now is added.
async fn earlier_sums_are_kept(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let seen = alone(&runs, &ground);
    let db = &ground.app.db;
    let backend = db.read().get_database_backend();
    let bytes = if backend == DbBackend::Sqlite { "BLOB" } else { "BYTEA" };
    let figures = "runs, succeeded, failed, timed_out, cancelled, platform_failed, flagged, wall_us, cpu_us, \
         memory_kib_ms, bytes_in, bytes_out";
    let columns = figures.replace(',', " BIGINT NOT NULL,");
    for sql in [
        "DROP TABLE usage_sums".to_owned(),
        "ALTER TABLE runs DROP COLUMN source".to_owned(),
        "ALTER TABLE runs DROP COLUMN principal".to_owned(),
        "ALTER TABLE jobs DROP COLUMN source".to_owned(),
        "ALTER TABLE jobs DROP COLUMN principal".to_owned(),
        "DELETE FROM seaql_migrations WHERE version = 'm0010_usage'".to_owned(),
        format!(
            "CREATE TABLE usage_minutes (account_id {bytes} NOT NULL, function_id {bytes} NOT NULL, \
             minute BIGINT NOT NULL, {columns} BIGINT NOT NULL, PRIMARY KEY (account_id, function_id, minute))"
        ),
    ] {
        db.write().execute_unprepared(&sql).await.unwrap();
    }
    let today = Timestamp::now().0 / 86_400_000;
    let minutes =
        [(today * 1440, 1_000), (today * 1440 + 1, 10), ((today - 2) * 1440 + 70, 500), ((today - 200) * 1440, 7)];
    let full = [((today - 50) * 1440, i64::MAX), ((today - 50) * 1440 + 1, i64::MAX)];
    for (minute, wall_us) in minutes.into_iter().chain(full) {
        let sql = format!(
            "INSERT INTO usage_minutes (account_id, function_id, minute, {figures}) \
             VALUES ($1, $2, $3, 2, 1, 1, 0, 0, 0, 1, $4, 3, 4, 5, 6)"
        );
        let key: [Value; 4] = [Col(seen.account).into(), Col(seen.function).into(), minute.into(), wall_us.into()];
        db.write().execute_raw(Statement::from_sql_and_values(backend, sql, key)).await.unwrap();
    }
    db.close().await;

    let store = store::Store::disk(ground.folder.path().join("store")).unwrap();
    let config = config(ground.folder.path(), ground.app.config.database.clone(), ground.node);
    let app = App::open(config, store, None).await.unwrap();
    assert_eq!((rows(&app, 60).await, rows(&app, 3_600).await, rows(&app, 86_400).await), (3, 3, 4));
    let ground = Ground { router: crate::router(app.clone()), app, ..ground };
    let client = runs.client.on(ground.router.clone());
    let usage = of_function(&client).await;
    assert_eq!((usage.runs, usage.succeeded, usage.failed, usage.flagged, usage.cpu_us), (12, 6, 6, 6, 18));
    assert_eq!((usage.wall_us, usage.bytes_out.0, usage.memory_kib_ms), (i64::MAX as u64 + 1_517, 36, 24));
    assert_eq!(usage.latency, None, "nobody has kept it");
    let principals = report(&client, "by=principal&from=1999-01-01").await;
    assert_eq!((names(&principals), principals.total), (vec!["unknown"], usage));

    observe(&ground, &[seen]).await;
    assert_eq!(of_function(&client).await.runs, 13);
    assert_eq!(names(&report(&client, "by=status&from=1999-01-01").await), ["5xx", "unknown"]);
}
