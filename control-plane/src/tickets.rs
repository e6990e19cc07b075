//! The platform's root secret, what is derived from it, and the tickets that the control plane gives and checks.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use http::HeaderMap;
use placing::TicketIssuer;
use protocol::ticket::{
    DayRoot, IssuerKeys, NodeKey, Purpose, RunTicket, SignedTicket, Ticket, TicketError, TicketRoot, TwoDays,
};
use protocol::{AccountId, Code, EpochId, InstanceId, Lane, NodeId, RunId, Timestamp, headers};
use rand::TryRngCore as _;

use crate::db::entities::versions;
use crate::error::{Result, StartError, refuse};

/// Gives and checks.
pub(crate) struct Tickets {
    /// The platform's: every control plane has it, and nobody else.
    root: [u8; 32],
    keys: TicketRoot,
    /// This start, which gives tickets too.
    epoch: EpochId,
}

impl Tickets {
    /// Reads the root's file, or makes it; never where it is known that there was one.
    pub(crate) fn open(path: &Path, is_known: bool) -> Result<Self, StartError> {
        let failed = |source| StartError::File { path: path.to_owned(), source };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_known => {
                return Err(StartError::TicketKeyMissing(path.to_owned()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut seed = [0_u8; 32];
                rand::rngs::OsRng.try_fill_bytes(&mut seed).map_err(|error| failed(std::io::Error::other(error)))?;
                make_private(path, &seed).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let root = <[u8; 32]>::try_from(bytes).map_err(|_| StartError::TicketKey(path.to_owned()))?;
        Ok(Self { root, keys: TicketRoot::of(&root), epoch: EpochId::new() })
    }

    /// What tickets are checked with.
    pub(crate) fn keys(&self) -> &TicketRoot {
        &self.keys
    }

    /// What an issuer that has just started makes its tickets with: an epoch that nobody has had.
    pub(crate) fn begin_epoch(&self, now: Timestamp) -> IssuerKeys {
        self.keys.issuer(EpochId::new(), now)
    }

    /// What all issuers need anew as days go by.
    pub(crate) fn days(&self, now: Timestamp) -> TwoDays<DayRoot> {
        self.keys.days(now)
    }

    /// What a node checks tickets with.
    pub(crate) fn node_keys(&self, node: NodeId, now: Timestamp) -> TwoDays<NodeKey> {
        self.keys.node_keys(node, now)
    }

    /// Permission for a node to prepare a version for a lane.
    pub(crate) fn prepare(
        &self,
        version: &versions::Model,
        node: NodeId,
        lane: Lane,
        now: Timestamp,
        lasts: Duration,
    ) -> SignedTicket {
        self.issue(&Ticket {
            purpose: Purpose::Prepare,
            run: RunId::new(),
            node,
            account: version.account_id.0,
            function: version.function_id.0,
            version: version.id.0,
            artifact: version.artifact.0,
            lane,
            limits: version.limits.0,
            epoch: self.epoch,
            issued: now,
            expires: now.plus(lasts),
        })
    }

    /// The ticket with its MACs; tests that play the gateway make any.
    pub(crate) fn issue(&self, ticket: &Ticket) -> SignedTicket {
        self.keys.issuer(self.epoch, ticket.issued).issue(ticket)
    }

    /// A secret of an account that every control plane can make, and nobody else.
    pub(crate) fn secret_of(&self, account: AccountId, purpose: &str) -> [u8; 32] {
        let key = blake3::derive_key("crowdcloud 2026 secrets of accounts", &self.root);
        *blake3::keyed_hash(&key, format!("{purpose}\n{account}").as_bytes()).as_bytes()
    }

    /// A secret of the platform that every control plane can make, and nobody else.
    pub(crate) fn secret(&self, purpose: &str) -> [u8; 32] {
        let key = blake3::derive_key("crowdcloud 2026 secrets of the platform", &self.root);
        *blake3::keyed_hash(&key, purpose.as_bytes()).as_bytes()
    }

    /// What the keys of blobs were sealed under before master keys had files of their own (`objects/keys`): number 0.
    pub(crate) fn master_key(&self) -> [u8; 32] {
        blake3::derive_key("crowdcloud 2026 keys of blobs", &self.root)
    }

    /// What the master key is known by, without telling anything of it.
    pub(crate) fn key_check(&self) -> [u8; 32] {
        blake3::derive_key("crowdcloud 2026 check of the key of keys of blobs", &self.master_key())
    }

    /// The ticket of a node's request, where it is this node's, for one of these purposes, and in time.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        node: NodeId,
        purposes: &[Purpose],
        now: Timestamp,
    ) -> Result<Ticket> {
        let text = headers.get(headers::TICKET).and_then(|value| value.to_str().ok());
        let text = text.ok_or_else(|| refuse(Code::Forbidden, "The request carries no ticket."))?;
        self.check_signed(&SignedTicket(text.to_owned()), node, purposes, now).map_err(|error| match error {
            TicketError::NotUnderstood => refuse(Code::NotUnderstood, format!("{error}.")),
            error => refuse(Code::Forbidden, format!("{error}.")),
        })
    }

    /// The same of a ticket that stands elsewhere.
    pub(crate) fn check_signed(
        &self,
        signed: &SignedTicket,
        node: NodeId,
        purposes: &[Purpose],
        now: Timestamp,
    ) -> Result<Ticket, TicketError> {
        let ticket = self.keys.check(signed)?;
        ticket.permits(node, purposes, now).map(|()| ticket)
    }
}

/// Permission for a node to do a run of a job.
impl TicketIssuer for Tickets {
    fn issue(&self, of: RunTicket, now: Timestamp, lasts: Duration) -> Option<SignedTicket> {
        Some(self.keys.issuer(self.epoch, now).run(of, now, lasts))
    }
}

/// Makes a file that only its owner may read, whole or not at all. Of several who make it at once one does; all get what
/// is in it then.
pub(crate) fn make_private(path: &Path, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let draft = path.with_extension(InstanceId::new().to_string());
    let mut file = options.open(&draft)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let made = written.and_then(|()| std::fs::hard_link(&draft, path));
    remove_if_there(&draft)?;
    match (made, std::fs::read(path)) {
        (Err(error), Err(_)) => Err(error),
        // It may also have failed because another one was faster: by the name, or as that one has removed all drafts.
        (_, read) => read,
    }
}

/// Removes what those left who died while they made this file. Who is making it needs no draft any more where it is there.
pub(crate) fn remove_drafts(path: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(path.parent().unwrap_or(path)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let other = entry?.path();
        let of_draft = other.extension().and_then(|extension| extension.to_str()?.parse::<InstanceId>().ok());
        if of_draft.is_some() && other.file_stem() == path.file_stem() {
            remove_if_there(&other)?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
