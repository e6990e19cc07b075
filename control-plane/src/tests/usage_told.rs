//! What usage is told by: a time and one thing at once, months, filters, revoked keys; and what is there now.

use std::time::Instant;

use http::StatusCode;
use protocol::api::{Key, Me, UsageBy, UsageNow};
use protocol::node::NodeReport;
use protocol::receipt::Observation;
use protocol::{ByteSize, Code, KeyId, Lane, Problem, RunPrincipal, RunSource, Timestamp};
use sea_orm::ConnectionTrait as _;
use serde_json::json;

use super::harness::{Client, Ground, suite};
use super::settlement::{Runs, Signer, later, observe};
use super::usage::{alone, names, report, some_runs};
use crate::identity::keys::REVOKED_KEPT_MAX;

suite!(
    by_a_time_and_one_thing,
    months_are_made_of_days,
    filters_select_what_is_summed,
    a_revoked_key_keeps_its_member,
    odd_statuses_have_their_classes,
    csv_is_complete_or_refused,
    what_is_there_now,
);

const TIMES: [&str; 4] = ["minute", "hour", "day", "month"];
const THINGS: [&str; 7] = ["function", "version", "lane", "principal", "member", "source", "status"];

async fn by_a_time_and_one_thing(ground: Ground) {
    let runs = Runs::start(&ground).await;
    some_runs(&ground, &runs).await;
    let total = report(&runs.client, "by=function").await.total;
    for time in TIMES {
        let alone = report(&runs.client, &format!("by={time}")).await;
        assert_eq!((serde_json::to_value(alone.every).unwrap(), alone.total), (time.into(), total));
        assert_eq!(alone.every, Some(alone.by));
        assert!(alone.items.iter().all(|group| group.at >= Some(alone.from) && group.at < Some(alone.to)), "{alone:?}");
        for thing in THINGS {
            let both = report(&runs.client, &format!("by={time},{thing}")).await;
            assert_eq!(both.total, total, "{time},{thing}");
            let told = (serde_json::to_value(both.by).unwrap(), serde_json::to_value(both.every).unwrap());
            assert_eq!(told, (thing.into(), time.into()));
            let places: Vec<_> = both.items.iter().map(|group| (group.at.unwrap(), group.key.clone())).collect();
            let mut unique = places.clone();
            unique.dedup();
            assert_eq!((unique.len(), both.items.iter().map(|group| group.usage.runs).sum::<u64>()), (places.len(), 6));
            assert!(both.items.iter().all(|group| group.usage.runs > 0));
            assert!(places.is_sorted_by_key(|(at, _)| *at), "{places:?}");
            // All times together are what the thing alone is.
            let thing_alone = report(&runs.client, &format!("by={thing}")).await;
            for group in &thing_alone.items {
                let of = both.items.iter().filter(|one| one.key == group.key);
                assert_eq!(of.map(|one| one.usage.runs).sum::<u64>(), group.usage.runs, "{time},{thing}");
                assert_eq!(group.at, None);
            }
        }
    }
    // Page by page.
    let all = report(&runs.client, "by=day,principal").await;
    let first = report(&runs.client, "by=day,principal&limit=4").await;
    let rest = report(&runs.client, &format!("by=day,principal&limit=4&cursor={}", first.next.unwrap())).await;
    assert_eq!([first.items, rest.items].concat(), all.items);
    for wrong in ["day,hour", "lane,status", "day,lane,status", "day,"] {
        let problem: Problem = runs.client.get(&format!("/usage?by={wrong}")).await.read();
        let field = problem.field.map(|field| field.to_string());
        assert_eq!((problem.code, field.as_deref()), (Code::InvalidRequest, Some("by")), "{wrong}");
    }
}

async fn months_are_made_of_days(ground: Ground) {
    let runs = Runs::start(&ground).await;
    some_runs(&ground, &runs).await;
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    for (status, day) in [(4, "2024-02-29T00:00:00Z"), (5, "2024-03-01T00:00:00Z")] {
        let sql = format!("UPDATE usage_sums SET began = {} WHERE span = 86400 AND status = {status}", at(day).0);
        ground.app.db.write().execute_unprepared(&sql).await.unwrap();
    }
    let report = report(&runs.client, "by=month,status&from=2024-02-15&to=2024-03-02").await;
    let told: Vec<_> = report.items.iter().map(|group| (group.at.unwrap().to_string(), group.key.as_str())).collect();
    let wanted = [("2024-02-01T00:00:00Z".to_owned(), "4xx"), ("2024-03-01T00:00:00Z".to_owned(), "5xx")];
    assert_eq!(told, wanted);
    assert_eq!((report.from, report.to), (at("2024-02-01T00:00:00Z"), at("2024-04-01T00:00:00Z")));
    let alone = super::usage::report(&runs.client, "by=month&from=2024-01-01").await;
    let this_month = &Timestamp::now().to_string()[..7];
    assert_eq!(names(&alone), ["2024-02", "2024-03", this_month]);
    assert_eq!((alone.by, alone.total.runs), (UsageBy::Month, 6));
}

