//! How a run's halves become one row. Pure.
//!
//! Nothing that a node says is kept as it is said: each figure is brought within what the ticket permits and, where the
//! gateway's half is there, within what the gateway saw. A node speaks twice of a run, in the call's `end` and in its
//! receipt: the lesser of both counts, and where they differ the run is flagged. What comes after a run was settled
//! changes nothing in the node's favour.

use protocol::bounds::Bounds;
use protocol::receipt::{NodeReceipt, Observation, Outcome, RunEnd, Usage};
use protocol::ticket::Ticket;
use protocol::{Flag, Limits, NodeId, RunSource, Timestamp};

use crate::db::columns::{Col, signed};
use crate::db::entities::{Rival, runs};

/// Clocks differ: a claim may be longer than the call by a tenth and this, in microseconds, before it is flagged.
const WALL_TOLERANCE_US: u64 = 100_000;

/// Nodes that may claim the same run before its gateway says which of them it was: as many as a gateway asks.
const RIVALS_MAX: usize = 8;

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
    let bounds = Bounds::of(&ticket.limits);
    let claimed = bounds.clamp(end.usage);
    let mut row = match row {
        // A run is settled once: the half that comes later finds it so.
        Some(row) if row.settled => return None,
        // The gateway's half will say which node it was.
        Some(row) if row.observed.is_none() && row.node_id.is_some_and(|first| first.0 != node) => {
            return with_rival(row, node, claim);
        }
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
            // A lender's clock decides nothing: at most where between its ticket's times a run counts.
            received: claim.receipt.started.max(ticket.issued).min(ticket.expires).into(),
            wall_us: signed(claimed.wall_us),
            limits: None,
            claimed: None,
            observed: None,
            billed: Usage::default().into(),
            flag: None,
            settled: false,
            block: None,
            arrived: now.into(),
            warm: Some(end.warm),
            cached: Some(end.cached),
            placement: None,
            job_id: None,
            ended: None,
            rivals: None,
            source: None,
            principal: None,
        },
    };
    if !bounds.plausible(&end.usage) {
        row.flag = Some(Flag::OverClaimed.into());
    }
    row.limits = Some(ticket.limits.into());
    row.claimed = Some(claimed.into());
    let last_word = row.ended.take().map(|end| end.0);
    let receipt = (claim.receipt.end.outcome, claim.receipt.end.code);
    Some(settle(row, last_word.as_ref(), Some(receipt)))
}

/// Adds the claim of a further node. `None`: it is there already, or there are too many.
fn with_rival(row: &runs::Model, node: NodeId, claim: &Claim) -> Option<runs::Model> {
    let mut rivals = row.rivals.clone().map(|rivals| rivals.0).unwrap_or_default();
    if rivals.len() >= RIVALS_MAX || rivals.iter().any(|rival| rival.node == node) {
        return None;
    }
    let (limits, end) = (claim.ticket.limits, &claim.receipt.end);
    let bounds = Bounds::of(&limits);
    rivals.push(Rival {
        node,
        limits,
        claimed: bounds.clamp(end.usage),
        outcome: end.outcome,
        code: end.code,
        warm: end.warm,
        cached: end.cached,
        over_claimed: !bounds.plausible(&end.usage),
    });
    Some(runs::Model { rivals: Some(Col(rivals)), ..row.clone() })
}

/// The row as the claim of this rival alone would have made it.
fn of_rival(row: &runs::Model, node: NodeId) -> Option<runs::Model> {
    let rival = row.rivals.as_ref()?.iter().find(|rival| rival.node == node)?;
    Some(runs::Model {
        node_id: Some(node.into()),
        outcome: rival.outcome.into(),
        code: rival.code.map(Col),
        limits: Some(rival.limits.into()),
        claimed: Some(rival.claimed.into()),
        flag: rival.over_claimed.then(|| Flag::OverClaimed.into()),
        warm: Some(rival.warm),
        cached: Some(rival.cached),
        ..row.clone()
    })
}

