//! Logs on their way to the control plane: in batches, one after the other, each again until it is taken. A line counts once
//! by its run and its number there, so that nothing else need tell a batch that comes twice. What waits is bounded, and
//! accounts take turns: whoever writes little waits for a batch or two, however much others write.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use fabric::{CallOptions, Fabric, NodeService, Target};
use http::StatusCode;
use protocol::node::RunLog;
use protocol::{AccountId, RunId};
use tokio::sync::mpsc::Receiver;

use crate::run::log::TicketedLine;

/// Lines that are gathered before they are sent.
const GATHER: Duration = Duration::from_millis(100);
const LINES_MAX: usize = 2048;
/// Their text. In JSON a byte may become six, and the control plane takes 8 MiB: one run's lines must not make a batch too
/// large that has others' lines, too.
const BATCH_BYTES_MAX: usize = 768 << 10;
const WITHIN: Duration = Duration::from_secs(5);

/// How long a batch is tried.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// In all.
    tried_for: Duration,
    /// The pause before the second try; each further one is twice as long.
    pause: Duration,
    /// The longest pause.
    pause_max: Duration,
}

/// The control plane takes lines no later than some minutes after their run.
const PATIENCE: Patience = Patience {
    tried_for: Duration::from_secs(300),
    pause: Duration::from_millis(100),
    pause_max: Duration::from_secs(5),
};

/// Sends what comes until no run can write any more.
pub(super) async fn ship(fabric: Fabric, mut lines: Receiver<TicketedLine>) {
    let mut waiting = Waiting::default();
    loop {
        if waiting.turns.is_empty() {
            let Some(first) = lines.recv().await else { return };
            waiting.push(first);
        }
        let mut batch = Batch::default();
        fill(&mut batch, &mut waiting, &mut lines);
        if !batch.is_full() {
            tokio::time::sleep(GATHER).await;
            fill(&mut batch, &mut waiting, &mut lines);
        }
        let logs = by_run(batch.lines);
        let Ok(json) = serde_json::to_vec(&logs) else { continue };
        let json = bytes::Bytes::from(json);
        deliver(PATIENCE, || send(&fabric, json.clone())).await;
    }
}

