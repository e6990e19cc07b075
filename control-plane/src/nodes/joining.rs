//! Joining, renewing and leaving: what the platform says of itself, and what it makes of a machine that has a token.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use fabric::{Registrar, UserKey};
use protocol::api::{AskAsNode, LookAtToken, RegisterNode};
use protocol::node::{
    Admission, NodeEvent, NodeRequest, NodeState, NodeWant, PROTOCOL_MAX, PROTOCOL_MIN, PlatformStatement, PublicKey,
    PublicKeys, Registration, TokenQuery, TokenTerms, TrustLevel,
};
use protocol::signed::{self, Signed, Statement};
use protocol::{Code, Digest, Field, NodeId, Timestamp, TokenId, wire, words};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _,
};

use super::hello::negotiate;
use super::records::{self, Change, Changed};
use super::{standing, trust};
use crate::config::Config;
use crate::db::columns::Col;
use crate::db::entities::{accounts, node_tokens, nodes};
use crate::db::{Actor, Committed, Db, Mutation};
use crate::error::{Error, Result, StartError, invalid, refuse, refuse_field};
use crate::routes_outbox::NODE;
use crate::tickets::Tickets;

/// The same token and keys get the same response for so long: the first may have been lost.
const REPEATED_WITHIN: Duration = Duration::from_secs(600);
const TEXT_LENGTH_MAX: usize = 60;

/// The platform's keys for nodes, all but the last derived from its root secret.
pub(crate) struct Joining {
    root: SigningKey,
    answers: SigningKey,
    tickets: PublicKey,
    releases: Option<PublicKey>,
    /// Signs NATS users; none where this process was not given the account's key.
    registrar: Option<Registrar>,
    nodes_max: u32,
    /// How long a node's NATS user is good.
    jwt_lasts: Duration,
}

impl Joining {
    pub(crate) fn new(config: &Config, tickets: &Tickets) -> Result<Self, StartError> {
        let key = |purpose: &str| SigningKey::from_bytes(&tickets.secret(purpose));
        let sealing = key("nodes: sealing of tickets").verifying_key().to_montgomery();
        Ok(Self {
            root: key("nodes: root"),
            answers: key("nodes: registrar"),
            tickets: PublicKey(sealing.to_bytes()),
            releases: config.release_key,
            registrar: config.lenders_key.as_deref().map(Registrar::open).transpose()?,
            nodes_max: config.nodes_max,
            jwt_lasts: config.node_jwt_lasts.duration(),
        })
    }

    /// The key that tokens pin.
    pub(crate) fn root(&self) -> PublicKey {
        PublicKey(self.root.verifying_key().to_bytes())
    }

    /// `GET /platform`
    pub(crate) fn statement(&self, certificate: Option<Digest>, now: Timestamp) -> Result<Signed> {
        let statement = PlatformStatement {
            root: self.root(),
            registrar: PublicKey(self.answers.verifying_key().to_bytes()),
            tickets: self.tickets,
            releases: self.releases,
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            now,
            certificate,
        };
        sign(&statement, &self.root)
    }

    /// `POST /nodes/tokens/look`: what will come of a token, for whoever has it. It is not spent.
    pub(crate) async fn look(&self, db: &Db, asked: &LookAtToken, now: Timestamp) -> Result<Signed> {
        let query: TokenQuery = wire::read(asked.query.as_bytes())
            .map_err(|error| refuse_field(error.code(), "query", format!("`query`: {error}")))?;
        let (token, account) = token_of(db.read(), query.token).await?;
        if !key_of(&token)?.has_signed::<TokenQuery>(&asked.query, &asked.signature) {
            return Err(refuse_field(Code::NodeTokenInvalid, "signature", "The token's signature is wrong."));
        }
        good_for(&token, &query.keys, now)?;
        let terms = TokenTerms {
            nonce: query.nonce,
            node: token.node_id.0,
            name: token.name,
            account,
            class: token.class.0,
            expires: token.expires.0,
        };
        sign(&terms, &self.answers)
    }

