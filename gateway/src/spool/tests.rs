//! The spool against a control plane that forgets to answer or takes nothing, and against kills of its own process.

use std::collections::HashMap;
use std::path::Path;

use parking_lot::Mutex;
use protocol::{ByteSize, Digest, EpochId, RunId};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

/// Takes batches as the control plane does: in order, once. What is in them are numbers.
#[derive(Default)]
struct Committed {
    marks: HashMap<EpochId, (u64, Digest)>,
    taken: Vec<serde_json::Value>,
    heads: Vec<BatchHead>,
    /// Fails now and then, before or after it has taken a batch.
    trouble: Option<StdRng>,
    /// Answers so instead.
    refusal: Option<Code>,
    /// It is of the release before.
    knows_no_numbers: bool,
}

#[derive(Clone, Default)]
struct Plane(Arc<Mutex<Committed>>);

impl Core for Plane {
    async fn post(&self, head: &BatchHead, body: Bytes) -> Result<Option<BatchAck>, CoreError> {
        self.0.lock().answer(head, &body)
    }
}

impl Committed {
    fn answer(&mut self, head: &BatchHead, body: &[u8]) -> Result<Option<BatchAck>, CoreError> {
        assert_eq!(Digest::of(body), head.digest);
        let same = |before: &&BatchHead| (before.epoch, before.number) == (head.epoch, head.number);
        if let Some(before) = self.heads.iter().find(same) {
            assert_eq!(before.digest, head.digest, "what was sent once does not change");
        }
        self.heads.push(*head);
        let mut fails = || self.trouble.as_mut().is_some_and(|random| random.random_bool(0.25));
        let (before, after) = (fails(), fails());
        if before {
            return Err(CoreError::Unavailable("it is away".to_owned()));
        }
        if let Some(code) = self.refusal {
            return Err(CoreError::Refused(Box::new(code.into())));
        }
        let content: Vec<serde_json::Value> = serde_json::from_slice(body).unwrap();
        if self.knows_no_numbers {
            self.taken.extend(content);
            return Ok(None);
        }
        let mark = self.marks.get(&head.epoch).copied();
        if mark.is_some_and(|(number, digest)| number == head.number && digest != head.digest) {
            return Err(CoreError::Refused(Box::new(Code::BatchConflict.into())));
        }
        let mut committed = mark.map_or(0, |mark| mark.0).max(head.acknowledged);
        if head.number == committed + 1 {
            self.taken.extend(content);
            self.marks.insert(head.epoch, (head.number, head.digest));
            committed = head.number;
        }
        if after {
            Err(CoreError::Unavailable("its answer is lost".to_owned()))
        } else {
            Ok(Some(BatchAck { committed, void: 0 }))
        }
    }
}

impl Plane {
    fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.0.lock().taken.iter().map(|value| value.as_u64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    async fn send(&self, batches: &Arc<Batches>) -> anyhow::Result<()> {
        Flight::new(self, batches, &Meters::new()).all().await
    }
}

fn start(folder: &Path) -> Arc<Batches> {
    Arc::new(Batches::open(folder, ByteSize::mib(64)).unwrap())
}

fn add(batches: &Batches, numbers: std::ops::Range<u64>) {
    let count = usize::try_from(numbers.end - numbers.start).unwrap();
    let lines: String = numbers.map(|number| format!("{number}\n")).collect();
    batches.append(lines.as_bytes(), count).unwrap();
}

fn left(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// As when a process is killed while it writes.
fn tear(folder: &Path) {
    use std::io::Write as _;
    let newest = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).max();
    if let Some(newest) = newest {
        let mut file = std::fs::OpenOptions::new().append(true).open(newest).unwrap();
        file.write_all(b"{\"torn").unwrap();
    }
}

/// Some hundred lives of a spool: its process is killed at any moment, acknowledgements get lost, the control plane is
/// away. Everything that was on disk is taken, once, and under the number that it had first.
#[tokio::test]
async fn whatever_happens_each_observation_is_taken_once() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let folder = tempfile::tempdir().unwrap();
        let plane = Plane::default();
        plane.0.lock().trouble = Some(StdRng::seed_from_u64(seed + 1000));
        let mut next = 0;
        for _ in 0..random.random_range(1..4) {
            let batches = start(folder.path());
            for _ in 0..random.random_range(1..12) {
                match random.random_range(0..8) {
                    0..4 => {
                        let count = if random.random_bool(0.1) { 400 } else { random.random_range(1..5) };
                        add(&batches, next..next + count);
                        next += count;
                    }
                    4..6 => {
                        batches.seal_after(Duration::ZERO);
                    }
                    // Whether all could be sent shows in the end.
                    _ => drop(plane.send(&batches).await),
                }
            }
            if random.random_bool(0.5) {
                tear(folder.path());
            }
        }
        let batches = start(folder.path());
        while plane.send(&batches).await.is_err() {}
        assert_eq!(plane.numbers(), (0..next).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(left(folder.path()), 0, "seed {seed}");
    }
}

