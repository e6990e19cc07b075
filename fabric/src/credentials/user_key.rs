//! The key of a NATS user, made where the user is: only its public half is ever sent.

use std::fmt;
use std::path::Path;

use nkeys::{KeyPair, KeyPairType};
use protocol::NodeId;

use super::{Credentials, NonceKey, Registrar, bad_key, open_key};
use crate::FabricError;

/// The key of a NATS user.
pub struct UserKey(KeyPair);

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UserKey").field(&self.public()).finish()
    }
}

impl UserKey {
    /// A new key.
    pub fn generate() -> Self {
        Self(KeyPair::new_user())
    }

    /// Reads the key's file, or makes it (mode 0600).
    pub fn open(path: &Path) -> Result<Self, FabricError> {
        let pair = open_key(path, KeyPairType::User)?;
        if pair.key_pair_type() != KeyPairType::User {
            return Err(FabricError::Credentials(format!("{} is not a user's key", path.display())));
        }
        Ok(Self(pair))
    }

    /// The public half, as nkeys are written.
    pub fn public(&self) -> String {
        self.0.public_key()
    }

    /// Whether this is the public half of a user's key.
    pub fn is_public(text: &str) -> bool {
        KeyPair::from_public_key(text).is_ok_and(|pair| pair.key_pair_type() == KeyPairType::User)
    }

    /// The user whose JWT the platform has signed for this key.
    pub fn credentials(&self, jwt: String) -> Result<Credentials, FabricError> {
        Ok(Credentials { jwt, key: NonceKey::Seed(self.0.seed().map_err(bad_key)?) })
    }

    /// The user of this node, where the registrar is at hand.
    pub fn of_node(&self, registrar: &Registrar, node: NodeId) -> Result<Credentials, FabricError> {
        self.credentials(registrar.node_jwt(node, &self.public())?)
    }

    /// Signs with the key (Ed25519).
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], FabricError> {
        let signature = self.0.sign(message).map_err(bad_key)?;
        signature.try_into().map_err(|_| FabricError::Credentials("a signature of 64 bytes was expected".to_owned()))
    }

    /// Whether the holder of the key with this public half has signed the message.
    pub fn has_signed(public_key: &str, message: &[u8], signature: &[u8; 64]) -> bool {
        KeyPair::from_public_key(public_key).is_ok_and(|pair| pair.verify(message, signature).is_ok())
    }
}