    /// `POST /nodes/register`: spends the token, in one transaction. Nothing is committed where the token and the keys
    /// come again.
    pub(crate) async fn register(&self, db: &Db, asked: &RegisterNode) -> Result<(Signed, Option<Committed>)> {
        let (registration, protocol) = read_registration(asked)?;
        let id = registration.token;
        let (token, _) = token_of(db.read(), id).await?;
        check_signatures(&token, &registration, asked)?;

        let mut mutation = db.mutation().await?;
        let (token, _) = token_of(mutation.tx(), id).await?;
        if let Some(response) = good_for(&token, &registration.keys, mutation.at())? {
            return Ok((response, None));
        }
        let node = token.node_id.0;
        self.enroll(&mutation, &token, &registration, protocol).await?;
        let admission = self.admission(mutation.tx(), node, &registration.keys.nats, protocol, mutation.at()).await?;
        let response = sign(&admission, &self.answers)?;
        node_tokens::Entity::update_many()
            .set(node_tokens::ActiveModel {
                used: Set(Some(mutation.at().into())),
                used_by: Set(Some(digest_of(&registration.keys).into())),
                response: Set(Some(response.clone().into())),
                ..Default::default()
            })
            .filter(node_tokens::Column::Id.eq(Col(id)))
            .exec(mutation.tx())
            .await?;
        let account = token.account_id.map(|account| account.0);
        mutation.tell(account, NODE, node.to_string(), String::new());
        let committed = mutation.commit(&Actor(node.to_string()), account, "node.register", node).await?;
        Ok((response, Some(committed)))
    }

    /// Makes the token's node, or notes the keys of one that has none yet.
    async fn enroll(
        &self,
        mutation: &Mutation,
        token: &node_tokens::Model,
        registration: &Registration,
        protocol: u16,
    ) -> Result<()> {
        let (keys, probe, node) = (&registration.keys, &registration.probe, token.node_id);
        if let Some(key) = taken(mutation.tx(), node.0, keys).await? {
            return Err(refuse(Code::NodeKeysTaken, format!("The {key} key is that of another node.")));
        }
        let clip = |text: &str| text.chars().take(TEXT_LENGTH_MAX).collect::<String>();
        let small = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        let mut row = nodes::ActiveModel {
            public_key: Set(Some(keys.receipt.to_string())),
            nats_key: Set(Some(keys.nats.clone())),
            ticket_key: Set(Some(keys.ticket.to_string())),
            machine: Set(registration.machine.map(Col)),
            arch: Set(clip(&probe.arch)),
            os: Set(clip(&probe.os)),
            software: Set(clip(&probe.software)),
            protocol: Set(i32::from(protocol)),
            cores: Set(small(probe.cores)),
            memory: Set(probe.memory.into()),
            lanes: Set(probe.lanes.clone().into()),
            slots: Set(small(probe.slots)),
            ..Default::default()
        };
        if let Some(known) = nodes::Entity::find_by_id(node).one(mutation.tx()).await? {
            standing::check(&known)?;
            if let Some(key) = super::hello::differing_of(&known, Some(keys), &keys.receipt.to_string()) {
                return Err(refuse(Code::NodeKeysDiffer, format!("The node's {key} key is not the registered one.")));
            }
            let of_node = nodes::Column::Id.eq(node);
            nodes::Entity::update_many().set(row).filter(of_node).exec(mutation.tx()).await?;
            return Ok(());
        }
        if let Some(account) = token.account_id {
            // Whoever configures a node answers for its machine.
            if let Some(machine) = registration.machine.filter(|_| trust::fixed(token.class.0).is_none()) {
                standing::may_join(mutation.tx(), account.0, machine).await?;
            }
            let of_account = nodes::Column::AccountId.eq(account);
            let there = nodes::Column::State.is_not_in(NodeState::GONE.map(Col));
            let count = nodes::Entity::find().filter(of_account).filter(there).count(mutation.tx()).await?;
            if count >= u64::from(self.nodes_max) {
                let count = words::count(count, "node");
                return Err(refuse(Code::LimitReached, format!("The account has {count}, the most that it may have.")));
            }
        }
        let name = token.name.clone().unwrap_or_else(|| clip(&probe.name));
        row.id = Set(node);
        row.account_id = Set(token.account_id);
        row.name = Set(if name.is_empty() { "node".to_owned() } else { name });
        row.class = Set(token.class);
        row.level = Set(trust::fixed(token.class.0).unwrap_or(TrustLevel::New).into());
        row.state = Set(NodeState::Joining.into());
        row.state_reason = Set(None);
        row.state_since = Set(mutation.at().into());
        row.checkpoint = Set(0);
        row.checkpoint_digest = Set(Digest([0; 32]).into());
        row.created = Set(mutation.at().into());
        row.hello = Set(None);
        row.caps = Set(None);
        row.wish = Set(None);
        nodes::Entity::insert(row).exec_without_returning(mutation.tx()).await?;
        Ok(())
    }

