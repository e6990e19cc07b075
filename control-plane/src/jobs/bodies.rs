//! Bodies of jobs in the store: put before the transaction that writes their rows, and committed by it.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use protocol::{AccountId, Blob, BlobId, Digest};
use sea_orm::DatabaseTransaction;

use crate::App;
use crate::db::columns::Col;
use crate::error::Result;
use crate::functions::artifacts;
use crate::objects::{self, Address, Writing};

/// A blob that no row refers to yet. Whoever has put it holds its epoch until one does.
#[derive(Clone)]
pub(super) struct Put {
    pub(super) blob: Blob,
    /// None: a gateway has put it, and holds the epoch itself.
    writing: Option<Arc<Writing>>,
}

impl Put {
    pub(super) fn ours(blob: Blob, writing: Writing) -> Self {
        Self { blob, writing: Some(Arc::new(writing)) }
    }

    pub(super) fn of_gateway(blob: Blob) -> Self {
        Self { blob, writing: None }
    }
}

impl fmt::Debug for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put").field("blob", &self.blob.id).field("ours", &self.writing.is_some()).finish()
    }
}

/// Where a body is that is too long for a row.
#[derive(Debug, Clone)]
pub(super) enum Stored {
    /// It was put for this job.
    Put(Put),
    /// It is an upload of the account.
    Upload(Digest),
}

/// What a row has of it: its blob, or its root where an earlier release has put it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Columns {
    pub(super) blob: Option<Col<BlobId>>,
    pub(super) root: Option<Col<Digest>>,
}

impl Stored {
    /// For rows of this transaction, which then refers to it. `kept` are blobs that it has committed already.
    pub(super) async fn columns(
        &self,
        app: &App,
        tx: &DatabaseTransaction,
        account: AccountId,
        kept: &mut HashSet<BlobId>,
    ) -> Result<Columns> {
        let blob = match self {
            Self::Put(put) if kept.insert(put.blob.id) => objects::keep(app, tx, Some(account), &put.blob).await?,
            Self::Put(put) => put.blob.id,
            // It may have been uploaded again, or moved, since it was looked up.
            Self::Upload(digest) => match artifacts::held(tx, account, *digest, "input.upload").await? {
                Address::Legacy(root) => return Ok(Columns { blob: None, root: Some(root.into()) }),
                Address::Blob(blob) => {
                    objects::refer(tx, blob).await?;
                    blob
                }
            },
        };
        Ok(Columns { blob: Some(blob.into()), root: None })
    }
}
