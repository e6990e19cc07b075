//! Which of the jobs that wait goes next: the account with the fewest on nodes, and of its jobs the first by place.

use std::collections::{HashMap, VecDeque};

use fabric::shares::TenantShare;
use protocol::{AccountId, FunctionId, Timestamp, VersionId};
use sea_orm::{ConnectionTrait as _, QueryResult};

use crate::App;
use crate::db::columns::Col;
use crate::db::entities::jobs;
use crate::db::loops;
use crate::error::Result;

/// Jobs of an account that are looked at in one round.
const LOOKED_AT_MAX: u64 = 16;

/// What is on nodes.
#[derive(Debug, Default)]
pub(super) struct OnNodes {
    accounts: HashMap<AccountId, u32>,
    functions: HashMap<FunctionId, u32>,
    total: u32,
}

/// The slots that all nodes have for jobs, and what one account may have of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) slots: u64,
    pub(super) share: TenantShare,
    /// No account has more, however many slots there are.
    pub(super) account_max: u32,
}

impl OnNodes {
    pub(super) fn add(&mut self, account: AccountId, function: FunctionId) {
        *self.accounts.entry(account).or_default() += 1;
        *self.functions.entry(function).or_default() += 1;
        self.total += 1;
    }

    pub(super) fn remove(&mut self, account: AccountId, function: FunctionId) {
        take_one(&mut self.accounts, account);
        take_one(&mut self.functions, function);
        self.total = self.total.saturating_sub(1);
    }

    /// Whether one more of the account leaves enough for others.
    fn leaves_room(&self, account: AccountId, room: Room) -> bool {
        let own = self.of_account(account);
        let others = self.total.saturating_sub(own);
        own < room.account_max && room.share.allows(room.slots, others.into(), own.into(), 1)
    }

    pub(super) fn of_account(&self, account: AccountId) -> u32 {
        self.accounts.get(&account).copied().unwrap_or(0)
    }

    pub(super) fn of_function(&self, function: FunctionId) -> u32 {
        self.functions.get(&function).copied().unwrap_or(0)
    }
}

fn take_one<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: K) {
    if let std::collections::hash_map::Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// An account's next jobs.
#[derive(Debug)]
pub(super) struct Line<T> {
    pub(super) account: AccountId,
    pub(super) waiting: VecDeque<T>,
}

/// The line whose account has the fewest on nodes, and room for one more: where it has none, no other has.
pub(super) fn fairest<T>(lines: &[Line<T>], on_nodes: &OnNodes, room: Room) -> Option<usize> {
    let candidates = lines.iter().enumerate().filter(|(_, line)| !line.waiting.is_empty());
    let (place, line) = candidates.min_by_key(|(_, line)| on_nodes.of_account(line.account))?;
    on_nodes.leaves_room(line.account, room).then_some(place)
}

/// Accounts with jobs that could go now, those with the fewest on nodes first.
pub(super) async fn accounts(app: &App, now: Timestamp, on_nodes: &OnNodes, most: usize) -> Result<Vec<AccountId>> {
    let db = app.db.read();
    let rows = db.query_all_raw(loops::job_accounts(now).statement(db.get_database_backend())).await?;
    let read = |row: QueryResult| Ok(row.try_get_by_index::<Col<AccountId>>(0)?.0);
    let mut accounts: Vec<AccountId> = rows.into_iter().map(read).collect::<Result<_>>()?;
    accounts.sort_by_key(|account| on_nodes.of_account(*account));
    accounts.truncate(most);
    Ok(accounts)
}

/// The next jobs of an account, without those of versions that no node can take now.
pub(super) async fn next_of(
    app: &App,
    account: AccountId,
    now: Timestamp,
    without: &[VersionId],
) -> Result<VecDeque<jobs::Model>> {
    Ok(loops::jobs_next(account, now, without, LOOKED_AT_MAX).all(app.db.read()).await?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(slots: u64, account_max: u32) -> Room {
        Room { slots, share: TenantShare::DEFAULT, account_max }
    }

    #[test]
    fn a06_long_jobs_of_one_leave_slots_for_those_of_others() {
        let (ada, bob) = (AccountId::new(), AccountId::new());
        let (function, mut on_nodes) = (FunctionId::new(), OnNodes::default());
        let mut lines = [Line { account: ada, waiting: (0..1000).collect::<VecDeque<u32>>() }];
        while fairest(&lines, &on_nodes, room(96, 500)).is_some() {
            lines[0].waiting.pop_front();
            on_nodes.add(ada, function);
        }
        assert_eq!(on_nodes.of_account(ada), 72);
        let late = [Line { account: ada, waiting: [1].into() }, Line { account: bob, waiting: [1].into() }];
        assert_eq!(fairest(&late, &on_nodes, room(96, 500)), Some(1));
    }

    #[test]
    fn ten_thousand_of_one_do_not_starve_another_s_one() {
        let (ada, bob) = (AccountId::new(), AccountId::new());
        let (function, mut on_nodes) = (FunctionId::new(), OnNodes::default());
        let line = |account, jobs: usize| Line { account, waiting: (0..jobs).collect() };
        let mut lines = [line(ada, 10_000), line(bob, 1)];
        let mut order = Vec::new();
        for _ in 0..4 {
            let next = fairest(&lines, &on_nodes, room(1000, 100)).unwrap();
            lines[next].waiting.pop_front();
            on_nodes.add(lines[next].account, function);
            order.push(lines[next].account);
        }
        assert!(order[..2].contains(&bob), "one of the first two is bob's");
        assert_eq!(order.iter().filter(|account| **account == ada).count(), 3);
    }

    #[test]
    fn accounts_have_a_bound() {
        let (ada, function, mut on_nodes) = (AccountId::new(), FunctionId::new(), OnNodes::default());
        let lines = [Line { account: ada, waiting: VecDeque::from([1, 2]) }];
        on_nodes.add(ada, function);
        assert_eq!(fairest(&lines, &on_nodes, room(1000, 1)), None);
        on_nodes.remove(ada, function);
        assert_eq!(fairest(&lines, &on_nodes, room(1000, 1)), Some(0));
        assert_eq!(on_nodes.of_function(function), 0);
    }
}
