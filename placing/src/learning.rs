//! What a process that places runs has learned of them: the newest model, and its own runs since.
//!
//! ```text
//! newest record --> store --> Snapshot --+
//!                                        v               each second
//! runs that ended --> queue (bounded) --> Learned (one task) --> Knowledge --> placements, which take no lock
//! nodes that left ------^
//! ```
//!
//! Whatever fails here, placements go on: with the last good model, and without one as they were before there were
//! models.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use fabric::metric_names::LearningNames;
use metrics::{Counter, Gauge, counter, gauge};
use protocol::model::ModelRecord;
use protocol::receipt::Observation;
use protocol::{ByteSize, NodeId, Timestamp};
use scheduler::{Finished, Knowledge, Learned, Memo, Policy as _, Snapshot, Standing};
use store::Store;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Maximum number of runs that wait to be learned from. Further ones are dropped and counted.
const QUEUE_MAX: usize = 4096;
/// Maximum batch size.
const BATCH_MAX: usize = 256;
/// Runs of so long are learned from at once: a task that each run wakes takes its thread from the next call.
const GATHER: Duration = Duration::from_millis(20);
/// How often placements get what was learned.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// Maximum size of a snapshot.
const SNAPSHOT_MAX: ByteSize = ByteSize::mib(256);
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

thread_local! {
    /// Predictions that this thread has made.
    static MEMO: RefCell<Memo> = RefCell::default();
}

/// What is learned from.
#[derive(Debug, Clone, Copy)]
enum Lesson {
    Ended(Finished),
    Left(NodeId),
}

/// What is known now.
pub struct Learning {
    knowledge: ArcSwap<Knowledge>,
    lessons: mpsc::Sender<Lesson>,
    /// Whoever learns holds it.
    queue: tokio::sync::Mutex<mpsc::Receiver<Lesson>>,
    newest: watch::Sender<Option<ModelRecord>>,
    unlearned: Counter,
    trusted: Gauge,
    live_error: Gauge,
}

impl Learning {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(names: &LearningNames) -> Arc<Self> {
        let (lessons, queue) = mpsc::channel(QUEUE_MAX);
        Arc::new(Self {
            knowledge: ArcSwap::default(),
            lessons,
            queue: queue.into(),
            newest: watch::channel(None).0,
            unlearned: counter!(names.runs_unlearned),
            trusted: gauge!(names.model_trusted),
            live_error: gauge!(names.model_error),
        })
    }

    /// What placements go by.
    pub fn knowledge(&self) -> Guard<Arc<Knowledge>> {
        self.knowledge.load()
    }

    /// The newest model's record, however often it is told.
    pub fn offer(&self, record: ModelRecord) {
        self.newest.send_if_modified(|newest| {
            let other = newest.as_ref().is_none_or(|newest| newest.blob.digest != record.blob.digest);
            *newest = Some(record);
            other
        });
    }

    /// With the memory of this thread.
    pub fn with_memo<R>(work: impl FnOnce(&mut Memo) -> R) -> R {
        MEMO.with_borrow_mut(work)
    }

    /// A run is over. Never waits.
    pub fn ended(&self, seen: &Observation) {
        // Without a model nothing is predicted, and a model brings a history of its own.
        if self.knowledge.load().standing() == Standing::Missing {
            return;
        }
        if let Some(finished) = Finished::of(seen)
            && self.lessons.try_send(Lesson::Ended(finished)).is_err()
        {
            self.unlearned.increment(1);
        }
    }

    /// A node has left. Never waits: where the queue is full, the next model knows nothing of it either.
    pub fn left(&self, node: NodeId) {
        self.lessons.try_send(Lesson::Left(node)).ok();
    }
}

/// Learns until `stop`. Models are read from the store.
pub async fn run(learning: Arc<Learning>, store: Store, stop: CancellationToken) {
    let (models, adopted) = mpsc::channel(1);
    let work = async {
        let mut lessons = learning.queue.lock().await;
        tokio::join!(learn(&learning, &mut lessons, adopted), fetch(&learning, &store, models));
    };
    stop.run_until_cancelled(Box::pin(work)).await;
}

