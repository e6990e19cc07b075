//! The keys of tickets' MACs: derived here, and nowhere else, by BLAKE3.
//!
//! ```text
//! root ──► pay keys ──► of an epoch                  control planes derive it, its issuer is given it
//!      └─► node keys ──► of a day ──► of a node      issuers are given the day's, a node its own
//! ```
//! So a node can make no pay MAC and no other node's MAC, and an issuer no other issuer's pay MAC.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::form::{self, MAC_BYTES, Unchecked};
use super::{Purpose, RunTicket, SignedTicket, Ticket, TicketError};
use crate::ids::{EpochId, NodeId};
use crate::units::Timestamp;

const PAY_KEYS: &str = "crowdcloud 2026 tickets: pay keys of epochs";
const NODE_KEYS: &str = "crowdcloud 2026 tickets: node keys of days";

const DAY_MS: i64 = 86_400_000;
/// By so much clocks may differ: before and after each midnight both days are valid for as long.
const OVERLAP_MS: i64 = DAY_MS / 2;

crate::secret::secret! {
    /// What an issuer makes its pay MACs with.
    PayKey;
    /// What the keys of all nodes for one day are derived from.
    DayRoot;
    /// What the MACs of one node's tickets are made with for one day.
    NodeKey;
}

/// A day in UTC, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub u16);

impl Day {
    /// The day that this time is in.
    #[must_use]
    pub fn of(time: Timestamp) -> Self {
        Self(u16::try_from(time.0.div_euclid(DAY_MS).max(0)).unwrap_or(u16::MAX))
    }

    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The keys of the two days that are valid at a time: yesterday's and today's until noon, today's and tomorrow's after.
/// So whoever was told before a midnight and whoever is told after it agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwoDays<K> {
    /// The first of the two days.
    pub first: Day,
    /// Its key, and that of the day after it.
    pub keys: [K; 2],
}

impl<K> TwoDays<K> {
    fn of(now: Timestamp, key: impl Fn(Day) -> K) -> Self {
        let first = Day::of(Timestamp(now.0.saturating_sub(OVERLAP_MS)));
        Self { first, keys: [key(first), key(first.next())] }
    }

    fn get(&self, day: Day) -> Option<&K> {
        let [first, second] = &self.keys;
        match day {
            day if day == self.first => Some(first),
            day if day == self.first.next() => Some(second),
            _ => None,
        }
    }

    /// The day of this time and its key; of a time outside of both days, the nearer one.
    fn at(&self, now: Timestamp) -> (Day, &K) {
        let [first, second] = &self.keys;
        match Day::of(now) <= self.first {
            true => (self.first, first),
            false => (self.first.next(), second),
        }
    }
}

impl TwoDays<NodeKey> {
    /// The ticket, where an issuer made it for this node and these days. All that the node knows is that: purpose and
    /// times are the caller's to check.
    ///
    /// # Errors
    /// Says why it is none.
    pub fn check(&self, node: NodeId, signed: &SignedTicket) -> Result<Ticket, TicketError> {
        let bytes = signed.bytes()?;
        let unchecked = Unchecked::of(&bytes)?;
        if unchecked.node != node {
            return Err(TicketError::WrongNode);
        }
        let key = self.get(unchecked.day).ok_or(TicketError::WrongDay)?;
        check_mac(&key.0, unchecked.for_node()?)?;
        unchecked.read()
    }
}

impl DayRoot {
    fn node(&self, node: NodeId) -> NodeKey {
        NodeKey(*blake3::keyed_hash(&self.0, node.uuid().as_bytes()).as_bytes())
    }
}

/// What one issuer makes tickets with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerKeys {
    /// The issuer's start.
    pub epoch: EpochId,
    /// Its own key.
    pub pay: PayKey,
    /// What the keys of nodes are derived from.
    pub days: TwoDays<DayRoot>,
}