/// Adds the gateway's half. `None`: it is there already.
pub(crate) fn with_observation(row: Option<&runs::Model>, seen: &Observation, now: Timestamp) -> Option<runs::Model> {
    if row.is_some_and(|row| row.observed.is_some()) {
        return None;
    }
    let same_node = |row: &&runs::Model| row.node_id.map(|node| node.0) == seen.node;
    // Claims of other nodes than the gateway saw are void.
    let rival = row.zip(seen.node).and_then(|(row, node)| of_rival(row, node));
    let claimed = rival.as_ref().or(row.filter(same_node));
    // What the ticket permitted: it is the issuer's word in both halves.
    let limits = claimed.and_then(|row| row.limits.map(|limits| limits.0)).or(seen.limits);
    let bounds = bounds_of(limits).seen(seen.wall_us, seen.bytes_in, seen.bytes_out);
    let said = seen.end.as_ref().map(|end| RunEnd { usage: bounds.clamp(end.usage), detail: None, ..end.clone() });
    let relayed = said.as_ref().map(|end| end.usage).unwrap_or_default();
    let observed = Usage { wall_us: seen.wall_us, bytes_in: seen.bytes_in, bytes_out: seen.bytes_out, ..relayed };
    let lied = seen.end.as_ref().is_some_and(|end| !bounds_of(limits).plausible(&end.usage));
    let flag = claimed.and_then(|row| row.flag).filter(|flag| flag.0 == Flag::OverClaimed);
    let receipt = claimed.filter(|row| row.claimed.is_some()).map(|row| (row.outcome.0, row.code.map(|code| code.0)));
    let joined = runs::Model {
        run_id: seen.run.into(),
        account_id: seen.account.into(),
        function_id: seen.function.into(),
        version_id: seen.version.into(),
        version_number: small(seen.version_number),
        node_id: seen.node.map(Col),
        lane: seen.lane.into(),
        outcome: seen.outcome.into(),
        status: status(seen.status),
        code: seen.code.map(Col),
        method: clip(&seen.method, METHOD_LENGTH_MAX),
        path: clip(&seen.path, PATH_LENGTH_MAX),
        received: seen.received.into(),
        wall_us: signed(seen.wall_us),
        limits: limits.map(Col),
        claimed: claimed.and_then(|row| row.claimed),
        observed: Some(observed.into()),
        billed: Usage::default().into(),
        flag: if lied { Some(Flag::OverClaimed.into()) } else { flag },
        settled: false,
        block: None,
        arrived: row.map_or(now.into(), |row| row.arrived),
        warm: seen.end.as_ref().map(|end| end.warm).or(claimed.and_then(|row| row.warm)),
        cached: seen.end.as_ref().map(|end| end.cached).or(claimed.and_then(|row| row.cached)),
        placement: seen.placement.clone().map(Col),
        job_id: seen.job.map(Col),
        ended: None,
        rivals: None,
        source: seen.source.or(seen.job.map(|_| RunSource::Job)).map(Col),
        principal: seen.principal.clone().map(Col),
    };
    let joined = settle(joined, said.as_ref(), receipt);
    match row.filter(|row| row.settled) {
        Some(before) => Some(corrected(before, joined)),
        // Kept until the receipt comes, to be compared with it.
        None if !joined.settled => Some(runs::Model { ended: said.map(Col), ..joined }),
        None => Some(joined),
    }
}

/// A run that was settled without the gateway's half, and now that half comes: what it tells is shown, what is billed can
/// only become less, and the flag stays.
fn corrected(before: &runs::Model, joined: runs::Model) -> runs::Model {
    let billed = before.billed.0.lesser(joined.billed.0).into();
    runs::Model { billed, flag: before.flag, settled: true, ended: None, ..joined }
}

const METHOD_LENGTH_MAX: usize = 32;
const PATH_LENGTH_MAX: usize = 256;

/// What fits into a column. PostgreSQL's text has no zero, and would refuse the whole batch for ever.
fn clip(text: &str, chars_max: usize) -> String {
    text.chars().filter(|one| *one != '\0').take(chars_max).collect()
}

/// The bounds of a run; those of any run, where nobody says its own.
fn bounds_of(limits: Option<Limits>) -> Bounds {
    Bounds::of(&limits.unwrap_or(Limits::MAX))
}

