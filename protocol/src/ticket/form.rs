//! A ticket's bytes. Numbers are big endian, ids are their UUIDs, times are milliseconds since 1970.
//!
//! ```text
//!   0   1  version                 37  16  run                   133   6  issued
//!   1   1  purpose                 53  16  account               139   6  expires
//!   2   1  lane                    69  16  function              145  ..  fields: tag, length, value
//!   3   2  day of the node's key   85  16  version of it         -32  16  pay MAC of all before it
//!   5  16  issuer's epoch         101  32  artifact              -16  16  node MAC of all before it
//!  21  16  node
//! ```
//! A field's tag says by its highest bit whether it must be understood, as a name's `!` does in JSON ([`crate::wire`]):
//! an unknown one without it is passed over. So a later release adds what a run may use, or what else it has to say,
//! and nodes of this one go on. Another version byte is for what no field can say.

use uuid::Uuid;

use super::{Day, Purpose, Ticket, TicketError};
use crate::ids::{AccountId, EpochId, FunctionId, NodeId, RunId, VersionId};
use crate::manifest::{Lane, Limits};
use crate::units::{ByteSize, Digest, Millis, Timestamp};

/// Before it there was signed JSON.
const VERSION: u8 = 2;
/// Half of a BLAKE3 hash: to guess 128 bits, one call for each guess, is hopeless for ever and not only for the seconds
/// that a ticket lives; the other halves would make each call's head longer by 43 bytes.
pub(super) const MAC_BYTES: usize = 16;
/// Before the fields.
const FIXED_BYTES: usize = 145;
/// Room for the fields of later releases.
pub(super) const BYTES_MAX: usize = 1024;

/// In a tag: who does not know the field may not go on.
const CRITICAL: u8 = 0x80;
/// The limits are the fields of the tags from 0 on, in the order of [`limit_values`].
const LIMITS: usize = 6;
/// The first so many have been there from the beginning: each ticket has them, and whoever does not know one of them
/// may not go on.
const FIRST_LIMITS: u8 = 5;
/// The longest number.
const NUMBER_BYTES_MAX: usize = 8;

fn limit_values(limits: &Limits) -> [u64; LIMITS] {
    let Limits { memory, timeout, body, concurrency, cpus, egress_bytes } = *limits;
    [memory.0, timeout.0, body.0, concurrency.into(), cpus.into(), egress_bytes.0]
}

/// All of a ticket but its MACs.
pub(super) fn write(ticket: &Ticket, epoch: EpochId, day: Day) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.push(VERSION);
    bytes.push(match ticket.purpose {
        Purpose::Run => 0,
        Purpose::Prepare => 1,
    });
    bytes.push(match ticket.lane {
        Lane::Wasm => 0,
        Lane::Vm => 1,
    });
    bytes.extend_from_slice(&day.0.to_be_bytes());
    let Ticket { node, run, account, function, version, .. } = ticket;
    for id in [epoch.uuid(), node.uuid(), run.uuid(), account.uuid(), function.uuid(), version.uuid()] {
        bytes.extend_from_slice(id.as_bytes());
    }
    bytes.extend_from_slice(&ticket.artifact.0);
    for time in [ticket.issued, ticket.expires] {
        let [_, _, time @ ..] = time.0.clamp(0, TIME_MAX).to_be_bytes();
        bytes.extend_from_slice(&time);
    }
    for (tag, value) in (0_u8..).zip(limit_values(&ticket.limits)) {
        let value = value.to_be_bytes();
        let zeros = value.iter().take_while(|byte| **byte == 0).count();
        bytes.push(if tag < FIRST_LIMITS { tag | CRITICAL } else { tag });
        bytes.push(u8::try_from(value.len() - zeros).unwrap_or_default());
        bytes.extend_from_slice(&value[zeros..]);
    }
    bytes
}

/// The last time that six bytes can say.
const TIME_MAX: i64 = (1 << 48) - 1;

/// A ticket's bytes, of which nobody has checked the MACs: what it says so far only chooses the keys.
pub(super) struct Unchecked<'a> {
    bytes: &'a [u8],
    pub(super) day: Day,
    pub(super) epoch: EpochId,
    pub(super) node: NodeId,
}

