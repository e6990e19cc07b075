//! Who signs nodes' NATS users: the key of the lenders' account.

use std::path::Path;
use std::sync::Arc;

use nkeys::{KeyPair, KeyPairType};
use protocol::{NodeId, Timestamp};

use super::jwt::{self, Rights, STANDARD, WEBSOCKET};
use super::{Credentials, UserKey, open_key};
use crate::FabricError;
use crate::subjects;

/// Subscriptions of one node: its inbox and its endpoints, with room for later ones.
const NODE_SUBSCRIPTIONS_MAX: i64 = 32;
/// Bytes of one message of a node.
const NODE_PAYLOAD_MAX_BYTES: i64 = 512 * 1024;

/// Signs users of the lenders' account, whose key it has, and of no other.
#[derive(Clone)]
pub struct Registrar(Arc<KeyPair>);

impl Registrar {
    /// Reads the key's file, or makes it.
    pub fn open(path: &Path) -> Result<Self, FabricError> {
        Ok(Self(Arc::new(open_key(path, KeyPairType::Account)?)))
    }

    pub(super) fn account(&self) -> &KeyPair {
        &self.0
    }

    /// The JWT of the operator's own node with this public key, which connects to NATS itself: publishes under
    /// `cc.node.<id>.{out.>,api,blob,kv,log,receipt}`, listens on `cc.node.<id>.in.>`, nothing else.
    pub fn node_jwt(&self, node: NodeId, public_key: &str) -> Result<String, FabricError> {
        self.jwt(node, public_key, STANDARD, None)
    }

    /// The JWT of a lender's node: the same rights, by WebSocket alone, which NATS takes only through a gateway. The server
    /// ends its connection when it expires.
    pub fn lender_jwt(&self, node: NodeId, public_key: &str, expires: Timestamp) -> Result<String, FabricError> {
        self.jwt(node, public_key, WEBSOCKET, Some(expires))
    }

    fn jwt(
        &self,
        node: NodeId,
        public_key: &str,
        connection: &'static str,
        expires: Option<Timestamp>,
    ) -> Result<String, FabricError> {
        if !UserKey::is_public(public_key) {
            return Err(FabricError::Credentials("that is no public key of a NATS user".to_owned()));
        }
        let rights = Rights {
            publish: subjects::node_may_publish(node),
            subscribe: subjects::node_may_subscribe(node),
            subscriptions_max: NODE_SUBSCRIPTIONS_MAX,
            payload_max_bytes: NODE_PAYLOAD_MAX_BYTES,
            connection,
            expires,
        };
        jwt::user(&self.0, public_key, &node.to_string(), &rights)
    }

    /// A user of the core in this account, with all rights there.
    pub(super) fn core_user(&self, name: &str) -> Result<Credentials, FabricError> {
        jwt::user_of_core(&self.0, name)
    }
}
