//! How a run's halves become one row. Pure.

use protocol::receipt::{NodeReceipt, Observation, Outcome, Usage};
use protocol::ticket::Ticket;
use protocol::{ByteSize, Limits, NodeId, Timestamp};

use crate::db::columns::{Col, signed, unsigned};
use crate::db::entities::runs;

/// The gateway's half has not come.
pub(crate) const NO_OBSERVATION: &str = "no_observation";
/// The node's half has not come.
pub(crate) const NO_RECEIPT: &str = "no_receipt";
/// The node claims more than the gateway saw.
pub(crate) const OVER_CLAIMED: &str = "over_claimed";

/// Clocks differ: a claim may be longer by a tenth and this, in microseconds, before it is flagged.
const WALL_TOLERANCE_US: u64 = 100_000;

/// A node's half whose permission has been checked.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// The permission.
    pub ticket: Ticket,
    /// What the node says.
    pub receipt: NodeReceipt,
    /// The version's number.
    pub version_number: u32,
}

/// Adds the node's half. `None`: nothing changes.
pub(crate) fn with_claim(
    row: Option<&runs::Model>,
    node: NodeId,
    claim: &Claim,
    now: Timestamp,
) -> Option<runs::Model> {
    let (ticket, end) = (&claim.ticket, &claim.receipt.end);
    let mut row = match row {
        // Only the node that the gateway saw is paid; and it is paid once.
        Some(row) if row.claimed.is_some() || row.node_id.is_none_or(|seen| seen.0 != node) => return None,
        Some(row) => row.clone(),
        None => runs::Model {
            run_id: claim.receipt.run.into(),
            account_id: ticket.account.into(),
            function_id: ticket.function.into(),
            version_id: ticket.version.into(),
            version_number: small(claim.version_number),
            node_id: Some(node.into()),
            lane: ticket.lane.into(),
            outcome: end.outcome.into(),
            status: 0,
            code: end.code.map(Col),
            method: String::new(),
            path: String::new(),
            received: claim.receipt.started.into(),
            wall_us: signed(end.usage.wall_us),
            limits: None,
            claimed: None,
            observed: None,
            billed: Usage::default().into(),
            flag: None,
            settled: false,
            segment: None,
            arrived: now.into(),
            warm: Some(end.warm),
            cached: Some(end.cached),
            placement: None,
            job_id: None,
        },
    };
    row.limits = Some(ticket.limits.into());
    row.claimed = Some(end.usage.into());
    Some(settle(row))
}

/// Adds the gateway's half. `None`: it is there already.
pub(crate) fn with_observation(row: Option<&runs::Model>, seen: &Observation, now: Timestamp) -> Option<runs::Model> {
    if row.is_some_and(|row| row.observed.is_some()) {
        return None;
    }
    let same_node = |row: &&runs::Model| row.node_id.map(|node| node.0) == seen.node;
    // A claim of another node than the gateway saw is void.
    let claimed = row.filter(same_node);
    let relayed = seen.end.as_ref().map(|end| end.usage).unwrap_or_default();
    let observed = Usage {
        wall_us: seen.wall_us,
        cpu_us: relayed.cpu_us,
        fuel: relayed.fuel,
        memory_peak: relayed.memory_peak,
        bytes_in: seen.bytes_in,
        bytes_out: seen.bytes_out,
    };
    Some(settle(runs::Model {
        run_id: seen.run.into(),
        account_id: seen.account.into(),
        function_id: seen.function.into(),
        version_id: seen.version.into(),
        version_number: small(seen.version_number),
        node_id: seen.node.map(Col),
        lane: seen.lane.into(),
        outcome: seen.outcome.into(),
        status: i32::from(seen.status),
        code: seen.code.map(Col),
        method: seen.method.chars().take(METHOD_LENGTH_MAX).collect(),
        path: seen.path.chars().take(PATH_LENGTH_MAX).collect(),
        received: seen.received.into(),
        wall_us: signed(seen.wall_us),
        limits: claimed.and_then(|row| row.limits),
        claimed: claimed.and_then(|row| row.claimed),
        observed: Some(observed.into()),
        billed: Usage::default().into(),
        flag: None,
        settled: false,
        segment: None,
        arrived: row.map_or(now.into(), |row| row.arrived),
        warm: seen.end.as_ref().map(|end| end.warm).or(claimed.and_then(|row| row.warm)),
        cached: seen.end.as_ref().map(|end| end.cached).or(claimed.and_then(|row| row.cached)),
        placement: seen.placement.clone().map(Col),
        job_id: seen.job.map(Col),
    }))
}

const METHOD_LENGTH_MAX: usize = 32;
const PATH_LENGTH_MAX: usize = 256;

