//! Counts by state are those of the lists.

use std::time::Duration;

use protocol::api::Page;
use protocol::job::{Job, JobState, JobSummary};
use protocol::{Code, Timestamp};
use serde_json::json;

use super::super::recorder::record;
use super::{ada, answered, finished, lead, place, submit, trapped};
use crate::tests::harness::{Client, Ground};

async fn summary(client: &Client, query: &str) -> JobSummary {
    client.get(&format!("/jobs/summary?{query}")).await.read()
}

pub(super) async fn counts_are_those_of_the_lists(ground: Ground) {
    let (ada, app) = (ada(&ground).await, &ground.app);
    assert_eq!(summary(&ada, "").await, JobSummary::default());
    let epoch = lead(app, Duration::from_secs(60)).await;
    let mut last_ended = Timestamp(0);
    for came in [answered(200, b"done"), answered(200, b"done"), (trapped(), None)] {
        let job = submit(&ada, json!({})).await.id;
        let run = place(app, epoch, job, ground.node).await;
        record(app, epoch, vec![finished(app, job, run, ground.node, came.0, came.1).await]).await.unwrap();
        last_ended = super::show(&ada, job).await.ended.unwrap();
    }
    let cancelled = submit(&ada, json!({})).await.id;
    ada.post(&format!("/jobs/{cancelled}/cancel"), json!({})).await;
    let placed = submit(&ada, json!({})).await.id;
    place(app, epoch, placed, ground.node).await;
    let later = Timestamp::now().plus(Duration::from_secs(3600));
    submit(&ada, json!({"not_before": later})).await;
    assert_eq!(summary(&ada, "").await.waiting_since, None, "the only one in the queue waits for its time");
    let waiting = submit(&ada, json!({})).await;
    let bob = ground.user("bob@example.org", "bob").await;
    ground.function(&bob, "hello").await;
    submit(&bob, json!({})).await;

    let all = summary(&ada, "").await;
    let counts = all.counts;
    assert_eq!((counts.queued, counts.placed, counts.running, counts.open()), (2, 1, 0, 3));
    assert_eq!((counts.succeeded, counts.failed, counts.cancelled, counts.ended()), (2, 1, 1, 4));
    assert_eq!(all.waiting_since, Some(waiting.created));
    for query in ["function=hello", "function=hello&version=1", "version=1"] {
        assert_eq!(summary(&ada, query).await, all, "{query}");
    }
    assert_eq!(summary(&ada, "version=2").await.counts.open(), 0);
    assert_eq!(bob.get("/jobs/summary?function=none").await.code(), Code::FunctionNotFound);

    for (states, wanted) in [("queued,placed,running", counts.open()), ("failed,timed_out,dead", counts.went_wrong())] {
        let page: Page<Job> = ada.get(&format!("/jobs?state={states}")).await.read();
        assert_eq!(page.items.len() as u64, wanted, "{states}");
        assert!(page.items.iter().all(|job| states.contains(job.state.as_str())), "{states}");
    }

    // A count, and the list that it leads to.
    let after = Timestamp(last_ended.0 + 1);
    for (period, ended) in [
        (String::new(), 4),
        (format!("from={last_ended}"), 2),
        (format!("from={after}"), 1),
        (format!("to={after}"), 3),
        (format!("from={after}&to={after}"), 0),
    ] {
        let summary = summary(&ada, &period).await;
        assert_eq!((summary.counts.ended(), summary.counts.open()), (ended, 3), "{period}");
        let of_list = period.replace("from=", "ended_from=").replace("to=", "ended_to=");
        for state in JobState::ALL.into_iter().filter(|state| state.ended()) {
            let page: Page<Job> = ada.get(&format!("/jobs?version=1&state={state}&{of_list}")).await.read();
            assert_eq!(page.items.len() as u64, summary.counts.of(state), "{state} {of_list}");
        }
    }
    let invoke = ada.key(&["invoke"]).await;
    assert_eq!(invoke.get("/jobs/summary").await.code(), Code::Forbidden);
}
