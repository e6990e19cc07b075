//! How a machine reaches its platform, wherever that is: by HTTPS, through a proxy where the environment names one. It
//! believes the key that its token pins, and by it the certificate of the gateway.
//!
//! ```text
//! GET /platform, any certificate --signed: my gateway has this certificate--> the same: trusted from now on
//!                                                                            another: somebody is in between
//!                                --signed: no certificate of mine--> one of a public authority: the operator's own proxy
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fabric::{Credentials, Fabric, FabricConfig, FabricError, FirstHop, Identity, Seen, Sign, Trust, Trusted, Uplink};
use protocol::node::{PROTOCOL_MAX, PROTOCOL_MIN, PlatformStatement, PublicKey, is_of_this_machine};
use protocol::signed::Signed;
use protocol::{Digest, NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::boot_clock::since_boot;
use crate::authorities::Authorities;
use crate::client::Client;
use crate::failure::{Exit, Failure};

/// Between two tries to connect.
const RETRY: Duration = Duration::from_secs(1);
/// A gateway that has no room now, or has another start of this node, is asked again for so long.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);
/// A larger difference of two clocks is told; it changes nothing.
const SKEW_MAX: Duration = Duration::from_secs(60);
/// Whether the gateway refuses the node, and whether it is connected, is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A connection that is away for so long is asked about by HTTPS; each time twice as late.
const ASK_AFTER: Duration = Duration::from_secs(5);
const ASK_AFTER_MAX: Duration = Duration::from_secs(300);
/// Addresses at which nobody answers for so long may be another machine's by now.
const LOOKED_UP_FOR: Duration = Duration::from_secs(120);

/// A platform, as the user has named it, and the way there.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Way {
    pub(super) origin: String,
    /// Its key.
    pub(super) root: PublicKey,
    /// The user has agreed that somebody in between reads along.
    pub(super) behind_proxy: bool,
    /// Believed beside public authorities, where the platform names no certificate of its own.
    pub(super) authorities: Authorities,
    /// Where the way begins; none: as the environment says.
    pub(super) hop: Option<FirstHop>,
}

/// A platform, and what of it is believed.
pub(super) struct Reach {
    way: Way,
    trust: Arc<Trust>,
    /// The platform's time, and how long this machine was up when it was told.
    told: Mutex<Option<(Timestamp, Duration)>>,
}

/// Why there is no connection any more.
pub(super) enum Lost {
    /// The JWT has ended, by the platform's clock.
    Expired,
    Otherwise(FabricError),
}

impl Reach {
    /// The platform at this origin, with this root key.
    pub(super) fn new(
        origin: &str,
        root: PublicKey,
        behind_proxy: bool,
        authorities: Authorities,
    ) -> Result<Self, Failure> {
        if !origin.starts_with("https://") && !is_of_this_machine(origin) {
            return Err(Failure::usage(format!("{origin} is no HTTPS"))
                .why("whoever is in between could read and change what functions say")
                .help("the operator starts the gateway with a certificate, and makes tokens at its https:// address"));
        }
        Self::by(Way { origin: origin.to_owned(), root, behind_proxy, authorities, hop: None })
    }

    /// The same by a way that another process has found.
    pub(super) fn by(way: Way) -> Result<Self, Failure> {
        Ok(Self { trust: new_trust(&way.authorities)?, way, told: Mutex::new(None) })
    }

    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// The platform's time, as far as it was told: this machine's clock may be wrong, and decides nothing.
    pub(super) fn now(&self) -> Timestamp {
        self.told().unwrap_or_else(Timestamp::now)
    }

    fn told(&self) -> Option<Timestamp> {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.map(|(now, at)| now.plus(since_boot().saturating_sub(at)))
    }

    /// Whether the platform's clock, as far as it was told, is beyond this.
    fn is_past(&self, moment: Timestamp) -> bool {
        self.told().is_some_and(|now| now >= moment)
    }

