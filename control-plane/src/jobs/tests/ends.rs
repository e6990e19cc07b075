//! How jobs end: once, whoever says so, and however often.

use std::time::Duration;

use http::StatusCode;
use protocol::api::UsageSums;
use protocol::job::{Job, JobState};
use protocol::{Code, InstanceId, Timestamp};
use serde_json::json;

use super::super::attempt::{Answer, Event};
use super::super::recorder::{RecordError, abandon, record};
use super::super::verdict::Came;
use super::{ada, answered, finished, lead, place, show, submit, trapped};
use crate::leader::{self, Office};
use crate::tests::harness::Ground;

pub(super) async fn ends(ground: Ground) {
    let (ada, app) = (ada(&ground).await, &ground.app);
    let job = submit(&ada, json!({})).await.id;
    let epoch = lead(app, Duration::from_secs(60)).await;
    let run = place(app, epoch, job, ground.node).await;
    let (came, answer) = answered(201, b"<h1>done</h1>");
    let running = Event::Running { job, run, node: ground.node, at: Timestamp::now() };
    let over = finished(app, job, run, ground.node, came.clone(), answer).await;
    record(app, epoch, vec![running, over]).await.unwrap();
    let shown = show(&ada, job).await;
    let states: Vec<JobState> = shown.transitions.iter().map(|step| step.state).collect();
    assert_eq!(states, [JobState::Queued, JobState::Placed, JobState::Running, JobState::Succeeded]);
    assert_eq!((shown.status, shown.run, shown.attempts), (Some(201), Some(run), 1));

    // The output as it was, but never as a page of the platform's.
    let output = ada.get(&format!("/jobs/{job}/output")).await;
    assert_eq!((output.status, output.body.as_ref()), (StatusCode::CREATED, &b"<h1>done</h1>"[..]));
    assert_eq!((output.header("x-own"), output.header("content-type")), ("yes", "text/html"));
    assert!(
        output.header("content-security-policy").starts_with("sandbox") && !output.headers.contains_key("set-cookie")
    );
    assert_eq!(output.header("x-crowdcloud-run"), run.to_string());

    // Told twice, it ended once and is billed once.
    let (_, answer) = answered(500, b"late");
    let again = finished(app, job, run, ground.node, trapped(), answer).await;
    record(app, epoch, vec![again]).await.unwrap();
    assert_eq!(show(&ada, job).await.transitions.len(), 4);
    let usage: UsageSums = ada.get("/functions/hello/usage").await.read();
    assert_eq!((usage.runs, usage.succeeded), (1, 1));
    assert_eq!(ada.post(&format!("/jobs/{job}/retry"), json!({})).await.code(), Code::JobEnded);
}

pub(super) async fn f27_a_function_s_own_problem(ground: Ground) {
    let (ada, app) = (ada(&ground).await, &ground.app);
    let epoch = lead(app, Duration::from_secs(60)).await;
    let own = submit(&ada, json!({})).await.id;
    let own_run = place(app, epoch, own, ground.node).await;
    let text = br#"{"type":"about:blank","title":"no such thumb","status":404}"#;
    let (came, answer) = answered(404, text);
    let answer = answer.map(|answer| {
        let pair = |name: &str, value: &str| (name.to_owned(), value.into());
        let marks = [
            pair("content-type", "application/problem+json"),
            pair("proxy-status", "crowdcloud; error=http_request_error; details=\"not_found\""),
            pair("proxy-status", "upstream; error=y"),
        ];
        Answer { headers: marks.to_vec(), ..answer }
    });
    record(app, epoch, vec![finished(app, own, own_run, ground.node, came, answer).await]).await.unwrap();
    let output = ada.get(&format!("/jobs/{own}/output")).await;
    assert_eq!((output.status, output.body.as_ref()), (StatusCode::NOT_FOUND, &text[..]));
    assert_eq!(output.header("content-type"), "application/problem+json");
    assert_eq!(output.headers.get_all("proxy-status").iter().collect::<Vec<_>>(), ["upstream; error=y"], "{output:?}");

    // Where the function gave none, the platform's word is marked as such; so is a refusal of the API itself.
    let lost = submit(&ada, json!({})).await.id;
    let run = place(app, epoch, lost, ground.node).await;
    record(app, epoch, vec![finished(app, lost, run, ground.node, trapped(), None).await]).await.unwrap();
    assert_eq!(ada.get(&format!("/jobs/{lost}/output")).await.code(), Code::Trap);
    let open = submit(&ada, json!({})).await.id;
    assert_eq!(ada.get(&format!("/jobs/{open}/output")).await.code(), Code::JobNotEnded);
}

