//! Nodes, what their owners want of them, and the tokens with which machines join.

use protocol::api::{ConfirmNode, CreateNodeToken, Node, NodeDetails, NodeToken, Page, SuspendNode, Vouch};
use protocol::node::NodeWish;
use protocol::{NodeId, TokenId};

use super::ROWS_MAX;
use crate::api::{Call, Result};

pub(crate) async fn list(account: &str) -> Result<Page<Node>> {
    Call::get(&format!("/nodes?limit={ROWS_MAX}")).of(account).send().await
}

pub(crate) async fn node(account: &str, id: NodeId) -> Result<NodeDetails> {
    Call::get(&format!("/nodes/{id}")).of(account).send().await
}

/// Only if nobody has wished for something since this ETag.
pub(crate) async fn wish(account: &str, id: NodeId, etag: Option<&str>, body: &NodeWish) -> Result<NodeDetails> {
    let call = Call::put(&format!("/nodes/{id}/wish")).of(account);
    let call = match etag {
        Some(etag) => call.if_match(etag),
        None => call,
    };
    call.json(body).await
}

pub(crate) async fn revoke(account: &str, id: NodeId) -> Result<()> {
    Call::post(&format!("/nodes/{id}/revoke")).of(account).send().await
}

pub(crate) async fn suspend(account: &str, id: NodeId, body: &SuspendNode) -> Result<()> {
    Call::post(&format!("/nodes/{id}/suspend")).of(account).json(body).await
}

/// Lets a suspended node in again.
pub(crate) async fn let_in(account: &str, id: NodeId) -> Result<()> {
    Call::post(&format!("/nodes/{id}/resume")).of(account).send().await
}

/// It is the machine that its owner means.
pub(crate) async fn confirm(account: &str, id: NodeId, body: &ConfirmNode) -> Result<NodeDetails> {
    Call::post(&format!("/nodes/{id}/confirm")).of(account).json(body).await
}

pub(crate) async fn vouch(account: &str, body: &Vouch) -> Result<()> {
    Call::post("/nodes/vouch").of(account).json(body).await
}

/// The newest tokens.
pub(crate) async fn tokens(account: &str) -> Result<Page<NodeToken>> {
    Call::get(&format!("/nodes/tokens?limit={ROWS_MAX}")).of(account).send().await
}

pub(crate) async fn create_token(account: &str, body: &CreateNodeToken) -> Result<NodeToken> {
    Call::post("/nodes/tokens").of(account).json(body).await
}

pub(crate) async fn delete_token(account: &str, id: TokenId) -> Result<()> {
    Call::delete(&format!("/nodes/tokens/{id}")).of(account).send().await
}