    /// Asks the platform what it says of itself, and decides which certificate is trusted from now on.
    pub(super) async fn platform(&self) -> Result<(Client, PlatformStatement), Failure> {
        // What is asked is public, and the response is signed.
        let asking = new_trust(&self.way.authorities)?;
        let unreached = |failure: Failure| {
            if failure.code() != "connection" {
                return failure;
            }
            failure.help("the platform must run, and be reached from this machine at this address")
        };
        let statement: Signed = self.client(&asking)?.get("/platform").await.map_err(unreached)?;
        let platform: PlatformStatement = statement.open(&self.way.root).map_err(|why| {
            Failure::new(
                Exit::Authentication,
                "platform_key",
                format!("{} is not the token's platform", self.way.origin),
            )
            .why(why)
            .help("something between may have answered; where the platform was made anew, make a new token")
        })?;
        if PROTOCOL_MAX < platform.protocol_min || platform.protocol_max < PROTOCOL_MIN {
            let (min, max) = (platform.protocol_min, platform.protocol_max);
            let own = format!("{PROTOCOL_MIN} to {PROTOCOL_MAX}");
            return Err(Failure::new(Exit::Platform, "protocol", "This program and the platform do not fit")
                .why(format!("the platform speaks protocol {min} to {max}, this program {own}"))
                .help("update the older one"));
        }
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((platform.now, since_boot()));
        let now = Timestamp::now();
        let skew = platform.now.since(now).max(now.since(platform.now));
        if skew > SKEW_MAX {
            tracing::warn!(skew_s = skew.as_secs(), "this machine's clock differs from the platform's");
        }
        if let Some(seen) = asking.seen() {
            let trusted = decide(platform.certificate, seen, self.way.behind_proxy);
            self.trust.trust(trusted.ok_or_else(|| self.in_between(platform.certificate, seen))?);
        }
        Ok((self.client(&self.trust)?, platform))
    }

    fn client(&self, trust: &Arc<Trust>) -> Result<Client, Failure> {
        let tls = trust.client_config().map_err(|why| no_tls(&why))?;
        Client::trusting(&self.way.origin, tls, self.way.hop.as_ref())
    }

    /// Names whoever answers in the platform's place.
    fn in_between(&self, named: Option<Digest>, seen: Seen) -> Failure {
        let by = if seen.public { "an authority has signed" } else { "no known authority has signed" };
        let own = named.map_or("its gateway has no certificate".to_owned(), |key| format!("its certificate is {key}"));
        let why = format!("the platform says that {own}; the one shown to this machine is {}, which {by}", seen.key);
        let proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let proxy = proxy.iter().find(|name| std::env::var_os(name).is_some_and(|at| !at.is_empty()));
        let through = proxy.map_or_else(String::new, |name| format!(" (the proxy of {name}?)"));
        let what = format!("Somebody between this machine and {} reads along{through}", self.way.origin);
        Failure::new(Exit::Authentication, "foreign_certificate", what).why(why).help(
            "if that is a proxy that may read what functions say, add --behind-proxy; where it is the operator's own, \
                 name its authority's certificate with --ca-file PEM",
        )
    }

