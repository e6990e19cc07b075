//! A user's second factor: set up, confirmed, turned off. Log-ins and keys of before stay.
//!
//! ```text
//! none --password--> told, waits --code of the app--> on --password and code--> none
//! ```

use protocol::api::{
    ConfirmSecondFactor, ProveSecondFactor, RecoveryCodes, SecondFactor, SecondFactorSecret, SetUpSecondFactor,
};
use protocol::{Code, UserId};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::caller::Caller;
use super::codes;
use super::credentials::secret;
use super::signup::check_password;
use crate::App;
use crate::db::Mutation;
use crate::db::columns::Col;
use crate::db::entities::second_factors;
use crate::error::{Error, Result, refuse, refuse_field};

/// Another code than this one is asked for.
pub(crate) fn wrong_code() -> Error {
    refuse_field(Code::InvalidCode, "code", "`code` is wrong, or was used.")
}

fn none() -> Error {
    refuse(Code::NotFound, "You have no second factor.")
}

/// `GET /me/second-factor`
pub(crate) async fn show(app: &App, caller: &Caller) -> Result<SecondFactor> {
    let row = codes::confirmed(app.db.read(), caller.user()?.id.0).await?;
    Ok(SecondFactor {
        since: row.as_ref().and_then(|row| row.confirmed).map(|at| at.0),
        recovery_codes: row.map_or(0, |row| u32::try_from(row.recovery.len()).unwrap_or(u32::MAX)),
    })
}

/// `PUT /me/second-factor`: what the app is told, each time anew until one of its codes has confirmed it.
pub(crate) async fn set_up(app: &App, caller: &Caller, asked: SetUpSecondFactor) -> Result<SecondFactorSecret> {
    let user = caller.user()?;
    check_password(app, user, &asked.password, "password").await?;
    let mutation = app.db.mutation().await?;
    if codes::confirmed(mutation.tx(), user.id.0).await?.is_some() {
        return Err(refuse(Code::SecondFactorOn, "You have a second factor."));
    }
    let row = second_factors::Model {
        user_id: user.id,
        nonce: secret(),
        confirmed: None,
        last_step: 0,
        recovery: Vec::new().into(),
        created: mutation.at().into(),
    };
    forget(&mutation, user.id.0).await?;
    second_factors::Entity::insert(second_factors::ActiveModel::from(row.clone()))
        .exec_without_returning(mutation.tx())
        .await?;
    let committed = mutation.commit(&caller.actor, None, "second_factor.set_up", user.id.0).await?;
    app.announce(committed).await;
    app.codes.told(&row, &user.email)
}

/// `PUT /me/second-factor/confirmed`: from now on log-ins need a code.
pub(crate) async fn confirm(app: &App, caller: &Caller, asked: ConfirmSecondFactor) -> Result<RecoveryCodes> {
    let user = caller.user()?;
    let counted = app.tries.code(user.id.0, None)?;
    let mutation = app.db.mutation().await?;
    let row = codes::of(mutation.tx(), user.id.0).await?.ok_or_else(none)?;
    if row.confirmed.is_some() {
        return Err(refuse(Code::SecondFactorOn, "Your second factor is confirmed."));
    }
    if !app.codes.spend_code(&mutation, &row, &asked.code).await? {
        return Err(wrong_code());
    }
    counted.give_back();
    second_factors::Entity::update_many()
        .set(second_factors::ActiveModel { confirmed: Set(Some(mutation.at().into())), ..Default::default() })
        .filter(second_factors::Column::UserId.eq(row.user_id))
        .exec(mutation.tx())
        .await?;
    let renewed = app.codes.renew_recovery(&mutation, &row).await?;
    let committed = mutation.commit(&caller.actor, None, "second_factor.on", user.id.0).await?;
    app.announce(committed).await;
    Ok(renewed)
}

/// `PUT /me/second-factor/recovery-codes`: those of before are good no longer.
pub(crate) async fn renew_recovery(app: &App, caller: &Caller, asked: ProveSecondFactor) -> Result<RecoveryCodes> {
    let (mutation, row) = prove(app, caller, &asked).await?;
    let renewed = app.codes.renew_recovery(&mutation, &row).await?;
    let committed = mutation.commit(&caller.actor, None, "second_factor.recovery_codes", row.user_id.0).await?;
    app.announce(committed).await;
    Ok(renewed)
}

/// `PUT /me/second-factor/off`: log-ins need the password alone.
pub(crate) async fn turn_off(app: &App, caller: &Caller, asked: ProveSecondFactor) -> Result<()> {
    let (mutation, row) = prove(app, caller, &asked).await?;
    forget(&mutation, row.user_id.0).await?;
    let committed = mutation.commit(&caller.actor, None, "second_factor.off", row.user_id.0).await?;
    app.announce(committed).await;
    Ok(())
}

/// A mutation of a user who knows the password and has the second factor.
async fn prove(app: &App, caller: &Caller, asked: &ProveSecondFactor) -> Result<(Mutation, second_factors::Model)> {
    let user = caller.user()?;
    check_password(app, user, &asked.password, "password").await?;
    let counted = app.tries.code(user.id.0, None)?;
    let mutation = app.db.mutation().await?;
    let row = codes::confirmed(mutation.tx(), user.id.0).await?.ok_or_else(none)?;
    app.codes.spend(&mutation, &row, &asked.code).await?.ok_or_else(wrong_code)?;
    counted.give_back();
    Ok((mutation, row))
}

async fn forget(mutation: &Mutation, user: UserId) -> Result<()> {
    second_factors::Entity::delete_by_id(Col(user)).exec(mutation.tx()).await?;
    Ok(())
}
