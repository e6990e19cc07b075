//! What a machine asks the platform for when it joins, renews and leaves, signed with its keys.

use fabric::FabricError;
use protocol::api::{AskAsNode, LookAtToken, RegisterNode};
use protocol::node::{
    Connection, NodeRequest, NodeWant, Nonce, PROTOCOL_MAX, PROTOCOL_MIN, Probe, Registration, Signature, TokenQuery,
    TokenSeed, printable,
};
use protocol::signed::{self, Signed};
use protocol::{ByteSize, Digest, Lane, NodeId, TokenId};

use crate::config::Config;
use crate::keys::NodeKeys;

/// What this machine is, and would lend. How fast it is, is measured by runs.
#[must_use]
pub fn probe(config: &Config) -> Probe {
    let vm = crate::vm::missing(config).is_none();
    let free = |at: rustix::fs::StatVfs| ByteSize(at.f_bavail.saturating_mul(at.f_frsize));
    Probe {
        name: printable(&config.name),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        os: std::env::consts::OS.to_owned(),
        cores: config.cores,
        memory: config.memory,
        slots: config.slots,
        disk: rustix::fs::statvfs(&config.data).ok().map(free),
        turns_per_ms: None,
        lanes: if vm { vec![Lane::Wasm, Lane::Vm] } else { vec![Lane::Wasm] },
        accelerator: None,
    }
}

/// A request for what comes of a token, which is not spent by it.
///
/// # Errors
/// When it cannot be written.
pub fn look(query: &TokenQuery, seed: &TokenSeed) -> Result<LookAtToken, FabricError> {
    let query = written(query)?;
    Ok(LookAtToken { signature: seed.sign::<TokenQuery>(&query), query })
}

impl NodeKeys {
    /// A request to join with this token.
    ///
    /// # Errors
    /// When the keys cannot sign.
    pub fn register(
        &self,
        probe: Probe,
        token: TokenId,
        seed: &TokenSeed,
        machine: Option<Digest>,
    ) -> Result<RegisterNode, FabricError> {
        let registration = Registration {
            token,
            nonce: Nonce(rand::random()),
            keys: self.public(),
            machine,
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            probe,
        };
        let text = written(&registration)?;
        let message = signed::message::<Registration>(&text);
        Ok(RegisterNode {
            token_signature: seed.sign::<Registration>(&text),
            receipt_signature: signed::sign::<Registration>(&text, &self.signing),
            nats_signature: Signature(self.nats().sign(&message)?),
            registration: text,
        })
    }

    /// Asks a gateway to connect the node that has these keys: `start` is another one at each start of its software.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn connection(&self, node: NodeId, start: Nonce, challenge: Nonce) -> Result<Signed, FabricError> {
        Signed::new(&Connection { node, start, challenge }, &self.signing)
            .map_err(|error| FabricError::Credentials(error.to_string()))
    }

    /// A request of the node that has these keys.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn ask(&self, node: NodeId, wants: NodeWant) -> Result<AskAsNode, FabricError> {
        let request = written(&NodeRequest { node, wants, nonce: Nonce(rand::random()) })?;
        Ok(AskAsNode { signature: signed::sign::<NodeRequest>(&request, &self.signing), request })
    }
}

fn written(statement: &impl serde::Serialize) -> Result<String, FabricError> {
    serde_json::to_string(statement).map_err(|error| FabricError::Credentials(error.to_string()))
}

#[cfg(test)]
mod tests {
    use protocol::wire;

    use super::*;

    #[test]
    fn all_keys_sign_what_a_machine_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        let keys = NodeKeys::open(folder.path()).unwrap();
        let config = Config { no_vm: true, ..Config::new(folder.path().to_owned(), NodeId::new(), "attic") };
        let (token, seed) = (TokenId::new(), TokenSeed([3; 32]));
        let asked = keys.register(probe(&config), token, &seed, None).unwrap();
        let registration: Registration = wire::read(asked.registration.as_bytes()).unwrap();
        assert_eq!((registration.token, &registration.keys), (token, &keys.public()));
        assert!(registration.probe.check().is_ok() && registration.probe.disk.is_some());
        let text = &asked.registration;
        assert!(seed.public().has_signed::<Registration>(text, &asked.token_signature));
        assert!(registration.keys.receipt.has_signed::<Registration>(text, &asked.receipt_signature));
        let message = signed::message::<Registration>(text);
        assert!(fabric::UserKey::has_signed(&registration.keys.nats, &message, &asked.nats_signature.0));
        let other = keys.register(probe(&config), token, &seed, None).unwrap();
        assert_ne!(other.registration, asked.registration, "the nonce is another");

        let asked = keys.ask(config.node, NodeWant::Leave).unwrap();
        assert!(registration.keys.receipt.has_signed::<NodeRequest>(&asked.request, &asked.signature));
        // A signature is of one kind of statement alone.
        assert!(!registration.keys.receipt.has_signed::<Registration>(&asked.request, &asked.signature));
    }
}
