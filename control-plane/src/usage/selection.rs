//! Of which runs usage is told: of all of an account, or of those of one function, one version, one member and so on.

use protocol::{AccountId, Code, FunctionId, Lane, RunPrincipal, RunSource};
use sea_orm::Value;

use super::report::UsageQuery;
use crate::db::Db;
use crate::db::columns::Col;
use crate::error::{Result, refuse_field};
use crate::identity::{keys, members};

/// Runs whose sums have all of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    account: AccountId,
    function: Option<FunctionId>,
    version: Option<i32>,
    lane: Option<Lane>,
    source: Option<RunSource>,
    /// On behalf of one of these.
    principals: Option<Vec<RunPrincipal>>,
}

impl Selection {
    /// All of an account, or of one of its functions.
    pub(super) const fn new(account: AccountId, function: Option<FunctionId>) -> Self {
        Self { account, function, version: None, lane: None, source: None, principals: None }
    }

    /// What a query asks for of that.
    pub(super) async fn narrowed(self, db: &Db, query: &UsageQuery) -> Result<Self> {
        let account = self.account;
        let principals = match (&query.principal, &query.member) {
            (None, None) => None,
            (Some(principal), None) => Some(principals(db, account, principal).await?),
            (None, Some(member)) => Some(of_member(db, account, member).await?),
            (Some(principal), Some(member)) => {
                let of_member = of_member(db, account, member).await?;
                let named = principals(db, account, principal).await?;
                Some(named.into_iter().filter(|one| of_member.contains(one)).collect())
            }
        };
        Ok(Self {
            // No version has a number beyond it, and nothing is found.
            version: query.version.map(|number| i32::try_from(number).unwrap_or(i32::MAX)),
            lane: query.lane,
            source: query.source,
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
        equal("source", self.source.map(|source| Col(source).into()));
        if let Some(principals) = &self.principals {
            let each: Vec<String> = principals.iter().map(|one| bind(Col(one.clone()).into())).collect();
            // An empty list is wrong on one of the databases.
            all.push(if each.is_empty() { "1 = 0".to_owned() } else { format!("principal IN ({})", each.join(", ")) });
        }
        all.join(" AND ")
    }
}

/// Those who are called so: an id is one, a key's name may be several, and a member's address is the user.
async fn principals(db: &Db, account: AccountId, text: &str) -> Result<Vec<RunPrincipal>> {
    if let Ok(principal) = text.parse() {
        return Ok(vec![principal]);
    }
    let mut found: Vec<RunPrincipal> =
        keys::called(db, account, text).await?.into_iter().map(RunPrincipal::Key).collect();
    found.extend(members::called(db, account, text).await?.map(RunPrincipal::User));
    if found.is_empty() {
        let detail = "`principal` is `public`, an id (`key_...`, `user_...`), `trigger:NAME`, the name of one of the \
                      account's keys, or a member's address.";
        return Err(refuse_field(Code::InvalidRequest, "principal", detail));
    }
    Ok(found)
}

/// A member, by id or address, and the keys that are theirs.
async fn of_member(db: &Db, account: AccountId, text: &str) -> Result<Vec<RunPrincipal>> {
    let user = match text.parse() {
        Ok(user) => Some(user),
        Err(_) => members::called(db, account, text).await?,
    };
    let detail = "`member` is a user's id (`user_...`), or the address of a member of the account.";
    let user = user.ok_or_else(|| refuse_field(Code::InvalidRequest, "member", detail))?;
    let mut principals = vec![RunPrincipal::User(user)];
    principals.extend(keys::of_user(db, account, user).await?.into_iter().map(RunPrincipal::Key));
    Ok(principals)
}
