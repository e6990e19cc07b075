//! Who changed what.

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;

api_types! {
    /// One change, as `GET /audit` lists them.
    #[derive(Eq)]
    pub struct AuditEntry {
        /// Its place in the order of all changes of the platform.
        pub revision: u64,
        /// When it happened.
        pub at: Timestamp,
        /// Who did it: `user_...`, `key_...`, or `platform`.
        pub actor: String,
        /// The user's address, or the key's name, where it is known.
        pub actor_name: Option<String>,
        /// What was done, such as `function.create`.
        pub action: String,
        /// What it was done to: an id or a name.
        pub subject: String,
    }
}
