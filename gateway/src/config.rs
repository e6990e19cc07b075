//! All that can be set about a gateway, with every bound that it keeps.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser as _;
use fabric::shares::TenantShare;
use protocol::headers::{HEAD_SIZE_MAX, HEADERS_MAX};
use protocol::{ByteSize, Millis};

use crate::hosts::is_host;
use crate::proxies::TrustedProxy;
use crate::upload::{Pace, UploadLimits};

/// Settings of a gateway. Each queue, body, retry and cache has its bound here.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Folder of observations that the control plane has not acknowledged yet.
    #[arg(long = "spool", env = "CROWDCLOUD_SPOOL", value_name = "DIR")]
    pub spool_folder: PathBuf,

    /// The domain under which functions have hosts of their own: `<function>--<account>.<domain>`.
    #[arg(long, env = "CROWDCLOUD_FUNCTIONS_DOMAIN", default_value = "localhost")]
    pub functions_domain: String,

    /// A host that the portal, the API and functions answer at, beside loopback, the address that is listened on and
    /// the functions' domain; again for more, `*` for any. Requests for other hosts are refused with 421, but for
    /// `/healthz` and `/readyz`.
    #[arg(long = "host", env = "CROWDCLOUD_HOSTS", value_name = "HOST", value_delimiter = ',')]
    pub hosts: Vec<String>,

    /// Where browsers and programs reach the portal and the API, where that is not the functions' domain at the port
    /// that is listened on; its host is answered for.
    #[arg(long, env = "CROWDCLOUD_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// A proxy of your own, as address or network, whose `X-Forwarded-For`, `-Host` and `-Proto` are believed; again
    /// for more.
    #[arg(long = "trusted-proxy", env = "CROWDCLOUD_TRUSTED_PROXIES", value_name = "NET", value_delimiter = ',')]
    pub trusted_proxies: Vec<TrustedProxy>,

    /// The certificate chain of HTTPS on the public port, as PEM; read again when it changes. Without one the port speaks
    /// plain HTTP; with one it does so only with this machine and with trusted proxies.
    #[arg(long, env = "CROWDCLOUD_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,

    /// The certificate's private key, as PEM.
    #[arg(long, env = "CROWDCLOUD_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,

    /// HTTPS with a certificate that is made at each start. Browsers warn of it; machines that join know it by the
    /// platform's signature.
    #[arg(long, env = "CROWDCLOUD_TLS_SELF_SIGNED", conflicts_with = "tls_certificate")]
    pub tls_self_signed: bool,

    /// How long the beginning of a connection may take where there is a certificate: its first byte, and the handshake.
    #[arg(long, default_value_t = Millis::seconds(10))]
    pub handshake_within: Millis,

    /// TLS handshakes at once; more wait, and whose clients have none go first.
    #[arg(long, default_value_t = 64)]
    pub handshakes_max: usize,

    /// Where NATS takes WebSockets, as HOST:PORT; without it no nodes connect through this gateway (`/fabric`).
    #[arg(long, env = "CROWDCLOUD_NATS_WEBSOCKET", value_name = "ADDR")]
    pub nats_websocket: Option<String>,

    /// Nodes that are connected at once.
    #[arg(long, default_value_t = 4096)]
    pub node_connections_max: usize,

    /// What a node may send in a second, in bytes; more waits.
    #[arg(long, default_value_t = ByteSize::mib(64))]
    pub node_bytes_max: ByteSize,

    /// What a node may send in a second, in WebSocket frames; more waits.
    #[arg(long, default_value_t = 20_000)]
    pub node_frames_max: u64,

    /// A node that sends nothing for so long is cut: it says something each second.
    #[arg(long, default_value_t = Millis::seconds(10))]
    pub node_idle: Millis,

    /// Connections at once; more wait in the listener's queue.
    #[arg(long, default_value_t = 4096)]
    pub connections_max: usize,

    /// Connections of one client at once; further ones are answered 429 and closed. A client is an IPv4 address or a
    /// /64 network of IPv6; trusted proxies have no such bound.
    #[arg(long, default_value_t = 1024)]
    pub client_connections_max: usize,

    /// How long a request's head may take, also the first one of an idle connection.
    #[arg(long, default_value_t = Millis::seconds(30))]
    pub head_timeout: Millis,

    /// The largest request head; beyond it: 431, or 414 where path and query alone are longer. (Beyond four times of it
    /// nothing more of it is read.)
    #[arg(long, default_value_t = HEAD_SIZE_MAX)]
    pub head_max: ByteSize,

    /// The most headers of a request.
    #[arg(long, default_value_t = HEADERS_MAX)]
    pub headers_max: usize,

    /// How long a request's body may pause; then 408. For a body that a function reads there is no other bound than
    /// this and the function's own deadline.
    #[arg(long, default_value_t = Millis::seconds(20))]
    pub body_idle: Millis,

    /// How long a body for the API or the store may be waited for in all, beyond what `body_rate_min` allows; then 408.
    #[arg(long, default_value_t = Millis::seconds(20))]
    pub body_grace: Millis,

    /// The least rate of a body for the API or the store, in bytes a second; see `body_grace`.
    #[arg(long, default_value_t = ByteSize::kib(4))]
    pub body_rate_min: ByteSize,

    /// The largest body of a request of the API by whom nobody knows yet: sign-up, log-in, no credential at all.
    #[arg(long, default_value_t = ByteSize::kib(64))]
    pub stranger_body_max: ByteSize,

    /// Such a body comes whole within so long; then 408.
    #[arg(long, default_value_t = Millis::seconds(10))]
    pub stranger_body_within: Millis,

    /// Such bodies of one client that are waited for at once; then 429.
    #[arg(long, default_value_t = 64)]
    pub stranger_bodies_max: usize,

    /// How long a caller may leave an answer unread; then its connection is closed.
    #[arg(long, default_value_t = Millis::seconds(30))]
    pub write_idle: Millis,

    /// A caller that has closed its sending side gets its response, unless nothing moves for so long; then it has gone,
    /// and its run is cancelled. A reset cancels at once.
    #[arg(long, default_value_t = Millis::seconds(5))]
    pub half_closed: Millis,

    /// So much of a request's body is kept for another node, should the first one fail.
    #[arg(long, default_value_t = ByteSize::kib(512))]
    pub replay_max: ByteSize,

    /// What is kept so of all requests; beyond it, or beyond an account's share, a request is not kept.
    #[arg(long, default_value_t = ByteSize::mib(256))]
    pub replay_total_max: ByteSize,

    /// What one account may have of all that `finite` lists, in percent of what all others leave of it.
    #[arg(long, env = "CROWDCLOUD_TENANT_SHARE", default_value_t = TenantShare::DEFAULT, value_name = "PERCENT")]
    pub tenant_share: TenantShare,

    /// Runs that wait for room at once, see `place_within`; then 503, or 429 for the account that holds its share.
    #[arg(long, default_value_t = 256)]
    pub waiting_runs_max: u32,

    /// How long a node may take to accept a run before the next one is asked.
    #[arg(long, default_value_t = Millis(250))]
    pub accept_within: Millis,

    /// How long a run waits for room when all its nodes are full or out of reach; then 503.
    #[arg(long, default_value_t = Millis::seconds(2))]
    pub place_within: Millis,

    /// How long a run is held back while only nodes have room that are worse for it, or that others need more.
    #[arg(long, default_value_t = Millis(250))]
    pub better_within: Millis,

    /// Nodes that are asked for one run.
    #[arg(long, default_value_t = 8)]
    pub tries_max: u32,

    /// A ticket is good for so long: to start the run, and to fetch its artifact.
    #[arg(long, default_value_t = Millis::seconds(20))]
    pub ticket_life: Millis,

    /// How long the control plane may take to say what an unknown key or function is.
    #[arg(long, default_value_t = Millis(500))]
    pub lookup_within: Millis,

    /// Such questions at once; then 503.
    #[arg(long, default_value_t = 4096)]
    pub lookups_max: usize,

    /// Good keys that are remembered.
    #[arg(long, default_value_t = 65_536)]
    pub keys_max: usize,

    /// Bad keys that are remembered as such.
    #[arg(long, default_value_t = 8192)]
    pub bad_keys_max: usize,

    /// How long a good key is trusted while the control plane's pulse is heard.
    #[arg(long, default_value_t = Millis::seconds(60))]
    pub key_life: Millis,

    /// How long a bad key stays bad.
    #[arg(long, default_value_t = Millis::seconds(2))]
    pub bad_key_life: Millis,

    /// For how long the API's refusal of a change, because its account holds its share, is repeated to the same credential
    /// without asking the control plane; 0: not at all.
    #[arg(long, default_value_t = Millis(100))]
    pub refusal_life: Millis,

    /// Such refusals that are remembered.
    #[arg(long, default_value_t = 1024)]
    pub refusals_max: usize,

    /// When the control plane's pulse has been silent for so long, keys are checked again.
    #[arg(long, default_value_t = Millis::seconds(5))]
    pub pulse_silence: Millis,

    /// Unknown functions that are remembered as such.
    #[arg(long, default_value_t = 4096)]
    pub unknown_max: usize,

    /// For how long.
    #[arg(long, default_value_t = Millis::seconds(1))]
    pub unknown_life: Millis,

    /// When routes are behind the control plane's pulse for so long, they are read anew.
    #[arg(long, default_value_t = Millis::seconds(1))]
    pub routes_behind: Millis,

    /// The longest answer of the API, streams included.
    #[arg(long, default_value_t = Millis::seconds(3600))]
    pub api_timeout: Millis,

    /// The largest request body of the API.
    #[arg(long, default_value_t = ByteSize::mib(16))]
    pub api_body_max: ByteSize,

    /// The largest artifact.
    #[arg(long, default_value_t = ByteSize::mib(128))]
    pub artifact_max: ByteSize,

    /// The largest request and answer of a test call.
    #[arg(long, default_value_t = ByteSize::mib(8))]
    pub test_body_max: ByteSize,

    /// Observations that wait for the disk.
    #[arg(long, default_value_t = 32_768)]
    pub spool_queue_max: usize,

    /// Observations on disk, in bytes; beyond it new ones are dropped and counted.
    #[arg(long, default_value_t = ByteSize::mib(256))]
    pub spool_max: ByteSize,

    /// How long observations wait to be written together: what a crash may lose.
    #[arg(long, default_value_t = Millis(100))]
    pub spool_flush: Millis,

    /// How long observations on disk wait to be sent together, unless there are 512 of them. Each post is a transaction of
    /// the control plane, and runs are listed later by as much.
    #[arg(long, default_value_t = Millis(400))]
    pub spool_post: Millis,

    /// After the first sign of shutdown: unready for so long while still accepting, so that others notice.
    #[arg(long, default_value_t = Millis(0))]
    pub unready: Millis,

    /// Then requests have so long to finish, before they are cut.
    #[arg(long, default_value_t = Millis::seconds(3))]
    pub grace: Millis,
}

