//! Tokens with which machines join. The database keeps the public half of each alone.

use std::time::Duration;

use protocol::api::{self, CreateNodeToken};
use protocol::node::{JoinToken, PublicKey, TokenSeed};
use protocol::route::Scope;
use protocol::{AccountId, Code, NodeId, PlacementClass, Timestamp, TokenId, text, words};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DbErr, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use crate::config::Config;
use crate::db::columns::Col;
use crate::db::entities::node_tokens;
use crate::db::{Committed, Db, Mutation, loops};
use crate::error::{Result, invalid, refuse};
use crate::identity::caller::Caller;
use crate::identity::credentials::random;
use crate::paging::{Paging, page};

/// A local node's token, which is spent at once, is good for so long.
pub(crate) const LOCAL_LASTS: Duration = Duration::from_secs(3600);
/// Ended tokens are kept so long: whoever comes late is told why.
const ENDED_KEPT_MS: i64 = 7 * 86_400_000;
const NAME_LENGTH_MAX: usize = 60;

/// A token to be made.
pub(crate) struct Draft {
    pub(crate) id: TokenId,
    pub(crate) account: Option<AccountId>,
    /// The node that the machine will be.
    pub(crate) node: NodeId,
    pub(crate) key: PublicKey,
    pub(crate) class: PlacementClass,
    pub(crate) name: Option<String>,
    /// How long it is good.
    pub(crate) lasts: Duration,
}

/// Notes a token.
pub(crate) async fn insert(mutation: &Mutation, draft: Draft) -> Result<Timestamp, DbErr> {
    let expires = mutation.at().plus(draft.lasts);
    node_tokens::Entity::insert(node_tokens::ActiveModel {
        id: Set(draft.id.into()),
        account_id: Set(draft.account.map(Col)),
        node_id: Set(draft.node.into()),
        public_key: Set(draft.key.to_string()),
        class: Set(draft.class.into()),
        name: Set(draft.name),
        created: Set(mutation.at().into()),
        expires: Set(expires.into()),
        used: Set(None),
        used_by: Set(None),
        response: Set(None),
    })
    .exec_without_returning(mutation.tx())
    .await?;
    Ok(expires)
}

/// `POST /nodes/tokens`: for a machine that will find the platform, whose root key is this, at this origin. An account
/// has so many at most that are not used.
pub(crate) async fn create(
    db: &Db,
    caller: &Caller,
    (root, origin): (PublicKey, String),
    config: &Config,
    asked: CreateNodeToken,
) -> Result<(api::NodeToken, Committed)> {
    let account = caller.require(Scope::Admin)?;
    let name = asked.name.map(|name| name.trim().to_owned());
    if let Some(name) = &name {
        if name.is_empty() || name.chars().count() > NAME_LENGTH_MAX {
            return Err(invalid("name", format!("`name` has 1 to {NAME_LENGTH_MAX} characters")));
        }
        text::check("name", name)?;
    }
    let (id, node) = (TokenId::new(), NodeId::new());
    let seed = TokenSeed(random());
    let key = seed.public();
    let token =
        JoinToken::new(origin, root, id, seed).map_err(|error| refuse(Code::InvalidRequest, format!("{error}.")))?;
    let mutation = db.mutation().await?;
    let open = node_tokens::Entity::find()
        .filter(node_tokens::Column::AccountId.eq(Col(account)))
        .filter(node_tokens::Column::Expires.gt(Col(mutation.at())))
        .filter(node_tokens::Column::Used.is_null())
        .count(mutation.tx())
        .await?;
    if open >= u64::from(config.node_tokens_max) {
        let open = words::count(open, "unused token");
        return Err(refuse(Code::LimitReached, format!("The account has {open}, the most that it may have.")));
    }
    let (class, lasts) = (PlacementClass::Any, config.node_token_lasts.duration());
    let draft = Draft { id, account: Some(account), node, key, class, name: name.clone(), lasts };
    let (created, expires) = (mutation.at(), insert(&mutation, draft).await?);
    let committed = mutation.commit(&caller.actor, Some(account), "node_token.create", id).await?;
    let token = Some(token.to_string());
    Ok((api::NodeToken { id, token, name, node: Some(node), created, expires, used: None, help: None }, committed))
}

/// `GET /nodes/tokens`: those that are not forgotten yet, the newest first.
pub(crate) async fn list(db: &Db, caller: &Caller, paging: &Paging) -> Result<api::Page<api::NodeToken>> {
    let account = caller.require(Scope::Admin)?;
    let of_account = node_tokens::Column::AccountId.eq(Col(account));
    let mut query = node_tokens::Entity::find().filter(of_account);
    if let Some(before) = paging.after::<TokenId>()? {
        query = query.filter(node_tokens::Column::Id.lt(Col(before)));
    }
    let query = query.order_by_desc(node_tokens::Column::Id).limit(paging.fetch());
    let rows = page(query.all(db.read()).await?, paging, |row| row.id.to_string());
    let view = |row: node_tokens::Model| api::NodeToken {
        id: row.id.0,
        token: None,
        name: row.name,
        // Until then there is no such node.
        node: row.used.map(|_| row.node_id.0),
        created: row.created.0,
        expires: row.expires.0,
        used: row.used.map(|at| at.0),
        help: None,
    };
    Ok(api::Page { items: rows.items.into_iter().map(view).collect(), next: rows.next })
}

/// `DELETE /nodes/tokens/{id}`: nobody joins with it any more. Who has done so stays.
pub(crate) async fn delete(db: &Db, caller: &Caller, id: TokenId) -> Result<Committed> {
    let account = caller.require(Scope::Admin)?;
    let mutation = db.mutation().await?;
    let deleted = node_tokens::Entity::delete_many()
        .filter(node_tokens::Column::Id.eq(Col(id)))
        .filter(node_tokens::Column::AccountId.eq(Col(account)))
        .exec(mutation.tx())
        .await?;
    if deleted.rows_affected == 0 {
        return Err(refuse(Code::NotFound, "The account has no such token."));
    }
    Ok(mutation.commit(&caller.actor, Some(account), "node_token.delete", id).await?)
}

/// What whoever repeats the request sees of a token that was made: never the token.
pub(crate) fn again(token: &api::NodeToken) -> api::NodeToken {
    let help = "The token was shown once, with the first answer. Make another with a new Idempotency-Key.";
    api::NodeToken { token: None, help: Some(help.to_owned()), ..token.clone() }
}

/// Deletes those that ended long ago.
pub(crate) async fn prune(db: &Db) -> Result<(), DbErr> {
    let before = Timestamp(Timestamp::now().0.saturating_sub(ENDED_KEPT_MS));
    loops::delete_in_steps(db, |most| loops::node_tokens_too_old(before, most)).await
}
