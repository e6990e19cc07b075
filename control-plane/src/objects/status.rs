//! The store as its operator sees it.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::api::{StoreDisk, StoreDiskState, StoreLook, StoreStatus};
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
    let summary = summary(copies, &states, looks.last.as_ref());
    let disks = states.into_iter().map(|state| {
        let since = drained.get(&state.name).copied();
        let left = looks.left.get(&state.name).copied();
        let is_empty = since.is_some_and(|since| is_empty(care, &looks, &state.name, since));
        disk(state, since, left, is_empty)
    });
    let disks = disks.collect();
    Ok(StoreStatus {
        summary,
        copies: u32::try_from(copies).unwrap_or(u32::MAX),
        disks,
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

/// Whether a disk that is to be taken out, since then, had nothing any more that is needed, when nobody put anything there.
pub(super) fn is_empty(care: &Care, looks: &Looks, disk: &str, since: Timestamp) -> bool {
    let looked = looks.last.as_ref().map(|look| look.began);
    looks.left.get(disk) == Some(&0) && looked.is_some_and(|at| at >= since.plus(told_within(care)))
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

/// What fails at once: a domain's machine and device. What comes behind them tells apart who shares them. A bucket is its
/// whole URL, and a disk that is not there has its name.
fn device(domain: &str) -> &str {
    if domain.contains("://") || domain.starts_with("disk ") {
        return domain;
    }
    domain.match_indices('/').nth(1).map_or(domain, |(end, _)| &domain[..end])
}

/// What the copies amount to, by the last whole look at them.
fn summary(copies: usize, disks: &[DiskState], last: Option<&StoreLook>) -> String {
    let devices = |some: &dyn Fn(&DiskState) -> bool| {
        let devices = disks.iter().filter(|disk| some(disk)).map(|disk| device(&disk.domain));
        devices.collect::<BTreeSet<_>>().len()
    };
    let works = |disk: &DiskState| disk.failing.is_none() && !disk.draining;
    let (all, working) = (devices(&|_| true), devices(&works));
    // Of those that have failed since the last look, nobody has made up for what they have.
    let is_new = |disk: &DiskState| {
        let failing = disk.failing.as_ref();
        failing.is_some_and(|failing| last.is_none_or(|look| look.began < failing.since))
    };
    let sure = copies.saturating_sub(devices(&is_new)).min(working);
    let meaning = match (copies, working) {
        (_, 0) if disks.is_empty() => "no disk is known".to_owned(),
        (_, 0) => "none works".to_owned(),
        (1, _) => match disks {
            [disk] if disk.replicas > 1 => {
                let servers = words::count((disk.replicas - 1) / 2, "server");
                format!("{} keeps {}: {servers} may be lost", disk.name, words::count(disk.replicas, "replica"))
            }
            _ => "what a disk loses is lost".to_owned(),
        },
        (_, 1) if all == 1 => "what the disk loses is lost".to_owned(),
        _ if sure < 2 => "no further disk may be lost".to_owned(),
        _ if sure < copies => format!("only {} may be lost", words::count(sure - 1, "disk")),
        _ => format!("{} may be lost", words::count(sure - 1, "disk")),
    };
    let mut said = format!("{}, {}: {meaning}", words::count(copies, "copy"), words::count(all, "disk"));
    let taking = disks.iter().filter(|disk| works(disk) && !disk.full).map(|disk| &disk.domain);
    if working > 0 && taking.collect::<BTreeSet<_>>().len() < copies {
        said.push_str("; too few take more");
    }
    match disks.iter().filter(|disk| disk.failing.is_some()).count() {
        0 => {}
        1 => said.push_str("; 1 fails now"),
        failing => said.push_str(&format!("; {failing} fail now")),
    }
    if let Some(look) = last {
        for (blobs, what) in [(look.fewer.saturating_sub(look.lost), "with fewer copies"), (look.lost, "lost")] {
            if blobs > 0 {
                said.push_str(&format!("; {} {what}", words::count(blobs, "blob")));
            }
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use store::Failing;

    use super::*;

    fn on(domain: &str) -> DiskState {
        let name = format!("disk /{domain}");
        let domain = domain.to_owned();
        DiskState { name, domain, space: None, failing: None, full: false, draining: false, replicas: 1 }
    }

    fn failing(domain: &str) -> DiskState {
        DiskState { failing: Some(Failing { since: Timestamp(5), why: "gone".to_owned() }), ..on(domain) }
    }

    fn look(began: i64, fewer: u64, lost: u64) -> StoreLook {
        StoreLook {
            began: Timestamp(began),
            ended: Some(Timestamp(began)),
            blobs: 20,
            of: 20,
            found: fewer,
            fewer,
            lost,
            copied: 0,
            copied_bytes: ByteSize(0),
            removed: 0,
        }
    }

    #[test]
    fn copies_are_told_as_what_they_are() {
        let of = |domains: &[&str]| domains.iter().map(|one| on(one)).collect::<Vec<_>>();
        let told = |copies, domains: &[&str]| summary(copies, &of(domains), None);
        assert_eq!(told(1, &["m/1"]), "1 copy, 1 disk: what a disk loses is lost");
        assert_eq!(told(1, &["m/1", "m/2"]), "1 copy, 2 disks: what a disk loses is lost");
        assert_eq!(told(2, &["m/1", "m/2", "n/1"]), "2 copies, 3 disks: 1 disk may be lost");
        assert_eq!(told(3, &["m/1", "m/2", "n/1"]), "3 copies, 3 disks: 2 disks may be lost");
        // Nodes of one machine, each with a folder of its own.
        assert_eq!(told(2, &["m/1/a", "m/1/b"]), "2 copies, 1 disk: what the disk loses is lost");
        assert_eq!(told(3, &["m/1/a", "m/1/b", "m/2"]), "3 copies, 2 disks: only 1 disk may be lost");
        assert_eq!(told(2, &["https://h/one", "https://h/two"]), "2 copies, 2 disks: 1 disk may be lost");
        assert_eq!(told(2, &["disk /mnt/a", "disk /mnt/b"]), "2 copies, 2 disks: 1 disk may be lost");
        for copies in [1, 2, 3] {
            assert!(told(copies, &[]).ends_with(", 0 disks: no disk is known"));
        }
        let stream = DiskState { name: "jetstream cc-blobs".to_owned(), replicas: 3, ..on("jetstream/cc-blobs") };
        let expected = "1 copy, 1 disk: jetstream cc-blobs keeps 3 replicas: 1 server may be lost";
        assert_eq!(summary(1, &[stream], None), expected);
    }

    #[test]
    fn what_does_not_work_is_not_counted_on() {
        let two = [on("m/1"), failing("m/2")];
        let few = "2 copies, 2 disks: no further disk may be lost; too few take more; 1 fails now";
        assert_eq!(summary(2, &two, Some(&look(9, 0, 0))), few);
        assert_eq!(summary(2, &two, Some(&look(9, 7, 3))), format!("{few}; 4 blobs with fewer copies; 3 blobs lost"));
        // Of three, copies are made anew; then the next one may fail.
        let three = [on("m/1"), failing("m/2"), on("m/3")];
        for before in [None, Some(look(4, 0, 0))] {
            let told = summary(2, &three, before.as_ref());
            assert_eq!(told, "2 copies, 3 disks: no further disk may be lost; 1 fails now");
        }
        let after = summary(2, &three, Some(&look(9, 0, 0)));
        assert_eq!(after, "2 copies, 3 disks: 1 disk may be lost; 1 fails now");
        let full = [on("m/1"), DiskState { full: true, ..on("m/2") }];
        assert_eq!(summary(2, &full, None), "2 copies, 2 disks: 1 disk may be lost; too few take more");
        let leaving = [on("m/1"), DiskState { draining: true, ..on("m/2") }, on("m/3")];
        assert_eq!(summary(2, &leaving, None), "2 copies, 3 disks: 1 disk may be lost");
        assert_eq!(summary(2, &[failing("m/1")], None), "2 copies, 1 disk: none works; 1 fails now");
    }

    #[test]
    fn a_disk_is_in_one_state() {
        let (full, gone) = (DiskState { full: true, ..on("m/1") }, failing("m/2"));
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
