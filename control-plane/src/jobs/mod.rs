//! Jobs: the row is the truth, and is committed before anybody is told that the job is accepted. One control plane,
//! the leader of this office, brings jobs to nodes; every other can take over from the rows at any moment.
//!
//! ```text
//! API, gateway --submit--> [jobs] <--------- recorder: steps, outputs, usage; one transaction for many
//!                            |  rows that wait            ^
//!                            v                            | results
//!                 queue: fair between accounts --> placed --> one try each: ticket, fabric call, answer
//! ```
//! Each of the dispatcher's transactions first checks that its epoch still leads: a leader that was paused and wakes
//! up does nothing any more. The states are drawn in `protocol::job`.

mod actions;
mod answer;
mod attempt;
mod bodies;
mod dispatcher;
mod events;
mod fields;
mod queue;
mod recorder;
mod rows;
mod submit;
mod summary;
mod verdict;
mod views;
mod webhooks;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use placing::Placing;
use protocol::NodeId;
use protocol::node::{NodeRecord, NodeReport};
use protocol::placement::Placement;
use scheduler::{LeastLoaded, Policy as _, RunRequest};
use tokio::sync::{Notify, watch};

use crate::config::{Config, JobsPolicy};

pub(crate) use actions::{cancel, cancel_in, retry};
pub(crate) use answer::{deferred_output, output};
pub(crate) use dispatcher::run as dispatch;
pub(crate) use events::{of_account as events_of_account, of_job as events_of_job};
pub(crate) use fields::inline as inline_input;
pub(crate) use rows::{forget, prune, refused};
pub(crate) use submit::{check, defer, insert_in, limits, prepare, submit, submit_array};
pub(crate) use summary::{SummaryQuery, summary};
pub(crate) use views::{JobFilter, POLL, ShowQuery, deferred, list, logs, show, why};
pub(crate) use webhooks::{key as webhook_key, run as tell_ends};

/// What handlers and the dispatcher of this process share.
pub(crate) struct Jobs {
    /// There may be something to do.
    wake: Notify,
    /// The newest change that this process has committed.
    changed: watch::Sender<i64>,
    placing: Arc<Placing>,
    /// What jobs may take of a node's slots, in percent.
    share: u32,
    policy: JobsPolicy,
}

impl Jobs {
    /// Nobody is there yet.
    pub(crate) fn new(config: &Config, placing: Arc<Placing>) -> Self {
        Self {
            wake: Notify::new(),
            changed: watch::Sender::new(0),
            placing,
            share: config.jobs_slots_share,
            policy: config.jobs_policy,
        }
    }

    /// A node has reported.
    pub(crate) fn heard(&self, report: NodeReport, now: Instant) {
        self.placing.nodes.heard(report, now);
    }

    /// Who is on record: all of them.
    fn know(&self, records: Vec<NodeRecord>) {
        let there: HashSet<NodeId> = records.iter().map(|record| record.node).collect();
        let nodes = &self.placing.nodes;
        let gone = |node: &NodeId| !there.contains(node);
        let gone: Vec<NodeId> = nodes.look(|all| all.iter().map(|view| view.record.node).filter(gone).collect());
        gone.into_iter().for_each(|node| self.placing.left(node));
        records.into_iter().for_each(|record| nodes.upsert(record));
    }

    /// A node has left, or was shut out.
    pub(crate) fn forget(&self, node: NodeId) {
        self.placing.left(node);
    }

    /// Where a run would go, as this process sees the nodes now.
    fn rank(&self, mut wanted: RunRequest) -> Placement {
        let now = Instant::now();
        wanted.slots_share = self.share;
        self.placing.nodes.pass(now);
        match self.policy {
            JobsPolicy::Learned => self.placing.rank(&wanted, now),
            JobsPolicy::LeastLoaded => {
                self.placing.nodes.rank(now, |nodes| LeastLoaded.rank(&wanted, nodes, &mut rand::rng()))
            }
        }
    }

    /// Something was committed: who watches looks, and so does the dispatcher.
    pub(crate) fn committed(&self, revision: i64) {
        self.changed.send_if_modified(|known| {
            let newer = revision > *known;
            *known = revision.max(*known);
            newer
        });
        self.wake.notify_one();
    }
}

/// Jobs were inserted by somebody else's transaction.
pub(crate) fn inserted(app: &crate::App) {
    app.jobs.changed.send_modify(|_| {});
    app.jobs.wake.notify_one();
}