pub(super) async fn retries_and_death(ground: Ground) {
    let (ada, app) = (ada(&ground).await, &ground.app);
    let job = submit(&ada, json!({"retries": 1, "backoff": "1h"})).await.id;
    let epoch = lead(app, Duration::from_secs(60)).await;
    let run = place(app, epoch, job, ground.node).await;
    record(app, epoch, vec![finished(app, job, run, ground.node, trapped(), None).await]).await.unwrap();
    let waits = show(&ada, job).await;
    assert_eq!((waits.state, waits.attempts, waits.code), (JobState::Queued, 1, Some(Code::Trap)));
    assert!(waits.due.unwrap().since(Timestamp::now()) > Duration::from_secs(3000), "{waits:?}");
    let run = place(app, epoch, job, ground.node).await;
    let running = Event::Running { job, run, node: ground.node, at: Timestamp::now() };
    record(app, epoch, vec![running]).await.unwrap();
    let runs = show(&ada, job).await;
    assert_eq!((runs.state, runs.attempts), (JobState::Running, 2), "the try that runs counts");
    record(app, epoch, vec![finished(app, job, run, ground.node, trapped(), None).await]).await.unwrap();
    let dead = show(&ada, job).await;
    assert_eq!((dead.state, dead.attempts), (JobState::Dead, 2));
    assert!(dead.reason.contains("given up after 1 retry"), "{dead:?}");
    let output = ada.get(&format!("/jobs/{job}/output")).await;
    assert_eq!(output.code(), Code::Trap);

    // What the platform lost is tried again, and costs nothing.
    let job = submit(&ada, json!({})).await.id;
    let run = place(app, epoch, job, ground.node).await;
    let lost = Came::Lost(Code::NodeLost, "gone".to_owned());
    record(app, epoch, vec![finished(app, job, run, ground.node, lost, None).await]).await.unwrap();
    let again = show(&ada, job).await;
    assert_eq!((again.state, again.attempts, again.losses), (JobState::Queued, 0, 1));

    // One that is cancelled while it runs ends when its node has stopped it.
    let run = place(app, epoch, job, ground.node).await;
    let asked: Job = ada.post(&format!("/jobs/{job}/cancel"), json!({})).await.read();
    assert!(asked.cancelling && asked.state == JobState::Placed);
    let end = |job, run| finished(app, job, run, ground.node, Came::Cancelled { begun: false }, None);
    record(app, epoch, vec![end(job, run).await]).await.unwrap();
    let cancelled = show(&ada, job).await;
    assert_eq!((cancelled.state, cancelled.cancelling, cancelled.attempts), (JobState::Cancelled, false, 0));

    // A try counts from when its node has begun it, whoever says how it ended.
    for forgotten in [false, true] {
        let job = submit(&ada, json!({})).await.id;
        let run = place(app, epoch, job, ground.node).await;
        let running = Event::Running { job, run, node: ground.node, at: Timestamp::now() };
        record(app, epoch, vec![running]).await.unwrap();
        assert!(ada.post(&format!("/jobs/{job}/cancel"), json!({})).await.status.is_success());
        match forgotten {
            true => assert_eq!(abandon(app, epoch).await.unwrap(), 1),
            false => record(app, epoch, vec![end(job, run).await]).await.unwrap(),
        }
        let cancelled = show(&ada, job).await;
        assert_eq!((cancelled.state, cancelled.attempts), (JobState::Cancelled, 1));
    }
}

pub(super) async fn only_the_leader(ground: Ground) {
    let (ada, app) = (ada(&ground).await, &ground.app);
    let job = submit(&ada, json!({})).await.id;
    let old = lead(app, Duration::from_secs(3)).await;
    let run = place(app, old, job, ground.node).await;
    assert_eq!(leader::lead(&app.db, Office::Jobs, InstanceId::new(), Duration::from_secs(9)).await.unwrap(), None);
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let other = InstanceId::new();
    let new = leader::lead(&app.db, Office::Jobs, other, Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(new > old);
    // The leader before wakes up: it does nothing any more.
    let (came, answer) = answered(200, b"late");
    let late = finished(app, job, run, ground.node, came.clone(), answer).await;
    assert!(matches!(record(app, old, vec![late]).await, Err(RecordError::NotLeading)));
    assert!(matches!(abandon(app, old).await, Err(RecordError::NotLeading)));
    assert_eq!(leader::lead(&app.db, Office::Jobs, app.instance, Duration::from_secs(60)).await.unwrap(), None);
    assert_eq!(show(&ada, job).await.state, JobState::Placed);
    // The new one takes the job back, once.
    assert_eq!(abandon(app, new).await.unwrap(), 1);
    assert_eq!(abandon(app, new).await.unwrap(), 0);
    assert_eq!(show(&ada, job).await.state, JobState::Queued);
    // What still comes of the run that was taken back changes nothing.
    let (came, answer) = answered(200, b"later");
    let later = finished(app, job, run, ground.node, came, answer).await;
    record(app, new, vec![later]).await.unwrap();
    assert_eq!(show(&ada, job).await.state, JobState::Queued);
    let usage: UsageSums = ada.get("/functions/hello/usage").await.read();
    assert_eq!(usage.succeeded, 0, "nobody pays for what was lost");
    // Offices are apart: who publishes routes need not dispatch jobs.
    assert!(leader::lead(&app.db, Office::Routes, app.instance, Duration::from_secs(9)).await.unwrap().is_some());
}
