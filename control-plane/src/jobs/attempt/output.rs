//! What a function has answered a job, kept: a short body in the row, a longer one in the store. What goes there counts as an
//! upload of the account, and is kept however much the account keeps already: what comes next is refused.

use bytes::{Bytes, BytesMut};
use fabric::BodyError;
use futures::{Stream, StreamExt as _};
use http_body::Body;
use http_body_util::{BodyDataStream, BodyExt as _};
use protocol::{AccountId, ByteSize, Problem};

use crate::App;
use crate::error::Error;
use crate::functions::upload_quota;
use crate::jobs::bodies::Put;

/// Bytes are counted before they are stored, so many at a time.
const STEP: ByteSize = ByteSize::kib(256);

/// Why an output is not whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// More than the function may answer.
    #[error("too large")]
    TooLarge,
    /// More than the account may store in this time.
    #[error("{0}")]
    Quota(Box<Problem>),
    /// It broke off.
    #[error(transparent)]
    Body(BodyError),
    /// It cannot be kept.
    #[error("{0}")]
    Store(String),
}

/// The body, where it is short; else what was put into the store.
pub(super) async fn keep(
    app: &App,
    account: AccountId,
    mut body: impl Body<Data = Bytes, Error = BodyError> + Send + Unpin,
    size_max: ByteSize,
) -> Result<(Option<Bytes>, Option<Put>, ByteSize), Broken> {
    let mut start = BytesMut::new();
    while start.len() as u64 <= app.config.job_inline_max.0 {
        let Some(frame) = body.frame().await else {
            let size = ByteSize(start.len() as u64);
            return if size > size_max { Err(Broken::TooLarge) } else { Ok((Some(start.freeze()), None, size)) };
        };
        if let Ok(piece) = frame.map_err(Broken::Body)?.into_data() {
            start.extend_from_slice(&piece);
        }
    }
    let writing = app.epochs.writing().await.map_err(|error| Broken::Store(error.to_string()))?;
    let mut counted = Counted { app: app.clone(), account, paid: 0, received: 0 };
    let start = futures::stream::iter([Ok::<Bytes, BodyError>(start.freeze())]);
    let bytes = counted.over(start.chain(BodyDataStream::new(body)));
    let put = Box::pin(app.store.put_stream(writing.epoch(), bytes, size_max)).await;
    counted.settle().await;
    let blob = put.map_err(|error| match error {
        store::Error::TooLarge { .. } => Broken::TooLarge,
        store::Error::Source(source) => match source.downcast::<Broken>() {
            Ok(broken) => *broken,
            Err(error) => Broken::Store(error.to_string()),
        },
        error => Broken::Store(error.to_string()),
    })?;
    let size = blob.size;
    Ok((None, Some(Put::ours(blob, writing)), size))
}

/// Bytes of an account, counted as they come.
struct Counted {
    app: App,
    account: AccountId,
    paid: u64,
    received: u64,
}

impl Counted {
    fn over<S>(&mut self, pieces: S) -> impl Stream<Item = Result<Bytes, Broken>> + Send
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    {
        futures::stream::unfold((self, pieces), |(counted, mut pieces)| async move {
            let piece = match pieces.next().await? {
                Ok(piece) => counted.pay(piece.len() as u64).await.map(|()| piece),
                Err(error) => Err(Broken::Body(error)),
            };
            Some((piece, (counted, pieces)))
        })
    }

    async fn pay(&mut self, bytes: u64) -> Result<(), Broken> {
        self.received += bytes;
        let due = self.received.saturating_sub(self.paid);
        if due > 0 {
            let due = ByteSize(due.max(STEP.0));
            upload_quota::charge_output(&self.app, self.account, due).await.map_err(|error| match error {
                Error::Refused(problem) => Broken::Quota(problem),
                error => Broken::Store(error.to_string()),
            })?;
            self.paid += due.0;
        }
        Ok(())
    }

    /// Gives back what was counted and has not come. What is lost on the way here is less than a step.
    async fn settle(self) {
        let (paid, received) = (ByteSize(self.paid), ByteSize(self.received.min(self.paid)));
        if let Err(error) = upload_quota::give_back(&self.app, self.account, paid, received).await {
            tracing::warn!(account = %self.account, %error, "an output's size is counted in full steps");
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Code;
    use sea_orm::EntityTrait as _;

    use super::*;
    use crate::db::columns::Col;
    use crate::db::entities::upload_quotas;
    use crate::tests::harness::Ground;

    #[tokio::test]
    async fn a14_outputs_in_the_store_count_as_uploads() {
        let ground = Ground::start(None, |config| {
            config.upload_window_max = ByteSize::mib(2);
            // Whoever has a job running does not lose its output for it.
            config.account_kept_max = ByteSize(1);
        })
        .await;
        let account = ground.user("ada@example.org", "ada").await.account().await;
        let counted = async || {
            let row = upload_quotas::Entity::find_by_id(Col(account)).one(ground.app.db.read()).await.unwrap();
            row.map_or((0, 0), |row| (row.window_bytes.0.0, row.stored_bytes.0.0))
        };
        let output = |size: usize| fabric::full(Bytes::from(vec![7; size]));
        let kept = async |size: usize| keep(&ground.app, account, output(size), ByteSize::mib(8)).await;
        let inline = ground.app.config.job_inline_max.as_usize();
        assert!(kept(inline).await.unwrap().1.is_none());
        assert_eq!(counted().await, (0, 0), "a short one is in the row");
        assert_eq!(kept(inline + 1).await.unwrap().2.as_usize(), inline + 1);
        assert_eq!(counted().await, (inline as u64 + 1, inline as u64 + 1));
        let large = (1 << 20) + 1;
        assert!(kept(large).await.unwrap().1.is_some());
        let before = counted().await;
        assert_eq!(before, ((inline + 1 + large) as u64, (inline + 1 + large) as u64));
        match kept(large).await {
            Err(Broken::Quota(problem)) => assert_eq!(problem.code, Code::RateLimited),
            other => panic!("{other:?}"),
        }
        assert!(counted().await.0 >= before.0 && counted().await.0 <= ByteSize::mib(2).0);
    }
}
