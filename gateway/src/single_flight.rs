//! One question at a time for each key: who asks the same meanwhile waits for the same answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::{Code, Problem};
use tokio::sync::watch;

type Flights<K, V> = Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>;

/// Questions on their way. They outlive who asks, so that their number is bounded by itself.
pub(crate) struct SingleFlight<K, V> {
    flights: Flights<K, V>,
    most: usize,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Too many other questions are on their way.
    Full,
    /// The task that asked came to no end.
    Lost,
}

impl NoAnswer {
    /// What the caller reads.
    pub(crate) fn problem(self) -> Problem {
        match self {
            Self::Full => Problem::new(Code::ControlPlaneUnavailable, "too many other requests wait for its answers"),
            Self::Lost => Code::Internal.into(),
        }
    }
}

impl<K, V> SingleFlight<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// At most so many questions at once.
    pub(crate) fn new(most: usize) -> Self {
        Self { flights: Arc::default(), most }
    }

    /// The answer to `ask`, or that of a question with the same key that is on its way. The question goes on when those
    /// who wait for it go away.
    pub(crate) async fn run<F>(&self, key: K, ask: impl FnOnce() -> F) -> Result<V, NoAnswer>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut answer = {
            let mut flights = self.flights.lock();
            if let Some(flight) = flights.get(&key) {
                flight.clone()
            } else if flights.len() >= self.most {
                return Err(NoAnswer::Full);
            } else {
                let (sender, receiver) = watch::channel(None);
                flights.insert(key.clone(), receiver.clone());
                let landing = Landing { flights: Arc::clone(&self.flights), key };
                let question = ask();
                tokio::spawn(async move {
                    let value = question.await;
                    drop(landing);
                    sender.send_replace(Some(value));
                });
                receiver
            }
        };
        answer.wait_for(Option::is_some).await.ok().and_then(|value| value.clone()).ok_or(NoAnswer::Lost)
    }
}

/// Takes the flight off the board, also when the question panics.
struct Landing<K: Eq + Hash, V> {
    flights: Flights<K, V>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_question_for_many() {
        let flights = SingleFlight::<u8, u32>::new(2);
        let asked = Arc::new(AtomicU32::new(0));
        let ask = || {
            let asked = Arc::clone(&asked);
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                asked.fetch_add(1, Ordering::Relaxed) + 1
            }
        };
        let answers = futures::future::join_all((0..20).map(|_| flights.run(1, ask))).await;
        assert!(answers.iter().all(|answer| *answer == Ok(1)));
        assert_eq!(flights.run(1, ask).await, Ok(2));
        assert_eq!(flights.run(2, || async { panic!("lost") }).await, Err(NoAnswer::Lost));
        assert!(flights.flights.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a02_questions_at_once_are_bounded() {
        let flights = Arc::new(SingleFlight::<u8, u32>::new(2));
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            1
        };
        // Whoever goes away leaves the question behind.
        for key in [1, 2] {
            let asked = tokio::time::timeout(Duration::from_millis(1), flights.run(key, slow)).await;
            assert!(asked.is_err());
        }
        assert_eq!(flights.run(3, slow).await, Err(NoAnswer::Full));
        assert_eq!(flights.run(1, slow).await, Ok(1), "the same question is no further one");
        assert_eq!(flights.run(3, slow).await, Ok(1));
    }
}
