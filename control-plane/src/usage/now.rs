//! What an account has going on at this moment, and what there is to run it: from the jobs' rows, the last full minute's
//! sums, and what nodes said last.

use protocol::api::{JobsNow, LastMinute, NodesNow, UsageNow};
use protocol::{AccountId, ByteSize, Limits, Timestamp};
use sea_orm::EntityTrait as _;

use super::figures::Figures;
use super::period::{Period, Span};
use super::report::sums;
use super::selection::Selection;
use crate::db::Db;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::job_counts;
use crate::db::loops;
use crate::error::Result;

const MINUTE_MS: u64 = 60_000;
/// Jobs of an account on nodes that are looked at: more than all nodes have places for.
const JOBS_MAX: u64 = 20_000;

/// `GET /usage/now`, where live nodes lend so much: the account's own, and the operator's.
pub(crate) async fn now(db: &Db, account: AccountId, (own, operator): (NodesNow, NodesNow)) -> Result<UsageNow> {
    let at = Timestamp::now();
    Ok(UsageNow { at, jobs: jobs(db, account).await?, last_minute: last_minute(db, account, at).await?, own, operator })
}

async fn jobs(db: &Db, account: AccountId) -> Result<JobsNow> {
    let open = job_counts::Entity::find_by_id(Col(account)).one(db.read()).await?.map_or(0, |row| unsigned(row.open));
    let limits: Vec<Col<Limits>> = loops::jobs_on_nodes_of(account, JOBS_MAX).into_tuple().all(db.read()).await?;
    let running = u64::try_from(limits.len()).unwrap_or(u64::MAX);
    Ok(JobsNow {
        queued: open.saturating_sub(running),
        running,
        reserved_cpus: limits.iter().map(|limits| u64::from(limits.cpus)).sum(),
        reserved_memory: limits.iter().fold(ByteSize(0), |sum, limits| sum.saturating_add(limits.memory)),
    })
}

async fn last_minute(db: &Db, account: AccountId, now: Timestamp) -> Result<LastMinute> {
    let to = Span::Minute.floor(now);
    let period = Period { from: Timestamp(to.0 - i64::from(Span::Minute.seconds()) * 1_000), to };
    let figures = sums(db, &Selection::new(account, None), &[(Span::Minute, period)]).await?;
    Ok(average(&figures, period))
}

fn average(figures: &Figures, period: Period) -> LastMinute {
    let sums = figures.view();
    // As precise as charts are.
    let cpus = |us: u64| us as f64 / (MINUTE_MS * 1_000) as f64;
    let memory = |kib_ms: u64| ByteSize((kib_ms / MINUTE_MS).saturating_mul(1024));
    LastMinute {
        from: period.from,
        to: period.to,
        runs: sums.runs,
        cpus: cpus(sums.cpu_us),
        reserved_cpus: cpus(sums.reserved_cpu_us),
        memory: memory(sums.memory_kib_ms),
        reserved_memory: memory(sums.reserved_memory_kib_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_is_over_the_whole_minute() {
        let mut figures = Figures::default();
        let of = |name: &str| super::super::figures::NAMES.iter().position(|one| *one == name).unwrap();
        figures.sums[of("runs")] = 3;
        figures.sums[of("reserved_cpu_us")] = 90_000_000;
        figures.sums[of("cpu_us")] = 30_000_000;
        figures.sums[of("reserved_memory_kib_ms")] = 128 * 1024 * 30_000;
        let period = Period { from: Timestamp(0), to: Timestamp(60_000) };
        let average = average(&figures, period);
        assert_eq!((average.runs, average.cpus, average.reserved_cpus), (3, 0.5, 1.5));
        assert_eq!((average.memory, average.reserved_memory), (ByteSize(0), ByteSize::mib(64)));
    }
}