async fn filters_select_what_is_summed(ground: Ground) {
    let runs = Runs::start(&ground).await;
    some_runs(&ground, &runs).await;
    let count = async |filter: &str| report(&runs.client, &format!("by=day,status&{filter}")).await.total.runs;
    let me = runs.client.get("/me").await.read::<Me>().user.unwrap();
    let key = report(&runs.client, "by=principal").await.items[1].key.clone();
    for (filter, wanted) in [
        ("function=hello", 6),
        ("version=2", 2),
        ("version=7", 0),
        ("version=4294967295", 0),
        ("lane=wasm", 6),
        ("lane=vm", 0),
        ("source=schedule", 1),
        ("principal=public", 1),
        ("principal=ci", 1),
        ("principal=ada%40example.org", 1),
        ("principal=trigger%3Anightly", 1),
        (format!("principal={key}").as_str(), 1),
        ("member=Ada%40Example.org", 2),
        (format!("member={}", me.id).as_str(), 2),
        ("member=ada%40example.org&principal=ci", 1),
        ("member=ada%40example.org&principal=public", 0),
        ("version=2&source=queue&lane=wasm", 1),
    ] {
        assert_eq!(count(filter).await, wanted, "{filter}");
    }
    for (filter, field) in [
        ("principal=nobody", "principal"),
        ("member=eve%40example.org", "member"),
        ("lane=x", "lane"),
        ("version=x", "version"),
    ] {
        let problem: Problem = runs.client.get(&format!("/usage?{filter}")).await.read();
        assert_eq!(
            (problem.code, problem.field.map(|field| field.to_string())),
            (Code::InvalidRequest, Some(field.into()))
        );
    }
    // Another account's users are not told by their addresses.
    ground.user("eve@example.org", "eve").await;
    assert_eq!(runs.client.get("/usage?member=eve%40example.org").await.code(), Code::InvalidRequest);
}

async fn a_revoked_key_keeps_its_member(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let (ada, user) = (&runs.client, runs.client.get("/me").await.read::<Me>().user.unwrap());
    let make = async |name: &str| ada.post("/keys", json!({"name": name, "scopes": ["read"]})).await.read::<Key>().id;
    let revoke = async |key: KeyId| assert!(ada.delete(&format!("/keys/{key}")).await.status.is_success());
    let key = make("ci").await;
    observe(&ground, &[Observation { principal: Some(RunPrincipal::Key(key)), ..alone(&runs, &ground) }]).await;
    revoke(key).await;
    let members = report(ada, "by=member").await;
    assert_eq!((names(&members), members.items[0].key.clone()), (vec!["ada@example.org"], user.id.to_string()));
    assert_eq!(names(&report(ada, "by=principal").await), ["ci (revoked)"]);
    for filter in ["member=ada%40example.org", "principal=ci"] {
        assert_eq!(report(ada, filter).await.total.runs, 1, "{filter}");
    }

    // The oldest of very many are forgotten: there is a bound.
    let tx = ground.app.db.begin().await.unwrap();
    for number in 0..REVOKED_KEPT_MAX {
        let sql = format!(
            "INSERT INTO revoked_keys (id, account_id, name, user_id, revoked) \
             SELECT {}, account_id, 'old', user_id, revoked + 1 FROM revoked_keys WHERE name = 'ci'",
            blob(&ground, number)
        );
        tx.execute_unprepared(&sql).await.unwrap();
    }
    tx.commit().await.unwrap();
    revoke(make("next").await).await;
    assert_eq!(report(ada, "by=principal").await.items[0].name, key.to_string());
}

/// Sixteen bytes, in this database's words.
fn blob(ground: &Ground, number: u64) -> String {
    match ground.app.db.read().get_database_backend() {
        sea_orm::DbBackend::Sqlite => format!("x'{number:032x}'"),
        _ => format!("'\\x{number:032x}'::bytea"),
    }
}

