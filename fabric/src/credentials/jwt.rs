//! JWTs of the NATS form (`ed25519-nkey`, version 2): what accounts and users may do.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use protocol::Timestamp;
use serde_json::{Value, json};

use super::{Credentials, UserKey, bad_key, write_private};
use crate::FabricError;

/// What a user may do.
pub(super) struct Rights {
    pub(super) publish: Vec<String>,
    pub(super) subscribe: Vec<String>,
    pub(super) subscriptions_max: i64,
    pub(super) payload_max_bytes: i64,
    /// How it may connect: a stolen JWT opens no other door.
    pub(super) connection: &'static str,
    pub(super) expires: Option<Timestamp>,
}

impl Rights {
    pub(super) const ALL: Self = Self {
        publish: Vec::new(),
        subscribe: Vec::new(),
        subscriptions_max: -1,
        payload_max_bytes: -1,
        connection: STANDARD,
        expires: None,
    };
}

/// A plain client connection.
pub(super) const STANDARD: &str = "STANDARD";
/// A WebSocket.
pub(super) const WEBSOCKET: &str = "WEBSOCKET";

fn permission(allow: &[String]) -> Value {
    if allow.is_empty() { json!({}) } else { json!({ "allow": allow }) }
}

/// A user of the core, with all rights in the account and a key that is made here.
pub(super) fn user_of_core(account: &KeyPair, name: &str) -> Result<Credentials, FabricError> {
    let key = UserKey::generate();
    key.credentials(user(account, &key.public(), name, &Rights::ALL)?)
}

/// The JWT of the user with this public key.
pub(super) fn user(account: &KeyPair, public_key: &str, name: &str, rights: &Rights) -> Result<String, FabricError> {
    let claims = json!({
        "type": "user", "version": 2,
        "pub": permission(&rights.publish), "sub": permission(&rights.subscribe),
        "subs": rights.subscriptions_max, "data": -1, "payload": rights.payload_max_bytes,
        "allowed_connection_types": [rights.connection],
    });
    sign(account, public_key, name, rights.expires, &claims)
}

pub(super) fn operator_claims(system: &KeyPair) -> Value {
    json!({ "type": "operator", "version": 2, "system_account": system.public_key() })
}

pub(super) fn account_claims(jetstream: bool) -> Value {
    let storage = if jetstream { -1 } else { 0 };
    json!({
        "type": "account", "version": 2, "default_permissions": { "pub": {}, "sub": {} },
        "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
        },
    })
}

/// The JWT that is kept in a file. It is made where there is none, or where it says something else: it is of other keys,
/// or of an earlier release.
pub(super) fn kept(
    path: &Path,
    issuer: &KeyPair,
    subject: &KeyPair,
    name: &str,
    nats: &Value,
) -> Result<String, FabricError> {
    let failed = |e: std::io::Error| FabricError::Credentials(format!("{}: {e}", path.display()));
    let subject = subject.public_key();
    match fs::read_to_string(path) {
        Ok(text) if says(text.trim(), &issuer.public_key(), &subject, name, nats) => {
            return Ok(text.trim().to_owned());
        }
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let jwt = sign(issuer, &subject, name, None, nats)?;
    write_private(path, jwt.as_bytes()).map_err(failed)?;
    Ok(jwt)
}

fn says(jwt: &str, issuer: &str, subject: &str, name: &str, nats: &Value) -> bool {
    let mut parts = jwt.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    claims.is_some_and(|claims| {
        claims["iss"] == issuer && claims["sub"] == subject && claims["name"] == name && claims["nats"] == *nats
    })
}

fn sign(
    issuer: &KeyPair,
    subject: &str,
    name: &str,
    expires: Option<Timestamp>,
    nats: &Value,
) -> Result<String, FabricError> {
    let issued_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let id: u128 = rand::random();
    let mut claims = json!({
        "jti": format!("{id:032X}"), "iat": issued_s, "iss": issuer.public_key(), "sub": subject, "name": name,
        "nats": nats,
    });
    if let Some(expires) = expires {
        claims["exp"] = expires.0.div_euclid(1000).into();
    }
    let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = issuer.sign(signed.as_bytes()).map_err(bad_key)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
