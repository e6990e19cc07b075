//! Aliases: movable names for ready versions, with shares, and the way back.

use protocol::api::{self, Rollback, SetAlias, VersionState};
use protocol::route::{Scope, Share};
use protocol::words::count;
use protocol::{Code, Field, FunctionId, Name, Reference};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    sea_query::OnConflict,
};

use super::functions::locked;
use super::route;
use crate::App;
use crate::db::Mutation;
use crate::db::columns::Col;
use crate::db::entities::{aliases, functions, versions};
use crate::error::{Result, invalid, refuse, refuse_field};
use crate::etag::{self, IfMatch};
use crate::identity::caller::Caller;

const SHARES_MAX: usize = 10;

/// As the API shows it.
pub(crate) fn alias_view(row: aliases::Model) -> api::Alias {
    api::Alias { name: row.name.0, shares: row.shares.0, etag: etag::of(row.revision), updated: row.updated.0 }
}

/// A function's aliases, by name.
pub(crate) async fn of<C: ConnectionTrait>(connection: &C, function: FunctionId) -> Result<Vec<aliases::Model>, DbErr> {
    aliases::Entity::find()
        .filter(aliases::Column::FunctionId.eq(Col(function)))
        .order_by_asc(aliases::Column::Name)
        .all(connection)
        .await
}

/// An alias's name, given as `alias`: not one that reads as a version.
pub(crate) fn parse_alias(text: &str) -> Result<Name> {
    let wrong = |detail| Err(refuse_field(Code::InvalidName, "alias", detail));
    match text.parse::<Reference>() {
        Ok(Reference::Alias(name)) => Ok(name),
        Ok(Reference::Version(_)) => wrong(format!("`{text}` reads as a version.")),
        Err(error) => wrong(format!("`{}`: {error}.", text.escape_debug())),
    }
}

/// The alias without which a function has no default.
pub(crate) fn live() -> Name {
    #[allow(clippy::expect_used, reason = "a constant that is a name")]
    Reference::LIVE.parse().expect("`live` is a name")
}

/// Shares that make sense, whatever versions there are.
pub(crate) fn check_shares(shares: &[Share]) -> Result<()> {
    let all = Field::from("shares");
    let wrong = |field: Field, what: &str| Err(invalid(field, format!("`shares`: {what}")));
    if shares.is_empty() || shares.len() > SHARES_MAX {
        return wrong(all, &format!("1 to {SHARES_MAX} of them"));
    }
    if let Some(index) = shares.iter().position(|share| !(1..=100).contains(&share.weight)) {
        return wrong(all.index(index).key("weight"), "each weight is 1 to 100");
    }
    let sum: u32 = shares.iter().map(|share| u32::from(share.weight)).sum();
    if sum != 100 {
        return wrong(all, &format!("the weights sum up to {sum}, not 100"));
    }
    let twice = |(index, share): &(usize, &Share)| shares[..*index].iter().any(|s| s.version == share.version);
    match shares.iter().enumerate().find(twice) {
        Some((index, _)) => wrong(all.index(index).key("version"), "a version stands there twice"),
        None => Ok(()),
    }
}

/// Whether all of them are ready; `field` says what named the version at an index.
async fn check_ready(
    mutation: &Mutation,
    function: FunctionId,
    shares: &[Share],
    field: impl Fn(usize) -> Option<Field> + Send,
) -> Result<()> {
    for (index, share) in shares.iter().enumerate() {
        let refused = |code, detail| protocol::Problem::again(code, field(index), detail).into();
        let missing = || -> crate::error::Error {
            refused(Code::VersionNotFound, format!("The function has no version v{}.", share.version))
        };
        let number = i32::try_from(share.version).map_err(|_| missing())?;
        let version = versions::Entity::find()
            .filter(versions::Column::FunctionId.eq(Col(function)))
            .filter(versions::Column::Number.eq(number))
            .one(mutation.tx())
            .await?;
        let state = *version.ok_or_else(missing)?.state;
        if state != VersionState::Ready {
            return Err(refused(Code::NotReady, format!("v{number} is {}.", state_word(state))));
        }
    }
    Ok(())
}

fn state_word(state: VersionState) -> &'static str {
    match state {
        VersionState::Compiling => "still compiling",
        VersionState::Ready => "ready",
        VersionState::Failed => "failed",
    }
}

/// Points the alias there and remembers where it pointed before.
pub(crate) async fn point(
    mutation: &Mutation,
    function: &functions::Model,
    name: Name,
    shares: Vec<Share>,
) -> Result<(), DbErr> {
    let key = (function.id, Col(name.clone()));
    let before = aliases::Entity::find_by_id(key).one(mutation.tx()).await?;
    let previous = before.and_then(|row| if row.shares.0 == shares { row.previous } else { Some(row.shares) });
    aliases::Entity::insert(aliases::ActiveModel {
        function_id: Set(function.id),
        name: Set(name.into()),
        account_id: Set(function.account_id),
        shares: Set(shares.into()),
        previous: Set(previous),
        revision: Set(mutation.revision()),
        updated: Set(mutation.at().into()),
    })
    .on_conflict(
        OnConflict::columns([aliases::Column::FunctionId, aliases::Column::Name])
            .update_columns([
                aliases::Column::Shares,
                aliases::Column::Previous,
                aliases::Column::Revision,
                aliases::Column::Updated,
            ])
            .to_owned(),
    )
    .exec_without_returning(mutation.tx())
    .await?;
    Ok(())
}

async fn find(mutation: &Mutation, function: FunctionId, name: &Name) -> Result<Option<aliases::Model>, DbErr> {
    aliases::Entity::find_by_id((Col(function), Col(name.clone()))).one(mutation.tx()).await
}

