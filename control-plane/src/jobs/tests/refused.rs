//! A node that refuses a try, keeps its ticket, and claims the run all the same: nobody pays, whichever comes first.

use std::time::Duration;

use protocol::api::UsageSums;
use protocol::receipt::Usage;
use protocol::{JobId, RunId, Timestamp};
use serde_json::json;

use super::super::attempt::{Event, Finished};
use super::super::recorder::record;
use super::super::verdict::Came;
use super::{lead, place, submit};
use crate::tests::harness::Ground;
use crate::tests::settlement::{Runs, Signer, later};

/// What happens, in an order.
#[derive(Clone, Copy)]
enum Step {
    /// The dispatcher records that the node has refused the try.
    Refused,
    /// The node's receipt comes.
    Claimed,
    /// Nobody waits for the other half any longer.
    GivenUp,
}

fn refused(ground: &Ground, job: JobId, run: RunId) -> Event {
    Event::Finished(Box::new(Finished {
        job,
        run,
        node: ground.node,
        at: Timestamp::now(),
        came: Came::NotTaken("no room".to_owned()),
        answer: None,
        seen: None,
        share_exceeded: false,
    }))
}

pub(super) async fn a_refused_try_is_never_billed(ground: Ground) {
    use Step::{Claimed, GivenUp, Refused};
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let epoch = lead(&ground.app, Duration::from_secs(600)).await;
    for order in [[Refused, Claimed, GivenUp], [Claimed, Refused, GivenUp], [Claimed, GivenUp, Refused]] {
        let job = submit(&runs.client, json!({})).await.id;
        let run = place(&ground.app, epoch, job, ground.node).await;
        for step in order {
            match step {
                Refused => record(&ground.app, epoch, vec![refused(&ground, job, run)]).await.unwrap(),
                Claimed => {
                    let (mut receipt, _) = runs.halves(&ground, 5_000_000, 0);
                    (receipt.run, receipt.ticket) = (run, runs.ticket(&ground, run));
                    node.submit(vec![receipt]).await;
                }
                GivenUp => crate::settlement::sweep_once(&ground.app, later(61), false).await.unwrap(),
            }
        }
        let shown = runs.run(run).await;
        assert!(shown.settled && shown.usage == Usage::default(), "{shown:?}");
        let sums: UsageSums = runs.client.get("/functions/hello/usage").await.read();
        assert_eq!((sums.wall_us, sums.cpu_us, sums.succeeded), (0, 0, 0), "{sums:?}");
    }
    // Of a try that nobody claims there is nothing to show.
    let job = submit(&runs.client, json!({})).await.id;
    let run = place(&ground.app, epoch, job, ground.node).await;
    record(&ground.app, epoch, vec![refused(&ground, job, run)]).await.unwrap();
    assert_eq!(runs.client.get(&format!("/invocations/{run}")).await.code(), protocol::Code::NotFound);
}