impl<'a> Unchecked<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, TicketError> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&later) if later > VERSION => return Err(TicketError::NotUnderstood),
            Some(_) => return Err(TicketError::OldForm),
            None => return Err(TicketError::Malformed),
        }
        if bytes.len() < FIXED_BYTES + 2 * MAC_BYTES || bytes.len() > BYTES_MAX {
            return Err(TicketError::Malformed);
        }
        let mut from = Reader(bytes);
        let [_, _, _] = from.take()?;
        let day = Day(u16::from_be_bytes(from.take()?));
        Ok(Self { bytes, day, epoch: EpochId::from_uuid(from.uuid()?), node: NodeId::from_uuid(from.uuid()?) })
    }

    /// What the pay MAC is of, and that MAC.
    pub(super) fn paid(&self) -> Result<(&'a [u8], [u8; MAC_BYTES]), TicketError> {
        let (before, _) = self.for_node()?;
        before.split_last_chunk::<MAC_BYTES>().map(|(before, mac)| (before, *mac)).ok_or(TicketError::Malformed)
    }

    /// What the node MAC is of, and that MAC.
    pub(super) fn for_node(&self) -> Result<(&'a [u8], [u8; MAC_BYTES]), TicketError> {
        self.bytes.split_last_chunk::<MAC_BYTES>().map(|(before, mac)| (before, *mac)).ok_or(TicketError::Malformed)
    }

    /// The ticket, once a MAC has been found right.
    pub(super) fn read(&self) -> Result<Ticket, TicketError> {
        let (bytes, _) = self.paid()?;
        let mut from = Reader(bytes);
        let [_, purpose, lane, _, _] = from.take()?;
        let purpose = match purpose {
            0 => Purpose::Run,
            1 => Purpose::Prepare,
            _ => return Err(TicketError::NotUnderstood),
        };
        let lane = match lane {
            0 => Lane::Wasm,
            1 => Lane::Vm,
            _ => return Err(TicketError::NotUnderstood),
        };
        Ok(Ticket {
            purpose,
            lane,
            epoch: EpochId::from_uuid(from.uuid()?),
            node: NodeId::from_uuid(from.uuid()?),
            run: RunId::from_uuid(from.uuid()?),
            account: AccountId::from_uuid(from.uuid()?),
            function: FunctionId::from_uuid(from.uuid()?),
            version: VersionId::from_uuid(from.uuid()?),
            artifact: Digest(from.take()?),
            issued: from.time()?,
            expires: from.time()?,
            limits: from.limits()?,
        })
    }
}

/// What is not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], TicketError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(TicketError::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn uuid(&mut self) -> Result<Uuid, TicketError> {
        self.take().map(Uuid::from_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, TicketError> {
        let mut whole = [0; 8];
        let [_, _, time @ ..] = &mut whole;
        *time = self.take()?;
        Ok(Timestamp(i64::from_be_bytes(whole)))
    }

    /// The next field: its tag and its value.
    fn field(&mut self) -> Result<(u8, &'a [u8]), TicketError> {
        let [tag, length] = self.take()?;
        let (value, rest) = self.0.split_at_checked(length.into()).ok_or(TicketError::Malformed)?;
        self.0 = rest;
        Ok((tag, value))
    }

    /// All fields to the end.
    fn limits(&mut self) -> Result<Limits, TicketError> {
        let mut found = [None; LIMITS];
        while !self.0.is_empty() {
            let (tag, value) = self.field()?;
            let Some(limit) = found.get_mut(usize::from(tag & !CRITICAL)) else {
                if tag & CRITICAL != 0 {
                    return Err(TicketError::NotUnderstood);
                }
                continue;
            };
            if limit.replace(number(value)?).is_some() {
                return Err(TicketError::Malformed);
            }
        }
        let [Some(memory), Some(timeout), Some(body), Some(concurrency), Some(cpus), egress_bytes] = found else {
            return Err(TicketError::Malformed);
        };
        let small = |number: u64| u32::try_from(number).map_err(|_| TicketError::Malformed);
        Ok(Limits {
            memory: ByteSize(memory),
            timeout: Millis(timeout),
            body: ByteSize(body),
            concurrency: small(concurrency)?,
            cpus: small(cpus)?,
            egress_bytes: egress_bytes.map_or(Limits::default().egress_bytes, ByteSize),
        })
    }
}

fn number(bytes: &[u8]) -> Result<u64, TicketError> {
    if bytes.len() > NUMBER_BYTES_MAX {
        return Err(TicketError::Malformed);
    }
    Ok(bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}
