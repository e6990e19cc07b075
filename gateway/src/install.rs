//! What a lender pastes on a machine that has no `crowdcloud` yet: `/install.sh` fetches the program that this gateway
//! itself is, checks its digest, and lends the machine with it. The script comes the same way as the program, so the digest
//! finds damage; whom a machine lends to, its token pins.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use fabric::BodyError;
use futures::TryStreamExt as _;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use protocol::{Code, Problem};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::io::ReaderStream;

use crate::clients::ClientCounts;
use crate::response::{Response, ResponseBody, full};

const SCRIPT: &str = include_str!("install/script.sh");
/// This very program, whatever stands at its path now.
const PROGRAM: &str = "/proc/self/exe";
/// Downloads at once, and of one client.
const DOWNLOADS_MAX: usize = 16;
const CLIENT_DOWNLOADS_MAX: usize = 2;
const PIECE_BYTES: usize = 64 << 10;

/// The program, for whoever has it not.
pub(crate) struct Installer {
    /// Read at the first request: that takes a moment.
    measured: OnceCell<Measured>,
    room: Arc<Semaphore>,
    clients: Arc<ClientCounts>,
}

#[derive(Debug)]
struct Measured {
    /// SHA-256, which each machine has a program for.
    digest: String,
    size: u64,
}

impl Installer {
    pub(crate) fn new() -> Self {
        Self {
            measured: OnceCell::new(),
            room: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            clients: Arc::new(ClientCounts::default()),
        }
    }

    async fn measured(&self) -> Result<&Measured, Problem> {
        let measuring = || async {
            match tokio::task::spawn_blocking(measure).await {
                Ok(measured) => measured.map_err(|error| unreadable(&error)),
                Err(error) => Err(unreadable(&error)),
            }
        };
        self.measured.get_or_try_init(measuring).await
    }

    /// `GET /install.sh`, found at this origin.
    pub(crate) async fn script(&self, head: &Parts, proto: &str, host: &str) -> Result<Response, Problem> {
        only_read(head)?;
        if host.is_empty() {
            return Err(Problem::of(Code::InvalidRequest, "Host", "no Host header"));
        }
        let digest = &self.measured().await?.digest;
        let mut response = full(StatusCode::OK, "text/x-shellscript; charset=utf-8", script(proto, host, digest));
        not_kept(&mut response);
        Ok(response)
    }

    /// `GET /install/crowdcloud`
    pub(crate) async fn program(&self, head: &Parts, client: IpAddr) -> Result<Response, Problem> {
        only_read(head)?;
        let size = self.measured().await?.size;
        let body = if head.method == Method::HEAD {
            ResponseBody::Empty
        } else {
            let too_many = || Problem::new(Code::RateLimited, "The program is being downloaded by as many as may.");
            let of_client = self.clients.hold(client, CLIENT_DOWNLOADS_MAX).ok_or_else(too_many)?;
            let of_all = Arc::clone(&self.room).try_acquire_owned().map_err(|_| too_many())?;
            let file = tokio::fs::File::open(PROGRAM).await.map_err(|error| unreadable(&error))?;
            let pieces =
                ReaderStream::with_capacity(file, PIECE_BYTES).map_err(|error| BodyError::Source(error.into()));
            let held = (of_client, of_all);
            let pieces = pieces.map_ok(move |bytes| {
                // Its room is taken until all has been read.
                let _held = &held;
                Frame::data(bytes)
            });
            ResponseBody::Core(VecDeque::new(), StreamBody::new(pieces).boxed_unsync())
        };
        let mut response = http::Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"crowdcloud\""));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        not_kept(&mut response);
        Ok(response)
    }
}

fn only_read(head: &Parts) -> Result<(), Problem> {
    match head.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Problem::new(Code::MethodNotAllowed, "the program is only read")),
    }
}

/// Script and program are of one release: neither is kept without the other.
fn not_kept(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn unreadable(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "the program cannot read itself");
    Code::Internal.into()
}

/// Hosts have no characters that mean something to a shell.
fn script(proto: &str, host: &str, digest: &str) -> String {
    SCRIPT
        .replace("@ORIGIN@", &format!("{proto}://{host}"))
        .replace("@SYSTEM@", &format!("Linux {}", std::env::consts::ARCH))
        .replace("@DIGEST@", digest)
}

fn measure() -> io::Result<Measured> {
    let mut hasher = Sha256::new();
    let size = io::copy(&mut File::open(PROGRAM)?, &mut hasher)?;
    let digest = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Measured { digest, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_platform_once_and_nothing_is_left_open() {
        let script = script("https", "cloud.example.org:8443", "ab12");
        assert!(script.contains("\norigin='https://cloud.example.org:8443'\n"), "{script}");
        assert!(script.contains("\ndigest='ab12'\n"), "{script}");
        assert_eq!(script.matches('@').count(), script.matches("\"$@\"").count(), "{script}");
    }

    #[test]
    fn half_a_script_does_nothing() {
        let whole = script("http", "localhost", "ab12");
        let head = whole.rsplit_once("\nmain \"$@\"").unwrap().0;
        let calls = head.lines().filter(|line| line.starts_with("main ")).count();
        assert_eq!(calls, 0, "it is called in the last line alone");
    }
}
