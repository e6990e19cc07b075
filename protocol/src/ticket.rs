//! The ticket: the permission for one node to do one run, and nothing else.
//!
//! It carries two keyed hashes (MACs) in place of a signature; `form` draws it, `keys` derives their keys.
//!
//! - The **pay MAC** is made with a key that one issuer, one start of a gateway or a control plane, shares with the
//!   control planes. Whatever the core does for a ticket (a version's description, its artifact, a log, a bill) asks
//!   for it.
//! - The **node MAC**, over the ticket and its pay MAC, is made with a key that one node shares with the issuers for a
//!   day. The node checks this one alone. It could make it, too: for itself, and for nobody else.

mod form;
mod keys;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

pub use self::keys::{Day, DayRoot, IssuerKeys, NodeKey, PayKey, TicketRoot, TwoDays};
use crate::ids::{AccountId, EpochId, FunctionId, NodeId, RunId, VersionId};
use crate::manifest::{Lane, Limits};
use crate::units::{Digest, Timestamp};

/// What the ticket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Do the run.
    Run,
    /// Fetch, check and compile the artifact, so that a version becomes ready.
    Prepare,
}

/// Permission for a node to do one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
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
    /// The start of a gateway or control plane that gave it.
    pub epoch: EpochId,
    /// When it was given, by the issuer's clock.
    pub issued: Timestamp,
    /// Not to be started after this, by the issuer's clock.
    pub expires: Timestamp,
}

/// What a run is, and where: all of a ticket that its issuer does not know by itself.
#[derive(Debug, Clone, Copy)]
pub struct RunTicket {
    /// The run.
    pub run: RunId,
    /// The only node that may do it.
    pub node: NodeId,
    /// The lane there.
    pub lane: Lane,
    /// Who pays.
    pub account: AccountId,
    /// The function.
    pub function: FunctionId,
    /// Which version of it.
    pub version: VersionId,
    /// The artifact's digest.
    pub artifact: Digest,
    /// What the run may use.
    pub limits: Limits,
}

impl Ticket {
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

/// A ticket with both MACs, as it travels and is kept: its bytes in base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignedTicket(pub String);

/// Longer text is no ticket.
const TEXT_LENGTH_MAX: usize = form::BYTES_MAX.div_ceil(3) * 4;

impl SignedTicket {
    fn of(bytes: &[u8]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn bytes(&self) -> Result<Vec<u8>, TicketError> {
        // Two texts and a point between them: what was signed with Ed25519.
        if self.0.contains('.') {
            return Err(TicketError::OldForm);
        }
        if self.0.len() > TEXT_LENGTH_MAX {
            return Err(TicketError::Malformed);
        }
        URL_SAFE_NO_PAD.decode(&self.0).map_err(|_| TicketError::Malformed)
    }
}

/// Why a ticket is not valid here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not base64url, or not a ticket inside.
    #[error("the ticket is malformed")]
    Malformed,
    /// An earlier release made it.
    #[error("the ticket has the form of an earlier release, which is no longer taken; update what made it")]
    OldForm,
    /// It says something that must be understood, and that this software does not know.
    #[error("not_understood: the ticket says what this software does not know; update it")]
    NotUnderstood,
    /// It is of a day whose key the node does not have.
    #[error("the ticket was made with the key of a day that is not valid here")]
    WrongDay,
    /// Who made it had not the key.
    #[error("the ticket's MAC is wrong")]
    Mac,
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