async fn odd_statuses_have_their_classes(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let of = |status| Observation { status, ..alone(&runs, &ground) };
    observe(&ground, &[of(999), of(700), of(0), of(101), of(599)]).await;
    let report = report(&runs.client, "by=status").await;
    assert_eq!(names(&report), ["1xx", "5xx", "7xx", "9xx", "none"], "as lists are searched by");
}

async fn csv_is_complete_or_refused(ground: Ground) {
    let runs = Runs::start(&ground).await;
    some_runs(&ground, &runs).await;
    for field in ["limit", "cursor"] {
        let problem: Problem = runs.client.get(&format!("/usage?format=csv&{field}=4")).await.read();
        assert_eq!(
            (problem.code, problem.field.map(|field| field.to_string())),
            (Code::InvalidRequest, Some(field.into()))
        );
    }
    let csv = runs.client.get("/usage?format=csv&by=day,status&from=2020-01-01").await;
    let text = String::from_utf8(csv.body.to_vec()).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    assert_eq!(header[..5], ["key", "name", "at", "from", "to"]);
    assert_eq!(header[header.len() - 3..], ["ended_p50_us", "ended_p95_us", "ended_p99_us"]);
    let today = Timestamp(Timestamp::now().0 / 86_400_000 * 86_400_000);
    let tomorrow = Timestamp(today.0 + 86_400_000).to_string();
    let today = today.to_string();
    let lines: Vec<Vec<&str>> = lines.collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        assert_eq!(line[2..5], [today.as_str(), &today, &tomorrow], "each row has its own period");
    }
}

fn node_report(ground: &Ground) -> NodeReport {
    NodeReport {
        v: NodeReport::VERSION,
        node: ground.node,
        sequence: 1,
        cores: 4,
        load: 0.5,
        memory_total: ByteSize::mib(1024),
        memory_free: ByteSize::mib(768),
        slots: 8,
        running: 3,
        lanes: vec![Lane::Wasm],
        arch: "x86_64".to_owned(),
        warm: vec![],
        cached: vec![],
        draining: false,
        vm: None,
        boot: None,
        lending: None,
        confinement: None,
        lists: None,
    }
}

async fn what_is_there_now(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let now = async |client: &Client| client.get("/usage/now").await.read::<UsageNow>();
    let before = now(&runs.client).await;
    assert_eq!((before.jobs, before.operator.nodes, before.last_minute.runs), (Default::default(), 0, 0));

    ground.app.nodes.heard(&node_report(&ground), Instant::now());
    for _ in 0..3 {
        let asked = json!({"function": "hello", "memory": "256MiB"});
        assert_eq!(runs.client.post("/jobs", asked).await.status, StatusCode::ACCEPTED);
    }
    let sql = "UPDATE jobs SET state = 'running' WHERE id = (SELECT id FROM jobs ORDER BY id LIMIT 1)";
    ground.app.db.write().execute_unprepared(sql).await.unwrap();
    // A run of the last full minute.
    let (receipt, mut seen) = runs.halves(&ground, 30_000_000, 30_000_000);
    seen.received = Timestamp(Timestamp::now().0 - 60_000);
    seen.source = Some(RunSource::Call);
    observe(&ground, &[seen]).await;
    node.submit(vec![receipt]).await;

    let there = now(&runs.client).await;
    assert_eq!((there.jobs.queued, there.jobs.running, there.jobs.reserved_cpus), (2, 1, 1));
    assert_eq!(there.jobs.reserved_memory, ByteSize::mib(256));
    assert_eq!((there.operator.nodes, there.operator.cores, there.operator.busy_cores), (1, 4, 2.0));
    assert_eq!((there.operator.memory, there.operator.reserved_memory), (ByteSize::mib(1024), ByteSize::mib(256)));
    assert_eq!((there.operator.slots, there.operator.running, there.own.nodes), (8, 3, 0));
    let minute = there.last_minute;
    assert_eq!(minute.to.0 - minute.from.0, 60_000);
    // The minute may have changed since the run was written.
    let turned = Timestamp::now().0 / 60_000 != (later(0).0 - 1_000) / 60_000;
    assert!(turned || (minute.runs, minute.reserved_cpus) == (1, 0.5), "{minute:?}");
    assert_eq!(minute.reserved_memory, ByteSize(minute.runs * ByteSize::mib(64).0));

    // It is of the whole account, and of no other.
    let invoker = runs.client.key(&["invoke"]).await;
    assert_eq!(invoker.get("/usage/now").await.code(), Code::Forbidden);
    let eve = ground.user("eve@example.org", "eve").await;
    let others = now(&eve).await;
    assert_eq!((others.jobs, others.last_minute.runs, others.operator.nodes), (Default::default(), 0, 1));
}
