//! How machines join, and how they leave.

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, TokenId};
use crate::node::Signature;
use crate::units::Timestamp;

api_types! {
    /// `POST /nodes/tokens`
    #[serde(deny_unknown_fields)]
    pub struct CreateNodeToken {
        /// What the machine will be called; its own name where none is given.
        #[serde(default)]
        pub name: Option<String>,
    }

    /// A token with which one machine joins, once.
    pub struct NodeToken {
        /// The id.
        pub id: TokenId,
        /// The token: shown once, when it is made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub token: Option<String>,
        /// What the machine will be called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<String>,
        /// The node that has joined with it; where the token has just been made, the one that will.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub node: Option<NodeId>,
        /// When it was made.
        pub created: Timestamp,
        /// When it ends.
        pub expires: Timestamp,
        /// When a machine has joined with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub used: Option<Timestamp>,
        /// What to do where the token cannot be shown again: in answers to a repeated request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub help: Option<String>,
    }

    /// `POST /nodes/tokens/look`
    #[serde(deny_unknown_fields)]
    pub struct LookAtToken {
        /// The `TokenQuery`, as JSON text.
        pub query: String,
        /// The token's signature.
        pub signature: Signature,
    }

    /// `POST /nodes/{id}/suspend`
    #[serde(deny_unknown_fields)]
    pub struct SuspendNode {
        /// Why: its owner reads it.
        pub reason: String,
    }

    /// `POST /nodes/register`
    #[serde(deny_unknown_fields)]
    pub struct RegisterNode {
        /// The `Registration`, as JSON text. All three have signed it.
        pub registration: String,
        /// The token's signature.
        pub token_signature: Signature,
        /// The receipt key's signature.
        pub receipt_signature: Signature,
        /// The NATS key's signature.
        pub nats_signature: Signature,
    }

    /// `POST /nodes/renew` and `POST /nodes/leave`
    #[serde(deny_unknown_fields)]
    pub struct AskAsNode {
        /// The `NodeRequest`, as JSON text.
        pub request: String,
        /// The receipt key's signature.
        pub signature: Signature,
    }
}
