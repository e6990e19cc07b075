//! Logs on their way to the control plane: in batches, again after a failure, in a bounded queue.

use std::collections::HashMap;
use std::time::Duration;

use fabric::{CallOptions, Fabric, NodeService, Target};
use protocol::RunId;
use protocol::node::RunLog;
use tokio::sync::mpsc::Receiver;

use crate::run::log::TicketedLine;

/// Lines that are gathered before they are sent.
const GATHER: Duration = Duration::from_millis(100);
const LINES_MAX: usize = 2048;
/// Their text. In JSON a byte may become six, and the control plane takes 8 MiB: one run's lines must not make a batch too
/// large that has others' lines, too.
const BATCH_BYTES_MAX: usize = 768 << 10;
const WITHIN: Duration = Duration::from_secs(5);
/// Attempts for one batch; after that it is lost.
const ATTEMPTS: u32 = 6;

/// Sends what comes until no run can write any more.
pub(super) async fn ship(fabric: Fabric, mut lines: Receiver<TicketedLine>) {
    while let Some(first) = lines.recv().await {
        let mut batch = Batch::default();
        batch.push(first);
        fill(&mut batch, &mut lines);
        if !batch.is_full() {
            tokio::time::sleep(GATHER).await;
            fill(&mut batch, &mut lines);
        }
        let logs = by_run(batch.lines);
        let Ok(json) = serde_json::to_vec(&logs) else { continue };
        let json = bytes::Bytes::from(json);
        let mut wait = Duration::from_millis(100);
        for attempt in 1..=ATTEMPTS {
            match send(&fabric, json.clone()).await {
                Ok(()) => break,
                Err(error) if attempt == ATTEMPTS => tracing::warn!(error, "logs are lost"),
                Err(error) => tracing::debug!(error, "logs are sent again"),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }
}

/// Lines that go together.
#[derive(Default)]
struct Batch {
    lines: Vec<TicketedLine>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, line: TicketedLine) {
        self.bytes += line.line.text.len();
        self.lines.push(line);
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= LINES_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

fn fill(batch: &mut Batch, lines: &mut Receiver<TicketedLine>) {
    while !batch.is_full()
        && let Ok(line) = lines.try_recv()
    {
        batch.push(line);
    }
}

fn by_run(lines: Vec<TicketedLine>) -> Vec<RunLog> {
    let mut logs: Vec<RunLog> = Vec::new();
    let mut places: HashMap<RunId, usize> = HashMap::new();
    for TicketedLine { ticket, line, _room } in lines {
        let place = *places.entry(line.run).or_insert_with(|| {
            logs.push(RunLog { run: line.run, ticket: (*ticket).clone(), lines: Vec::new() });
            logs.len() - 1
        });
        logs[place].lines.push(line);
    }
    logs
}

async fn send(fabric: &Fabric, json: bytes::Bytes) -> Result<(), String> {
    let request = http::Request::post("/logs")
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(fabric::full(json))
        .map_err(|error| error.to_string())?;
    let options = CallOptions { deadline: WITHIN, accept_within: Duration::from_secs(1) };
    let target = Target::FromNode(NodeService::Log);
    let reply = fabric.call(target, request, options).await.map_err(|error| error.to_string())?;
    let status = reply.response.status();
    // A refusal stays a refusal; only what may pass later is tried again.
    if status.is_server_error() { Err(status.to_string()) } else { Ok(()) }
}
