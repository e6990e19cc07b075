//! Functions: made, listed, changed, renamed, deleted, restored.

use protocol::api::{self, ChangeFunction, CreateFunction, NewFunction};
use protocol::route::Scope;
use protocol::words;
use protocol::{AccountId, Code, FunctionId, Name, Reference, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, EntityTrait as _, ExprTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};
use serde::Deserialize;

use super::aliases::alias_view;
use super::rename;
use super::route::{self, number};
use super::upload_quota;
use crate::App;
use crate::db::Mutation;
use crate::db::columns::Col;
use crate::db::entities::{accounts, aliases, functions, versions};
use crate::error::{Error, Result, refuse, refuse_field};
use crate::etag::{self, IfMatch};
use crate::identity::caller::Caller;
use crate::identity::{accounts::parse_name, keys};
use crate::paging::{Paging, page};

const DAY_MS: i64 = 86_400_000;

/// `POST /functions`
pub(crate) async fn create(app: &App, caller: &Caller, asked: CreateFunction) -> Result<api::Function> {
    let account = caller.require(Scope::Deploy)?;
    let name = parse_name(&asked.name, "name")?;
    let mut mutation = app.db.mutation().await?;
    let row = make(app, &mut mutation, account, name, asked.public).await?;
    let committed = mutation.commit(&caller.actor, Some(account), "function.create", row.id.0).await?;
    app.announce(committed).await;
    Ok(view(app, caller.account()?, row, Vec::new(), &[]))
}

async fn make(
    app: &App,
    mutation: &mut Mutation,
    account: AccountId,
    name: Name,
    public: bool,
) -> Result<functions::Model> {
    check_free(app, mutation, account, &name).await?;
    let row = functions::Model {
        id: FunctionId::new().into(),
        account_id: account.into(),
        name: name.into(),
        public,
        latest: 0,
        revision: mutation.revision(),
        created: mutation.at().into(),
        updated: mutation.at().into(),
        deleted: None,
        purged: None,
        former: None,
    };
    functions::Entity::insert(functions::ActiveModel::from(row.clone())).exec_without_returning(mutation.tx()).await?;
    route::changed(mutation, row.id.0).await?;
    Ok(row)
}

/// The function that a version is for.
pub(crate) enum Subject {
    There(functions::Model),
    /// It is made with the version, and not at all where that is refused.
    New {
        account: AccountId,
        name: Name,
        public: bool,
    },
}

impl Subject {
    /// The function of this name; a new one where there is none and the deploy makes it.
    pub(crate) async fn find(app: &App, caller: &Caller, name: &str, create: Option<NewFunction>) -> Result<Self> {
        let found = caller.function(app, name, Scope::Deploy).await;
        let missing = matches!(&found, Err(Error::Refused(problem)) if problem.code == Code::FunctionNotFound);
        let Some(NewFunction { public }) = create.filter(|_| missing) else { return Ok(Self::There(found?)) };
        let account = caller.require(Scope::Deploy)?;
        Ok(Self::New { account, name: parse_name(name, "name")?, public })
    }

    /// Whose it is.
    pub(crate) fn account(&self) -> AccountId {
        match self {
            Self::There(row) => row.account_id.0,
            Self::New { account, .. } => *account,
        }
    }

    /// Its row inside the mutation, and whether that has made it.
    pub(crate) async fn enter(self, app: &App, mutation: &mut Mutation) -> Result<(functions::Model, bool)> {
        let (account, name, public) = match self {
            Self::There(row) => return Ok((locked(mutation, row.id.0).await?, false)),
            Self::New { account, name, public } => (account, name, public),
        };
        // Another deploy may have made it meanwhile.
        let meanwhile = alive(account, &name).one(mutation.tx()).await?;
        match meanwhile {
            Some(row) => Ok((row, false)),
            None => Ok((make(app, mutation, account, name, public).await?, true)),
        }
    }
}

