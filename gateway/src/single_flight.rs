//! One question at a time for each key: who asks the same meanwhile waits for the same answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

type Flights<K, V> = Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>;

/// Questions on their way. Their number is bounded by that of those who wait for them.
pub(crate) struct SingleFlight<K, V> {
    flights: Flights<K, V>,
}

impl<K, V> SingleFlight<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self { flights: Arc::default() }
    }

    /// The answer to `ask`, or that of a question with the same key that is on its way. Nothing when the task that
    /// asked came to no end. The question goes on when those who wait for it go away.
    pub(crate) async fn run<F>(&self, key: K, ask: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut answer = {
            let mut flights = self.flights.lock();
            if let Some(flight) = flights.get(&key) {
                flight.clone()
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
        answer.wait_for(Option::is_some).await.ok().and_then(|value| value.clone())
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
        let flights = SingleFlight::<u8, u32>::new();
        let asked = Arc::new(AtomicU32::new(0));
        let ask = || {
            let asked = Arc::clone(&asked);
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                asked.fetch_add(1, Ordering::Relaxed) + 1
            }
        };
        let answers = futures::future::join_all((0..20).map(|_| flights.run(1, ask))).await;
        assert!(answers.iter().all(|answer| *answer == Some(1)));
        assert_eq!(flights.run(1, ask).await, Some(2));
        assert_eq!(flights.run(2, || async { panic!("lost") }).await, None);
        assert!(flights.flights.lock().is_empty());
    }
}
