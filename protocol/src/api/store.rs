//! The store as its operator sees it: disks, copies, and what is done to keep them.

use serde::{Deserialize, Serialize};

use crate::blob::BlobId;
use crate::ids::AccountId;
use crate::names::Name;
use crate::units::{ByteSize, Timestamp};

api_types! {
    /// `GET /operator/store`
    pub struct StoreStatus {
        /// What it amounts to, in plain words, such as `2 copies on 3 disks`.
        pub summary: String,
        /// How many copies are kept of whatever is put.
        pub copies: u32,
        /// The disks, as the platform was started with them, and those that it had, and that are not there.
        pub disks: Vec<StoreDisk>,
        /// Blobs that are kept.
        pub blobs: u64,
        /// Their bytes, each once.
        pub bytes: ByteSize,
        /// Blobs that nothing refers to any more, and that are deleted soon.
        pub doomed: u64,
        /// Their bytes.
        pub doomed_bytes: ByteSize,
        /// The last whole look at the copies; none before the first one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub last_look: Option<StoreLook>,
        /// The look that is under way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub look: Option<StoreLook>,
        /// How far all bytes have been read and checked, a pass in 30 days; none before it has begun.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub scrub: Option<StoreScrub>,
    }

    /// `PUT /operator/store/copies`
    #[derive(Copy, Eq)]
    #[serde(deny_unknown_fields)]
    pub struct StoreCopies {
        /// How many copies are to be kept of whatever is put.
        pub copies: u32,
    }

    /// A disk, or what else keeps copies.
    pub struct StoreDisk {
        /// Its name.
        pub name: String,
        /// What fails as a whole: two disks of one domain count as one.
        pub domain: String,
        /// How it is.
        pub state: StoreDiskState,
        /// Since when it fails or is drained.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub since: Option<Timestamp>,
        /// What it last said, where it fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub why: Option<String>,
        /// Bytes that it has room for; none where it does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub free: Option<ByteSize>,
        /// Bytes that it has in all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub total: Option<ByteSize>,
        /// Pieces of blobs that a drained disk still had at the last look; none where that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub left: Option<u64>,
    }

    /// How a disk is.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum StoreDiskState {
        /// It works.
        Serving,
        /// It works, and has no room.
        Full,
        /// Something fails there: it comes last.
        Failing,
        /// Nothing new is put there, and what it has is moved off.
        Draining,
        /// Nothing that is needed is there: it may be taken out.
        Drained,
    }

    /// A look at the copies of all blobs, by what each disk lists.
    #[derive(Eq)]
    pub struct StoreLook {
        /// When it began.
        pub began: Timestamp,
        /// When it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub ended: Option<Timestamp>,
        /// Blobs that were looked at.
        pub blobs: u64,
        /// Of so many, as they were when it began.
        pub of: u64,
        /// Those that had fewer copies than are wanted.
        pub found: u64,
        /// Those of them that still have.
        pub fewer: u64,
        /// Those of which no whole copy is anywhere.
        pub lost: u64,
        /// Copies of their pieces that were made.
        pub copied: u64,
        /// The bytes of these.
        pub copied_bytes: ByteSize,
        /// Copies beyond what is wanted that were deleted.
        pub removed: u64,
    }

    /// The slow check of all bytes.
    #[derive(Eq)]
    pub struct StoreScrub {
        /// When it began.
        pub began: Timestamp,
        /// When it ended: the next one begins 30 days after it began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub ended: Option<Timestamp>,
        /// Blobs whose copies were read.
        pub blobs: u64,
        /// Bytes that were read.
        pub bytes: ByteSize,
        /// Blobs of which a copy was damaged or missing.
        pub found: u64,
        /// Those of which no whole copy was left.
        pub lost: u64,
    }

    /// A line of `POST /operator/store/check`. The last one says so; where it is missing, the check broke off.
    pub struct StoreCheckLine {
        /// Blobs that have been checked.
        pub blobs: u64,
        /// Of so many, as they were when it began.
        pub of: u64,
        /// Bytes that have been read, of all copies.
        pub bytes: ByteSize,
        /// Blobs with which something was wrong, so far.
        pub found: u64,
        /// Those of them that are not as they should be now, either.
        pub left: u64,
        /// One of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub finding: Option<StoreFinding>,
        /// It was the last line.
        #[serde(default)]
        pub done: bool,
    }

    /// A blob with which something is wrong.
    pub struct StoreFinding {
        /// Which.
        pub blob: BlobId,
        /// What refers to it: `artifact`, `job input`, `job output`, `runs`, `logs`, `placement model`.
        pub owners: Vec<String>,
        /// Whose it is; none: the platform's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub account: Option<AccountId>,
        /// What that account is called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub account_name: Option<Name>,
        /// Its bytes.
        pub size: ByteSize,
        /// Good copies that it had: of its piece that had the fewest.
        pub copies: u32,
        /// Good copies that it has now.
        pub copies_now: u32,
        /// Disks that had something else than was put.
        pub damaged_on: Vec<String>,
        /// Disks that could not be asked.
        pub unknown_on: Vec<String>,
        /// Its key cannot be opened with the platform's master key, so that nothing could be checked.
        #[serde(default)]
        pub unreadable: bool,
        /// A piece of it is whole nowhere.
        #[serde(default)]
        pub lost: bool,
    }
}

impl StoreDisk {
    /// How it is, for people, but for times.
    #[must_use]
    pub fn words(&self) -> String {
        match (self.state, &self.why, self.left) {
            (StoreDiskState::Serving, ..) => "serving".to_owned(),
            (StoreDiskState::Full, ..) => "full".to_owned(),
            (StoreDiskState::Failing, Some(why), _) => format!("failing: {why}"),
            (StoreDiskState::Failing, None, _) => "failing".to_owned(),
            (StoreDiskState::Draining, _, Some(left)) if left > 0 => {
                format!("draining: {} left", crate::words::count(left, "piece"))
            }
            (StoreDiskState::Draining, ..) => "draining".to_owned(),
            (StoreDiskState::Drained, ..) => "drained: it may be taken out".to_owned(),
        }
    }
}
