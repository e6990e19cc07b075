//! Hello: a node says what it is; the platform says which protocol they speak, what it checks tickets with, and how far
//! its receipts are committed. The node's keys are compared with the registered ones, which no hello changes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use fabric::UserKey;
use protocol::node::{Hello, HelloReply, NodeEvent, NodeState, PROTOCOL_MAX, PROTOCOL_MIN, PublicKeys, StoreDisk};
use protocol::{Code, Field, NodeId, PlacementClass, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use super::{calibration, copies, standing, trust};
use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::nodes;
use crate::db::{Actor, Db};
use crate::error::{Result, invalid, refuse};
use crate::routes_outbox::NODE;

const TEXT_LENGTH_MAX: usize = 60;
/// What is on record may be so far ahead of this clock: clocks of control planes differ. Beyond that one was wrong.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(300);

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

/// Whether the keys are keys.
fn check_keys(hello: &Hello) -> Result<()> {
    if parse_key(&hello.public_key).is_none() {
        return Err(invalid("public_key", "`public_key` is not an Ed25519 key in base64url"));
    }
    let Some(keys) = &hello.keys else { return Ok(()) };
    if keys.receipt.to_string() != hello.public_key {
        return Err(invalid("keys.receipt", "`keys.receipt` is not `public_key`"));
    }
    if !UserKey::is_public(&keys.nats) {
        return Err(invalid("keys.nats", "`keys.nats` is no public key of a NATS user"));
    }
    Ok(())
}

fn differing(row: &nodes::Model, hello: &Hello) -> Option<&'static str> {
    differing_of(row, hello.keys.as_ref(), &hello.public_key)
}

/// The first key that is registered, and that the node does not have.
pub(super) fn differing_of(row: &nodes::Model, keys: Option<&PublicKeys>, receipt: &str) -> Option<&'static str> {
    let nats = keys.map(|keys| keys.nats.clone());
    let ticket = keys.map(|keys| keys.ticket.to_string());
    let keys = [
        ("NATS", &row.nats_key, nats),
        ("receipt", &row.public_key, Some(receipt.to_owned())),
        ("ticket", &row.ticket_key, ticket),
    ];
    keys.into_iter().find(|(_, registered, said)| registered.is_some() && **registered != *said).map(|(name, ..)| name)
}

/// The node's row, where the keys are those of the node.
async fn registered<C: ConnectionTrait>(connection: &C, node: NodeId, hello: &Hello) -> Result<nodes::Model> {
    let row = nodes::Entity::find_by_id(Col(node)).one(connection).await?;
    let row = row.ok_or_else(|| refuse(Code::NotFound, "The platform does not know this node."))?;
    standing::check(&row)?;
    match differing(&row, hello) {
        None => {
            copies::check(&row, hello)?;
            Ok(row)
        }
        Some(key) => {
            let detail = format!("The node's {key} key is not the one that is registered.");
            Err(refuse(Code::NodeKeysDiffer, detail))
        }
    }
}

/// The row as this hello has it, but for its time. What an earlier release has not noted is noted once.
fn told(row: &nodes::Model, hello: &Hello, protocol: u16, checks_every: Duration) -> Result<nodes::Model> {
    let (nats_key, ticket_key) = match &hello.keys {
        Some(keys) => (Some(keys.nats.clone()), Some(keys.ticket.to_string())),
        None => (None, None),
    };
    let clip = |text: &str| text.chars().take(TEXT_LENGTH_MAX).collect::<String>();
    let small = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    Ok(nodes::Model {
        // One that has joined keeps the name that its owner knows; the operator names their own.
        name: match trust::fixed(row.class.0) {
            Some(_) if !hello.name.is_empty() => clip(&hello.name),
            _ => row.name.clone(),
        },
        public_key: row.public_key.clone().or_else(|| Some(hello.public_key.clone())),
        nats_key: row.nats_key.clone().or(nats_key),
        ticket_key: row.ticket_key.clone().or(ticket_key),
        arch: clip(&hello.arch),
        os: clip(&hello.os),
        software: clip(&hello.software),
        protocol: i32::from(protocol),
        cores: small(hello.cores),
        memory: hello.memory.into(),
        lanes: hello.lanes.clone().into(),
        slots: small(hello.slots),
        state: greeted(row, checks_every)?.into(),
        caps: hello.agreed.map(Col),
        starts: copies::starts(hello),
        start: copies::start(hello).map(Col),
        machine_boot: hello.fingerprint.and_then(|said| said.boot).map(Col),
        disks: disks(row, hello).map(Col),
        ..row.clone()
    })
}

/// The disks that the store may use: a lender's node has none, whatever it says.
fn disks(row: &nodes::Model, hello: &Hello) -> Option<Vec<StoreDisk>> {
    let own = row.class.0 == PlacementClass::Operator;
    Some(hello.disks.clone()).filter(|disks| own && !disks.is_empty())
}

/// The state after a hello. A node that was measured before, or never is, is online at once.
fn greeted(row: &nodes::Model, checks_every: Duration) -> Result<NodeState> {
    let state = row.state.after(NodeEvent::Hello);
    let state = state.ok_or_else(|| refuse(Code::NodeLeft, "It is no node any more."))?;
    let measured = state.after(NodeEvent::Calibrated).filter(|_| calibration::is_done(row, checks_every));
    Ok(measured.unwrap_or(state))
}

