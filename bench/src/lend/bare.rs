//! A node without what is put around it on a lender's machine: the worker that `crowdcloud lend` starts, on the same way to
//! the platform, but with this benchmark in the supervisor's place and confined by nobody.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, bail};
use command_fds::{CommandFdExt as _, FdMapping};
use ed25519_dalek::{Signer as _, SigningKey};
use fabric::UserKey;
use protocol::api::RegisterNode;
use protocol::node::{
    Admission, Connection, JoinToken, Nonce, PROTOCOL_MAX, PROTOCOL_MIN, Probe, PublicKey, PublicKeys, Registration,
    Signature,
};
use protocol::signed::{self, Signed};
use protocol::{ByteSize, Digest, Lane, NodeId};
use serde_json::{Value, json};

use super::account::Account;
use super::relay::Relay;
use crate::http;
use crate::process::Process;

const NAME: &str = "bare";
/// Handles that the worker inherits (`cli/src/platform/lend/handles.rs`): its supervisor, the control socket, its program.
const HANDLES: [i32; 3] = [20, 21, 23];

pub(super) struct Bare {
    pub(super) node: NodeId,
    pub(super) relay: Relay,
    _process: Process,
}

/// What a supervisor has.
struct Keys {
    nats: UserKey,
    receipts: SigningKey,
    ticket: PublicKey,
    node: NodeId,
    start: Nonce,
}

impl Bare {
    /// Joins and works. This thread must live as long as the worker, which dies with it.
    pub(super) async fn start(account: &Account<'_>, flags: &[&str]) -> anyhow::Result<Self> {
        let relay = Relay::start(account.platform.at("/").address)?;
        let (token, node) = account.token(NAME, &relay)?;
        let keys = Keys::new(node);
        let admission = keys.register(account, &token).await?;
        let folder = account.folder.join(NAME);
        let data = folder.join("executor");
        std::fs::create_dir_all(&data)?;
        let (ours, theirs) = UnixStream::pair()?;
        let handles: [OwnedFd; HANDLES.len()] = [
            theirs.into(),
            UnixListener::bind(folder.join("lend.sock"))?.into(),
            File::open(&account.parts.program)?.into(),
        ];
        let log = File::create(folder.with_extension("log"))?;
        let mut command = Command::new(&account.parts.program);
        command.args(["lent-worker", "--supervisor"]).arg(std::process::id().to_string());
        command.arg(format!("--node-id={node}")).arg(format!("--node-name={NAME}")).arg("--node-data").arg(&data);
        command.args(flags).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let handles = handles.into_iter().zip(HANDLES);
        command.fd_mappings(handles.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }).collect())?;
        let process = Process::spawn(&mut command)?;
        let start = json!({
            "way": { "origin": token.origin, "root": token.root, "behind_proxy": false, "hop": null },
            "jwt": admission.jwt,
            "expires": admission.expires,
            "told": { "public": keys.public(), "fingerprint": null, "confinement": null },
            "code": rand::random::<[u8; 32]>(),
        });
        thread::spawn(move || {
            if let Err(error) = keys.supervise(ours, &start) {
                crate::say(&format!("the bare node: {error:#}"));
            }
        });
        Ok(Self { node, relay, _process: process })
    }
}

impl Keys {
    fn new(node: NodeId) -> Self {
        Self {
            nats: UserKey::generate(),
            receipts: SigningKey::from_bytes(&rand::random()),
            ticket: PublicKey(rand::random()),
            node,
            start: Nonce(rand::random()),
        }
    }

    fn public(&self) -> PublicKeys {
        let receipt = PublicKey(self.receipts.verifying_key().to_bytes());
        PublicKeys { nats: self.nats.public(), receipt, ticket: self.ticket }
    }

    async fn register(&self, account: &Account<'_>, token: &JoinToken) -> anyhow::Result<Admission> {
        let probe = Probe {
            name: NAME.to_owned(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            os: std::env::consts::OS.to_owned(),
            cores: 1,
            memory: ByteSize::mib(1024),
            slots: 1,
            disk: None,
            turns_per_ms: None,
            lanes: vec![Lane::Wasm],
            accelerator: None,
        };
        let registration = serde_json::to_string(&Registration {
            token: token.id,
            nonce: Nonce(rand::random()),
            keys: self.public(),
            machine: None,
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            probe,
        })?;
        let asked = RegisterNode {
            token_signature: token.seed.sign::<Registration>(&registration),
            receipt_signature: signed::sign::<Registration>(&registration, &self.receipts),
            nats_signature: Signature(self.nats.sign(&signed::message::<Registration>(&registration))?),
            registration,
        };
        let target = account.platform.at("/api/v1/nodes/register").with_json(&asked)?;
        let admission: Signed = http::get_json(&target).await?;
        serde_json::from_str(&admission.text).context("an admission")
    }

    /// Gives the worker its start, and signs for it until it ends (`cli/src/platform/lend/channel.rs`).
    fn supervise(&self, mut socket: UnixStream, start: &Value) -> anyhow::Result<()> {
        let lines = BufReader::new(socket.try_clone()?).lines();
        writeln!(socket, "{start}")?;
        for line in lines {
            let reply = self.reply(&serde_json::from_str(&line?)?)?;
            writeln!(socket, "{reply}")?;
        }
        Ok(())
    }

    fn reply(&self, asked: &Value) -> anyhow::Result<Value> {
        Ok(match asked["ask"].as_str().context("a question without its name")? {
            "sign_nonce" => {
                let nonce = asked["nonce"].as_str().context("a nonce")?;
                json!({ "signature": Signature(self.nats.sign(nonce.as_bytes())?) })
            }
            "sign_connection" => {
                let challenge = serde_json::from_value(asked["challenge"].clone())?;
                let connection = Connection { node: self.node, start: self.start, challenge };
                json!({ "signed": Signed::new(&connection, &self.receipts)? })
            }
            "sign_checkpoint" => {
                let digest: Digest = serde_json::from_value(asked["digest"].clone())?;
                json!({ "signature": Signature(self.receipts.sign(&digest.0).to_bytes()) })
            }
            "cpu_ticks" => json!({ "ticks": 0 }),
            "ready" => json!("done"),
            _ => bail!("{asked}"),
        })
    }
}
