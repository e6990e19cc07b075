//! Queues: messages of an account, put and taken over HTTP, or handed to a function by a trigger.
//!
//! ```text
//!   put            lease               ack
//! ------> waiting ------> leased ------------> gone
//!          ^ |  ^           |
//!          | |  +-----------+  the lease is over, or given back
//!          | |
//!          | +---- a trigger takes it: it is a job from then on, in the same transaction
//!          |
//!          +-redrive-- dead <-- leased as often as the queue allows, and never acknowledged
//!                        |
//!                        +-discard--> gone
//! ```

use serde::{Deserialize, Serialize};

use crate::ids::{LeaseId, MessageId};
use crate::job::{Asked, JobInput};
use crate::names::Name;
use crate::units::{Millis, Timestamp};

/// `PUT /queues/{name}`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetQueue {
    /// How long a message is leased where the lease does not say; 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Millis>))]
    pub lease: Option<Asked<Millis>>,
    /// A message that was leased so often without an acknowledgement is dead; 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>))]
    pub deliveries: Option<Asked<u32>>,
    /// Messages are kept for so many days, dead ones too; 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>))]
    pub days: Option<Asked<u32>>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Queue {
    /// Its name in the account.
    pub name: Name,
    /// How long a message is leased where the lease does not say.
    pub lease: Millis,
    /// Leases that a message may have.
    pub deliveries: u32,
    /// Days that messages are kept.
    pub days: u32,
    /// Messages that can be leased now.
    pub waiting: u64,
    /// Messages that are leased, or not to be seen yet.
    pub hidden: u64,
    /// Messages that nobody acknowledged.
    pub dead: u64,
    /// When the oldest message that is not dead was put; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// When it was made.
    pub created: Timestamp,
}

/// `POST /queues/{name}/messages`: all of them, or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PutMessages {
    /// At most 100.
    pub messages: Vec<NewMessage>,
}

/// A message to be put.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// What it says.
    pub body: JobInput,
    /// Nobody sees it before so long has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Millis>))]
    pub delay: Option<Asked<Millis>>,
}

/// The messages that were put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessagesPut {
    /// Their ids, in their order.
    pub ids: Vec<MessageId>,
}

/// `POST /queues/{name}/lease`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LeaseMessages {
    /// So many at most; 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>))]
    pub count: Option<Asked<u32>>,
    /// For so long; the queue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Millis>))]
    pub lease: Option<Asked<Millis>>,
    /// Waits so long for the first; 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Millis>))]
    pub wait: Option<Asked<Millis>>,
}

/// A message of a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Message {
    /// The id.
    pub id: MessageId,
    /// What it says.
    pub body: JobInput,
    /// How often it was leased, this time included.
    pub deliveries: u32,
    /// When it was put.
    pub put: Timestamp,
    /// What it is acknowledged or given back with, while it is leased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// From then on others may lease it; none where they may at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The messages that were leased.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessagesLeased {
    /// The oldest first; none where there are none.
    pub messages: Vec<Message>,
}

/// A message that somebody has leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Which.
    pub id: MessageId,
    /// By which lease.
    pub lease: LeaseId,
}

/// `POST /queues/{name}/ack` and `POST /queues/{name}/release`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EndLeases {
    /// At most 100.
    pub messages: Vec<Held>,
    /// What is given back is not seen by anybody before so long has passed; 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Millis>))]
    pub delay: Option<Asked<Millis>>,
}

/// What became of leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeasesEnded {
    /// These are acknowledged, or given back.
    pub ended: Vec<MessageId>,
    /// The lease of these was over: somebody else may have them.
    pub lost: Vec<MessageId>,
}

/// How many dead messages wait again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Redriven {
    /// So many.
    pub messages: u64,
}

/// How many dead messages are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Discarded {
    /// So many.
    pub messages: u64,
}
