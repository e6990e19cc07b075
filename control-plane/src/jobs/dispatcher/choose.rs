//! Which of the jobs that wait go where: in the order of the queue, by the scheduler's filter and policy.

use std::collections::HashMap;

use protocol::route::VersionRoute;
use protocol::{AccountId, FunctionId, Name, Timestamp, VersionId};
use scheduler::RunRequest;
use sea_orm::EntityTrait as _;

use super::{Chosen, DispatchError, PLACED_AT_ONCE, REMEMBERED_MAX, Session};
use crate::db::columns::Col;
use crate::db::entities::{accounts, functions, jobs, versions};
use crate::error::Error;
use crate::functions::route::version_route;
use crate::jobs::queue::{self, Line, Room, fairest};

impl Session<'_> {
    /// Which jobs go where, and which can never go anywhere.
    pub(super) async fn choose(
        &mut self,
        accounts: Vec<AccountId>,
        now: Timestamp,
    ) -> Result<(Vec<Chosen>, Vec<jobs::Model>), DispatchError> {
        let (mut chosen, mut dead) = (Vec::new(), Vec::new());
        let (mut full, mut lines) = (Vec::<VersionId>::new(), Vec::with_capacity(accounts.len()));
        for account in accounts {
            lines.push(Line { account, waiting: queue::next_of(self.app, account, now, &full).await? });
        }
        let mut names: HashMap<FunctionId, Option<Name>> = HashMap::new();
        let (slots, config) = (self.slots, &self.app.config);
        let room = Room { slots, share: config.tenant_share, account_max: config.jobs_running_max };
        while chosen.len() + dead.len() < PLACED_AT_ONCE
            && let Some(line) = fairest(&lines, &self.on_nodes, room)
        {
            let Some(row) = lines[line].waiting.pop_front() else { break };
            if full.contains(&row.version_id.0) {
                continue;
            }
            let (account, function) = (row.account_id.0, row.function_id.0);
            if let std::collections::hash_map::Entry::Vacant(unknown) = names.entry(function) {
                let row = functions::Entity::find_by_id(Col(function)).one(self.app.db.read()).await?;
                unknown.insert(row.filter(|row| row.deleted.is_none()).map(|row| row.name.0));
            }
            let (version, name) = (self.version(row.version_id.0).await?, names.get(&function));
            let (Some(mut version), Some(Some(name))) = (version, name) else {
                dead.push(row);
                continue;
            };
            version.limits = row.limits.0;
            if self.on_nodes.of_function(function) >= version.limits.concurrency {
                full.push(row.version_id.0);
                continue;
            }
            let waited = now.since(row.due.0);
            let wanted = RunRequest { input: row.input_size.0, waited, ..RunRequest::of(&version, account) };
            let mut placement = self.app.jobs.rank(wanted);
            let Some(to) = placement.ranked.first().copied() else {
                full.push(row.version_id.0);
                // Others may fit where these do not.
                if lines[line].waiting.iter().all(|row| full.contains(&row.version_id.0)) {
                    let account = lines[line].account;
                    lines[line].waiting = queue::next_of(self.app, account, now, &full).await?;
                }
                continue;
            };
            placement.refused.truncate(64);
            let host = format!("{name}--{}.{}", self.account(account).await?, self.app.config.functions_domain);
            let reserved = self.app.placing.reserve(to.node, to.lane, &version.limits);
            self.on_nodes.add(account, function);
            chosen.push(Chosen { row, version, host, to, reserved, placement });
            if self.resting.contains_key(&account) {
                lines[line].waiting.clear();
            }
        }
        Ok((chosen, dead))
    }

    async fn version(&mut self, id: VersionId) -> Result<Option<VersionRoute>, DispatchError> {
        if self.versions.len() >= REMEMBERED_MAX {
            self.versions.clear();
        }
        if let Some(known) = self.versions.get(&id) {
            return Ok(known.clone());
        }
        let row = versions::Entity::find_by_id(Col(id)).one(self.app.db.read()).await?;
        let version = row.and_then(version_route);
        self.versions.insert(id, version.clone());
        Ok(version)
    }

    async fn account(&mut self, id: AccountId) -> Result<Name, DispatchError> {
        if self.accounts.len() >= REMEMBERED_MAX {
            self.accounts.clear();
        }
        if let Some(name) = self.accounts.get(&id) {
            return Ok(name.clone());
        }
        let row = accounts::Entity::find_by_id(Col(id)).one(self.app.db.read()).await?;
        let row = row.ok_or_else(|| Error::Internal("a job without its account".to_owned()))?;
        self.accounts.insert(id, row.name.0.clone());
        Ok(row.name.0)
    }
}
