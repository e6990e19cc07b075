//! What nodes say without being asked, until the process stops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric::{Fabric, subjects};
use protocol::node::NodeReport;
use tokio_util::sync::CancellationToken;

use crate::nodes::Nodes;

/// Listens again after an error.
const LISTEN_AGAIN: Duration = Duration::from_millis(200);
/// How often reports grow older.
const AGE_EVERY: Duration = Duration::from_millis(100);

/// Lets reports grow older until `stop`.
pub async fn age(nodes: Arc<Nodes>, stop: CancellationToken) {
    let age = async {
        loop {
            tokio::time::sleep(AGE_EVERY).await;
            nodes.pass(Instant::now());
        }
    };
    stop.run_until_cancelled(age).await;
}

/// Hears which process the control plane has taken for a node, until `stop`.
pub async fn hear_boots(fabric: Fabric, stop: CancellationToken) {
    let listen = async {
        loop {
            if let Ok(mut boots) = fabric.events(subjects::NODE_BOOTS).await {
                while let Some(event) = boots.next().await {
                    fabric.learn_boot(&event);
                }
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    };
    stop.run_until_cancelled(listen).await;
}

/// Passes the nodes' checked reports on until `stop`.
pub async fn hear_reports(fabric: Fabric, heard: impl Fn(NodeReport, Instant) + Send + Sync, stop: CancellationToken) {
    let listen = async {
        let mut deaf = false;
        loop {
            match fabric.events(subjects::REPORTS).await {
                Ok(mut reports) => {
                    deaf = false;
                    while let Some(event) = reports.next().await {
                        if let Some(report) = fabric.report(&event) {
                            heard(report, Instant::now());
                        }
                    }
                }
                Err(error) if !deaf => {
                    deaf = true;
                    tracing::warn!(%error, "cannot listen to nodes' reports");
                }
                Err(_) => {}
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    };
    stop.run_until_cancelled(listen).await;
}
