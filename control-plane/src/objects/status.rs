//! The store as its operator sees it.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::api::{StoreDisk, StoreDiskState, StoreStatus};
use protocol::words;
use protocol::{ByteSize, Timestamp};
use sea_orm::{ConnectionTrait, DbErr, Statement};
use store::DiskState;

use super::repair::Looks;
use super::scrub::Scrubbed;
use super::{Care, drains, notes, repair, scrub};
use crate::db::columns::unsigned;
use crate::error::Result;
use crate::identity::caller::Caller;

/// How much there is in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    /// Blobs that are not doomed.
    pub(super) blobs: u64,
    bytes: ByteSize,
    doomed: u64,
    doomed_bytes: ByteSize,
}

/// Counts what is in the index.
pub(super) async fn count<C: ConnectionTrait>(connection: &C) -> Result<Count, DbErr> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM(size), 0) AS BIGINT), CAST(COUNT(doomed) AS BIGINT), \
               CAST(COALESCE(SUM(CASE WHEN doomed IS NULL THEN 0 ELSE size END), 0) AS BIGINT) FROM blobs";
    let row = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), sql)).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("a count".to_owned()))?;
    let number = |index: usize| row.try_get_by_index::<i64>(index).map(unsigned);
    let (all, bytes, doomed, doomed_bytes) = (number(0)?, number(1)?, number(2)?, number(3)?);
    Ok(Count {
        blobs: all.saturating_sub(doomed),
        bytes: ByteSize(bytes.saturating_sub(doomed_bytes)),
        doomed,
        doomed_bytes: ByteSize(doomed_bytes),
    })
}

/// `GET /operator/store`
pub(crate) async fn show(care: &Care, caller: &Caller) -> Result<StoreStatus> {
    drains::require_operator(caller)?;
    let db = care.db.read();
    let count = count(db).await?;
    let looks = notes::read::<Looks>(&care.db, repair::NOTE).await?.unwrap_or_default();
    let scrub = notes::read::<Scrubbed>(&care.db, scrub::NOTE).await?.map(|scrubbed| scrubbed.scrub);
    let drained = drains::apply(care, db).await?;
    let states = care.store.disks().await;
    let copies = care.store.copies_wanted();
    let summary = summary(copies, &states);
    let told_within = told_within(care);
    let disks = states.into_iter().map(|state| {
        let since = drained.get(&state.name).copied();
        let left = looks.left.get(&state.name).copied();
        let looked = looks.last.as_ref().map(|look| look.began);
        let is_empty = |since: Timestamp| left == Some(0) && looked.is_some_and(|at| at >= since.plus(told_within));
        disk(state, since, left, since.is_some_and(is_empty))
    });
    Ok(StoreStatus {
        summary,
        copies: u32::try_from(copies).unwrap_or(u32::MAX),
        disks: disks.collect(),
        blobs: count.blobs,
        bytes: count.bytes,
        doomed: count.doomed,
        doomed_bytes: count.doomed_bytes,
        last_look: looks.last,
        look: looks.now,
        scrub,
    })
}

/// So long after a disk is to be taken out nobody who may commit something puts anything there any more.
pub(super) fn told_within(care: &Care) -> Duration {
    2 * care.epoch_lease
}

fn disk(disk: DiskState, drained: Option<Timestamp>, left: Option<u64>, is_empty: bool) -> StoreDisk {
    let (state, since) = match (drained, &disk.failing) {
        (Some(since), _) if is_empty => (StoreDiskState::Drained, Some(since)),
        (_, Some(failing)) => (StoreDiskState::Failing, Some(failing.since)),
        (Some(since), None) => (StoreDiskState::Draining, Some(since)),
        (None, None) if disk.full => (StoreDiskState::Full, None),
        (None, None) => (StoreDiskState::Serving, None),
    };
    StoreDisk {
        name: disk.name,
        domain: disk.domain,
        state,
        since,
        why: disk.failing.map(|failing| failing.why),
        free: disk.space.map(|space| ByteSize(space.free)),
        total: disk.space.map(|space| ByteSize(space.total)),
        left: drained.and(left),
    }
}