/// The function that has this name now.
pub(crate) fn alive(account: AccountId, name: &Name) -> Select<functions::Entity> {
    functions::Entity::find()
        .filter(functions::Column::AccountId.eq(Col(account)))
        .filter(functions::Column::Deleted.is_null())
        .filter(functions::Column::Name.eq(Col(name.clone())))
}

/// Names are an account's own: one that it has freed is free for it at once. Whatever belonged to the deleted function goes
/// by its id, and routes are published in the order of their revisions, so that the new one follows the old one's end.
async fn check_free(app: &App, mutation: &Mutation, account: AccountId, name: &Name) -> Result<()> {
    let all = functions::Entity::find()
        .filter(functions::Column::AccountId.eq(Col(account)))
        .filter(functions::Column::Deleted.is_null());
    let count = all.count(mutation.tx()).await?;
    if count >= u64::from(app.config.functions_max) {
        let count = words::count(count, "function");
        return Err(refuse(Code::LimitReached, format!("The account has {count}, the most that it may have.")));
    }
    check_unused(mutation, account, name).await
}

/// Whether no function of the account has this name now.
pub(super) async fn check_unused(mutation: &Mutation, account: AccountId, name: &Name) -> Result<()> {
    match alive(account, name).one(mutation.tx()).await? {
        Some(_) => Err(refuse_field(Code::NameTaken, "name", format!("There is a function `{name}`."))),
        None => Ok(()),
    }
}

fn view(
    app: &App,
    account: &accounts::Model,
    row: functions::Model,
    aliases: Vec<aliases::Model>,
    versions: &[versions::Model],
) -> api::Function {
    let answers = aliases.iter().find_map(live_number).and_then(|live| {
        versions.iter().find(|version| version.function_id == row.id && number(version.number) == Some(live))
    });
    api::Function {
        live: answers.and_then(live_version),
        warning: None,
        id: row.id.0,
        path: format!("/f/{}/{}/", account.name.0, row.name.0),
        host: format!("{}--{}.{}", row.name.0, account.name.0, app.config.functions_domain),
        name: row.name.0,
        public: row.public,
        latest: u32::try_from(row.latest).ok().filter(|number| *number > 0),
        aliases: aliases.into_iter().map(alias_view).collect(),
        created: row.created.0,
        updated: row.updated.0,
        deleted: row.deleted.map(|at| at.0),
    }
}

/// Where `live` leads: to the version with its largest share.
fn live_number(alias: &aliases::Model) -> Option<u32> {
    let live = alias.name.as_str() == Reference::LIVE;
    alias.shares.iter().filter(|_| live).max_by_key(|share| share.weight).map(|share| share.version)
}

fn live_version(row: &versions::Model) -> Option<api::LiveVersion> {
    let (lane, lane_reason) = super::versions::lane(row)?;
    Some(api::LiveVersion { number: number(row.number)?, lane, lane_reason, limits: row.limits.0 })
}

/// The versions that these aliases lead to, where they are `live`.
async fn live_of(app: &App, aliases: &[aliases::Model]) -> Result<Vec<versions::Model>> {
    let one = |alias: &aliases::Model| {
        let number = i32::try_from(live_number(alias)?).ok()?;
        Some(versions::Column::FunctionId.eq(alias.function_id).and(versions::Column::Number.eq(number)))
    };
    let wanted: Vec<_> = aliases.iter().filter_map(one).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let any = wanted.into_iter().fold(Condition::any(), Condition::add);
    Ok(versions::Entity::find().filter(any).all(app.db.read()).await?)
}

/// The ETag of a function's settings.
pub(crate) fn etag(row: &functions::Model) -> String {
    etag::of(row.revision)
}

/// Which functions.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FunctionFilter {
    /// Those that were deleted and are still kept, the newest first, in place of those that are there. Of one name the one
    /// that was deleted last can be restored.
    #[serde(default)]
    deleted: bool,
}