/// Notes that a node is there still, where its hello says nothing new: no change, and no matter for the audit. False where
/// another hello came between.
async fn heard(db: &Db, known: &nodes::Model, now: Timestamp) -> Result<bool> {
    let heard = nodes::Entity::update_many()
        .set(nodes::ActiveModel { hello: Set(Some(time_of(known, now))), ..Default::default() })
        .filter(nodes::Column::Id.eq(known.id))
        .filter(nodes::Column::State.eq(known.state))
        .filter(nodes::Column::Starts.eq(known.starts))
        .exec(db.write())
        .await?;
    Ok(heard.rows_affected == 1)
}

/// The time of a hello. One that a wrong clock has put far ahead gives way to this clock's.
fn time_of(row: &nodes::Model, now: Timestamp) -> Col<Timestamp> {
    let last = row.hello.map(|last| last.0);
    let time = not_before(last, now);
    if let Some(last) = last.filter(|last| *last > time) {
        let ahead_s = last.since(now).as_secs();
        tracing::warn!(node = %row.id.0, ahead_s, "the last hello is noted far ahead of this clock, and is noted anew");
    }
    Col(time)
}

/// A time that never falls where clocks differ a little: the last one, or now.
pub(super) fn not_before(last: Option<Timestamp>, now: Timestamp) -> Timestamp {
    last.filter(|last| last.since(now) <= AHEAD_MAX).map_or(now, |last| last.max(now))
}

/// Notes what a hello says that is new.
async fn note(app: &App, node: NodeId, hello: &Hello, protocol: u16) -> Result<nodes::Model> {
    let mut mutation = app.db.mutation().await?;
    let row = registered(mutation.tx(), node, hello).await?;
    let next = told(&row, hello, protocol, app.config.node_checks_every.duration())?;
    let since = if next.state == row.state { row.state_since.0 } else { mutation.at() };
    let noted = next.clone();
    nodes::Entity::update_many()
        .set(nodes::ActiveModel {
            name: Set(noted.name),
            public_key: Set(noted.public_key),
            nats_key: Set(noted.nats_key),
            ticket_key: Set(noted.ticket_key),
            arch: Set(noted.arch),
            os: Set(noted.os),
            software: Set(noted.software),
            protocol: Set(noted.protocol),
            cores: Set(noted.cores),
            memory: Set(noted.memory),
            lanes: Set(noted.lanes),
            slots: Set(noted.slots),
            hello: Set(Some(time_of(&row, mutation.at()))),
            state: Set(noted.state),
            state_since: Set(since.into()),
            caps: Set(noted.caps),
            starts: Set(noted.starts),
            start: Set(noted.start),
            machine_boot: Set(noted.machine_boot),
            disks: Set(noted.disks),
            ..Default::default()
        })
        .filter(nodes::Column::Id.eq(row.id))
        .exec(mutation.tx())
        .await?;
    let account = row.account_id.map(|account| account.0);
    mutation.tell(account, NODE, node.to_string(), String::new());
    let committed = mutation.commit(&Actor(node.to_string()), account, "node.hello", node).await?;
    app.announce(committed).await;
    Ok(next)
}

/// `POST /hello`: each node says it each minute, and it is noted as a change where it says something new.
pub(crate) async fn hello(app: &App, node: NodeId, hello: Hello) -> Result<HelloReply> {
    let protocol = negotiate(hello.protocol_min, hello.protocol_max)?;
    hello.check().map_err(|malformed| invalid(malformed.field.unwrap_or(Field::BODY), malformed.why))?;
    if hello.boot.is_none() {
        return Err(invalid(
            "boot",
            "`boot` is missing: the answer has keys, and is sealed for this start of the node",
        ));
    }
    check_keys(&hello)?;
    // Before another start of the node gives way to this one.
    let known = registered(app.db.read(), node, &hello).await?;
    if let Some(fabrics) = &app.fabrics
        && !fabrics.nodes.admit_boot(node, hello.boot.as_ref()).await
    {
        let whose = copies::whose(&known, hello.fingerprint);
        let detail = format!("This node is connected already, as {whose}. One of them is a copy.");
        return Err(refuse(Code::NodeCopied, detail));
    }
    let now = Timestamp::now();
    let same = told(&known, &hello, protocol, app.config.node_checks_every.duration())? == known;
    let row =
        if same && heard(&app.db, &known, now).await? { known } else { note(app, node, &hello, protocol).await? };
    Ok(HelloReply {
        protocol,
        node_keys: app.tickets.node_keys(node, now),
        checkpoint: unsigned(row.checkpoint),
        checkpoint_digest: row.checkpoint_digest.0,
        now,
        wish: row.wish.map(|wish| wish.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_never_fall_but_from_far_ahead() {
        let now = Timestamp::now();
        let ahead = |by: Duration| now.plus(by);
        assert_eq!(not_before(None, now), now);
        assert_eq!(not_before(Some(now), ahead(AHEAD_MAX)), ahead(AHEAD_MAX));
        assert_eq!(not_before(Some(ahead(AHEAD_MAX)), now), ahead(AHEAD_MAX));
        assert_eq!(not_before(Some(ahead(AHEAD_MAX + Duration::from_millis(1))), now), now);
    }

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