impl Config {
    /// What is set of the way of runs.
    pub(crate) fn placing(&self) -> placing::Settings {
        placing::Settings {
            accept_within: self.accept_within.duration(),
            ticket_life: self.ticket_life.duration(),
            ..placing::Settings::default()
        }
    }

    /// What a body for the API or the store may do.
    pub(crate) fn upload_limits(&self, size_max: ByteSize) -> UploadLimits {
        UploadLimits {
            size_max,
            idle: self.body_idle.duration(),
            pace: Some(Pace { grace: self.body_grace.duration(), rate: self.body_rate_min }),
            replay_max: ByteSize(0),
        }
    }

    /// The defaults (and the environment), with the path that has none.
    #[must_use]
    pub fn new(spool_folder: PathBuf) -> Self {
        #[derive(clap::Parser)]
        struct Defaults {
            #[command(flatten)]
            config: Config,
        }
        let arguments: [std::ffi::OsString; 3] = ["gateway".into(), "--spool".into(), spool_folder.into()];
        Defaults::parse_from(arguments).config
    }

    /// Refuses what cannot work, before a port is bound.
    ///
    /// # Errors
    /// Says which setting, and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let least = |name: &str, value: u64, least: u64| {
            if value < least { Err(format!("--{name} is {value}; allowed: {least} and more")) } else { Ok(()) }
        };
        least("connections-max", self.connections_max as u64, 1)?;
        least("handshake-within", self.handshake_within.0, 100)?;
        least("handshakes-max", self.handshakes_max as u64, 1)?;
        least("node-connections-max", self.node_connections_max as u64, 1)?;
        least("node-bytes-max", self.node_bytes_max.0, 1024)?;
        least("node-frames-max", self.node_frames_max, 1)?;
        least("node-idle", self.node_idle.0, 100)?;
        least("headers-max", self.headers_max as u64, 8)?;
        least("head-max", self.head_max.0, 4096)?;
        least("head-timeout", self.head_timeout.0, 100)?;
        least("body-idle", self.body_idle.0, 100)?;
        least("write-idle", self.write_idle.0, 100)?;
        least("half-closed", self.half_closed.0, 100)?;
        least("tries-max", u64::from(self.tries_max), 1)?;
        least("ticket-life", self.ticket_life.0, 1000)?;
        least("lookup-within", self.lookup_within.0, 10)?;
        least("keys-max", self.keys_max as u64, 16)?;
        least("bad-keys-max", self.bad_keys_max as u64, 16)?;
        least("lookups-max", self.lookups_max as u64, 1)?;
        least("client-connections-max", self.client_connections_max as u64, 1)?;
        least("body-grace", self.body_grace.0, 100)?;
        least("body-rate-min", self.body_rate_min.0, 1)?;
        least("stranger-body-within", self.stranger_body_within.0, 100)?;
        least("stranger-bodies-max", self.stranger_bodies_max as u64, 1)?;
        least("unknown-max", self.unknown_max as u64, 1)?;
        least("refusals-max", self.refusals_max as u64, 1)?;
        least("spool-queue-max", self.spool_queue_max as u64, 1)?;
        // Longer than anybody's pause, it would only keep room empty that has come free.
        if self.refusal_life.duration() > Duration::from_secs(5) {
            return Err(format!("--refusal-life is {}; allowed: up to 5s", self.refusal_life));
        }
        // Pulses repeat revocations for 10 s; a longer gap would lose one.
        if self.pulse_silence.duration() > Duration::from_secs(9) {
            return Err(format!("--pulse-silence is {}; allowed: up to 9s", self.pulse_silence));
        }
        if self.functions_domain.is_empty() || self.functions_domain.contains([':', '/', ' ']) {
            return Err(format!("--functions-domain is {:?}; it is a host without port", self.functions_domain));
        }
        if let Some(host) = self.hosts.iter().find(|host| !host.is_empty() && *host != "*" && !is_host(host)) {
            return Err(format!("--host is {host:?}; it is a name or an address, or `*`"));
        }
        if let Some(url) = &self.public_url {
            let parsed: Option<http::Uri> = url.parse().ok();
            let good = |uri: &http::Uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.authority().is_some_and(|authority| is_host(authority.as_str()))
                    && matches!(uri.path_and_query().map_or("/", |path| path.as_str()), "/" | "")
            };
            if !parsed.as_ref().is_some_and(good) {
                return Err(format!("--public-url is {url:?}; it is like https://cloud.example.org"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f36_the_largest_head_is_what_the_api_says() {
        let command = <Config as clap::Args>::augment_args(clap::Command::new("gateway"));
        let option = command.get_arguments().find(|argument| argument.get_long() == Some("head-max")).unwrap();
        assert_eq!(option.get_default_values(), [HEAD_SIZE_MAX.to_string().as_str()]);
        assert_eq!(Config::new("spool".into()).head_max, HEAD_SIZE_MAX);
    }
}
