//! The operator's keys and those of its accounts, in a folder.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use nkeys::{KeyPair, KeyPairType};

use super::{Credentials, Registrar, jwt, open_key, write_private};
use crate::FabricError;

/// What a server of the user's own includes.
const SERVER_CONFIG: &str = "nats-accounts.conf";

/// The keys that make NATS users: an operator's and its accounts', kept in a folder (mode 0600) with the accounts' JWTs.
#[derive(Clone)]
pub struct Authority {
    keys: Arc<Keys>,
}

struct Keys {
    core: KeyPair,
    lenders: Registrar,
    system: KeyPair,
    /// The part of the server's configuration that trusts these keys.
    server_config: String,
}

impl Authority {
    /// Opens the folder's keys, or makes them. Also writes there what a NATS server that trusts them has to include.
    pub fn open(folder: &Path) -> Result<Self, FabricError> {
        let failed = |what: &Path, e: std::io::Error| FabricError::Credentials(format!("{}: {e}", what.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| failed(folder, e))?;
        let operator = open_key(&folder.join("nats-operator.nk"), KeyPairType::Operator)?;
        // Named so when there was one account for all: JetStream's data belong to this key.
        let core = open_key(&folder.join("nats-account.nk"), KeyPairType::Account)?;
        let lenders = Registrar::open(&folder.join("nats-lenders.nk"))?;
        let system = open_key(&folder.join("nats-system.nk"), KeyPairType::Account)?;

        let operator_path = folder.join("nats-operator.jwt");
        let operator_jwt =
            jwt::kept(&operator_path, &operator, &operator, "crowdcloud", &jwt::operator_claims(&system))?;
        let account = |file: &str, key: &KeyPair, name: &str, jetstream: bool| {
            let jwt = jwt::kept(&folder.join(file), &operator, key, name, &jwt::account_claims(jetstream))?;
            Ok::<_, FabricError>(format!("  {}: {jwt}\n", key.public_key()))
        };
        let accounts = [
            account("nats-account.jwt", &core, "CORE", true)?,
            account("nats-lenders.jwt", lenders.account(), "LENDERS", false)?,
            account("nats-system.jwt", &system, "SYS", false)?,
        ];
        let server_config = format!(
            "operator: {operator_jwt}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}}}\n",
            system.public_key(),
            accounts.concat()
        );
        let path = folder.join(SERVER_CONFIG);
        if fs::read_to_string(&path).ok().as_ref() != Some(&server_config) {
            write_private(&path, server_config.as_bytes()).map_err(|e| failed(&path, e))?;
        }
        Ok(Self { keys: Arc::new(Keys { core, lenders, system, server_config }) })
    }

    /// A user of the core in its own account, with all rights there.
    pub fn core_user(&self, name: &str) -> Result<Credentials, FabricError> {
        jwt::user_of_core(&self.keys.core, name)
    }

    /// A user of the core in the lenders' account, where it speaks with nodes.
    pub fn lenders_user(&self, name: &str) -> Result<Credentials, FabricError> {
        self.keys.lenders.core_user(name)
    }

    /// Who signs nodes' users.
    pub fn registrar(&self) -> &Registrar {
        &self.keys.lenders
    }

    /// A user of the system account: server events and figures, for the operator and tests.
    pub fn system_user(&self, name: &str) -> Result<Credentials, FabricError> {
        jwt::user_of_core(&self.keys.system, name)
    }

    /// The part of the server's configuration that trusts these keys.
    pub(crate) fn server_config(&self) -> &str {
        &self.keys.server_config
    }
}
