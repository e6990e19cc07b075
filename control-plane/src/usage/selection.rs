//! Of which runs usage is told: of all of an account, or of those of one function, one version, one member and so on.

use protocol::{AccountId, FunctionId, Lane, RunPrincipal, RunSource};
use sea_orm::Value;

use super::report::UsageQuery;
use crate::db::Db;
use crate::db::columns::Col;
use crate::error::Result;
use crate::identity::principals;

/// Runs whose sums have all of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    account: AccountId,
    function: Option<FunctionId>,
    version: Option<i32>,
    lane: Option<Lane>,
    /// Made in one of these ways.
    sources: Option<Vec<RunSource>>,
    /// On behalf of one of these.
    principals: Option<Vec<RunPrincipal>>,
}

impl Selection {
    /// All of an account, or of one of its functions.
    pub(super) const fn new(account: AccountId, function: Option<FunctionId>) -> Self {
        Self { account, function, version: None, lane: None, sources: None, principals: None }
    }

    /// What a query asks for of that.
    pub(super) async fn narrowed(self, db: &Db, query: &UsageQuery) -> Result<Self> {
        let (principal, member) = (query.principal.as_deref(), query.member.as_deref());
        let principals = principals::asked(db, self.account, principal, member).await?;
        Ok(Self {
            // No version has a number beyond it, and nothing is found.
            version: query.version.map(|number| i32::try_from(number).unwrap_or(i32::MAX)),
            lane: query.lane,
            sources: query.source.clone(),
            principals,
            ..self
        })
    }

    /// As a condition on the table of sums.
    pub(super) fn condition(&self, bind: &mut impl FnMut(Value) -> String) -> String {
        let mut all = vec![format!("account_id = {}", bind(Col(self.account).into()))];
        let mut equal = |column: &str, value: Option<Value>| {
            all.extend(value.map(|value| format!("{column} = {}", bind(value))));
        };
        equal("function_id", self.function.map(|id| Col(id).into()));
        equal("version_number", self.version.map(Value::from));
        equal("lane", self.lane.map(|lane| Col(lane).into()));
        let mut one_of = |column: &str, values: Vec<Value>| {
            let each: Vec<String> = values.into_iter().map(&mut *bind).collect();
            // An empty list is wrong on one of the databases.
            all.push(if each.is_empty() { "1 = 0".to_owned() } else { format!("{column} IN ({})", each.join(", ")) });
        };
        if let Some(sources) = &self.sources {
            one_of("source", sources.iter().map(|source| Col(*source).into()).collect());
        }
        if let Some(principals) = &self.principals {
            one_of("principal", principals.iter().map(|one| Col(one.clone()).into()).collect());
        }
        all.join(" AND ")
    }
}