/// Decides what can be decided: with both halves, or where no node was reached, the run is settled. `last_word` is the
/// node's `end`, and `receipt` how the run ended by its receipt.
fn settle(
    mut row: runs::Model,
    last_word: Option<&RunEnd>,
    receipt: Option<(Outcome, Option<protocol::Code>)>,
) -> runs::Model {
    let both = row.claimed.is_some() && row.observed.is_some();
    let no_node = row.observed.is_some() && row.node_id.is_none();
    let bounds = bounds(&row);
    if let (Some(claimed), Some(said)) = (row.claimed, last_word)
        && !(bounds.clamp(claimed.0).agrees(&bounds.clamp(said.usage)) && receipt == Some((said.outcome, said.code)))
    {
        row.flag.get_or_insert_with(|| Flag::Contradicted.into());
    }
    if both && last_word.is_none() && !matches!(*row.outcome, Outcome::PlatformFailed | Outcome::Cancelled) {
        row.flag.get_or_insert_with(|| Flag::NoEnd.into());
    }
    if disagree(&row) {
        row.flag.get_or_insert_with(|| Flag::OverClaimed.into());
    }
    row.settled = both || no_node;
    row.block = None;
    row.billed = billed(&row, last_word).into();
    row
}

/// Whether an answer that arrived whole was claimed to be more. (Of one that was cut, the ends see different parts.)
fn disagree(row: &runs::Model) -> bool {
    let (Some(claimed), Some(observed)) = (row.claimed, row.observed) else { return false };
    let wall_max = observed.wall_us.saturating_add(observed.wall_us / 10).saturating_add(WALL_TOLERANCE_US);
    let more_out = claimed.bytes_out > observed.bytes_out && passes_body_on(&row.method, row.status);
    let more = claimed.bytes_in > observed.bytes_in || more_out;
    *row.outcome == Outcome::Succeeded && (more || claimed.wall_us > wall_max)
}

/// Whether a gateway passes on the body that a function sends with this status to such a request. HTTP leaves no place for
/// one in a response to HEAD and in those with 204, 205 and 304 (RFC 9110), whatever the function sends: the node counts
/// what the guest made, the gateway what it passed on. All other bodies pass byte by byte: gateways neither compress what
/// functions send nor cut it to a range.
fn passes_body_on(method: &str, status: i32) -> bool {
    method != "HEAD" && !matches!(status, 204 | 205 | 304)
}

/// A status of three digits, or 0 for none: what usage and lists know.
fn status(seen: u16) -> i32 {
    i32::from(if seen < 100 { 0 } else { seen.min(999) })
}

/// Its time is over: what there is counts, and the row says what is missing.
///
/// A run that its caller broke off, and of which the node that was asked has said nothing at all, may never have begun:
/// then nothing is missing, nobody is to blame, and nothing was used. (A node that began it says so in either half.)
pub(crate) fn give_up(mut row: runs::Model) -> runs::Model {
    let never_begun = *row.outcome == Outcome::Cancelled && row.claimed.is_none() && row.ended.is_none();
    match row.observed {
        None => row.flag = Some(Flag::NoObservation.into()),
        Some(_) if never_begun => row.billed = Usage::default().into(),
        Some(_) => row.flag = Some(Flag::NoReceipt.into()),
    }
    (row.settled, row.ended, row.rivals) = (true, None, None);
    row
}

/// A node claims the try of a job, although it refused it, as the dispatcher has recorded: nothing is billed.
pub(crate) fn refused(row: runs::Model) -> runs::Model {
    let (billed, flag) = (Usage::default().into(), Some(Flag::Contradicted.into()));
    let outcome = Outcome::PlatformFailed.into();
    runs::Model { billed, flag, outcome, settled: true, ended: None, rivals: None, ..row }
}

/// What this run can have used at most, as far as is known.
fn bounds(row: &runs::Model) -> Bounds {
    let bounds = bounds_of(row.limits.map(|limits| limits.0));
    match row.observed {
        Some(seen) => bounds.seen(seen.wall_us, seen.bytes_in, seen.bytes_out),
        None => bounds,
    }
}

/// What is billed: the least that anybody says, within what is possible.
fn billed(row: &runs::Model, last_word: Option<&RunEnd>) -> Usage {
    // What reached no node used nothing, however long its caller waited.
    if *row.outcome == Outcome::PlatformFailed || row.node_id.is_none() {
        return Usage::default();
    }
    let usage = match (row.claimed, row.observed) {
        (Some(claimed), _) => last_word.map_or(claimed.0, |end| claimed.0.lesser(end.usage)),
        (None, Some(observed)) => observed.0,
        (None, None) => Usage::default(),
    };
    bounds(row).clamp(usage)
}

fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
