//! On whose behalf runs were made, as people name them: the list of runs and the reports of usage ask by the same names.

use protocol::{AccountId, Code, RunPrincipal};

use super::{keys, members};
use crate::db::Db;
use crate::error::{Result, refuse_field};

/// Whom `principal` and `member` mean together; none where neither is asked for. Who is meant by both counts alone, which
/// may be nobody.
pub(crate) async fn asked(
    db: &Db,
    account: AccountId,
    principal: Option<&str>,
    member: Option<&str>,
) -> Result<Option<Vec<RunPrincipal>>> {
    let named = match principal {
        Some(text) => Some(named(db, account, text).await?),
        None => None,
    };
    let of_member = match member {
        Some(text) => Some(of_member(db, account, text).await?),
        None => None,
    };
    Ok(match (named, of_member) {
        (Some(named), Some(of_member)) => Some(named.into_iter().filter(|one| of_member.contains(one)).collect()),
        (one, None) | (None, one) => one,
    })
}

/// Whom this text means in the account: as runs name them, or by the name of a key or the address of a member, which is how
/// usage shows them. Several keys may have one name. Of people who are no members nothing is told.
async fn named(db: &Db, account: AccountId, text: &str) -> Result<Vec<RunPrincipal>> {
    if let Ok(principal) = text.parse() {
        return Ok(vec![principal]);
    }
    let keys = keys::called(db, account, text).await?.into_iter().map(RunPrincipal::Key);
    let users = members::called(db, account, text).await?.into_iter().map(RunPrincipal::User);
    let named: Vec<RunPrincipal> = keys.chain(users).collect();
    if named.is_empty() {
        let detail = "`principal` is neither the name of a key, nor a member's e-mail address, nor such as `public`, \
                      `key_...`, `user_...` or `trigger:NAME`.";
        return Err(refuse_field(Code::InvalidRequest, "principal", detail));
    }
    Ok(named)
}

/// A member, by id or address, and the keys that are or were theirs.
async fn of_member(db: &Db, account: AccountId, text: &str) -> Result<Vec<RunPrincipal>> {
    let users = match text.parse() {
        Ok(user) => vec![user],
        Err(_) => members::called(db, account, text).await?,
    };
    if users.is_empty() {
        let detail = "`member` is a user's id (`user_...`), or the address of a member of the account.";
        return Err(refuse_field(Code::InvalidRequest, "member", detail));
    }
    let mut principals = Vec::new();
    for user in users {
        principals.push(RunPrincipal::User(user));
        principals.extend(keys::of_user(db, account, user).await?.into_iter().map(RunPrincipal::Key));
    }
    Ok(principals)
}