/// Takes what comes into a policy of its own, and publishes what that knows.
async fn learn(learning: &Learning, lessons: &mut mpsc::Receiver<Lesson>, mut models: mpsc::Receiver<Arc<Snapshot>>) {
    let mut policy = Learned::default();
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut publish = tokio::time::interval(PUBLISH_EVERY);
    publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(snapshot) = models.recv() => {
                policy.pass(since_epoch());
                policy.adopt(&snapshot);
                tracing::info!(runs = snapshot.runs, error = snapshot.error, "placement model adopted");
                learning.publish(&policy);
            }
            _ = publish.tick() => {
                policy.pass(since_epoch());
                learning.publish(&policy);
            }
            count = lessons.recv_many(&mut batch, BATCH_MAX) => {
                for lesson in batch.drain(..) {
                    match lesson {
                        Lesson::Ended(finished) => policy.observe(&finished),
                        Lesson::Left(node) => policy.forget_node(node),
                    }
                }
                if count < BATCH_MAX {
                    tokio::time::sleep(GATHER).await;
                }
            }
        }
    }
}

impl Learning {
    fn publish(&self, policy: &Learned) {
        let knowledge = policy.knowledge();
        let (before, now) = (self.knowledge.load().standing(), knowledge.standing());
        if before != now && matches!(now, Standing::Old | Standing::Wrong) {
            tracing::warn!(?now, error = policy.live_error(), "placement model disabled");
        }
        self.trusted.set(if now == Standing::Trusted { 1.0 } else { 0.0 });
        self.live_error.set(policy.live_error());
        self.knowledge.store(Arc::new(knowledge.clone()));
    }
}

/// Reads each new model from the store; again where it fails, unless a newer one has come.
async fn fetch(learning: &Learning, store: &Store, models: mpsc::Sender<Arc<Snapshot>>) {
    let mut newest = learning.newest.subscribe();
    let mut pause = RETRY_MIN;
    loop {
        let record = newest.borrow_and_update().clone();
        let read = match &record {
            Some(record) => read(store, record).await.map(Some),
            None => Ok(None),
        };
        match read {
            Ok(snapshot) => {
                pause = RETRY_MIN;
                if let Some(snapshot) = snapshot
                    && models.send(snapshot).await.is_err()
                {
                    return;
                }
                if newest.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "placement model cannot be read; the last good one stays");
                if let Ok(Err(_)) = tokio::time::timeout(pause, newest.changed()).await {
                    return;
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

async fn read(store: &Store, record: &ModelRecord) -> anyhow::Result<Arc<Snapshot>> {
    let bytes = store.get(&record.blob).await?.collect(SNAPSHOT_MAX).await?;
    Ok(Arc::new(tokio::task::spawn_blocking(move || Snapshot::decode(&bytes)).await??))
}

/// Trainers and placements share the wall clock, as far as clocks agree: models live for a day.
fn since_epoch() -> Duration {
    Duration::from_millis(u64::try_from(Timestamp::now().0).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use fabric::metric_names::LearningNames;
    use protocol::placement::Warmth;
    use protocol::{Lane, VersionId};

    use super::*;

    /// Waits for what is published each second.
    #[tokio::test]
    async fn what_was_learned_of_a_node_goes_when_it_leaves() {
        let (learning, node) = (Learning::new(&LearningNames::GATEWAY), NodeId::new());
        let finished = Finished {
            version: VersionId::new(),
            input: ByteSize(1),
            node,
            lane: Lane::Wasm,
            warmth: Warmth::Warm,
            wall: Duration::from_millis(5),
            failed: false,
        };
        let known = async |wanted: bool| {
            while learning.knowledge().history().knows_node(node) != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let (_models, adopted) = mpsc::channel(1);
        let mut lessons = learning.queue.lock().await;
        learning.lessons.try_send(Lesson::Ended(finished)).unwrap();
        let leaves = async {
            known(true).await;
            learning.left(node);
            known(false).await;
        };
        tokio::select! {
            () = learn(&learning, &mut lessons, adopted) => panic!("it learns for ever"),
            done = tokio::time::timeout(Duration::from_secs(20), leaves) => done.unwrap(),
        }
    }
}
