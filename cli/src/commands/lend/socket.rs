//! The control socket of a node on this machine, as its owner uses it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use lending::control::{REPLY_BYTES_MAX, Reply, Request, Status, socket};
use tokio::net::UnixStream;
use tokio_util::codec::{Framed, LinesCodec};

use super::stopped::stopped;
use crate::args::LocalNode;
use crate::failure::{Exit, Failure};
use crate::platform;

/// Where `crowdcloud up` keeps its nodes, if nothing else is said.
const DATA_OF_UP: &str = ".crowdcloud";

/// A node replies at once; one that does not has no place for this connection.
const REPLY_WITHIN: Duration = Duration::from_secs(5);

/// An open one.
pub(crate) struct Connection(Framed<UnixStream, LinesCodec>);

impl Connection {
    /// The node's that is meant.
    pub(crate) async fn open(which: &LocalNode) -> Result<Self, Failure> {
        let data = match &which.data {
            Some(data) => data.clone(),
            None => unnamed(platform::own_node_folder().ok()),
        };
        let path = find(&data, which.node.as_deref()).map_err(|failure| stopped(which).unwrap_or(failure))?;
        let stream = UnixStream::connect(&path).await.map_err(|why| match why.kind() {
            std::io::ErrorKind::PermissionDenied => {
                Failure::new(Exit::Authentication, "forbidden", "The node is another user's")
                    .why(format!("{}: {why}", path.display()))
                    .help("run this as the user who runs the node")
            }
            std::io::ErrorKind::WouldBlock => busy(),
            _ => stopped(which).unwrap_or_else(|| not_running(&data).why(format!("{}: {why}", path.display()))),
        })?;
        Ok(Self(Framed::new(stream, LinesCodec::new_with_max_length(REPLY_BYTES_MAX))))
    }

    /// Asks for something; how the node is then.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Status, Failure> {
        self.ask_within(request, REPLY_WITHIN).await
    }

    async fn ask_within(&mut self, request: &Request, within: Duration) -> Result<Status, Failure> {
        tokio::time::timeout(within, self.exchange(request)).await.map_err(|_| busy())?
    }

    /// Asks to be told how the node is, again and again.
    pub(crate) async fn watch(&mut self) -> Result<(), Failure> {
        tokio::time::timeout(REPLY_WITHIN, self.say(&Request::Watch)).await.map_err(|_| busy())?
    }

    /// How the node is, as it tells whoever watches.
    pub(crate) async fn told(&mut self) -> Result<Status, Failure> {
        tokio::time::timeout(REPLY_WITHIN, self.heard()).await.map_err(|_| busy())?
    }

    async fn exchange(&mut self, request: &Request) -> Result<Status, Failure> {
        self.say(request).await?;
        self.heard().await
    }

    async fn say(&mut self, request: &Request) -> Result<(), Failure> {
        let line = serde_json::to_string(request).map_err(|error| broken(error.to_string()))?;
        self.0.send(line).await.map_err(|error| broken(error.to_string()))
    }

    async fn heard(&mut self) -> Result<Status, Failure> {
        let line = match self.0.next().await {
            Some(line) => line.map_err(|error| broken(error.to_string()))?,
            None => return Err(broken("it has closed the connection".to_owned())),
        };
        match serde_json::from_str(&line).map_err(|error| broken(error.to_string()))? {
            Reply::Status(status) => Ok(*status),
            Reply::Refused(why) => Err(Failure::new(Exit::Limit, "refused", "The node refuses that").why(why)),
        }
    }
}

/// The folder where none is named: that of the node that `crowdcloud lend` runs, else that of `crowdcloud up`.
fn unnamed(own: Option<PathBuf>) -> PathBuf {
    own.filter(|own| socket(own).exists()).unwrap_or_else(|| PathBuf::from(DATA_OF_UP))
}

/// The folder is a node's own, or has those of several.
fn find(data: &Path, node: Option<&str>) -> Result<PathBuf, Failure> {
    let own = socket(data);
    if own.exists() {
        return Ok(own);
    }
    let nodes = data.join("nodes");
    let named = match node {
        // A name, and no way to another folder.
        Some(name) if name.contains(['/', '\\']) || name.starts_with('.') => None,
        Some(name) => Some(name.to_owned()),
        None => Some("local-1".to_owned()),
    };
    let path = named.map(|name| socket(&nodes.join(name)));
    path.filter(|path| path.exists()).ok_or_else(|| not_running(data))
}

fn broken(why: String) -> Failure {
    Failure::new(Exit::Platform, "node_gone", "The node does not reply").why(why)
}

fn busy() -> Failure {
    Failure::new(Exit::Timeout, "node_busy", "The node does not reply in time")
        .why("others hold all places of its control socket, or it is stopped")
        .help(
            "end other `crowdcloud lend` commands, and try again; signals still work: SIGUSR1 pauses, SIGUSR2 resumes",
        )
}

fn not_running(data: &Path) -> Failure {
    Failure::new(Exit::NotFound, "node_not_running", format!("No node runs on {}", data.display()))
        .why("there is no control socket of such a node")
        .help("name the data folder of `crowdcloud up`, or the node's own: crowdcloud lend status --data DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_found_by_its_folder_or_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        assert!(find(data, None).is_err());
        let node = data.join("nodes/local-1");
        std::fs::create_dir_all(&node).unwrap();
        std::fs::write(socket(&node), b"").unwrap();
        assert_eq!(find(data, None).unwrap(), socket(&node));
        assert_eq!(find(data, Some("local-1")).unwrap(), socket(&node));
        assert_eq!(find(&node, None).unwrap(), socket(&node));
        assert!(find(data, Some("local-2")).is_err());
        assert!(find(data, Some("../nodes/local-1")).is_err());
    }

    #[tokio::test]
    async fn a_node_that_does_not_reply_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let _busy = std::os::unix::net::UnixListener::bind(socket(folder.path())).unwrap();
        let which = LocalNode { data: Some(folder.path().to_owned()), node: None };
        let mut node = Connection::open(&which).await.unwrap();
        let failure = node.ask_within(&Request::Status, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Timeout, "node_busy"));
    }

    #[test]
    fn the_machines_own_node_comes_first_where_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let own = || Some(folder.path().to_owned());
        assert_eq!((unnamed(None), unnamed(own())), (DATA_OF_UP.into(), DATA_OF_UP.into()));
        std::fs::write(socket(folder.path()), b"").unwrap();
        assert_eq!(unnamed(own()), folder.path());
    }
}
