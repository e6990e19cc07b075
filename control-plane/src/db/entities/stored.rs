//! What the store keeps: blobs, whoever writes them, and the platform's own references to them.

use protocol::{AccountId, BlobId, ByteSize, Digest, DiskId, Epoch, StoreId, Timestamp};

use crate::db::columns::Col;

table! {
    /// Blobs that have been committed. `account_id` says whose bytes they are; none: the platform's own. The key is sealed
    /// under the master key of the number `master` (`objects/keys`). From `doomed` on nothing refers to it, and nothing can any more.
    blobs = "blobs" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<BlobId>,
        account_id: Option<Col<AccountId>>,
        size: Col<ByteSize>,
        digest: Col<Digest>,
        sealed_key: Vec<u8>,
        master: i32,
        created: Col<Timestamp>,
        doomed: Option<Col<Timestamp>>,
    }
}

table! {
    /// Master keys that blobs' keys may be sealed under. The keys themselves are files.
    store_keys = "store_keys" {
        #[sea_orm(primary_key, auto_increment = false)]
        number: i32,
        fingerprint: String,
    }
}

table! {
    /// Epochs of those who write: who has it, and until when by the database's clock. What is written under a closed one is
    /// not committed any more.
    store_epochs = "store_epochs" {
        #[sea_orm(primary_key, auto_increment = false)]
        epoch: Col<Epoch>,
        holder: String,
        opened: Col<Timestamp>,
        until: Col<Timestamp>,
        closed: Option<Col<Timestamp>>,
    }
}

table! {
    /// One row: each epoch below it is closed for ever; when the engines were last compared with the index; which store
    /// this is (`objects/claim.rs`); what shows whether a root secret is the platform's; whether there were objects of an
    /// earlier release when there came to be blobs; whether its engines may have no marks yet; and how many copies it keeps,
    /// 0 where nobody has said so.
    store_horizon = "store_horizon" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: i32,
        epoch: Col<Epoch>,
        listed: Col<Timestamp>,
        store: Option<Col<StoreId>>,
        key_check: Option<Vec<u8>>,
        rooted: bool,
        unmarked: bool,
        copies: i32,
    }
}

table! {
    /// Engines that have been marked as this store's, and which places these are.
    store_engines = "store_engines" {
        #[sea_orm(primary_key, auto_increment = false)]
        name: String,
        place: Option<Col<DiskId>>,
    }
}

table! {
    /// The newest placement models, so that their blobs stay. Which one is used is said by a bucket of NATS.
    models = "models" {
        #[sea_orm(primary_key, auto_increment = false)]
        blob: Col<BlobId>,
        published: Col<Timestamp>,
    }
}

table! {
    /// Disks that get nothing new, and are emptied: by the engine's name, and since when.
    store_drains = "store_drains" {
        #[sea_orm(primary_key, auto_increment = false)]
        disk: String,
        since: Col<Timestamp>,
    }
}

table! {
    /// What the leader knows of the copies, as JSON: of its looks (`repair`), and how far all bytes were read (`scrub`); and
    /// which master keys it has retired, by their fingerprints (`objects/keys`).
    store_notes = "store_notes" {
        #[sea_orm(primary_key, auto_increment = false)]
        name: String,
        note: String,
    }
}
