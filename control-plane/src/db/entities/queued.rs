//! Queues, and the messages in them.

use protocol::job::JobInput;
use protocol::{AccountId, LeaseId, MessageId, Name, Timestamp};

use crate::db::columns::Col;

table! {
    /// A queue of an account. `lease` is in milliseconds.
    queues = "queues" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        #[sea_orm(primary_key, auto_increment = false)]
        name: Col<Name>,
        lease: i64,
        deliveries: i32,
        days: i32,
        created: Col<Timestamp>,
    }
}

table! {
    /// A message. `visible`: from then on it may be leased.
    messages = "queue_messages" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<MessageId>,
        account_id: Col<AccountId>,
        queue: Col<Name>,
        body: Col<JobInput>,
        deliveries: i32,
        visible: Col<Timestamp>,
        lease: Option<Col<LeaseId>>,
        dead: bool,
        put: Col<Timestamp>,
    }
}