    /// Connects the node. Goes on trying while the platform cannot be reached and the JWT lasts, but for addresses that were
    /// looked up long ago.
    pub(super) async fn connect(
        &self,
        node: NodeId,
        (credentials, expires): (Credentials, Timestamp),
        sign: Sign,
    ) -> Result<Fabric, Lost> {
        let (url, name) = (self.way.origin.clone(), "node".to_owned());
        let config = FabricConfig { url, credentials, identity: Identity::Node(node), name };
        let begun = Instant::now();
        loop {
            match self.attempt(config.clone(), Arc::clone(&sign)).await {
                Ok(fabric) => return Ok(fabric),
                Err(FabricError::Refused(problem)) if !problem.retry || begun.elapsed() > REFUSED_WITHIN => {
                    return Err(Lost::Otherwise(FabricError::Refused(problem)));
                }
                Err(_) if self.is_past(expires) => return Err(Lost::Expired),
                Err(error) if self.is_stale(begun.elapsed()) => return Err(Lost::Otherwise(error)),
                Err(error) => tracing::warn!(%error, "not connected yet"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The platform says which certificate is to be trusted, each time: until then any would be.
    async fn attempt(&self, config: FabricConfig, sign: Sign) -> Result<Fabric, FabricError> {
        let Way { origin, hop, .. } = &self.way;
        let asked = self.platform().await;
        asked.map_err(|failure| FabricError::Connect { url: origin.clone(), reason: failure.what() })?;
        let hop = hop.clone().map_or_else(|| FirstHop::of(origin), Ok)?;
        let uplink = Uplink::new(origin, hop, Arc::clone(&self.trust), sign)?;
        Fabric::connect_through(uplink, config).await
    }

    /// Waits until the gateway refuses this node for good, the JWT has ended, or the way there is lost. Where the connection
    /// stays away, the platform is asked anew which certificate is its own: it may have changed.
    pub(super) async fn lost(&self, fabric: &Fabric, expires: Timestamp) -> Lost {
        let (mut down, mut ask_at, mut patience) = (Duration::ZERO, ASK_AFTER, ASK_AFTER);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Some(problem) = fabric.refusal().filter(|problem| !problem.retry) {
                return Lost::Otherwise(FabricError::Refused(problem));
            }
            if fabric.is_up() {
                (down, ask_at, patience) = (Duration::ZERO, ASK_AFTER, ASK_AFTER);
                continue;
            }
            if self.is_past(expires) {
                return Lost::Expired;
            }
            down += LOOK_EVERY;
            if self.is_stale(down) {
                let (url, reason) = (self.way.origin.clone(), "it may have another address by now".to_owned());
                return Lost::Otherwise(FabricError::Connect { url, reason });
            }
            if down >= ask_at {
                if let Err(failure) = self.platform().await {
                    tracing::warn!(error = failure.what(), "the platform cannot be reached");
                }
                patience = (patience * 2).min(ASK_AFTER_MAX);
                ask_at = down + patience;
            }
        }
    }

    /// Whether the way's addresses are to be looked up again, after so long without an answer.
    fn is_stale(&self, silent: Duration) -> bool {
        silent > LOOKED_UP_FOR && self.way.hop.as_ref().is_some_and(|hop| !hop.addresses.is_empty())
    }
}

fn new_trust(authorities: &Authorities) -> Result<Arc<Trust>, Failure> {
    Trust::beside(authorities.certificates()).map_err(|why| no_tls(&why))
}

fn no_tls(why: &FabricError) -> Failure {
    Failure::new(Exit::Platform, "connection", "The platform cannot be connected to").why(why)
}

/// Which certificate is trusted, where the platform has named this one, and that one is seen; none where somebody is in
/// between who may not be.
fn decide(named: Option<Digest>, seen: Seen, behind_proxy: bool) -> Option<Trusted> {
    match named {
        Some(key) if key == seen.key => Some(Trusted::Key(key)),
        None if seen.public => Some(Trusted::Public),
        _ => behind_proxy.then_some(Trusted::Any),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_the_platform_does_not_name_is_that_of_somebody_in_between() {
        let (own, other) = (Digest::of(b"own"), Digest::of(b"other"));
        let seen = |key, public| Seen { key, public };
        for public in [false, true] {
            assert_eq!(decide(Some(own), seen(own, public), false), Some(Trusted::Key(own)));
            assert_eq!(decide(Some(own), seen(other, public), false), None);
            assert_eq!(decide(Some(own), seen(other, public), true), Some(Trusted::Any));
        }
        assert_eq!(decide(None, seen(other, true), false), Some(Trusted::Public));
        assert_eq!(decide(None, seen(other, false), false), None);
        assert_eq!(decide(None, seen(other, false), true), Some(Trusted::Any));
    }

    #[test]
    fn the_platform_s_clock_counts_once_it_was_told() {
        let none = Authorities::default();
        let reach = Reach::new("https://cloud.example.org", PublicKey([1; 32]), false, none).unwrap();
        assert!(reach.now().since(Timestamp::now()) < Duration::from_secs(60));
        let tomorrow = Timestamp::now().plus(Duration::from_secs(86_400));
        let expires = tomorrow.plus(Duration::from_secs(3600));
        assert!(!reach.is_past(Timestamp::default()), "nobody has told it");
        *reach.told.lock().unwrap() = Some((tomorrow, since_boot()));
        assert!(reach.now() >= tomorrow && reach.now().since(tomorrow) < Duration::from_secs(60));
        assert!(reach.is_past(tomorrow) && !reach.is_past(expires));
    }

    #[test]
    fn the_process_that_works_is_told_which_certificates_its_user_believes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, crate::authorities::tests::PEM).unwrap();
        let authorities = Authorities::of(Some(&file)).unwrap();
        let reach = Reach::new("https://cloud.example.org", PublicKey([1; 32]), false, authorities.clone()).unwrap();
        let told: Way = serde_json::from_str(&serde_json::to_string(reach.way()).unwrap()).unwrap();
        assert_eq!(told.authorities, authorities);
        assert!(!authorities.is_empty() && Reach::by(told).is_ok());
    }

    #[test]
    fn other_machines_are_reached_by_https_alone() {
        let reach = |origin: &str| Reach::new(origin, PublicKey([1; 32]), false, Authorities::default()).is_ok();
        assert!(reach("https://cloud.example.org") && reach("http://127.0.0.1:8080") && reach("http://localhost"));
        assert!(!reach("http://cloud.example.org") && !reach("http://10.0.0.1:8080"));
    }
}
