//! Who a key is: from the cache, or by one call to the control plane.

mod cache;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use protocol::route::{ControlPulse, Grant, VerifyCredential};
use protocol::{Code, Name, Problem, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::core_client::{CoreClient, CoreError};
use crate::meters::Meters;
use crate::quiet::Quiet;
use crate::single_flight::SingleFlight;
use cache::{KeyCache, Pulses, Row, Trust};

/// SHA-256 of a key.
pub(crate) type Hash = [u8; 32];

/// What a key is: none when it is not one.
pub(crate) type Verdict = Option<Arc<Grant>>;

/// The cache is cut into so many parts, each with a lock of its own.
const SHARDS: usize = 16;

/// No key and no log-in of ours is longer.
const SECRET_LENGTH_MAX: usize = 256;

/// The keys that this gateway has seen.
pub(crate) struct Keys {
    core: CoreClient,
    shards: [Mutex<KeyCache>; SHARDS],
    flights: SingleFlight<Hash, Result<Verdict, CoreError>>,
    pulses: Mutex<Pulses>,
    /// What the pulses say, for readers that take no lock.
    row: ArcSwap<Row>,
    trust: Trust,
    lookup_within: Duration,
    meters: Arc<Meters>,
}

impl Keys {
    pub(crate) fn new(config: &Config, core: CoreClient, meters: Arc<Meters>) -> Self {
        let room = config.keys_max.div_ceil(SHARDS);
        let room_bad = config.bad_keys_max.div_ceil(SHARDS);
        Self {
            core,
            shards: std::array::from_fn(|_| Mutex::new(KeyCache::new(room, room_bad))),
            flights: SingleFlight::new(config.lookups_max),
            pulses: Mutex::new(Pulses::new(config.pulse_silence.duration())),
            row: ArcSwap::default(),
            trust: Trust {
                good_life: config.key_life.duration(),
                bad_life: config.bad_key_life.duration(),
                silence_max: config.pulse_silence.duration(),
            },
            lookup_within: config.lookup_within.duration(),
            meters,
        }
    }

    /// What this key may do.
    pub(crate) async fn grant_of_key(self: &Arc<Self>, key: &str) -> Result<Arc<Grant>, Problem> {
        if key.len() > SECRET_LENGTH_MAX {
            return Err(Code::InvalidKey.into());
        }
        let hash: Hash = Sha256::digest(key.as_bytes()).into();
        let row = **self.row.load();
        let cached = self.shard(&hash).lock().get(&hash, &self.trust, row, Instant::now());
        let verdict = match cached {
            Some(verdict) => {
                self.meters.key_cache_hits.increment(1);
                verdict
            }
            None => {
                self.meters.key_cache_misses.increment(1);
                self.look_up(hash).await?
            }
        };
        verdict
            .filter(|grant| grant.expires.is_none_or(|expires| Timestamp::now() < expires))
            .ok_or_else(|| Problem::from(Code::InvalidKey))
    }

    /// What this log-in may do in that account. Never cached: calls with cookies are few.
    pub(crate) async fn grant_of_session(&self, token: &str, account: Name) -> Result<Arc<Grant>, Problem> {
        if token.len() > SECRET_LENGTH_MAX {
            return Err(Code::Unauthenticated.into());
        }
        let hash: Hash = Sha256::digest(token.as_bytes()).into();
        verify(&self.core, hash, Some(account), self.lookup_within)
            .await
            .map_err(|error| unavailable(&error))?
            .ok_or_else(|| Problem::new(Code::Unauthenticated, "this log-in has ended, or is not of that account"))
    }

    /// A pulse of the control plane came.
    pub(crate) fn pulse(&self, pulse: &ControlPulse, now: Instant) {
        let row = self.pulses.lock().heard(pulse.instance, now);
        self.row.store(Arc::new(row));
        for hash in pulse.revoked.iter().filter_map(|text| parse_hash(text)) {
            self.shard(&hash).lock().revoke(hash, now);
        }
    }

    async fn look_up(self: &Arc<Self>, hash: Hash) -> Result<Verdict, Problem> {
        let keys = Arc::clone(self);
        let asked = Instant::now();
        let question = move || async move {
            let verdict = verify(&keys.core, hash, None, keys.lookup_within).await?;
            keys.shard(&hash).lock().put(hash, verdict.clone(), asked);
            Ok(verdict)
        };
        match self.flights.run(hash, question).await {
            Ok(Ok(verdict)) => Ok(verdict),
            Ok(Err(error)) => Err(unavailable(&error)),
            Err(no_answer) => Err(no_answer.problem()),
        }
    }

    fn shard(&self, hash: &Hash) -> &Mutex<KeyCache> {
        &self.shards[usize::from(hash[0]) % SHARDS]
    }
}

async fn verify(core: &CoreClient, hash: Hash, account: Option<Name>, within: Duration) -> Result<Verdict, CoreError> {
    let question = VerifyCredential { sha256: hex(&hash), account };
    match core.post::<Grant>("/internal/credentials/verify", &question, within).await {
        Ok(grant) => Ok(Some(Arc::new(grant))),
        Err(CoreError::Refused(problem)) if problem.status < 500 => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a caller reads when the control plane is needed and away.
pub(crate) fn unavailable(error: &CoreError) -> Problem {
    match error {
        CoreError::Refused(problem) => (**problem).clone(),
        CoreError::Unavailable(why) => {
            static AWAY: Quiet = Quiet::new();
            if let Some(left_out) = AWAY.now() {
                tracing::warn!(%why, left_out, "the control plane did not answer");
            }
            Code::ControlPlaneUnavailable.into()
        }
    }
}

fn hex(hash: &Hash) -> String {
    protocol::Digest(*hash).to_string()
}

fn parse_hash(text: &str) -> Option<Hash> {
    text.parse::<protocol::Digest>().ok().map(|digest| digest.0)
}
