//! Statements and their signatures. What is signed travels as the very text that was signed, so that whoever knows only
//! some of its fields can check it all the same.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::node::Signature;

/// What can be signed.
pub trait Statement: Serialize + DeserializeOwned {
    /// What stands before the text in the bytes that are signed: a signature is of one kind of statement alone.
    const DOMAIN: &'static str;
}

/// The bytes that are signed.
#[must_use]
pub fn message<T: Statement>(text: &str) -> Vec<u8> {
    format!("{}\n{text}", T::DOMAIN).into_bytes()
}

/// A statement with one signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Signed {
    /// The statement, as JSON text.
    pub text: String,
    /// Ed25519 over the statement's kind, a line feed and the text.
    pub signature: Signature,
}

#[cfg(feature = "signing")]
mod keys {
    use ed25519_dalek::{Signature as Ed25519, Signer as _, SigningKey, VerifyingKey};

    use super::{Signed, Statement, message};
    use crate::node::{PublicKey, Signature};
    use crate::wire::{self, WireError};

    /// Why a statement is not to be believed.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    pub enum SignedError {
        /// Another key has signed it, or nobody.
        #[error("the signature is wrong")]
        Signature,
        /// It is signed, and not understood.
        #[error(transparent)]
        Form(#[from] WireError),
    }

    impl PublicKey {
        /// Whether the holder of the Ed25519 key has signed this statement.
        #[must_use]
        pub fn has_signed<T: Statement>(&self, text: &str, signature: &Signature) -> bool {
            let signature = Ed25519::from_bytes(&signature.0);
            VerifyingKey::from_bytes(&self.0)
                .is_ok_and(|key| key.verify_strict(&message::<T>(text), &signature).is_ok())
        }
    }

    /// Signs the text of a statement.
    #[must_use]
    pub fn sign<T: Statement>(text: &str, key: &SigningKey) -> Signature {
        Signature(key.sign(&message::<T>(text)).to_bytes())
    }

    impl Signed {
        /// Signs a statement.
        ///
        /// # Errors
        /// When it cannot be written as JSON.
        pub fn new<T: Statement>(statement: &T, key: &SigningKey) -> Result<Self, serde_json::Error> {
            let text = serde_json::to_string(statement)?;
            let signature = sign::<T>(&text, key);
            Ok(Self { text, signature })
        }

        /// The statement, where the holder of this key has signed it.
        ///
        /// # Errors
        /// When the signature is wrong, or the statement is not understood.
        pub fn open<T: Statement>(&self, key: &PublicKey) -> Result<T, SignedError> {
            if !key.has_signed::<T>(&self.text, &self.signature) {
                return Err(SignedError::Signature);
            }
            Ok(wire::read(self.text.as_bytes())?)
        }
    }
}

#[cfg(feature = "signing")]
pub use keys::{SignedError, sign};
