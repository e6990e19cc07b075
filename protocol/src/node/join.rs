//! How a machine becomes a node: what the platform says of itself, what the machine asks for, and what it is told.

use serde::{Deserialize, Serialize};

use super::{Accelerator, Malformed, Nonce, PublicKey, PublicKeys};
use crate::ids::{NodeId, TokenId};
use crate::manifest::{Lane, PlacementClass};
use crate::signed::Statement;
use crate::units::{ByteSize, Digest, Timestamp};
use crate::wire;

/// What the platform says of itself, signed with its root key (`GET /platform`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformStatement {
    /// The key that this is signed with.
    pub root: PublicKey,
    /// Ed25519: signs what nodes are told when they join.
    pub registrar: PublicKey,
    /// X25519: what concerns tickets is sealed between this key and a node's.
    pub tickets: PublicKey,
    /// Ed25519: signs releases; none where the platform names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub releases: Option<PublicKey>,
    /// The oldest node protocol that it speaks.
    pub protocol_min: u16,
    /// The newest.
    pub protocol_max: u16,
    /// Its time.
    pub now: Timestamp,
    /// The digest of the public key (SubjectPublicKeyInfo) in the certificate of the gateway that this was asked through;
    /// none where that gateway has no certificate. Another certificate is that of somebody in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Digest>,
}

/// What a machine asks of its token before it is spent, signed with the token's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenQuery {
    /// The token.
    pub token: TokenId,
    /// The machine's keys: whoever has spent the token with them is told again.
    pub keys: PublicKeys,
    /// Makes this request another one than any before.
    pub nonce: Nonce,
}

/// What comes of a token, signed by the registrar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTerms {
    /// That of the query: it is no answer to an earlier one.
    pub nonce: Nonce,
    /// The node that the machine will be.
    pub node: NodeId,
    /// What it will be called; its own name where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The account that earns; none where the operator has not signed up yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What it will be placed as.
    pub class: PlacementClass,
    /// When the token ends.
    pub expires: Timestamp,
}

/// What a machine asks for with its token, signed with the token's key and its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The token.
    pub token: TokenId,
    /// Makes this request another one than any before.
    pub nonce: Nonce,
    /// The machine's keys.
    pub keys: PublicKeys,
    /// What tells this machine from a copy of its disk; none where it has nothing that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Digest>,
    /// The oldest protocol version that it speaks.
    pub protocol_min: u16,
    /// The newest.
    pub protocol_max: u16,
    /// What the machine is.
    pub probe: Probe,
}

/// What tells a machine from a copy of its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The machine's id, hashed with the platform's root key; none where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Digest>,
    /// Which boot of the machine, hashed likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Digest>,
    /// How often the node was started, by what its folder keeps: it only rises.
    pub starts: u32,
}

/// What a machine found out about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// A name for people.
    pub name: String,
    /// The software's version.
    pub software: String,
    /// The architecture, as Rust names it.
    pub arch: String,
    /// The operating system, as Rust names it.
    pub os: String,
    /// Cores that it would lend.
    pub cores: u32,
    /// Memory that it would lend.
    pub memory: ByteSize,
    /// Runs at once.
    pub slots: u32,
    /// Free bytes where its folder is; none where it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<ByteSize>,
    /// Turns of a fixed loop of integer work in a millisecond; none where it has not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns_per_ms: Option<u32>,
    /// The lanes that it has.
    #[serde(deserialize_with = "wire::known")]
    pub lanes: Vec<Lane>,
    /// What would run its guests; none where it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub accelerator: Option<Accelerator>,
}

/// What a node asks for with its receipt key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRequest {
    /// Which node.
    pub node: NodeId,
    /// What it wants.
    pub wants: NodeWant,
    /// Makes this request another one than any before.
    pub nonce: Nonce,
}

/// What a node may want over HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeWant {
    /// A new JWT for its NATS user.
    Renewal,
    /// To leave.
    Leave,
}

/// What a node asks the gateway for, signed with its receipt key: to be connected to the fabric (`GET /fabric`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Which node; also the name of its JWT.
    pub node: NodeId,
    /// Which start of its software, at random: the newest connection of a start replaces the one before it.
    pub start: Nonce,
    /// What the gateway has told it a moment ago: good once.
    pub challenge: Nonce,
}

/// What a node is told when it joins or renews, signed by the registrar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Who it is from now on.
    pub node: NodeId,
    /// The NATS key that the JWT is for.
    pub nats: String,
    /// Its NATS user: subjects of its own, and no others.
    pub jwt: String,
    /// When the JWT ends.
    pub expires: Timestamp,
    /// The protocol version that both speak.
    pub protocol: u16,
    /// The account that earns; none while nobody has adopted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

impl Statement for PlatformStatement {
    const DOMAIN: &'static str = "crowdcloud 1: the platform";
}

impl Statement for TokenQuery {
    const DOMAIN: &'static str = "crowdcloud 1: a query of a token";
}

impl Statement for TokenTerms {
    const DOMAIN: &'static str = "crowdcloud 1: a token's terms";
}

impl Statement for Registration {
    const DOMAIN: &'static str = "crowdcloud 1: a node's registration";
}

impl Statement for NodeRequest {
    const DOMAIN: &'static str = "crowdcloud 1: a node's request";
}

impl Statement for Connection {
    const DOMAIN: &'static str = "crowdcloud 1: a node's connection";
}

impl Statement for Admission {
    const DOMAIN: &'static str = "crowdcloud 1: a node's admission";
}

impl Probe {
    /// Whether each field can be true.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), Malformed> {
        super::check::probe(self)
    }
}
