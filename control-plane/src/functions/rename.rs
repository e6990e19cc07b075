//! Renaming: what is a function's goes by its id and stays its own; triggers name it, and follow. The name that it had
//! is free at once. It answers 404, and tells those who may see the function what it is called now, until another has it.

use protocol::{AccountId, Code, FunctionId, Name, Problem};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::functions::check_unused;
use super::route;
use crate::db::columns::Col;
use crate::db::entities::functions;
use crate::db::{Db, Mutation};
use crate::error::{Error, Result, refuse};
use crate::triggers;

/// Gives the function of this row another name.
pub(super) async fn rename(mutation: &mut Mutation, row: &functions::Model, to: &Name) -> Result<()> {
    let (account, former) = (row.account_id.0, row.name.0.clone());
    check_unused(mutation, account, to).await?;
    functions::Entity::update_many()
        .set(functions::ActiveModel { former: Set(None), ..Default::default() })
        .filter(functions::Column::AccountId.eq(row.account_id))
        .filter(functions::Column::Former.eq(row.name.clone()))
        .exec(mutation.tx())
        .await?;
    let renamed = functions::ActiveModel {
        name: Set(to.clone().into()),
        former: Set(Some(row.name.clone())),
        ..Default::default()
    };
    functions::Entity::update_many().set(renamed).filter(functions::Column::Id.eq(row.id)).exec(mutation.tx()).await?;
    triggers::follow_rename(mutation, account, &former, to).await?;
    // The new name first: there is no moment at which neither leads to it.
    route::changed(mutation, row.id.0).await?;
    let now = super::functions::locked(mutation, row.id.0).await?;
    let left = route::at_former_name(mutation.tx(), now, former).await?;
    route::tell(mutation, &left)
}

/// That the account has no function of this name. Who may see the one that had it is told what it is called now; `only` is
/// the one function that the caller may see, where there is such a bound.
pub(crate) async fn missing(db: &Db, account: AccountId, name: &str, only: Option<FunctionId>) -> Error {
    let shown = name.escape_debug();
    let renamed = match formerly(db, account, name).await {
        Ok(renamed) => renamed.filter(|row| only.is_none_or(|only| only == row.id.0)),
        Err(error) => return error,
    };
    match renamed {
        Some(row) => {
            let now = &row.name.0;
            let why = format!("The account has no function `{shown}`: it was renamed to `{now}`.");
            Problem::new(Code::FunctionNotFound, why).with_help(format!("Write `{now}` instead.")).into()
        }
        None => refuse(Code::FunctionNotFound, format!("The account has no function `{shown}`.")),
    }
}

/// The function that had this name before it was renamed.
async fn formerly(db: &Db, account: AccountId, name: &str) -> Result<Option<functions::Model>> {
    let Ok(name) = name.parse::<Name>() else { return Ok(None) };
    let renamed = functions::Entity::find()
        .filter(functions::Column::AccountId.eq(Col(account)))
        .filter(functions::Column::Former.eq(Col(name)))
        .filter(functions::Column::Deleted.is_null())
        .one(db.read())
        .await?;
    Ok(renamed)
}
