//! What is said between the process that holds a node's keys and the one that works: lines of JSON over a pair of sockets,
//! which the second inherits. The first begins; after that the second asks, and each question has one reply. Nothing of it
//! is on the way of a run.
//!
//! The second may be in a stranger's hands. What it can have signed is a server's nonce, a checkpoint's digest and a
//! connection of this node to the platform, and none can be mistaken for anything else that the keys sign.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use executor::{NodeKeys, Told};
use protocol::node::{Nonce, Signature};
use protocol::signed::Signed;
use protocol::{Digest, NodeId, Problem, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::reach::Way;

/// Bytes of a line.
pub(super) const LINE_BYTES_MAX: usize = 64 << 10;
/// A server's nonce is shorter.
const NONCE_BYTES_MAX: usize = 128;

/// What the worker is given at its start.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    /// The platform, and the way there.
    pub(super) way: Way,
    /// What lets it in, together with the nonces that are signed for it.
    pub(super) jwt: String,
    /// When that ends, by the platform's clock.
    pub(super) expires: Timestamp,
    /// What it tells the platform of itself.
    pub(super) told: Told,
    /// The key of its compiled code.
    pub(super) code: [u8; 32],
}

/// What the worker asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Ask {
    /// The NATS key's signature of a server's nonce.
    SignNonce { nonce: String },
    /// This node's request for a connection, with a gateway's challenge.
    SignConnection { challenge: Nonce },
    /// The receipt key's signature of a checkpoint's digest.
    SignCheckpoint { digest: Digest },
    /// The CPU time that both processes and all that they have started have used.
    CpuTicks,
    /// Nothing: the worker takes runs.
    Ready,
    /// Nothing: the JWT has ended, and the worker ends, for one with a new one.
    Expired,
    /// Nothing: the platform refuses this node, and the worker ends; whether for good, the other decides.
    Refused { problem: Box<Problem> },
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Signature(Signature),
    Signed(Signed),
    Ticks(u64),
    Done,
    Refused(String),
}

/// Signs for the worker.
pub(super) struct Signer<'a> {
    pub(super) keys: &'a NodeKeys,
    pub(super) node: NodeId,
    /// Which start of this program: the newest connection of a start replaces the one before it.
    pub(super) start: Nonce,
}

/// What the worker is.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) is_ready: bool,
    /// Its JWT has ended.
    pub(super) is_expired: bool,
    /// Why the platform refuses this node.
    pub(super) refused: Option<Box<Problem>>,
}

impl Heard {
    /// Replies to a question; `ticks` counts CPU time.
    pub(super) fn reply(&mut self, line: &str, signer: &Signer<'_>, ticks: impl FnOnce() -> u64) -> Answer {
        let Signer { keys, node, start } = signer;
        match serde_json::from_str(line) {
            Ok(Ask::SignNonce { nonce }) if is_nonce(&nonce) => match keys.nats().sign(nonce.as_bytes()) {
                Ok(signature) => Answer::Signature(Signature(signature)),
                Err(error) => Answer::Refused(error.to_string()),
            },
            Ok(Ask::SignNonce { .. }) => Answer::Refused("that is no nonce of a server".to_owned()),
            Ok(Ask::SignConnection { challenge }) => match keys.connection(*node, *start, challenge) {
                Ok(signed) => Answer::Signed(signed),
                Err(error) => Answer::Refused(error.to_string()),
            },
            Ok(Ask::SignCheckpoint { digest }) => Answer::Signature(Signature(keys.sign_checkpoint(&digest))),
            Ok(Ask::CpuTicks) => Answer::Ticks(ticks()),
            Ok(Ask::Ready) => {
                self.is_ready = true;
                Answer::Done
            }
            Ok(Ask::Expired) => {
                self.is_expired = true;
                Answer::Done
            }
            Ok(Ask::Refused { problem }) => {
                self.refused = Some(problem);
                Answer::Done
            }
            Err(error) => Answer::Refused(error.to_string()),
        }
    }
}

/// All else that the key signs has blanks and braces in it.
fn is_nonce(text: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/' | b'=');
    (1..=NONCE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_of_it)
}

/// The worker's end. It blocks.
pub(super) struct Supervisor(Mutex<BufReader<UnixStream>>);