/// Decides what can be decided: with both halves, or where no node was reached, the run is settled.
fn settle(mut row: runs::Model) -> runs::Model {
    let both = row.claimed.is_some() && row.observed.is_some();
    let no_node = row.observed.is_some() && row.node_id.is_none();
    row.flag = disagree(&row).then(|| OVER_CLAIMED.to_owned());
    row.settled = both || no_node;
    row.segment = None;
    row.billed = billed(&row).into();
    row
}

/// Whether an answer that arrived whole was claimed to be more. (Of one that was cut, the ends see different parts.)
fn disagree(row: &runs::Model) -> bool {
    let (Some(claimed), Some(observed)) = (row.claimed, row.observed) else { return false };
    let wall_max = observed.wall_us.saturating_add(observed.wall_us / 10).saturating_add(WALL_TOLERANCE_US);
    let more = claimed.bytes_in > observed.bytes_in || claimed.bytes_out > observed.bytes_out;
    *row.outcome == Outcome::Succeeded && (more || claimed.wall_us > wall_max)
}

/// Its time is over: what there is counts, and the row says what is missing.
pub(crate) fn give_up(mut row: runs::Model) -> runs::Model {
    let missing = if row.observed.is_none() { NO_OBSERVATION } else { NO_RECEIPT };
    row.flag = Some(missing.to_owned());
    row.settled = true;
    row
}

/// What is billed: never more than either side says, and without the gateway's word never more than was allowed.
pub(crate) fn billed(row: &runs::Model) -> Usage {
    if *row.outcome == Outcome::PlatformFailed {
        return Usage::default();
    }
    let limits = row.limits.map(|limits| limits.0);
    let usage = match (row.claimed, row.observed) {
        (Some(claimed), Some(observed)) => lesser(claimed.0, observed.0),
        (Some(claimed), None) => claimed.0,
        (None, Some(observed)) => observed.0,
        (None, None) => Usage::default(),
    };
    limits.map_or(usage, |limits| within(usage, limits, row.observed.is_none()))
}

fn lesser(claimed: Usage, observed: Usage) -> Usage {
    Usage {
        wall_us: claimed.wall_us.min(observed.wall_us),
        cpu_us: claimed.cpu_us,
        fuel: claimed.fuel,
        memory_peak: claimed.memory_peak,
        bytes_in: claimed.bytes_in.min(observed.bytes_in),
        bytes_out: claimed.bytes_out.min(observed.bytes_out),
    }
}

fn within(usage: Usage, limits: Limits, unobserved: bool) -> Usage {
    let most = |value: u64, most: u64| if unobserved { value.min(most) } else { value };
    let wall_us = most(usage.wall_us, limits.timeout.0.saturating_mul(1000));
    Usage {
        wall_us,
        // Only the node sees CPU and memory: they are bounded by what is physically possible.
        cpu_us: usage.cpu_us.min(wall_us.saturating_mul(u64::from(limits.cpus))),
        fuel: usage.fuel,
        memory_peak: usage.memory_peak.min(limits.memory),
        bytes_in: ByteSize(most(usage.bytes_in.0, limits.body.0)),
        bytes_out: ByteSize(most(usage.bytes_out.0, limits.body.0)),
    }
}

fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// What a settled row adds to its minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub runs: i64,
    pub succeeded: i64,
    pub failed: i64,
    pub timed_out: i64,
    pub cancelled: i64,
    pub platform_failed: i64,
    pub flagged: i64,
    pub wall_us: i64,
    pub cpu_us: i64,
    pub memory_kib_ms: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
}

impl Share {
    /// A row's share; nothing before it is settled.
    pub(crate) fn of(row: &runs::Model) -> Self {
        if !row.settled {
            return Self::default();
        }
        let is = |outcome| i64::from(*row.outcome == outcome);
        let usage = row.billed.0;
        Self {
            runs: 1,
            succeeded: is(Outcome::Succeeded),
            failed: is(Outcome::Failed),
            timed_out: is(Outcome::TimedOut),
            cancelled: is(Outcome::Cancelled),
            platform_failed: is(Outcome::PlatformFailed),
            flagged: i64::from(row.flag.is_some()),
            wall_us: signed(usage.wall_us),
            cpu_us: signed(usage.cpu_us),
            memory_kib_ms: signed((usage.memory_peak.0 / 1024).saturating_mul(usage.wall_us / 1000)),
            bytes_in: signed(usage.bytes_in.0),
            bytes_out: signed(usage.bytes_out.0),
        }
    }

    /// The parts, in the order of the table's columns.
    pub(crate) fn parts(&self) -> [i64; 12] {
        [
            self.runs,
            self.succeeded,
            self.failed,
            self.timed_out,
            self.cancelled,
            self.platform_failed,
            self.flagged,
            self.wall_us,
            self.cpu_us,
            self.memory_kib_ms,
            self.bytes_in,
            self.bytes_out,
        ]
    }
}

/// The minute that a row counts in.
pub(crate) fn minute(row: &runs::Model) -> i64 {
    signed(unsigned(row.received.0.0) / 60_000)
}

#[cfg(test)]
mod tests;
