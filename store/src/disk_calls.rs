//! What a node's disk does at once. One that hangs takes its own places alone, and none of those of the node's other disks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engine::{EngineError, Trouble};

/// Calls of one disk at once, of all who ask: half of what the node serves, and as many as one process asks for.
const CALLS_MAX: usize = 8;

/// The places of one disk.
pub(crate) struct DiskCalls(Arc<Semaphore>);

/// One of them.
pub(crate) struct DiskCall {
    _place: OwnedSemaphorePermit,
}

impl DiskCalls {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(CALLS_MAX)))
    }

    /// None: all are taken.
    pub(crate) fn begin(&self) -> Option<DiskCall> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(|place| DiskCall { _place: place })
    }
}

impl DiskCall {
    /// Waits for this only so long. What has not ended then keeps the place until it does: nothing else comes to hang there.
    pub(crate) async fn within<T: Send + 'static>(
        self,
        within: Duration,
        engine: &str,
        verb: &'static str,
        work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let task = tokio::spawn(async move {
            let done = work.await;
            drop(self);
            done
        });
        match tokio::time::timeout(within, task).await {
            Ok(Ok(done)) => done,
            Ok(Err(ended)) => {
                let (engine, source) = (engine.to_owned(), ended.into());
                Err(EngineError { engine, verb, trouble: Trouble::Failed, source })
            }
            Err(late) => Err(EngineError::slow(engine, verb, late)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn one_that_hangs_is_busy_until_it_has_done_all() {
        let calls = DiskCalls::new();
        let short = Duration::from_millis(50);
        let mut hanging = Vec::new();
        for _ in 0..CALLS_MAX {
            let (end, ended) = oneshot::channel::<()>();
            let work = async move {
                ended.await.ok();
                Ok(())
            };
            let late = calls.begin().unwrap().within(short, "a", "read", work).await.unwrap_err();
            assert_eq!((late.trouble, late.verb), (Trouble::Slow, "read"));
            hanging.push(end);
        }
        assert!(calls.begin().is_none(), "at once");
        drop(hanging.pop());
        let call = loop {
            match calls.begin() {
                Some(call) => break call,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        assert!(calls.begin().is_none());
        let done = call.within(Duration::from_secs(60), "a", "read", async { Ok(7) }).await;
        assert_eq!(done.unwrap(), 7);
        assert!(DiskCalls::new().begin().is_some(), "another disk");
    }
}
