//! NATS users made by us alone: an operator, one account for the platform, a system account, and user JWTs whose
//! permission lists are what keeps lenders apart.
//!
//! The server keeps only the accounts' public parts (a memory resolver), so a new node needs no reload.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::{KeyPair, KeyPairType};
use protocol::NodeId;
use serde_json::{Value, json};

use crate::FabricError;
use crate::subjects;

/// Subscriptions of one node: its inbox and its endpoints, with room for later ones.
const NODE_SUBSCRIPTIONS_MAX: i64 = 32;
/// Bytes of one message of a node.
const NODE_PAYLOAD_MAX_BYTES: i64 = 512 * 1024;

/// A NATS user: its JWT and its seed, as in a `.creds` file.
#[derive(Clone)]
pub struct Credentials {
    pub jwt: String,
    pub seed: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// The keys that make NATS users: operator, account and system account, kept in a folder (mode 0600).
#[derive(Clone)]
pub struct Authority {
    keys: Arc<Keys>,
}

struct Keys {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Authority {
    /// Opens the folder's keys, or makes them.
    pub fn open(folder: &Path) -> Result<Self, FabricError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|e| FabricError::Credentials(format!("cannot make the folder {}: {e}", folder.display())))?;
        let keys = Keys {
            operator: open_key(folder, "nats-operator.nk", KeyPairType::Operator)?,
            account: open_key(folder, "nats-account.nk", KeyPairType::Account)?,
            system: open_key(folder, "nats-system.nk", KeyPairType::Account)?,
        };
        Ok(Self { keys: Arc::new(keys) })
    }

    /// A user with all rights in the account.
    pub fn core_user(&self, name: &str) -> Result<Credentials, FabricError> {
        user(&self.keys.account, name, &Rights::ALL)
    }

    /// A node's user: publishes under `cc.node.<id>.{out.>,api,blob,kv,log,receipt}`, listens on `cc.node.<id>.in.>`,
    /// nothing else.
    pub fn node_user(&self, node: NodeId) -> Result<Credentials, FabricError> {
        let rights = Rights {
            publish: subjects::node_may_publish(node),
            subscribe: subjects::node_may_subscribe(node),
            subscriptions_max: NODE_SUBSCRIPTIONS_MAX,
            payload_max_bytes: NODE_PAYLOAD_MAX_BYTES,
        };
        user(&self.keys.account, &node.to_string(), &rights)
    }

    /// A user of the system account: server events and figures, for the operator and tests.
    pub fn system_user(&self, name: &str) -> Result<Credentials, FabricError> {
        user(&self.keys.system, name, &Rights::ALL)
    }

    /// The part of the server's configuration that trusts these keys.
    pub(crate) fn server_config(&self) -> Result<String, FabricError> {
        let keys = &self.keys;
        let (account, system) = (keys.account.public_key(), keys.system.public_key());
        let operator_jwt = jwt(
            &keys.operator,
            &keys.operator.public_key(),
            "crowdcloud",
            json!({ "type": "operator", "version": 2, "system_account": system }),
        )?;
        let account_jwt = jwt(&keys.operator, &account, "platform", account_claims(true))?;
        let system_jwt = jwt(&keys.operator, &system, "system", account_claims(false))?;
        Ok(format!(
            "operator: {operator_jwt}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{\n  \
             {account}: {account_jwt}\n  {system}: {system_jwt}\n}}\n"
        ))
    }
}

/// What a user may do.
struct Rights {
    publish: Vec<String>,
    subscribe: Vec<String>,
    subscriptions_max: i64,
    payload_max_bytes: i64,
}

impl Rights {
    const ALL: Self = Self { publish: Vec::new(), subscribe: Vec::new(), subscriptions_max: -1, payload_max_bytes: -1 };
}

fn permission(allow: &[String]) -> Value {
    if allow.is_empty() { json!({}) } else { json!({ "allow": allow }) }
}

fn user(account: &KeyPair, name: &str, rights: &Rights) -> Result<Credentials, FabricError> {
    let pair = KeyPair::new_user();
    let claims = json!({
        "type": "user", "version": 2,
        "pub": permission(&rights.publish), "sub": permission(&rights.subscribe),
        "subs": rights.subscriptions_max, "data": -1, "payload": rights.payload_max_bytes,
    });
    let jwt = jwt(account, &pair.public_key(), name, claims)?;
    let seed = pair.seed().map_err(bad_key)?;
    Ok(Credentials { jwt, seed })
}

fn account_claims(jetstream: bool) -> Value {
    let storage = if jetstream { -1 } else { 0 };
    json!({
        "type": "account", "version": 2, "default_permissions": { "pub": {}, "sub": {} },
        "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
        },
    })
}

/// A JWT of the NATS form: `ed25519-nkey`, version 2.
fn jwt(issuer: &KeyPair, subject: &str, name: &str, nats: Value) -> Result<String, FabricError> {
    let issued_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let id: u128 = rand::random();
    let claims = json!({
        "jti": format!("{id:032X}"), "iat": issued_s, "iss": issuer.public_key(), "sub": subject, "name": name,
        "nats": nats,
    });
    let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = issuer.sign(signed.as_bytes()).map_err(bad_key)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn open_key(folder: &Path, name: &str, kind: KeyPairType) -> Result<KeyPair, FabricError> {
    let path = folder.join(name);
    let failed = |e: std::io::Error| FabricError::Credentials(format!("{}: {e}", path.display()));
    match fs::read_to_string(&path) {
        Ok(seed) => {
            let mode = fs::metadata(&path).map_err(failed)?.permissions().mode();
            if mode & 0o077 != 0 {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
            }
            KeyPair::from_seed(seed.trim())
                .map_err(|e| FabricError::Credentials(format!("{} is not a key: {e}", path.display())))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let pair = KeyPair::new(kind);
            let seed = pair.seed().map_err(bad_key)?;
            write_private(&path, seed.as_bytes()).map_err(failed)?;
            Ok(pair)
        }
        Err(e) => Err(failed(e)),
    }
}

/// Writes beside and renames, so that a crash never leaves half a key.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = PathBuf::from(path);
    beside.as_mut_os_string().push(".new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn bad_key(error: nkeys::error::Error) -> FabricError {
    FabricError::Credentials(error.to_string())
}
