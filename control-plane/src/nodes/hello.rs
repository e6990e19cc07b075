//! Hello: a node says what it is; the platform says which protocol they speak, what it checks tickets with, and how far
//! its receipts are committed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use protocol::node::{Hello, HelloReply, PROTOCOL_MAX, PROTOCOL_MIN};
use protocol::{Code, Field, NodeId, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use crate::App;
use crate::db::Actor;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::nodes;
use crate::error::{Result, invalid, refuse};

const TEXT_LENGTH_MAX: usize = 60;

/// The newest version that both speak.
pub(crate) fn negotiate(min: u16, max: u16) -> Result<u16> {
    let common = max.min(PROTOCOL_MAX);
    if min > max || common < min || common < PROTOCOL_MIN {
        let detail = format!("The node speaks protocol {min} to {max}; the platform {PROTOCOL_MIN} to {PROTOCOL_MAX}");
        return Err(invalid("protocol_max", detail));
    }
    Ok(common)
}

/// A node's public key.
pub(crate) fn parse_key(text: &str) -> Option<VerifyingKey> {
    let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

/// `POST /hello`
pub(crate) async fn hello(app: &App, node: NodeId, hello: Hello) -> Result<HelloReply> {
    let protocol = negotiate(hello.protocol_min, hello.protocol_max)?;
    hello.check().map_err(|malformed| invalid(malformed.field.unwrap_or(Field::BODY), malformed.why))?;
    if hello.boot.is_none() {
        return Err(invalid(
            "boot",
            "`boot` is missing: the answer has keys, and is sealed for this start of the node",
        ));
    }
    if let Some(fabrics) = &app.fabrics
        && !fabrics.nodes.admit_boot(node, hello.boot.as_ref()).await
    {
        let detail = "Another process with this node's credentials is connected. One of them is a copy.";
        return Err(refuse(Code::NodeCopied, detail));
    }
    if parse_key(&hello.public_key).is_none() {
        return Err(invalid("public_key", "`public_key` is not an Ed25519 key in base64url"));
    }
    let mutation = app.db.mutation().await?;
    let row = nodes::Entity::find_by_id(Col(node)).one(mutation.tx()).await?;
    let row = row.ok_or_else(|| refuse(Code::NotFound, "The platform does not know this node."))?;
    let clip = |text: &str| text.chars().take(TEXT_LENGTH_MAX).collect::<String>();
    let small = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    nodes::Entity::update_many()
        .set(nodes::ActiveModel {
            name: Set(if hello.name.is_empty() { row.name.clone() } else { clip(&hello.name) }),
            public_key: Set(Some(hello.public_key)),
            arch: Set(clip(&hello.arch)),
            os: Set(clip(&hello.os)),
            software: Set(clip(&hello.software)),
            protocol: Set(i32::from(protocol)),
            cores: Set(small(hello.cores)),
            memory: Set(hello.memory.into()),
            lanes: Set(hello.lanes.into()),
            slots: Set(small(hello.slots)),
            hello: Set(Some(mutation.at().into())),
            ..Default::default()
        })
        .filter(nodes::Column::Id.eq(row.id))
        .exec(mutation.tx())
        .await?;
    let committed =
        mutation.commit(&Actor(node.to_string()), row.account_id.map(|account| account.0), "node.hello", node).await?;
    app.announce(committed).await;
    app.nodes.records_changed();
    let now = Timestamp::now();
    Ok(HelloReply {
        protocol,
        node_keys: app.tickets.node_keys(node, now),
        checkpoint: unsigned(row.checkpoint),
        checkpoint_digest: row.checkpoint_digest.0,
        now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(negotiate(1, 2).unwrap(), 2);
        assert!(negotiate(1, 1).is_err(), "its tickets were others");
        assert_eq!(negotiate(1, 9).unwrap(), PROTOCOL_MAX);
        assert!(negotiate(PROTOCOL_MAX + 1, 9).is_err());
        assert!(negotiate(0, 0).is_err());
        assert!(negotiate(3, 2).is_err());
    }
}
