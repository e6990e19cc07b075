//! Node records: rows in the database, and their copies in the `cc-nodes` bucket for gateways.

use protocol::node::NodeRecord;
use protocol::{AccountId, ByteSize, Digest, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _, sea_query::OnConflict};

use crate::db::columns::Col;
use crate::db::entities::{accounts, members, nodes, users};
use crate::db::{Actor, Committed, Db, Mutation, loops};
use crate::error::Result;

/// Makes rows for the operator's own nodes.
pub(crate) async fn ensure_local(db: &Db, local: &[crate::config::LocalNode]) -> Result<Option<Committed>> {
    let missing = async |node: &crate::config::LocalNode| -> Result<bool> {
        Ok(nodes::Entity::find_by_id(Col(node.id)).one(db.read()).await?.is_none())
    };
    let mut committed = None;
    for node in local {
        if !missing(node).await? {
            continue;
        }
        let mutation = db.mutation().await?;
        let owner = operator_account(&mutation).await?;
        // Another control plane may do the same at this moment.
        let made = nodes::Entity::insert(nodes::ActiveModel {
            id: Set(node.id.into()),
            account_id: Set(owner.map(Col)),
            name: Set(node.name.clone()),
            class: Set(node.class.into()),
            public_key: Set(None),
            arch: Set(String::new()),
            os: Set(String::new()),
            software: Set(String::new()),
            protocol: Set(0),
            cores: Set(0),
            memory: Set(ByteSize(0).into()),
            lanes: Set(Vec::new().into()),
            slots: Set(0),
            checkpoint: Set(0),
            checkpoint_digest: Set(Digest([0; 32]).into()),
            created: Set(Timestamp::now().into()),
            hello: Set(None),
        })
        .on_conflict(OnConflict::column(nodes::Column::Id).do_nothing().to_owned())
        .exec_without_returning(mutation.tx())
        .await;
        if matches!(made, Err(DbErr::RecordNotInserted) | Ok(0)) {
            continue;
        }
        made?;
        committed = Some(mutation.commit(&Actor::platform(), owner, "node.create", node.id).await?);
    }
    Ok(committed)
}

/// The first account that the operator owns.
async fn operator_account(mutation: &Mutation) -> Result<Option<AccountId>> {
    let operator = users::Entity::find().filter(users::Column::Operator.eq(true)).one(mutation.tx()).await?;
    let Some(operator) = operator else { return Ok(None) };
    let of = members::Entity::find().filter(members::Column::UserId.eq(operator.id)).all(mutation.tx()).await?;
    let ids = of.into_iter().filter(|member| *member.role == protocol::api::Role::Owner).map(|m| m.account_id);
    let first = accounts::Entity::find().filter(accounts::Column::Id.is_in(ids)).one(mutation.tx()).await?;
    Ok(first.map(|account| account.id.0))
}

/// Nodes without an owner become the operator's.
pub(crate) async fn adopt(mutation: &Mutation, account: AccountId) -> Result<()> {
    nodes::Entity::update_many()
        .set(nodes::ActiveModel { account_id: Set(Some(account.into())), ..Default::default() })
        .filter(nodes::Column::AccountId.is_null())
        .exec(mutation.tx())
        .await?;
    Ok(())
}

/// All records, as they belong in the bucket. A node that nobody owns yet has the nil account.
pub(crate) async fn all(db: &Db) -> Result<Vec<NodeRecord>> {
    let rows = loops::nodes_all().all(db.read()).await?;
    let nobody = AccountId::from_uuid(uuid::Uuid::nil());
    let record = |row: nodes::Model| NodeRecord {
        node: row.id.0,
        account: row.account_id.map_or(nobody, |account| account.0),
        name: row.name,
        class: row.class.0,
        arch: row.arch,
        protocol: u16::try_from(row.protocol).unwrap_or(0),
    };
    Ok(rows.into_iter().map(record).collect())
}