/// Sends a batch until it is taken, or refused for good, or nobody has taken it for too long.
async fn deliver<F>(patience: Patience, mut send: impl FnMut() -> F)
where
    F: Future<Output = Result<(), Failed>>,
{
    let (begun, mut pause) = (Instant::now(), patience.pause);
    loop {
        match send().await {
            Ok(()) => return,
            Err(Failed::Refused(status)) => {
                tracing::warn!(%status, "logs are lost: refused");
                return;
            }
            Err(Failed::Again(error)) if begun.elapsed() >= patience.tried_for => {
                tracing::warn!(error, "logs are lost: not taken for too long");
                return;
            }
            Err(Failed::Again(error)) => tracing::debug!(error, "logs are sent again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(patience.pause_max);
    }
}

/// Why a batch was not taken.
enum Failed {
    /// It may be taken later.
    Again(String),
    /// It never will be.
    Refused(StatusCode),
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

/// Lines that wait, by account. Those that wait are as many as there is room for.
#[derive(Default)]
struct Waiting {
    lines: HashMap<AccountId, VecDeque<TicketedLine>>,
    /// The accounts that have lines here; the next one is first.
    turns: VecDeque<AccountId>,
}

impl Waiting {
    fn push(&mut self, line: TicketedLine) {
        let account = line.account;
        let own = self.lines.entry(account).or_default();
        if own.is_empty() {
            self.turns.push_back(account);
        }
        own.push_back(line);
    }

    /// The next account's next line.
    fn pop(&mut self) -> Option<TicketedLine> {
        let account = self.turns.pop_front()?;
        let Entry::Occupied(mut own) = self.lines.entry(account) else { return None };
        let line = own.get_mut().pop_front();
        if own.get().is_empty() {
            own.remove();
        } else {
            self.turns.push_back(account);
        }
        line
    }
}

fn fill(batch: &mut Batch, waiting: &mut Waiting, lines: &mut Receiver<TicketedLine>) {
    while let Ok(line) = lines.try_recv() {
        waiting.push(line);
    }
    while !batch.is_full()
        && let Some(line) = waiting.pop()
    {
        batch.push(line);
    }
}

fn by_run(lines: Vec<TicketedLine>) -> Vec<RunLog> {
    let mut logs: Vec<RunLog> = Vec::new();
    let mut places: HashMap<RunId, usize> = HashMap::new();
    for TicketedLine { ticket, line, .. } in lines {
        let place = *places.entry(line.run).or_insert_with(|| {
            logs.push(RunLog { run: line.run, ticket: (*ticket).clone(), lines: Vec::new() });
            logs.len() - 1
        });
        logs[place].lines.push(line);
    }
    logs
}

async fn send(fabric: &Fabric, json: bytes::Bytes) -> Result<(), Failed> {
    let request = http::Request::post("/logs")
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(fabric::full(json))
        .map_err(|error| Failed::Again(error.to_string()))?;
    let options = CallOptions { deadline: WITHIN, accept_within: Duration::from_secs(1) };
    let target = Target::FromNode(NodeService::Log);
    let reply = fabric.call(target, request, options).await.map_err(|error| Failed::Again(error.to_string()))?;
    match reply.response.status() {
        status if status.is_success() => Ok(()),
        status if status.is_server_error() || may_pass(status) => Err(Failed::Again(status.to_string())),
        status => Err(Failed::Refused(status)),
    }
}

/// Refusals that are about the moment, and not about the lines.
fn may_pass(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fabric::shares::{Shares, TenantShare};
    use protocol::Timestamp;
    use protocol::node::{LogLine, LogStream};
    use protocol::ticket::SignedTicket;

    use super::*;

    const SHORT: Patience = Patience {
        tried_for: Duration::from_millis(50),
        pause: Duration::from_millis(1),
        pause_max: Duration::from_millis(2),
    };

    /// How often a batch is sent that is answered so, and then taken.
    async fn tries(answers: Vec<Failed>) -> usize {
        let (mut answers, mut count) = (answers.into_iter(), 0);
        let send = || {
            count += 1;
            let answer = answers.next().map_or(Ok(()), Err);
            async move { answer }
        };
        deliver(SHORT, send).await;
        count
    }

    fn again(count: usize) -> Vec<Failed> {
        (0..count).map(|_| Failed::Again("503".to_owned())).collect()
    }

    fn line(account: AccountId, sequence: u32, shares: &Shares<AccountId>) -> TicketedLine {
        let (run, at, stream) = (RunId::new(), Timestamp::now(), LogStream::Stdout);
        let line = LogLine { run, sequence, at, stream, text: "x".to_owned() };
        let ticket = Arc::new(SignedTicket(String::new()));
        TicketedLine { ticket, line, account, _room: shares.try_take(account, 1).unwrap() }
    }

    #[test]
    fn a06_an_account_that_writes_little_is_in_the_next_batch() {
        let (ada, bob) = (AccountId::new(), AccountId::new());
        let shares = Shares::new(1 << 20, TenantShare::WHOLE);
        let (sender, mut lines) = tokio::sync::mpsc::channel(3 * LINES_MAX);
        for (account, count) in [(ada, 2 * LINES_MAX), (bob, 2)] {
            for sequence in 0..u32::try_from(count).unwrap() {
                sender.try_send(line(account, sequence, &shares)).unwrap();
            }
        }
        let (mut batch, mut waiting) = (Batch::default(), Waiting::default());
        fill(&mut batch, &mut waiting, &mut lines);
        let of = |account: AccountId| -> Vec<u32> {
            batch.lines.iter().filter(|line| line.account == account).map(|line| line.line.sequence).collect()
        };
        assert!(of(ada).into_iter().eq(0..u32::try_from(LINES_MAX - 2).unwrap()), "in their order");
        assert_eq!(of(bob), [0, 1], "not after all of the other account's");
    }

    #[tokio::test]
    async fn a_batch_is_sent_until_it_is_taken() {
        assert_eq!(tries(again(0)).await, 1);
        assert_eq!(tries(again(10)).await, 11, "however often, while it may still be taken");
        assert_eq!(tries(vec![Failed::Refused(StatusCode::UNPROCESSABLE_ENTITY)]).await, 1, "it would be so again");
        let lost = tries(again(10_000)).await;
        assert!((2..10_000).contains(&lost), "not for ever: {lost}");
    }
}