impl Supervisor {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(Mutex::new(BufReader::new(socket)))
    }

    /// What the worker is given.
    pub(super) fn start(&self) -> io::Result<Start> {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn sign_nonce(&self, nonce: &[u8]) -> io::Result<Vec<u8>> {
        let nonce = String::from_utf8(nonce.to_vec()).map_err(io::Error::other)?;
        Ok(self.signature(&Ask::SignNonce { nonce })?.to_vec())
    }

    pub(super) fn sign_connection(&self, challenge: Nonce) -> io::Result<Signed> {
        match self.ask(&Ask::SignConnection { challenge })? {
            Answer::Signed(signed) => Ok(signed),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn sign_checkpoint(&self, digest: &Digest) -> io::Result<[u8; 64]> {
        self.signature(&Ask::SignCheckpoint { digest: *digest })
    }

    pub(super) fn cpu_ticks(&self) -> io::Result<u64> {
        match self.ask(&Ask::CpuTicks)? {
            Answer::Ticks(ticks) => Ok(ticks),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells something.
    pub(super) fn tell(&self, what: &Ask) {
        if let Err(error) = self.ask(what) {
            tracing::warn!(%error, "the supervisor cannot be told");
        }
    }

    fn signature(&self, ask: &Ask) -> io::Result<[u8; 64]> {
        match self.ask(ask)? {
            Answer::Signature(signature) => Ok(signature.0),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&self, ask: &Ask) -> io::Result<Answer> {
        let mut line = serde_json::to_vec(ask)?;
        line.push(b'\n');
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        socket.get_mut().write_all(&line)?;
        read(&mut socket)
    }
}

fn read<T: DeserializeOwned>(socket: &mut BufReader<UnixStream>) -> io::Result<T> {
    let mut line = String::new();
    if socket.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

fn unexpected(answer: &Answer) -> io::Error {
    match answer {
        Answer::Refused(why) => io::Error::other(why.clone()),
        other => io::Error::other(format!("an unexpected reply: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use fabric::UserKey;
    use protocol::Code;
    use protocol::node::Connection;

    use super::*;

    #[test]
    fn a_worker_has_nonces_checkpoints_and_connections_signed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let keys = NodeKeys::open(folder.path()).unwrap();
        let digest = Digest::of(b"a checkpoint");
        let expected = keys.sign_checkpoint(&digest);
        let (node, start, challenge) = (NodeId::new(), Nonce([1; 32]), Nonce([2; 32]));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let supervising = std::thread::spawn(move || {
            let (mut socket, mut heard) = (BufReader::new(ours), Heard::default());
            let signer = Signer { keys: &keys, node, start };
            let mut line = String::new();
            while socket.read_line(&mut line).unwrap() > 0 {
                let mut answer = serde_json::to_vec(&heard.reply(&line, &signer, || 42)).unwrap();
                answer.push(b'\n');
                socket.get_mut().write_all(&answer).unwrap();
                line.clear();
            }
            (heard, keys.public())
        });
        let supervisor = Supervisor::new(theirs);
        let nonce = supervisor.sign_nonce(b"Oo7-s_9w").unwrap();
        assert_eq!(supervisor.sign_checkpoint(&digest).unwrap(), expected);
        let signed = supervisor.sign_connection(challenge).unwrap();
        assert_eq!(supervisor.cpu_ticks().unwrap(), 42);
        for other in [&b"crowdcloud 1: a node's registration\n{}"[..], b"", &[b'x'; 129]] {
            assert!(supervisor.sign_nonce(other).is_err());
        }
        supervisor.tell(&Ask::Ready);
        supervisor.tell(&Ask::Expired);
        supervisor.tell(&Ask::Refused { problem: Box::new(Problem::from(Code::NodeLeft)) });
        drop(supervisor);
        let (heard, public) = supervising.join().unwrap();
        assert!(heard.is_ready && heard.is_expired && heard.refused.unwrap().code == Code::NodeLeft);
        assert_eq!(signed.open::<Connection>(&public.receipt).unwrap(), Connection { node, start, challenge });
        assert!(UserKey::has_signed(&public.nats, b"Oo7-s_9w", &nonce.try_into().unwrap()));
    }
}