/// The account's functions, by name; deleted ones by age, because a name may be there several times.
pub(crate) async fn list(
    app: &App,
    caller: &Caller,
    filter: FunctionFilter,
    paging: &Paging,
) -> Result<api::Page<api::Function>> {
    let account = caller.account()?;
    caller.grants(Scope::Read)?;
    let mut query = functions::Entity::find().filter(functions::Column::AccountId.eq(account.id)).limit(paging.fetch());
    if let Some(only) = caller.function {
        query = query.filter(functions::Column::Id.eq(Col(only)));
    }
    if filter.deleted {
        query = query.filter(restorable(app, Timestamp::now())).order_by_desc(functions::Column::Id);
        if let Some(before) = paging.after::<FunctionId>()? {
            query = query.filter(functions::Column::Id.lt(Col(before)));
        }
    } else {
        query = query.filter(functions::Column::Deleted.is_null()).order_by_asc(functions::Column::Name);
        if let Some(after) = paging.after::<Name>()? {
            query = query.filter(functions::Column::Name.gt(Col(after)));
        }
    }
    let rows = page(query.all(app.db.read()).await?, paging, |row| match filter.deleted {
        true => row.id.to_string(),
        false => row.name.to_string(),
    });
    let ids: Vec<_> = rows.items.iter().map(|row| row.id).collect();
    let all = aliases::Entity::find()
        .filter(aliases::Column::FunctionId.is_in(ids))
        .order_by_asc(aliases::Column::Name)
        .all(app.db.read())
        .await?;
    let live = live_of(app, &all).await?;
    let of = |id| all.iter().filter(|alias| alias.function_id == id).cloned().collect();
    let items = rows.items.into_iter().map(|row| view(app, account, row.clone(), of(row.id), &live)).collect();
    Ok(api::Page { items, next: rows.next })
}

/// Deleted, and still kept.
fn restorable(app: &App, now: Timestamp) -> Condition {
    let kept_ms = i64::from(app.config.deleted_days).saturating_mul(DAY_MS);
    let since = Timestamp(now.0.saturating_sub(kept_ms));
    Condition::all().add(functions::Column::Deleted.gte(Col(since))).add(functions::Column::Purged.is_null())
}

/// One function and its ETag.
pub(crate) async fn show(app: &App, caller: &Caller, name: &str) -> Result<(api::Function, String)> {
    let row = caller.function(app, name, Scope::Read).await?;
    let aliases = super::aliases::of(app.db.read(), row.id.0).await?;
    let live = live_of(app, &aliases).await?;
    let tag = etag(&row);
    let warning = warning(app, &row, &live).await?;
    Ok((api::Function { warning, ..view(app, caller.account()?, row, aliases, &live) }, tag))
}

/// What keeps runs of the live version from beginning now; before there is one, those of the newest.
async fn warning(app: &App, row: &functions::Model, live: &[versions::Model]) -> Result<Option<String>> {
    let of = |version: &versions::Model| version.placement.0;
    let placement = match live.first() {
        Some(version) => Some(of(version)),
        None => {
            let all = versions::Entity::find().filter(versions::Column::FunctionId.eq(row.id));
            all.order_by_desc(versions::Column::Number).one(app.db.read()).await?.as_ref().map(of)
        }
    };
    match placement {
        Some(placement) => super::versions::warning(app, row.account_id.0, placement).await,
        None => Ok(None),
    }
}

/// The row as it is inside the mutation.
pub(crate) async fn locked(mutation: &Mutation, id: FunctionId) -> Result<functions::Model> {
    let row = functions::Entity::find_by_id(Col(id)).one(mutation.tx()).await?;
    row.filter(|row| row.deleted.is_none()).ok_or_else(|| refuse(Code::FunctionNotFound, "The function was deleted."))
}