    async fn admission<C: ConnectionTrait>(
        &self,
        connection: &C,
        node: NodeId,
        nats: &str,
        protocol: u16,
        now: Timestamp,
    ) -> Result<Admission> {
        let missing = "This control plane was not given the key that signs nodes' users (--lenders-key).";
        let registrar = self.registrar.as_ref().ok_or_else(|| refuse(Code::ControlPlaneUnavailable, missing))?;
        let expires = now.plus(self.jwt_lasts);
        let jwt = registrar.lender_jwt(node, nats, expires).map_err(|error| Error::Internal(error.to_string()))?;
        let row = nodes::Entity::find_by_id(Col(node)).one(connection).await?;
        let account = match row.and_then(|row| row.account_id) {
            Some(account) => accounts::Entity::find_by_id(account).one(connection).await?,
            None => None,
        };
        let account = account.map(|account| account.name.to_string());
        Ok(Admission { node, nats: nats.to_owned(), jwt, expires, protocol, account })
    }

    /// `POST /nodes/renew`: a new JWT for the same key.
    pub(crate) async fn renew(&self, db: &Db, asked: &AskAsNode, now: Timestamp) -> Result<Signed> {
        let row = asking(db.read(), asked, NodeWant::Renewal).await?;
        let nats = row.nats_key.as_deref().ok_or_else(|| refuse(Code::NotFound, "The node has no NATS key."))?;
        let protocol = u16::try_from(row.protocol).unwrap_or(PROTOCOL_MAX);
        sign(&self.admission(db.read(), row.id.0, nats, protocol, now).await?, &self.answers)
    }

    /// `POST /nodes/leave`
    pub(crate) async fn leave(&self, db: &Db, asked: &AskAsNode) -> Result<Changed> {
        asking(db.read(), asked, NodeWant::Leave).await?;
        let mutation = db.mutation().await?;
        let row = asking(mutation.tx(), asked, NodeWant::Leave).await?;
        let actor = Actor(row.id.to_string());
        let reason = Some("its owner took it back");
        let left = Change { event: NodeEvent::Leave, reason, actor: &actor, action: "node.leave" };
        records::change(mutation, &row, left).await
    }
}

fn sign<T: Statement>(statement: &T, key: &SigningKey) -> Result<Signed> {
    Signed::new(statement, key).map_err(|error| Error::Internal(error.to_string()))
}

/// What is asked for, where it can be true, and the protocol that both speak.
fn read_registration(asked: &RegisterNode) -> Result<(Registration, u16)> {
    let field = Field::from("registration");
    let registration: Registration = wire::read(asked.registration.as_bytes())
        .map_err(|error| refuse_field(error.code(), field.clone(), format!("`registration`: {error}")))?;
    registration.probe.check().map_err(|malformed| {
        let at = malformed.field.map_or_else(|| field.clone(), |name| field.key("probe").key(name));
        invalid(at, malformed.why)
    })?;
    if !UserKey::is_public(&registration.keys.nats) {
        return Err(invalid(field.key("keys").key("nats"), "it is no public key of a NATS user"));
    }
    let protocol = negotiate(registration.protocol_min, registration.protocol_max);
    let protocol = protocol.map_err(|error| error.under(&field))?;
    Ok((registration, protocol))
}

/// A token, and the account that it is of.
async fn token_of<C: ConnectionTrait>(connection: &C, id: TokenId) -> Result<(node_tokens::Model, Option<String>)> {
    let unknown = || refuse(Code::NodeTokenInvalid, "The platform does not know this token.");
    let token = node_tokens::Entity::find_by_id(Col(id)).one(connection).await?.ok_or_else(unknown)?;
    let Some(account) = token.account_id else { return Ok((token, None)) };
    let account = accounts::Entity::find_by_id(account).one(connection).await?;
    let account = account.filter(|account| account.deleted.is_none()).ok_or_else(unknown)?;
    Ok((token, Some(account.name.to_string())))
}

fn key_of(token: &node_tokens::Model) -> Result<PublicKey> {
    token.public_key.parse().map_err(|_| Error::Internal("a token without a key".to_owned()))
}