#[tokio::test]
async fn what_an_earlier_start_has_left_comes_first_with_its_numbers() {
    let (folder, plane) = (tempfile::tempdir().unwrap(), Plane::default());
    let killed = start(folder.path());
    for numbers in [0..2, 2..3] {
        add(&killed, numbers);
        killed.seal_after(Duration::ZERO);
    }
    add(&killed, 3..5);
    // It is not dead yet, and the next one is there already.
    let batches = start(folder.path());
    add(&batches, 5..6);
    batches.seal_after(Duration::ZERO);
    plane.send(&batches).await.unwrap();
    let heads = plane.0.lock().heads.clone();
    let (old, new) = (heads[0].epoch, heads[3].epoch);
    let names: Vec<_> = heads.iter().map(|head| (head.epoch, head.number, head.acknowledged)).collect();
    assert_eq!(names, [(old, 1, 0), (old, 2, 0), (old, 3, 0), (new, 1, 0)]);
    assert_ne!(old, new);
    plane.send(&killed).await.unwrap();
    assert_eq!(plane.numbers(), [0, 1, 2, 3, 4, 5], "both have sent some, and they count once");
}

/// A control plane that acknowledges nothing before it has four.
#[derive(Clone)]
struct Patient(Arc<tokio::sync::Barrier>);

impl Core for Patient {
    async fn post(&self, head: &BatchHead, _: Bytes) -> Result<Option<BatchAck>, CoreError> {
        self.0.wait().await;
        Ok(Some(BatchAck { committed: head.number, void: 0 }))
    }
}

#[tokio::test]
async fn several_are_on_their_way_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let batches = start(folder.path());
    for number in 0..8 {
        add(&batches, number..number + 1);
        batches.seal_after(Duration::ZERO);
    }
    let patient = Patient(Arc::new(tokio::sync::Barrier::new(4)));
    let meters = Meters::new();
    let all =
        tokio::time::timeout(Duration::from_secs(10), async { Flight::new(&patient, &batches, &meters).all().await });
    all.await.unwrap().unwrap();
    assert_eq!(left(folder.path()), 0);
}

#[tokio::test]
async fn what_was_not_taken_under_its_number_gets_another_one() {
    let (folder, plane) = (tempfile::tempdir().unwrap(), Plane::default());
    let batches = start(folder.path());
    add(&batches, 0..2);
    batches.seal_after(Duration::ZERO);
    let epoch = batches.oldest().unwrap().unwrap().name.epoch;
    plane.0.lock().marks.insert(epoch, (1, Digest::of(b"other")));
    plane.send(&batches).await.unwrap();
    assert_eq!(plane.numbers(), Vec::<u64>::new());
    batches.seal_after(Duration::ZERO);
    plane.send(&batches).await.unwrap();
    assert_eq!(plane.numbers(), [0, 1]);
    assert_eq!(plane.0.lock().heads.last().map(|head| head.number), Some(2));
}

#[tokio::test]
async fn a_control_plane_of_the_release_before() {
    let (folder, plane) = (tempfile::tempdir().unwrap(), Plane::default());
    plane.0.lock().knows_no_numbers = true;
    let batches = start(folder.path());
    for number in 0..3 {
        add(&batches, number..number + 1);
        batches.seal_after(Duration::ZERO);
    }
    // What it refuses for good is kept aside, and holds up nothing.
    plane.0.lock().refusal = Some(Code::InvalidRequest);
    plane.send(&batches).await.unwrap();
    assert_eq!((left(folder.path()), plane.numbers().len()), (3, 0));
    add(&batches, 3..4);
    batches.seal_after(Duration::ZERO);
    // What may be taken later is sent again.
    for code in [Code::RateLimited, Code::NotUnderstood, Code::BodyIncomplete, Code::ControlPlaneUnavailable] {
        plane.0.lock().refusal = Some(code);
        assert!(plane.send(&batches).await.is_err(), "{code}");
    }
    plane.0.lock().refusal = None;
    plane.send(&batches).await.unwrap();
    assert_eq!(plane.numbers(), [3]);
    // It was updated meanwhile, and has heard of none of these.
    plane.0.lock().knows_no_numbers = false;
    add(&batches, 4..5);
    batches.seal_after(Duration::ZERO);
    plane.send(&batches).await.unwrap();
    assert_eq!(plane.numbers(), [3, 4]);
}

#[tokio::test]
async fn observations_of_a_moment_are_one_post() {
    let (folder, plane, stop) = (tempfile::tempdir().unwrap(), Plane::default(), CancellationToken::new());
    let mut config = Config::new(folder.path().join("spool"));
    (config.spool_flush, config.spool_post) = (protocol::Millis(1), protocol::Millis::seconds(600));
    let (spool, tasks) = Spool::open(&config, Arc::new(Meters::new())).unwrap();
    let sample = include_str!("../../../protocol/src/tests/golden/observation_v1.json");
    let sample: Observation = serde_json::from_str(sample).unwrap();
    let running = tokio::spawn(tasks.run_with(plane.clone(), stop.clone()));
    let push = || spool.push(Observation { run: RunId::new(), ..sample.clone() });
    for _ in 0..20 {
        push();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(plane.0.lock().taken.len(), 20);
    assert_eq!(plane.0.lock().heads.len(), 1, "they went together");

    // As many as are one batch do not wait.
    let (spool, tasks) = Spool::open(&config, Arc::new(Meters::new())).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(tasks.run_with(plane.clone(), stop.clone()));
    (0..BATCH_MAX).for_each(|_| spool.push(Observation { run: RunId::new(), ..sample.clone() }));
    while plane.0.lock().taken.len() < 20 + BATCH_MAX {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.cancel();
    running.await.unwrap();
}