/// `PUT /functions/{name}/aliases/{alias}`
pub(crate) async fn set(
    app: &App,
    caller: &Caller,
    function: &str,
    alias: &str,
    if_match: &IfMatch,
    asked: SetAlias,
) -> Result<api::Alias> {
    let found = caller.function(app, function, Scope::Deploy).await?;
    let alias = parse_alias(alias)?;
    check_shares(&asked.shares)?;
    let mutation = app.db.mutation().await?;
    let row = locked(&mutation, found.id.0).await?;
    let before = find(&mutation, row.id.0, &alias).await?;
    if_match.check(before.as_ref().map(|row| etag::of(row.revision)).as_deref())?;
    if before.is_none() && of(mutation.tx(), row.id.0).await?.len() >= app.config.aliases_max as usize {
        let most = count(app.config.aliases_max, "alias");
        return Err(refuse(Code::LimitReached, format!("A function has at most {most}.")));
    }
    let named = |index| Some(Field::from("shares").index(index).key("version"));
    check_ready(&mutation, row.id.0, &asked.shares, named).await?;
    move_and_commit(app, caller, mutation, &row, alias, asked.shares, "alias.set").await
}

async fn move_and_commit(
    app: &App,
    caller: &Caller,
    mut mutation: Mutation,
    function: &functions::Model,
    alias: Name,
    shares: Vec<Share>,
    action: &'static str,
) -> Result<api::Alias> {
    point(&mutation, function, alias.clone(), shares.clone()).await?;
    route::changed(&mut mutation, function.id.0).await?;
    let (revision, updated) = (mutation.revision(), mutation.at());
    let target = format!("{} {alias}", function.id.0);
    let committed = mutation.commit(&caller.actor, Some(function.account_id.0), action, target).await?;
    app.announce(committed).await;
    Ok(api::Alias { name: alias, shares, etag: etag::of(revision), updated })
}

/// `DELETE /functions/{name}/aliases/{alias}`
pub(crate) async fn delete(app: &App, caller: &Caller, function: &str, alias: &str, if_match: &IfMatch) -> Result<()> {
    let found = caller.function(app, function, Scope::Deploy).await?;
    let alias = parse_alias(alias)?;
    if alias.as_str() == Reference::LIVE {
        return Err(invalid("alias", "`live` cannot be deleted; delete the function"));
    }
    let mut mutation = app.db.mutation().await?;
    let row = locked(&mutation, found.id.0).await?;
    let before = find(&mutation, row.id.0, &alias).await?;
    let before =
        before.ok_or_else(|| refuse(Code::VersionNotFound, format!("The function has no alias `{alias}`.")))?;
    if_match.check(Some(&etag::of(before.revision)))?;
    aliases::Entity::delete_by_id((row.id, Col(alias.clone()))).exec(mutation.tx()).await?;
    route::changed(&mut mutation, row.id.0).await?;
    let target = format!("{} {alias}", row.id.0);
    let committed = mutation.commit(&caller.actor, Some(row.account_id.0), "alias.delete", target).await?;
    app.announce(committed).await;
    Ok(())
}

/// `GET /functions/{name}/aliases`
pub(crate) async fn list(app: &App, caller: &Caller, function: &str) -> Result<Vec<api::Alias>> {
    let row = caller.function(app, function, Scope::Read).await?;
    Ok(of(app.db.read(), row.id.0).await?.into_iter().map(alias_view).collect())
}

/// `GET /functions/{name}/aliases/{alias}`
pub(crate) async fn show(app: &App, caller: &Caller, function: &str, alias: &str) -> Result<api::Alias> {
    let alias = parse_alias(alias)?;
    let found = list(app, caller, function).await?.into_iter().find(|row| row.name == alias);
    found.ok_or_else(|| refuse(Code::VersionNotFound, format!("The function has no alias `{alias}`.")))
}

/// `POST /functions/{name}/rollback`
pub(crate) async fn rollback(app: &App, caller: &Caller, function: &str, asked: Rollback) -> Result<api::Alias> {
    let found = caller.function(app, function, Scope::Deploy).await?;
    let mutation = app.db.mutation().await?;
    let row = locked(&mutation, found.id.0).await?;
    let shares = match asked.to {
        Some(version) => vec![Share { version, weight: 100 }],
        None => {
            let before = find(&mutation, row.id.0, &live()).await?.and_then(|alias| alias.previous);
            before.ok_or_else(|| refuse(Code::VersionNotFound, "`live` has had no other version."))?.0
        }
    };
    // The versions that it had before, nobody has named.
    let named = |_| asked.to.map(|_| Field::from("to"));
    check_ready(&mutation, row.id.0, &shares, named).await?;
    move_and_commit(app, caller, mutation, &row, live(), shares, "alias.rollback").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        let share = |version, weight| Share { version, weight };
        assert!(check_shares(&[share(1, 100)]).is_ok());
        assert!(check_shares(&[share(1, 90), share(2, 10)]).is_ok());
        for wrong in [vec![], vec![share(1, 99)], vec![share(1, 100), share(2, 0)], vec![share(1, 50), share(1, 50)]] {
            assert!(check_shares(&wrong).is_err(), "{wrong:?}");
        }
        assert!(check_shares(&(0..11).map(|v| share(v, 9)).collect::<Vec<_>>()).is_err());
    }

    #[test]
    fn names() {
        assert!(parse_alias("canary").is_ok());
        assert!(parse_alias("v3").is_err());
        assert!(parse_alias("--").is_err());
        assert_eq!(live().as_str(), "live");
    }
}
