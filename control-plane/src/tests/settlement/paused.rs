//! Settlement that is paused: halves stay where they are.

use http::{Method, StatusCode};

use super::super::harness::{Ground, suite};
use super::{Runs, Signer, as_node};

suite!(halves_stay_where_they_are);

/// Whoever has halves hears what makes it keep them, and nothing is settled.
async fn halves_stay_where_they_are(ground: Ground) {
    let (runs, node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, seen) = runs.halves(&ground, 3000, 2000);
    let paused = Ground::on(ground.app.config.database.clone(), |config| config.settlement_paused = true).await;
    let receipts = as_node(crate::api::nodes::receipt(paused.app.clone()), ground.node);
    let checkpoint = serde_json::to_vec(&node.next(vec![receipt])).unwrap();
    let body = serde_json::to_value([&seen]).unwrap();
    for answer in [
        paused.anonymous().send(Method::POST, "/internal/observations", Some(body)).await,
        receipts.raw(Method::POST, "/checkpoints", checkpoint).await,
    ] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    }
    assert_eq!(runs.usage().await.runs, 0);
}
