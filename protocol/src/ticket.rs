//! The ticket: the signed permission for one node to do one run, and nothing else.
//!
//! Form: base64url(JSON) `.` base64url(Ed25519 signature over the first part's ASCII bytes), as a JWS
//! without its header: there is one algorithm, and the platform's hello tells nodes the key.

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, FunctionId, InstanceId, NodeId, RunId, VersionId};
use crate::manifest::{Lane, Limits};
use crate::units::{Digest, Timestamp};

/// What the ticket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Do the run.
    Run,
    /// Fetch, check and compile the artifact, so that a version becomes ready.
    Prepare,
}

/// Permission for a node to do one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The form's version.
    pub v: u8,
    /// Run or prepare.
    pub purpose: Purpose,
    /// The run.
    pub run: RunId,
    /// The only node that may use it.
    pub node: NodeId,
    /// Who pays.
    pub account: AccountId,
    /// What is run.
    pub function: FunctionId,
    /// Which version of it.
    pub version: VersionId,
    /// The artifact's digest.
    pub artifact: Digest,
    /// The lane.
    pub lane: Lane,
    /// What the run may use.
    pub limits: Limits,
    /// The gateway or control plane that gave it.
    pub issuer: InstanceId,
    /// When it was given, by the issuer's clock.
    pub issued: Timestamp,
    /// Not to be started after this, by the issuer's clock.
    pub expires: Timestamp,
}

impl Ticket {
    /// The form that this code writes.
    pub const VERSION: u8 = 1;

    /// Until when what it permits may be going on, by the issuer's clock: a run that began in time lasts as long as its
    /// limits say; what prepares ends with the ticket.
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        match self.purpose {
            Purpose::Run => self.expires.plus(self.limits.timeout.duration()),
            Purpose::Prepare => self.expires,
        }
    }

    /// Whether this node may do one of these things with it now, where it has begun in time.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn permits(&self, node: NodeId, purposes: &[Purpose], now: Timestamp) -> Result<(), TicketError> {
        if self.v != Self::VERSION {
            return Err(TicketError::Malformed);
        }
        if self.node != node {
            return Err(TicketError::WrongNode);
        }
        if !purposes.contains(&self.purpose) {
            return Err(TicketError::WrongPurpose);
        }
        if now > self.ends() {
            return Err(TicketError::Expired);
        }
        Ok(())
    }
}

/// A ticket in its signed form, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignedTicket(pub String);

/// Why a ticket is not valid here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not two base64url parts, or not a ticket inside.
    #[error("the ticket is malformed")]
    Malformed,
    /// It says something that must be understood, and that this software does not know.
    #[error("not_understood: the ticket says what this software does not know; update it")]
    NotUnderstood,
    /// No known key signed it.
    #[error("the ticket's signature is wrong")]
    Signature,
    /// It is for another node.
    #[error("the ticket is for another node")]
    WrongNode,
    /// It is for something else.
    #[error("the ticket is for something else")]
    WrongPurpose,
    /// Its time is over.
    #[error("the ticket has expired")]
    Expired,
}

#[cfg(feature = "signing")]
mod signing {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

    use super::{SignedTicket, Ticket, TicketError};
    use crate::wire::WireError;

    impl Ticket {
        /// Signs the ticket.
        #[must_use]
        pub fn sign(&self, key: &SigningKey) -> SignedTicket {
            let mut text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default());
            let signature = key.sign(text.as_bytes());
            text.push('.');
            URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut text);
            SignedTicket(text)
        }
    }

    impl SignedTicket {
        /// Checks the signature; node and expiry are the caller's to check.
        ///
        /// # Errors
        /// When it is malformed, or no key of `keys` signed it.
        pub fn verify(&self, keys: &[VerifyingKey]) -> Result<Ticket, TicketError> {
            let (body, signature) = self.0.split_once('.').ok_or(TicketError::Malformed)?;
            let mut raw = [0_u8; Signature::BYTE_SIZE];
            let length = URL_SAFE_NO_PAD.decode_slice(signature, &mut raw).map_err(|_| TicketError::Malformed)?;
            if length != raw.len() {
                return Err(TicketError::Malformed);
            }
            let signature = Signature::from_bytes(&raw);
            if !keys.iter().any(|key| key.verify_strict(body.as_bytes(), &signature).is_ok()) {
                return Err(TicketError::Signature);
            }
            let json = URL_SAFE_NO_PAD.decode(body).map_err(|_| TicketError::Malformed)?;
            crate::wire::read(&json).map_err(|error| match error {
                WireError::NotUnderstood(_) => TicketError::NotUnderstood,
                WireError::Malformed { .. } => TicketError::Malformed,
            })
        }
    }
}
