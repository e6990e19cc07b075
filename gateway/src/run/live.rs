//! A call's run until it has been observed. However it ends (answered, refused, cut, or its future dropped because the
//! caller went away), dropping it gives back what it held, waits aside for the node's last word, and spools what was seen.

use std::sync::Arc;

use fabric::profile::{self, Part};
use placing::{Attempt, HasAttempt};
use protocol::{ByteSize, Code};

use crate::concurrency::Permit;
use crate::state::Gateway;
use crate::upload::Upload;

/// A run that is going on.
pub(crate) struct LiveRun(Option<Box<Inner>>);

struct Inner {
    gateway: Arc<Gateway>,
    attempt: Attempt,
    upload: Option<Upload>,
    permit: Permit,
}

impl LiveRun {
    /// Takes a run over that has just begun.
    pub(crate) fn begin(gateway: Arc<Gateway>, attempt: Attempt, upload: Option<Upload>, permit: Permit) -> Self {
        Self(Some(Box::new(Inner { gateway, attempt, upload, permit })))
    }

    /// It is over, as the function would have it: all of its response has passed at once.
    pub(crate) fn completed(&mut self, bytes: usize) {
        if let Some(attempt) = self.attempt() {
            attempt.passed_out(bytes);
            attempt.completed();
        }
    }

    /// It is over, and we answer instead.
    pub(crate) fn refused(&mut self, code: Code) {
        if let Some(attempt) = self.attempt() {
            attempt.refuse(code);
        }
    }
}

impl HasAttempt for LiveRun {
    fn attempt(&mut self) -> Option<&mut Attempt> {
        self.0.as_mut().map(|inner| &mut inner.attempt)
    }
}

impl Drop for LiveRun {
    fn drop(&mut self) {
        let Some(inner) = self.0.take() else { return };
        profile::within(Part::Bookkeeping, || inner.leave());
    }
}

impl Inner {
    /// Nobody waits for it any more.
    fn leave(mut self: Box<Self>) {
        self.attempt.bytes_in(self.upload.as_ref().map_or(ByteSize(0), Upload::received));
        if let Some(code) = self.upload.as_ref().and_then(Upload::fault) {
            self.attempt.broke_off(code);
        }
        let (head, whole) = self.attempt.leave();
        self.gateway.meters.run_ended(head, whole);
        if self.attempt.has_last_word() {
            self.conclude();
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let gateway = Arc::clone(&self.gateway);
        let last_word = async move {
            self.gateway.leaving.run_until_cancelled(self.attempt.last_word()).await;
            self.conclude();
        };
        gateway.concluding.spawn_on(profile::around(Part::Bookkeeping, last_word), &runtime);
    }

    fn conclude(self: Box<Self>) {
        let Self { gateway, attempt, permit, .. } = *self;
        let concluded = attempt.conclude();
        drop(permit);
        gateway.spool.push(concluded.seen);
    }
}