fn digest_of(keys: &PublicKeys) -> Digest {
    Digest::of(&serde_json::to_vec(keys).unwrap_or_default())
}

/// Token and keys have signed what is asked: nobody registers keys that are another's.
fn check_signatures(token: &node_tokens::Model, registration: &Registration, asked: &RegisterNode) -> Result<()> {
    let text = &asked.registration;
    if !key_of(token)?.has_signed::<Registration>(text, &asked.token_signature) {
        let detail = "The token's signature is wrong.";
        return Err(refuse_field(Code::NodeTokenInvalid, "token_signature", detail));
    }
    if !registration.keys.receipt.has_signed::<Registration>(text, &asked.receipt_signature) {
        return Err(invalid("receipt_signature", "it is not the receipt key's signature"));
    }
    let message = signed::message::<Registration>(text);
    if !UserKey::has_signed(&registration.keys.nats, &message, &asked.nats_signature.0) {
        return Err(invalid("nats_signature", "it is not the NATS key's signature"));
    }
    Ok(())
}

/// Whether a machine with these keys may spend the token. Where it has done so a moment ago, what it was told.
fn good_for(token: &node_tokens::Model, keys: &PublicKeys, now: Timestamp) -> Result<Option<Signed>> {
    let Some(used) = token.used else {
        return match token.expires.0 <= now {
            true => Err(refuse(Code::NodeTokenExpired, "The token was good until an hour after it was made.")),
            false => Ok(None),
        };
    };
    let (Some(used_by), Some(response)) = (token.used_by, &token.response) else {
        return Err(Error::Internal("a used token without its response".to_owned()));
    };
    if used_by.0 != digest_of(keys) {
        return Err(refuse(Code::NodeTokenUsed, "Another machine has joined with this token."));
    }
    if now.since(used.0) > REPEATED_WITHIN {
        let detail = format!("This machine has joined with it already, as {}.", token.node_id.0);
        let help = "Run `crowdcloud lend` with the same data folder, without a token.";
        return Err(protocol::Problem::new(Code::NodeTokenUsed, detail).with_help(help).into());
    }
    Ok(Some(response.0.clone()))
}

/// The first of these keys that another node has.
async fn taken<C: ConnectionTrait>(connection: &C, node: NodeId, keys: &PublicKeys) -> Result<Option<&'static str>> {
    let (receipt, ticket) = (keys.receipt.to_string(), keys.ticket.to_string());
    let any = Condition::any()
        .add(nodes::Column::NatsKey.eq(keys.nats.as_str()))
        .add(nodes::Column::PublicKey.eq(receipt.as_str()))
        .add(nodes::Column::TicketKey.eq(ticket.as_str()));
    let other = nodes::Entity::find().filter(any).filter(nodes::Column::Id.ne(Col(node))).one(connection).await?;
    Ok(other.map(|other| {
        if other.nats_key.as_ref() == Some(&keys.nats) {
            "NATS"
        } else if other.public_key.as_ref() == Some(&receipt) {
            "receipt"
        } else {
            "ticket"
        }
    }))
}

/// The node that asks for this over HTTPS, where it has signed and may.
async fn asking<C: ConnectionTrait>(connection: &C, asked: &AskAsNode, wants: NodeWant) -> Result<nodes::Model> {
    let request: NodeRequest = wire::read(asked.request.as_bytes())
        .map_err(|error| refuse_field(error.code(), "request", format!("`request`: {error}")))?;
    if request.wants != wants {
        return Err(invalid("request", "it is for something else"));
    }
    let unknown = || refuse(Code::NotFound, "The platform does not know this node.");
    let row = nodes::Entity::find_by_id(Col(request.node)).one(connection).await?.ok_or_else(unknown)?;
    let key: Option<PublicKey> = row.public_key.as_deref().and_then(|key| key.parse().ok());
    if !key.is_some_and(|key| key.has_signed::<NodeRequest>(&asked.request, &asked.signature)) {
        return Err(refuse_field(Code::NodeKeysDiffer, "signature", "The node's receipt key has not signed this."));
    }
    // Whoever was suspended may leave for good, and take all away.
    if !(wants == NodeWant::Leave && row.state.0 == NodeState::Suspended) {
        standing::check(&row)?;
    }
    Ok(row)
}