/// What fails at once: a domain's machine and device. What comes behind them tells apart who shares them.
fn device(domain: &str) -> &str {
    domain.match_indices('/').nth(1).map_or(domain, |(end, _)| &domain[..end])
}

/// What the copies amount to.
fn summary(copies: usize, disks: &[DiskState]) -> String {
    let devices: BTreeSet<&str> = disks.iter().map(|disk| device(&disk.domain)).collect();
    let failing = disks.iter().filter(|disk| disk.failing.is_some()).count();
    let amount = format!("{}, {}", words::count(copies, "copy"), words::count(devices.len(), "disk"));
    let meaning = match (copies, devices.len()) {
        (1, _) => "what a disk loses is lost".to_owned(),
        (_, 1) => "what the disk loses is lost".to_owned(),
        (copies, devices) if devices < copies => format!("only {} may be lost", words::count(devices - 1, "disk")),
        (copies, _) => format!("{} may be lost", words::count(copies - 1, "disk")),
    };
    match failing {
        0 => format!("{amount}: {meaning}"),
        1 => format!("{amount}: {meaning}; 1 fails now"),
        failing => format!("{amount}: {meaning}; {failing} fail now"),
    }
}

#[cfg(test)]
mod tests {
    use store::Failing;

    use super::*;

    fn on(domain: &str) -> DiskState {
        let name = format!("disk /{domain}");
        DiskState { name, domain: domain.to_owned(), space: None, failing: None, full: false, draining: false }
    }

    #[test]
    fn copies_are_told_as_what_they_are() {
        let told = |copies, domains: &[&str]| summary(copies, &domains.iter().map(|one| on(one)).collect::<Vec<_>>());
        assert_eq!(told(1, &["m/1"]), "1 copy, 1 disk: what a disk loses is lost");
        assert_eq!(told(1, &["m/1", "m/2"]), "1 copy, 2 disks: what a disk loses is lost");
        assert_eq!(told(2, &["m/1", "m/2", "n/1"]), "2 copies, 3 disks: 1 disk may be lost");
        assert_eq!(told(3, &["m/1", "m/2", "n/1"]), "3 copies, 3 disks: 2 disks may be lost");
        // Nodes of one machine, each with a folder of its own.
        assert_eq!(told(2, &["m/1/a", "m/1/b"]), "2 copies, 1 disk: what the disk loses is lost");
        assert_eq!(told(3, &["m/1/a", "m/1/b", "m/2"]), "3 copies, 2 disks: only 1 disk may be lost");
        let mut disks = vec![on("m/1"), on("m/2")];
        disks[1].failing = Some(Failing { since: Timestamp(5), why: "gone".to_owned() });
        assert_eq!(summary(2, &disks), "2 copies, 2 disks: 1 disk may be lost; 1 fails now");
    }

    #[test]
    fn a_disk_is_in_one_state() {
        let (full, mut gone) = (DiskState { full: true, ..on("m/1") }, on("m/2"));
        gone.failing = Some(Failing { since: Timestamp(5), why: "gone".to_owned() });
        let told = |state: &DiskState, drained: Option<i64>, is_empty| {
            let told = disk(state.clone(), drained.map(Timestamp), Some(3), is_empty);
            (told.state, told.since.map(|at| at.0), told.left)
        };
        assert_eq!(told(&on("m/1"), None, false), (StoreDiskState::Serving, None, None));
        assert_eq!(told(&full, None, false), (StoreDiskState::Full, None, None));
        assert_eq!(told(&full, Some(2), false), (StoreDiskState::Draining, Some(2), Some(3)));
        assert_eq!(told(&gone, Some(2), false), (StoreDiskState::Failing, Some(5), Some(3)));
        assert_eq!(told(&on("m/1"), Some(2), true), (StoreDiskState::Drained, Some(2), Some(3)));
    }
}