/// `PATCH /functions/{name}`
pub(crate) async fn change(
    app: &App,
    caller: &Caller,
    name: &str,
    if_match: &IfMatch,
    asked: ChangeFunction,
) -> Result<(api::Function, String)> {
    let found = caller.function(app, name, Scope::Deploy).await?;
    let wanted = match &asked.name {
        Some(name) => {
            // Names are the whole account's.
            caller.require(Scope::Deploy)?;
            Some(parse_name(name, "name")?)
        }
        None => None,
    };
    let mut mutation = app.db.mutation().await?;
    let row = locked(&mutation, found.id.0).await?;
    if_match.check(Some(&etag(&row)))?;
    if let Some(public) = asked.public {
        functions::Entity::update_many()
            .set(functions::ActiveModel { public: Set(public), ..Default::default() })
            .filter(functions::Column::Id.eq(row.id))
            .exec(mutation.tx())
            .await?;
    }
    let wanted = wanted.filter(|wanted| *wanted != row.name.0);
    let action = match &wanted {
        Some(wanted) => {
            rename::rename(&mut mutation, &row, wanted).await?;
            "function.rename"
        }
        None => {
            route::changed(&mut mutation, row.id.0).await?;
            "function.change"
        }
    };
    let committed = mutation.commit(&caller.actor, Some(row.account_id.0), action, row.id.0).await?;
    app.announce(committed).await;
    show(app, caller, wanted.as_ref().unwrap_or(&row.name.0).as_str()).await
}

/// `DELETE /functions/{name}`: its routes go, its keys are revoked, its name is free.
pub(crate) async fn delete(app: &App, caller: &Caller, name: &str, if_match: &IfMatch) -> Result<()> {
    let found = caller.function(app, name, Scope::Deploy).await?;
    let mut mutation = app.db.mutation().await?;
    let row = locked(&mutation, found.id.0).await?;
    if_match.check(Some(&etag(&row)))?;
    functions::Entity::update_many()
        .set(functions::ActiveModel { deleted: Set(Some(mutation.at().into())), ..Default::default() })
        .filter(functions::Column::Id.eq(row.id))
        .exec(mutation.tx())
        .await?;
    upload_quota::outdate(mutation.tx(), row.account_id.0).await?;
    keys::revoke_of_function(&mut mutation, row.account_id.0, row.id.0).await?;
    route::changed(&mut mutation, row.id.0).await?;
    let committed = mutation.commit(&caller.actor, Some(row.account_id.0), "function.delete", row.id.0).await?;
    app.announce(committed).await;
    Ok(())
}

/// `POST /functions/{name}/restore`: the function of this name that was deleted last is there again, with its versions and
/// aliases. Its keys stay revoked: whoever holds one may be the reason why it was deleted.
pub(crate) async fn restore(app: &App, caller: &Caller, name: &str) -> Result<(api::Function, String)> {
    let account = caller.require(Scope::Deploy)?;
    let days = app.config.deleted_days;
    let missing = || {
        let days = words::count(days, "day");
        refuse(Code::FunctionNotFound, format!("No function `{}` was deleted within {days}.", name.escape_debug()))
    };
    let wanted: Name = name.parse().map_err(|_| missing())?;
    let mut mutation = app.db.mutation().await?;
    let row = functions::Entity::find()
        .filter(functions::Column::AccountId.eq(Col(account)))
        .filter(functions::Column::Name.eq(Col(wanted.clone())))
        .filter(restorable(app, mutation.at()))
        .order_by_desc(functions::Column::Deleted)
        .order_by_desc(functions::Column::Id)
        .one(mutation.tx())
        .await?
        .ok_or_else(missing)?;
    check_free(app, &mutation, account, &wanted).await?;
    functions::Entity::update_many()
        .set(functions::ActiveModel { deleted: Set(None), ..Default::default() })
        .filter(functions::Column::Id.eq(row.id))
        .exec(mutation.tx())
        .await?;
    upload_quota::outdate(mutation.tx(), account).await?;
    route::changed(&mut mutation, row.id.0).await?;
    let committed = mutation.commit(&caller.actor, Some(account), "function.restore", row.id.0).await?;
    app.announce(committed).await;
    show(app, caller, name).await
}
