//! Calls about the messages of queues.

use protocol::MessageId;
use protocol::api::Page;
use protocol::queue::{Discarded, Message, Queue, Redriven};

use crate::api::{Call, Result};
use crate::nav::encode;

pub(crate) async fn show(account: &str, queue: &str) -> Result<Queue> {
    Call::get(&path(queue, "")).of(account).send().await
}

/// A page of the dead messages, or of the others. `cursor` is the page's; empty for the first.
pub(crate) async fn messages(account: &str, queue: &str, dead: bool, rows: u32, cursor: &str) -> Result<Page<Message>> {
    let which = if dead { "/dead" } else { "/messages" };
    let cursor = if cursor.is_empty() { String::new() } else { format!("&cursor={}", encode(cursor)) };
    Call::get(&format!("{}?limit={rows}{cursor}", path(queue, which))).of(account).send().await
}

/// All dead ones wait again.
pub(crate) async fn redrive_all(account: &str, queue: &str) -> Result<Redriven> {
    Call::post(&path(queue, "/redrive")).of(account).send().await
}

/// This dead one waits again.
pub(crate) async fn redrive(account: &str, queue: &str, message: MessageId) -> Result<Redriven> {
    Call::post(&path(queue, &format!("/dead/{message}/redrive"))).of(account).send().await
}

pub(crate) async fn discard_all(account: &str, queue: &str) -> Result<Discarded> {
    Call::delete(&path(queue, "/dead")).of(account).send().await
}

pub(crate) async fn discard(account: &str, queue: &str, message: MessageId) -> Result<()> {
    Call::delete(&path(queue, &format!("/dead/{message}"))).of(account).send().await
}

fn path(queue: &str, rest: &str) -> String {
    format!("/queues/{}{rest}", encode(queue))
}
