//! Receipts: what a run used, as the node says and as the gateway saw.

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::error::Code;
use crate::ids::{AccountId, FunctionId, InstanceId, JobId, NodeId, RunId, VersionId};
use crate::manifest::{Lane, Limits};
use crate::placement::{Explanation, Warmth};
use crate::source::{RunPrincipal, RunSource};
use crate::ticket::SignedTicket;
use crate::units::{ByteSize, Digest, Timestamp};
use crate::wire::{self, Written};

/// How a run ended. Rates of failure count the function's fault and the platform's apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The function answered (whatever the status).
    Succeeded,
    /// The function failed: trap, no response, out of memory.
    Failed,
    /// The deadline came first.
    TimedOut,
    /// The caller went away.
    Cancelled,
    /// The platform failed: node lost, no node.
    PlatformFailed,
}

impl Outcome {
    /// Whose fault a code is, where the platform answered instead of the function.
    #[must_use]
    pub const fn of(code: Code) -> Self {
        match code {
            Code::TimedOut => Self::TimedOut,
            Code::BodyTooLarge
            | Code::BodyIncomplete
            | Code::RequestTimeout
            | Code::InvalidRequest
            | Code::HeadersTooLarge
            | Code::UriTooLong => Self::Cancelled,
            Code::Trap
            | Code::OutOfMemory
            | Code::StackOverflow
            | Code::NoResponse
            | Code::FunctionExit
            | Code::InvalidResponse
            | Code::NeverListened
            | Code::GuestCrashed
            | Code::EgressLimit
            | Code::ResponseTooLarge => Self::Failed,
            _ => Self::PlatformFailed,
        }
    }
}

/// What a run used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// From admission to the answer's end, in microseconds.
    pub wall_us: u64,
    /// CPU time of the guest, in microseconds.
    pub cpu_us: u64,
    /// Fuel, where the version is metered by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// The most memory that the guest held.
    pub memory_peak: ByteSize,
    /// Bytes of the request's body.
    pub bytes_in: ByteSize,
    /// Bytes of the answer's body.
    pub bytes_out: ByteSize,
    /// Bytes that its own connections to other hosts carried, both ways. Not written where there were none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub egress_bytes: ByteSize,
}

fn is_none(size: &ByteSize) -> bool {
    size.0 == 0
}

/// The payload of an exchange's `end` frame on a run: what the node says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// How it ended.
    pub outcome: Outcome,
    /// The error, where the node answered instead of the function or cut its answer.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::code")]
    pub code: Option<Code>,
    /// The reason, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What it used.
    pub usage: Usage,
    /// Whether the artifact was compiled and loaded before the run came.
    pub warm: bool,
    /// Whether it was not loaded, but on disk, compiled or converted. Not written where it was not: a receipt's digest is
    /// that of its text, also of one that an earlier build wrote.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Runs on the node at this moment.
    pub running: u32,
}

impl RunEnd {
    /// What the node had of the artifact when the run came.
    #[must_use]
    pub const fn warmth(&self) -> Warmth {
        Warmth::of(self.warm, self.cached)
    }
}

/// The node's half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReceipt {
    /// The run.
    pub run: RunId,
    /// The permission, so that the claim stands without the gateway's half.
    pub ticket: SignedTicket,
    /// When it was admitted, by the node's clock.
    pub started: Timestamp,
    /// How it ended and what it used.
    pub end: RunEnd,
}

/// A node's signed batch of receipts; each names the one before, so that none can be taken out later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The form's version.
    pub v: u8,
    /// Who signs.
    pub node: NodeId,
    /// Counts from 1, without gaps.
    pub sequence: u64,
    /// The digest of the checkpoint before; zeros for the first.
    pub previous: Digest,
    /// The digest of `previous` and the receipts' JSON: see [`Checkpoint::digest_of`].
    pub digest: Digest,
    /// Ed25519 over the digest's 32 bytes, in base64url.
    pub signature: String,
    /// The receipts, as they were written: a node of a later release may say more in them.
    pub receipts: Vec<Written<NodeReceipt>>,
}

impl Checkpoint {
    /// The form that this code writes.
    pub const VERSION: u8 = 1;
    /// At most so many receipts are in one.
    pub const RECEIPTS_MAX: usize = 256;

    /// BLAKE3 over node, sequence (big endian), the digest before, then each receipt's JSON as it was written, with its
    /// length (big endian, 64 bits) before it.
    #[must_use]
    pub fn digest_of(node: NodeId, sequence: u64, previous: Digest, receipts: &[Written<NodeReceipt>]) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(node.uuid().as_bytes());
        hasher.update(&sequence.to_be_bytes());
        hasher.update(&previous.0);
        for receipt in receipts {
            let json = receipt.text();
            hasher.update(&(json.len() as u64).to_be_bytes());
            hasher.update(json.as_bytes());
        }
        Digest(*hasher.finalize().as_bytes())
    }
}

/// What the control plane says to a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointAck {
    /// All up to this one are committed.
    pub sequence: u64,
}