impl IssuerKeys {
    /// Permission for a node to do a run.
    #[must_use]
    pub fn run(&self, of: RunTicket, now: Timestamp, lasts: Duration) -> SignedTicket {
        let RunTicket { run, node, lane, account, function, version, artifact, limits } = of;
        self.issue(&Ticket {
            purpose: Purpose::Run,
            run,
            node,
            account,
            function,
            version,
            artifact,
            lane,
            limits,
            epoch: self.epoch,
            issued: now,
            expires: now.plus(lasts),
        })
    }

    /// The ticket with its MACs. Whatever epoch stands in it, it is of this issuer's.
    #[must_use]
    pub fn issue(&self, ticket: &Ticket) -> SignedTicket {
        let (day, root) = self.days.at(ticket.issued);
        let mut bytes = form::write(ticket, self.epoch, day);
        bytes.extend_from_slice(&mac(&self.pay.0, &bytes));
        bytes.extend_from_slice(&mac(&root.node(ticket.node).0, &bytes));
        SignedTicket::of(&bytes)
    }
}

/// What all keys of tickets are derived from: the control planes' alone.
#[derive(Clone)]
pub struct TicketRoot {
    pay: [u8; 32],
    node: [u8; 32],
}

impl fmt::Debug for TicketRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketRoot(..)")
    }
}

impl TicketRoot {
    /// Of the platform's root secret.
    #[must_use]
    pub fn of(root: &[u8; 32]) -> Self {
        Self { pay: blake3::derive_key(PAY_KEYS, root), node: blake3::derive_key(NODE_KEYS, root) }
    }

    /// What the issuer of this epoch makes tickets with, now.
    #[must_use]
    pub fn issuer(&self, epoch: EpochId, now: Timestamp) -> IssuerKeys {
        IssuerKeys { epoch, pay: self.pay_key(epoch), days: self.days(now) }
    }

    /// What the keys of nodes are derived from, now.
    #[must_use]
    pub fn days(&self, now: Timestamp) -> TwoDays<DayRoot> {
        TwoDays::of(now, |day| self.day(day))
    }

    /// What a node checks tickets with, now.
    #[must_use]
    pub fn node_keys(&self, node: NodeId, now: Timestamp) -> TwoDays<NodeKey> {
        TwoDays::of(now, |day| self.day(day).node(node))
    }

    /// The ticket, where an issuer made it, whenever that was. Node, purpose and times are the caller's to check.
    ///
    /// # Errors
    /// Says why it is none.
    pub fn check(&self, signed: &SignedTicket) -> Result<Ticket, TicketError> {
        let bytes = signed.bytes()?;
        let unchecked = Unchecked::of(&bytes)?;
        check_mac(&self.pay_key(unchecked.epoch).0, unchecked.paid()?)?;
        // A node could make this one: it is checked so that a ticket has one form, the one that was issued.
        check_mac(&self.day(unchecked.day).node(unchecked.node).0, unchecked.for_node()?)?;
        unchecked.read()
    }

    fn pay_key(&self, epoch: EpochId) -> PayKey {
        PayKey(*blake3::keyed_hash(&self.pay, epoch.uuid().as_bytes()).as_bytes())
    }

    fn day(&self, day: Day) -> DayRoot {
        DayRoot(*blake3::keyed_hash(&self.node, &day.0.to_be_bytes()).as_bytes())
    }
}

fn mac(key: &[u8; 32], bytes: &[u8]) -> [u8; MAC_BYTES] {
    let mut mac = [0; MAC_BYTES];
    mac.copy_from_slice(&blake3::keyed_hash(key, bytes).as_bytes()[..MAC_BYTES]);
    mac
}

fn check_mac(key: &[u8; 32], (bytes, claimed): (&[u8], [u8; MAC_BYTES])) -> Result<(), TicketError> {
    // As whole hashes, because those are compared in constant time.
    let whole = |mac: [u8; MAC_BYTES]| {
        let mut whole = [0; 32];
        whole[..MAC_BYTES].copy_from_slice(&mac);
        blake3::Hash::from(whole)
    };
    if whole(mac(key, bytes)) == whole(claimed) { Ok(()) } else { Err(TicketError::Mac) }
}
