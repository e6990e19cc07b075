//! Jobs through the router and the recorder, on SQLite and on PostgreSQL. (Nodes take part in the platform's tests.)

mod asked;
mod ends;
mod listed;
mod pauses;
mod refused;
mod summary;
mod told;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use protocol::api::Page;
use protocol::job::{Job, JobState, JobWhy};
use protocol::receipt::{Observation, Outcome};
use protocol::{BlobId, ByteSize, Code, InstanceId, JobId, Lane, NodeId, RunId, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::{Value, json};

use super::attempt::{Answer, Event, Finished};
use super::bodies::Put;
use super::queue::{self, OnNodes};
use super::recorder::record;
use super::rows::{self, Step};
use super::verdict::Came;
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{artifacts, jobs};
use crate::leader::{self, Office};
use crate::objects::{self, Address, moving};
use crate::tests::harness::{Client, Ground, suite};

use asked::{
    bodies_are_the_same_whose_bytes_are, f21_the_fingerprint_is_what_the_caller_asked, f22_the_version_is_chosen_once,
    f23_relative_times_are_sent_as_such, f24_a_deferred_call_keeps_what_a_direct_one_keeps,
};
use ends::{ends, f27_a_function_s_own_problem, only_the_leader, retries_and_death};
use listed::lists_are_sorted_over_all_pages;
use pauses::f25_times_of_a_pause_are_never_made_up;
use refused::a_refused_try_is_never_billed;
use summary::counts_are_those_of_the_lists;
use told::{watched, webhooks_are_signed_and_retried};

suite!(
    bodies_are_the_same_whose_bytes_are,
    f21_the_fingerprint_is_what_the_caller_asked,
    f22_the_version_is_chosen_once,
    f23_relative_times_are_sent_as_such,
    f24_a_deferred_call_keeps_what_a_direct_one_keeps,
    f25_times_of_a_pause_are_never_made_up,
    f38_open_jobs_are_counted,
    counts_are_those_of_the_lists,
    lists_are_sorted_over_all_pages,
    life,
    bad_input,
    once,
    who_may,
    ends,
    f27_a_function_s_own_problem,
    retries_and_death,
    a_refused_try_is_never_billed,
    only_the_leader,
    in_order,
    large_bodies,
    an_output_that_comes_too_late_is_lost,
    arrays,
    clocks_that_jump,
    cron,
    watched,
    webhooks_are_signed_and_retried
);

async fn ada(ground: &Ground) -> Client {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    ada
}

async fn submit(client: &Client, more: Value) -> Job {
    let mut asked = json!({"function": "hello"});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = client.post("/jobs", asked).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let job: Job = answer.read();
    assert_eq!(answer.header("location"), format!("/api/v1/jobs/{}", job.id));
    job
}

async fn show(client: &Client, id: JobId) -> Job {
    client.get(&format!("/jobs/{id}")).await.read()
}

async fn lead(app: &App, lease: Duration) -> i64 {
    leader::lead(&app.db, Office::Jobs, app.instance, lease).await.unwrap().unwrap()
}

/// As the dispatcher does it.
async fn place(app: &App, epoch: i64, id: JobId, node: NodeId) -> RunId {
    let tx = app.db.begin().await.unwrap();
    assert!(leader::holds(&tx, Office::Jobs, epoch).await.unwrap());
    let revision = rows::revisions(&tx, 1).await.unwrap();
    let mut row = rows::locked(&tx, id).await.unwrap().unwrap();
    let (run, at) = (RunId::new(), Timestamp::now());
    (row.run_id, row.node_id, row.lane) = (Some(Col(run)), Some(Col(node)), Some(Col(Lane::Wasm)));
    (row.epoch, row.started) = (epoch, Some(Col(at)));
    let step = Step { state: JobState::Placed, node: Some(node), run: Some(run), reason: "test".to_owned(), at };
    rows::step(&tx, &mut row, step, revision).await.unwrap();
    rows::write(&tx, &row).await.unwrap();
    tx.commit().await.unwrap();
    run
}

async fn finished(app: &App, id: JobId, run: RunId, node: NodeId, came: Came, answer: Option<Answer>) -> Event {
    let row = jobs::Entity::find_by_id(Col(id)).one(app.db.read()).await.unwrap().unwrap();
    let (outcome, code) = match &came {
        Came::Done { outcome, code, .. } => (*outcome, *code),
        _ => (Outcome::PlatformFailed, None),
    };
    let seen = Observation {
        run,
        gateway: app.instance,
        account: row.account_id.0,
        function: row.function_id.0,
        version: row.version_id.0,
        version_number: 1,
        node: None,
        lane: Lane::Wasm,
        received: Timestamp::now(),
        head_us: 1,
        wall_us: 2,
        outcome,
        status: 200,
        code,
        method: "POST".to_owned(),
        path: "/".to_owned(),
        bytes_in: ByteSize(0),
        bytes_out: ByteSize(0),
        end: None,
        placement: None,
        job: None,
        limits: None,
        source: None,
        principal: None,
    };
    let at = Timestamp::now();
    Event::Finished(Box::new(Finished {
        job: id,
        run,
        node,
        at,
        came,
        answer,
        seen: Some(seen),
        share_exceeded: false,
    }))
}

fn answered(status: u16, body: &'static [u8]) -> (Came, Option<Answer>) {
    let pair = |name: &str, value: &str| (name.to_owned(), value.into());
    let answer = Answer {
        status,
        headers: vec![
            pair("content-type", "text/html"),
            pair("x-own", "yes"),
            pair("set-cookie", "cc_session=stolen"),
            pair("content-security-policy", "script-src *"),
        ],
        body: Some(Bytes::from_static(body)),
        put: None,
        size: ByteSize(body.len() as u64),
    };
    let why = String::new();
    (Came::Done { outcome: Outcome::Succeeded, status: Some(status), code: None, why }, Some(answer))
}

fn trapped() -> Came {
    Came::Done { outcome: Outcome::Failed, status: None, code: Some(Code::Trap), why: "unreachable".to_owned() }
}

async fn life(ground: Ground) {
    let ada = ada(&ground).await;
    let asked = json!({
        "path": "x?y=1", "input": {"json": {"a": 1}}, "memory": "256MiB", "timeout": "10m", "retries": 2, "priority": 1,
        "labels": {"kind": "100%", "run": "1"},
    });
    let job = submit(&ada, asked).await;
    assert_eq!((job.state, job.limits.memory, job.retries), (JobState::Queued, ByteSize::mib(256), 2));
    assert_eq!((job.path.as_str(), job.method.as_str(), job.input_size), ("/x?y=1", "POST", ByteSize(7)));
    let later = submit(&ada, json!({"not_before": Timestamp(Timestamp::now().0 + 3_600_000)})).await;
    assert!(later.due.is_some() && later.reason.contains("waits for"), "{later:?}");

    let list = async |query: &str| {
        let page: Page<Job> = ada.get(&format!("/jobs?{query}")).await.read();
        page.items.iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(list("").await, [later.id, job.id]);
    assert_eq!(list("limit=1").await, [later.id]);
    assert_eq!(list("label=kind%3D100%25").await, [job.id]);
    assert!(list("label=Kind%3D100%25").await.is_empty(), "capitals are others");
    assert!(list("label=kind%3D100_").await.is_empty() && list("state=running").await.is_empty());
    assert_eq!(list("function=hello&state=queued").await.len(), 2);

    let why: JobWhy = ada.get(&format!("/jobs/{}/why", later.id)).await.read();
    assert_eq!((why.state, why.ahead), (JobState::Queued, Some(1)));
    assert!(why.reason.contains("not tried before"), "{why:?}");
    assert_eq!(ada.get(&format!("/jobs/{}/output", job.id)).await.code(), Code::JobNotEnded);
    assert_eq!(ada.post(&format!("/jobs/{}/retry", job.id), json!({})).await.code(), Code::JobNotEnded);

    let cancelled: Job = ada.post(&format!("/jobs/{}/cancel", job.id), json!({})).await.read();
    assert_eq!(cancelled.state, JobState::Cancelled);
    assert!(cancelled.ended.is_some() && cancelled.reason.contains("ada@example.org"), "{cancelled:?}");
    assert_eq!(ada.post(&format!("/jobs/{}/cancel", job.id), json!({})).await.code(), Code::JobEnded);
    let again: Job = ada.post(&format!("/jobs/{}/retry", job.id), json!({})).await.read();
    let states: Vec<JobState> = again.transitions.iter().map(|step| step.state).collect();
    assert_eq!(states, [JobState::Queued, JobState::Cancelled, JobState::Queued]);
    assert!(again.ended.is_none());
}

async fn bad_input(ground: Ground) {
    let ada = ada(&ground).await;
    for (more, allowed) in [
        (json!({"cpus": -1}), "1 to 64"),
        (json!({"cpus": 1e9}), "1 to 64"),
        (json!({"memory": "9TiB"}), "1MiB to 64GiB"),
        (json!({"memory": -1}), "1MiB to 64GiB"),
        (json!({"retries": -3}), "0 to 20"),
        (json!({"timeout": "100d"}), "10ms to 3600s"),
        (json!({"priority": 99}), "-10 to 10"),
    ] {
        let mut asked = json!({"function": "hello"});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = ada.post("/jobs", asked).await;
        assert_eq!(answer.code(), Code::InvalidField, "{more}");
        let problem: protocol::Problem = answer.read();
        assert!(problem.detail.contains(&format!("allowed: {allowed}")), "{problem}");
    }
    for (asked, code) in [
        (json!({"function": "nothing"}), Code::FunctionNotFound),
        (json!({"function": "hello@v9"}), Code::VersionNotFound),
        (json!({"function": "hello@v1", "reference": "v1"}), Code::InvalidField),
        (json!({"function": "hello@"}), Code::InvalidField),
        (json!({"function": "hello", "not_before": "2001-01-01T00:00:00Z"}), Code::InvalidField),
        (json!({"function": "hello", "not_before": "soon"}), Code::InvalidField),
        (json!({"function": "hello", "webhook": "http://10.0.0.1/"}), Code::InvalidField),
        (json!({"function": "hello", "webhook": "file:///etc/passwd"}), Code::InvalidField),
        (json!({"function": "hello", "method": "TRACE"}), Code::InvalidField),
        (json!({"function": "hello", "path": "/ "}), Code::InvalidField),
        (json!({"function": "hello", "headers": [["a b", "c"]]}), Code::InvalidField),
        (json!({"function": "hello", "labels": {"": "x"}}), Code::InvalidField),
        (json!({"function": "hello", "input": {"base64": "!"}}), Code::InvalidField),
        (json!({"function": "hello", "input": {"upload": protocol::Digest([0; 32])}}), Code::ArtifactNotFound),
        (json!({"function": "hello", "input": {"text": "x".repeat(600_000)}}), Code::BodyTooLarge),
        (json!({"function": "hello", "colour": 1}), Code::InvalidField),
        (json!({}), Code::InvalidField),
        (json!([]), Code::InvalidField),
    ] {
        let shown = asked.to_string().chars().take(100).collect::<String>();
        assert_eq!(ada.post("/jobs", asked).await.code(), code, "{shown}");
    }
    assert_eq!(ada.get("/jobs/job_0").await.code(), Code::NotFound);
    assert_eq!(ada.get(&format!("/jobs/{}", JobId::new())).await.code(), Code::NotFound);
    assert_eq!(ada.get("/jobs?label=x").await.code(), Code::InvalidRequest);
    assert_eq!(ada.get("/jobs?state=lost").await.code(), Code::InvalidRequest);
    let page: Page<Job> = ada.get("/jobs").await.read();
    assert!(page.items.is_empty(), "nothing that was refused is there");
    // The bound on what waits.
    let narrow = Ground::on(ground.app.config.database.clone(), |config| config.jobs_open_max = 1).await;
    let ada = ada.on(narrow.router.clone());
    submit(&ada, json!({})).await;
    assert_eq!(ada.post("/jobs", json!({"function": "hello"})).await.code(), Code::LimitReached);
}

/// The count that submissions go by is that of the rows, whatever becomes of the jobs; and who may go is found whoever
/// else waits.
async fn f38_open_jobs_are_counted(ground: Ground) {
    let ada = ada(&ground).await;
    let (app, account) = (&ground.app, ada.account().await);
    let count = async || {
        let tx = app.db.begin().await.unwrap();
        let counted = rows::open(&tx, account).await.unwrap();
        let open = [JobState::Queued, JobState::Placed, JobState::Running].map(Col);
        let rows = jobs::Entity::find().filter(jobs::Column::State.is_in(open)).all(&tx).await.unwrap();
        assert_eq!(counted, rows.len() as u64);
        counted
    };
    assert_eq!(count().await, 0);
    let array = json!({"job": {"function": "hello"}, "inputs": [{"text": "a"}, {"text": "b"}]});
    let answer = ada.post("/jobs/arrays", array).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (first, second) = (
        submit(&ada, json!({})).await,
        submit(&ada, json!({"not_before": Timestamp::now().plus(Duration::from_secs(7200))})).await,
    );
    assert_eq!(count().await, 4);
    ada.post(&format!("/jobs/{}/cancel", second.id), json!({})).await;
    assert_eq!(count().await, 3);
    ada.post(&format!("/jobs/{}/retry", second.id), json!({})).await;
    assert_eq!(count().await, 4);
    let (epoch, node) = (lead(app, Duration::from_secs(5)).await, NodeId::new());
    let run = place(app, epoch, first.id, node).await;
    assert_eq!(count().await, 4);
    let (came, answer) = answered(200, b"done");
    let event = finished(app, first.id, run, node, came, answer).await;
    record(app, epoch, vec![event]).await.unwrap();
    assert_eq!(count().await, 3);

    let eve = ground.user("eve@example.org", "eve").await;
    ground.function(&eve, "hello").await;
    submit(&eve, json!({"not_before": Timestamp::now().plus(Duration::from_secs(7200))})).await;
    let now = Timestamp::now();
    assert_eq!(queue::accounts(app, now, &OnNodes::default(), 9).await.unwrap(), [account], "eve's waits for its time");
    let later = now.plus(Duration::from_secs(3 * 3600));
    assert_eq!(queue::accounts(app, later, &OnNodes::default(), 9).await.unwrap().len(), 2);
}

async fn once(ground: Ground) {
    let ada = ada(&ground).await;
    let keyed = ada.with("idempotency-key", "k");
    let asked = json!({"function": "hello", "input": {"text": "a"}});
    let first: Job = keyed.post("/jobs", asked.clone()).await.read();
    let again = keyed.post("/jobs", asked).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    assert_eq!(again.header("location"), format!("/api/v1/jobs/{}", first.id));
    assert_eq!(again.read::<Job>().id, first.id);
    let other = keyed.post("/jobs", json!({"function": "hello", "input": {"text": "b"}})).await;
    assert_eq!(other.code(), Code::IdempotencyMismatch);
    let page: Page<Job> = ada.get("/jobs").await.read();
    assert_eq!(page.items.len(), 1);
}

async fn who_may(ground: Ground) {
    let ada = ada(&ground).await;
    let job = submit(&ada, json!({})).await;
    let bob = ground.user("bob@example.org", "bob").await;
    let path = format!("/jobs/{}", job.id);
    assert_eq!(bob.get(&path).await.code(), Code::NotFound);
    assert_eq!(bob.post(&format!("{path}/cancel"), json!({})).await.code(), Code::NotFound);
    assert_eq!(bob.post("/jobs", json!({"function": "hello"})).await.code(), Code::FunctionNotFound);
    let (invoke, read) = (ada.key(&["invoke"]).await, ada.key(&["read"]).await);
    let own = submit(&invoke, json!({})).await;
    assert_eq!(show(&invoke, own.id).await.id, own.id);
    assert_eq!(invoke.get("/jobs").await.code(), Code::Forbidden);
    assert_eq!(read.get("/jobs").await.status, StatusCode::OK);
    assert_eq!(read.post("/jobs", json!({"function": "hello"})).await.code(), Code::Forbidden);
    assert_eq!(read.post(&format!("{path}/cancel"), json!({})).await.code(), Code::Forbidden);
    assert_eq!(ground.anonymous().get(&path).await.code(), Code::Unauthenticated);
    assert_eq!(read.get("/jobs/webhook-key").await.code(), Code::Forbidden);
}

async fn in_order(ground: Ground) {
    let (ada, app) = (ada(&ground).await, &ground.app);
    let first = submit(&ada, json!({})).await.id;
    let second = submit(&ada, json!({})).await.id;
    let urgent = submit(&ada, json!({"priority": 1})).await.id;
    submit(&ada, json!({"not_before": Timestamp(Timestamp::now().0 + 60_000)})).await;
    let bob = ground.user("bob@example.org", "bob").await;
    let now = crate::db::now(app.db.read()).await.unwrap();
    let account = ada.account().await;
    let next = queue::next_of(app, account, now, &[]).await.unwrap();
    assert_eq!(next.iter().map(|row| row.id.0).collect::<Vec<_>>(), [urgent, first, second]);
    let version = next[0].version_id.0;
    assert!(queue::next_of(app, account, now, &[version]).await.unwrap().is_empty());
    assert_eq!(queue::accounts(app, now, &OnNodes::default(), 9).await.unwrap(), [account]);
    ground.function(&bob, "hello").await;
    submit(&bob, json!({})).await;
    let now = crate::db::now(app.db.read()).await.unwrap();
    let mut busy = OnNodes::default();
    busy.add(account, next[0].function_id.0);
    assert_eq!(queue::accounts(app, now, &busy, 1).await.unwrap(), [bob.account().await]);
}

async fn large_bodies(ground: Ground) {
    let (ada, app) = (ada(&ground).await, &ground.app);
    let text = "x".repeat(200_000);
    let job = submit(&ada, json!({"input": {"text": text}})).await;
    assert_eq!(job.input_size, ByteSize(200_000));
    let input = crate::db::entities::job_inputs::Entity::find_by_id(Col(job.id)).one(app.db.read()).await.unwrap();
    let input = input.unwrap();
    assert!(input.body.is_none(), "beyond 64 KiB it is in the store");
    let (address, most) = (Address::Blob(input.blob.unwrap().0), ByteSize::mib(1));
    assert_eq!(objects::read_whole(app, app.db.read(), address, most).await.unwrap().len(), 200_000);
    let digest = ground.artifact(&ada, b"uploaded before").await;
    let job = submit(&ada, json!({"input": {"upload": digest}})).await;
    assert_eq!(job.input_size, ByteSize(15));

    // An output in the store is replayed whole.
    let (writing, blob) = ground.put(vec![7; 300_000]).await;
    let epoch = lead(app, Duration::from_secs(60)).await;
    let run = place(app, epoch, job.id, ground.node).await;
    let (came, answer) = answered(200, b"");
    let (size, put) = (blob.size, Some(Put::ours(blob, writing)));
    let answer = answer.map(|answer| Answer { body: None, put, size, ..answer });
    record(app, epoch, vec![finished(app, job.id, run, ground.node, came, answer).await]).await.unwrap();
    let output = ada.get(&format!("/jobs/{}/output", job.id)).await;
    assert!(output.status == StatusCode::OK && output.body == vec![7; 300_000]);

    // With the jobs go what was put for them, and not the uploads that they had.
    let artifacts = artifacts::Entity::find().all(app.db.read()).await.unwrap();
    let uploads: BTreeSet<BlobId> = artifacts.iter().map(|row| row.blob.unwrap().0).collect();
    assert_eq!(moving::left_after_sweeps(app).await.len(), uploads.len() + 2, "an input and an output");
    let ids = jobs::Entity::find().all(app.db.read()).await.unwrap().into_iter().map(|job| job.id).collect();
    rows::forget(app, ids).await.unwrap();
    assert_eq!(moving::left_after_sweeps(app).await, uploads);
}

/// A process that was paused records an output whose epoch has been closed meanwhile.
async fn an_output_that_comes_too_late_is_lost(ground: Ground) {
    let (ada, app) = (ada(&ground).await, &ground.app);
    let job = submit(&ada, json!({})).await;
    let epoch = lead(app, Duration::from_secs(60)).await;
    let run = place(app, epoch, job.id, ground.node).await;
    let (writing, blob) = ground.put(vec![7; 300_000]).await;
    let of_nobody = Put::of_gateway(blob);
    drop(writing);
    app.epochs.close().await.unwrap();
    let (came, answer) = answered(200, b"");
    let answer = answer.map(|answer| Answer { body: None, put: Some(of_nobody), ..answer });
    record(app, epoch, vec![finished(app, job.id, run, ground.node, came, answer).await]).await.unwrap();
    let again = show(&ada, job.id).await;
    assert_eq!((again.state, again.attempts), (JobState::Queued, 0), "it is tried again: {again:?}");
    assert!(again.reason.contains("took too long"), "{again:?}");
}

async fn arrays(ground: Ground) {
    let ada = ada(&ground).await;
    let inputs = json!([{"text": "a"}, {"json": [1, 2]}, {"base64": "AAE="}]);
    let answer = ada.post("/jobs/arrays", json!({"job": {"function": "hello", "retries": 1}, "inputs": inputs})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let array: protocol::job::JobArray = answer.read();
    let page: Page<Job> = ada.get(&format!("/jobs?array={}", array.id)).await.read();
    let mut jobs = page.items;
    jobs.sort_by_key(|job| job.index);
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), array.jobs);
    assert_eq!(jobs.iter().map(|job| job.input_size.0).collect::<Vec<_>>(), [1, 5, 2]);
    assert!(
        jobs.iter()
            .zip(0..)
            .all(|(job, index)| (job.index, job.retries, job.array) == (Some(index), 1, Some(array.id)))
    );
    for bad in [
        json!({"job": {"function": "hello"}, "inputs": []}),
        json!({"job": {"function": "hello", "input": {"text": "x"}}, "inputs": [{"text": "a"}]}),
        json!({"job": {"function": "hello"}, "inputs": vec![json!({"text": ""}); 1001]}),
        json!({"job": {"function": "hello"}, "inputs": [{"text": "a"}, {"base64": "!"}]}),
    ] {
        assert_eq!(ada.post("/jobs/arrays", bad).await.code(), Code::InvalidField);
    }
    let page: Page<Job> = ada.get("/jobs").await.read();
    assert_eq!(page.items.len(), 3, "none of a refused array is there");
}

async fn clocks_that_jump(ground: Ground) {
    let (ada, app) = (ada(&ground).await, &ground.app);
    let soon = submit(&ada, json!({})).await.id;
    let row = jobs::Entity::find_by_id(Col(soon)).one(app.db.read()).await.unwrap().unwrap();
    let later = submit(&ada, json!({"not_before": Timestamp::now().plus(Duration::from_secs(600))})).await.id;
    // Somebody leads for an hour: no lease is that long. The clock was an hour ahead when it was taken.
    let hour = Duration::from_secs(3600);
    leader::lead(&app.db, Office::Jobs, InstanceId::new(), hour).await.unwrap().unwrap();
    assert!(leader::lead(&app.db, Office::Jobs, InstanceId::new(), Duration::from_secs(5)).await.unwrap().is_some());
    // What was submitted then need not wait for that time to come again; what has a time of its own does.
    let before = Timestamp(row.created.0.0 - 3_600_000);
    let next = queue::next_of(app, row.account_id.0, before, &[]).await.unwrap();
    assert_eq!(next.iter().map(|row| row.id.0).collect::<Vec<_>>(), [soon]);
    assert_eq!(queue::accounts(app, before, &OnNodes::default(), 9).await.unwrap(), [row.account_id.0]);
    let far = Timestamp::now().plus(Duration::from_secs(601));
    let all = queue::next_of(app, row.account_id.0, far, &[]).await.unwrap();
    assert!(all.iter().any(|row| row.id.0 == later));
}

async fn cron(ground: Ground) {
    use protocol::trigger::Trigger;
    let ada = ada(&ground).await;
    let set = async |more: Value| {
        let mut asked = json!({"cron": "*/5 * * * *", "zone": "Europe/Berlin", "job": {"function": "hello"}});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ada.put("/triggers/often", asked).await
    };
    for bad in [
        json!({"cron": "nonsense"}),
        json!({"cron": "* * * * * *"}),
        json!({"cron": "99 * * * *"}),
        json!({"cron": "0 0 L * *"}),
        json!({"cron": "0 0 31 2 *"}),
        json!({"zone": "Mars"}),
        json!({"job": {"function": "hello", "cpus": -1}}),
        json!({"job": {"function": "hello", "not_before": "2100-01-01T00:00:00Z"}}),
        json!({"missed": "maybe"}),
    ] {
        assert_eq!(set(bad.clone()).await.code(), Code::InvalidField, "{bad}");
    }
    assert_eq!(set(json!({"job": {"function": "none"}})).await.code(), Code::FunctionNotFound);
    let trigger: Trigger = set(json!({"missed": "all"})).await.read();
    let next = trigger.next.unwrap();
    let jobs = async || ada.get("/jobs?label=trigger%3Doften").await.read::<Page<Job>>().items;
    crate::triggers::once(&ground.app, Timestamp(next.0 - 1)).await.unwrap();
    assert!(jobs().await.is_empty(), "not before its time");
    // Whoever looks, and however often: each time once.
    let later = Timestamp(next.0 + 11 * 60_000);
    let other = Ground::on(ground.app.config.database.clone(), |_| {}).await;
    let (first, second) =
        tokio::join!(crate::triggers::once(&ground.app, later), crate::triggers::once(&other.app, later));
    first.unwrap();
    second.unwrap();
    let made = jobs().await;
    assert_eq!(made.len(), 3, "each of the missed times");
    let shown: Trigger = ada.get("/triggers/often").await.read();
    assert_eq!((shown.last, shown.next), (Some(later), Some(Timestamp(next.0 + 15 * 60_000))));
    assert!(made.iter().any(|job| Some(job.id) == shown.last_job), "{shown:?}");
    // What cannot be submitted any more says so, and goes on.
    ada.delete("/functions/hello").await;
    crate::triggers::once(&ground.app, Timestamp(next.0 + 20 * 60_000)).await.unwrap();
    let shown: Trigger = ada.get("/triggers/often").await.read();
    assert!(shown.error.unwrap().contains("function_not_found"));
    assert_eq!(ada.get("/triggers").await.read::<Page<Trigger>>().items.len(), 1);
    assert_eq!(ada.delete("/triggers/often").await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.get("/triggers/often").await.code(), Code::NotFound);
}
