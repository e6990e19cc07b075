//! A settled row as a line of a block. Pure.

use books::Run;
use protocol::Timestamp;

use crate::db::columns::unsigned;
use crate::db::entities::runs;

/// The last millisecond that RFC 3339 can say.
const LAST_MS: i64 = 253_402_300_799_999;

/// What a row says of its run.
pub(in crate::settlement) fn run_of(row: &runs::Model) -> Run {
    Run {
        run: row.run_id.0,
        account: row.account_id.0,
        function: row.function_id.0,
        version: row.version_id.0,
        version_number: u32::try_from(row.version_number).unwrap_or(0),
        node: row.node_id.map(|node| node.0),
        lane: row.lane.0,
        outcome: row.outcome.0,
        status: u16::try_from(row.status).unwrap_or(0),
        code: row.code.map(|code| code.0),
        method: row.method.clone(),
        path: row.path.clone(),
        // A clock that is mad must not keep the account's other runs from being packed.
        received: Timestamp(row.received.0.0.clamp(0, LAST_MS)),
        wall_us: unsigned(row.wall_us),
        limits: row.limits.map(|limits| limits.0),
        claimed: row.claimed.map(|usage| usage.0),
        observed: row.observed.map(|usage| usage.0),
        billed: row.billed.0,
        flag: row.flag.map(|flag| flag.0),
        warm: row.warm,
        cached: row.cached,
        placement: row.placement.as_ref().map(|placement| placement.0.clone()),
        job: row.job_id.map(|job| job.0),
        source: row.source.map(|source| source.0),
        principal: row.principal.as_ref().map(|principal| principal.0.clone()),
    }
}