/// The gateway's half: what it saw of a run. Also made for runs that reached no node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The run.
    pub run: RunId,
    /// Which gateway saw it.
    pub gateway: InstanceId,
    /// Who pays.
    pub account: AccountId,
    /// What was run.
    pub function: FunctionId,
    /// Which version of it.
    pub version: VersionId,
    /// Its number.
    pub version_number: u32,
    /// The node, where one took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The lane.
    pub lane: Lane,
    /// When the request's head was read.
    pub received: Timestamp,
    /// From then to the answer's head, in microseconds.
    pub head_us: u64,
    /// From then to the answer's end, in microseconds.
    pub wall_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The answer's status.
    pub status: u16,
    /// The platform's code, where it answered instead of the function.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::code")]
    pub code: Option<Code>,
    /// The request's method.
    pub method: String,
    /// The request's path, cut to 256 characters.
    pub path: String,
    /// Bytes of the request's body.
    pub bytes_in: ByteSize,
    /// Bytes of the answer's body.
    pub bytes_out: ByteSize,
    /// What the node claimed in `end`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub end: Option<RunEnd>,
    /// Why it went there; none from a gateway that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub placement: Option<Explanation>,
    /// Of which job it was a try; none of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// What the run might use, as its ticket said; none from a gateway that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// What made it; none from a gateway that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub source: Option<RunSource>,
    /// On whose behalf; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub principal: Option<RunPrincipal>,
}

impl Observation {
    /// Takes the node's last word, brought within what the ticket permitted and what was seen of the call: nobody keeps
    /// or learns from more than that.
    pub fn take_end(&mut self, end: Option<RunEnd>) {
        let limits = self.limits.unwrap_or(Limits::MAX);
        let bounds = Bounds::of(&limits).seen(self.wall_us, self.bytes_in, self.bytes_out);
        self.end = end.map(|end| {
            // CPU time is measured against the call's length here, which is no word of the node.
            let possible = bounds.clamp(Usage { wall_us: u64::MAX, ..end.usage });
            let wall_us = possible.wall_us.min(end.usage.wall_us);
            RunEnd { usage: Usage { wall_us, ..possible }, ..end }
        });
    }
}

#[cfg(feature = "signing")]
mod signing {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

    use super::{Checkpoint, NodeReceipt};
    use crate::ids::NodeId;
    use crate::units::Digest;
    use crate::wire::Written;

    impl Checkpoint {
        /// Signs a batch.
        #[must_use]
        pub fn sign(
            node: NodeId,
            sequence: u64,
            previous: Digest,
            receipts: Vec<NodeReceipt>,
            key: &SigningKey,
        ) -> Self {
            let receipts = receipts.into_iter().filter_map(|receipt| Written::new(receipt).ok()).collect();
            Self::sign_written(node, sequence, previous, receipts, key)
        }

        /// Signs receipts that are written already.
        #[must_use]
        pub fn sign_written(
            node: NodeId,
            sequence: u64,
            previous: Digest,
            receipts: Vec<Written<NodeReceipt>>,
            key: &SigningKey,
        ) -> Self {
            let signed = |digest: &Digest| Ok::<_, std::convert::Infallible>(key.sign(&digest.0).to_bytes());
            let Ok(checkpoint) = Self::signed_by(node, sequence, previous, receipts, signed);
            checkpoint
        }

        /// The same, where the key is elsewhere: `sign` has the digest signed.
        ///
        /// # Errors
        /// What `sign` says.
        pub fn signed_by<E>(
            node: NodeId,
            sequence: u64,
            previous: Digest,
            receipts: Vec<Written<NodeReceipt>>,
            sign: impl FnOnce(&Digest) -> Result<[u8; Signature::BYTE_SIZE], E>,
        ) -> Result<Self, E> {
            let digest = Self::digest_of(node, sequence, previous, &receipts);
            let signature = URL_SAFE_NO_PAD.encode(sign(&digest)?);
            Ok(Self { v: Self::VERSION, node, sequence, previous, digest, signature, receipts })
        }

        /// Whether digest and signature are right.
        #[must_use]
        pub fn verify(&self, key: &VerifyingKey) -> bool {
            let of = |receipts: &[_]| Self::digest_of(self.node, self.sequence, self.previous, receipts);
            // Who has written the JSON anew in between has changed nothing, where all of it is known.
            let anew =
                || self.receipts.iter().map(|one| Written::new(NodeReceipt::clone(one))).collect::<Result<Vec<_>, _>>();
            let whole = of(&self.receipts) == self.digest || anew().is_ok_and(|anew| of(&anew) == self.digest);
            whole && self.is_signed(key)
        }

        /// Whether the signature is that of the digest, whatever the receipts are.
        #[must_use]
        pub fn is_signed(&self, key: &VerifyingKey) -> bool {
            let mut raw = [0_u8; Signature::BYTE_SIZE];
            matches!(URL_SAFE_NO_PAD.decode_slice(&self.signature, &mut raw), Ok(length) if length == raw.len())
                && key.verify_strict(&self.digest.0, &Signature::from_bytes(&raw)).is_ok()
        }
    }
}
