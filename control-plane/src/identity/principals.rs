//! On whose behalf runs were made, as people name them.

use protocol::{AccountId, Code, RunPrincipal};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::normal;
use crate::db::Db;
use crate::db::columns::Col;
use crate::db::entities::{api_keys, members, users};
use crate::error::{Result, refuse_field};

/// Whom this text means in the account: as runs name them, or by the name of a key or the address of a member, which is how
/// usage shows them. Several keys may have one name. Of people who are no members nothing is told.
pub(crate) async fn named(db: &Db, account: AccountId, text: &str) -> Result<Vec<RunPrincipal>> {
    if let Ok(principal) = text.parse() {
        return Ok(vec![principal]);
    }
    let keys = api_keys::Entity::find()
        .filter(api_keys::Column::AccountId.eq(Col(account)))
        .filter(api_keys::Column::Name.eq(text))
        .all(db.read())
        .await?;
    let mut named: Vec<RunPrincipal> = keys.into_iter().map(|key| RunPrincipal::Key(key.id.0)).collect();
    let of_address = users::Column::Email.is_in(normal::kept_addresses(text.trim()));
    for user in users::Entity::find().filter(of_address).all(db.read()).await? {
        let member = members::Entity::find_by_id((Col(account), user.id)).one(db.read()).await?;
        named.extend(member.map(|member| RunPrincipal::User(member.user_id.0)));
    }
    if named.is_empty() {
        let detail = "`principal` is neither the name of a key, nor a member's e-mail address, nor such as `public`, \
                      `key_...`, `user_...` or `trigger:NAME`.";
        return Err(refuse_field(Code::InvalidRequest, "principal", detail));
    }
    Ok(named)
}
