//! Routes: what a gateway must know of a function, published through the outbox into the `routes` bucket.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, FunctionId, InstanceId, KeyId, SessionId, UserId, VersionId};
use crate::manifest::{ArtifactForm, Kind, LaneChoice, Limits, PlacementClass};
use crate::names::{Name, Reference};
use crate::units::{ByteSize, Digest, Timestamp};
use crate::wire::{self, WireError};

/// A version, as a gateway needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRoute {
    /// Which version.
    pub version: VersionId,
    /// Its number.
    pub number: u32,
    /// The artifact's digest.
    pub artifact: Digest,
    /// The artifact's size.
    pub artifact_size: ByteSize,
    /// How it is spoken to.
    pub kind: Kind,
    /// The lane.
    pub lane: LaneChoice,
    /// Whose nodes it trusts.
    pub placement: PlacementClass,
    /// What one run may use.
    pub limits: Limits,
    /// What the artifact is to the lanes.
    #[serde(default, skip_serializing_if = "ArtifactForm::is_wasm")]
    pub form: ArtifactForm,
}

/// A share of an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Share {
    /// The version's number.
    pub version: u32,
    /// Of 100.
    pub weight: u8,
}

/// A function, as a gateway needs it. The value of key `<account name>.<function name>` in the `routes` bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The form's version.
    pub v: u8,
    /// The database's revision at which this was true. Revisions grow; a gateway that has seen one has seen all before.
    pub revision: u64,
    /// Whose.
    pub account: AccountId,
    /// The account's name.
    pub account_name: Name,
    /// Which function.
    pub function: FunctionId,
    /// Its name.
    pub function_name: Name,
    /// It is gone.
    pub deleted: bool,
    /// It is gone from this name because it was renamed to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed: Option<Name>,
    /// Whether anybody may call it.
    pub public: bool,
    /// Its ready versions, by number.
    pub versions: BTreeMap<u32, VersionRoute>,
    /// Its aliases: shares sum up to 100.
    pub aliases: BTreeMap<Name, Vec<Share>>,
}

impl Route {
    /// The form that this code writes.
    pub const VERSION: u8 = 1;

    /// Reads one, and says which of its versions are not understood: a version of a later release that this part cannot
    /// serve takes nothing from the others.
    ///
    /// # Errors
    /// When the route itself cannot be read.
    pub fn read(bytes: &[u8]) -> Result<(Self, BTreeSet<u32>), WireError> {
        let mut json: serde_json::Value = serde_json::from_slice(bytes)?;
        let mut unknown = BTreeSet::new();
        if let Some(versions) = json.get_mut("versions").and_then(serde_json::Value::as_object_mut) {
            versions.retain(|number, version| {
                let known = wire::value::<VersionRoute>(version.clone()).is_ok();
                if let (false, Ok(number)) = (known, number.parse()) {
                    unknown.insert(number);
                }
                known
            });
        }
        Ok((wire::value(json)?, unknown))
    }

    /// The revision of a route, of whatever form.
    #[must_use]
    pub fn revision_of(bytes: &[u8]) -> Option<u64> {
        serde_json::from_slice::<serde_json::Value>(bytes).ok()?.get("revision")?.as_u64()
    }

    /// Whether a reference may mean one of these versions.
    #[must_use]
    pub fn may_mean(&self, reference: Option<&Reference>, versions: &BTreeSet<u32>) -> bool {
        match reference {
            Some(Reference::Version(number)) => versions.contains(number),
            reference => {
                self.shares(reference).is_some_and(|shares| shares.iter().any(|one| versions.contains(&one.version)))
            }
        }
    }

    fn shares(&self, alias: Option<&Reference>) -> Option<&Vec<Share>> {
        match alias {
            Some(Reference::Version(_)) => None,
            Some(Reference::Alias(name)) => self.aliases.get(name),
            None => self.aliases.iter().find(|(name, _)| name.as_str() == Reference::LIVE).map(|(_, shares)| shares),
        }
    }

    /// The key in the bucket.
    #[must_use]
    pub fn key(account: &Name, function: &Name) -> String {
        format!("{account}.{function}")
    }

    /// The version that a reference means; `draw` (0 to 99) chooses between an alias's shares.
    #[must_use]
    pub fn resolve(&self, reference: Option<&Reference>, draw: u8) -> Option<&VersionRoute> {
        if let Some(Reference::Version(number)) = reference {
            return self.versions.get(number);
        }
        let shares = self.shares(reference)?;
        let mut passed = 0_u8;
        let chosen = shares.iter().find(|share| {
            passed = passed.saturating_add(share.weight);
            draw < passed
        });
        self.versions.get(&chosen.or(shares.last())?.version)
    }
}

/// What a key or a log-in may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Call functions.
    Invoke,
    /// Read everything of the account.
    Read,
    /// Deploy, and all of the above.
    Deploy,
    /// Everything.
    Admin,
}

impl Scope {
    /// Whether what is held includes it: `deploy` includes reading and invoking, `admin` everything.
    #[must_use]
    pub fn is_in(self, held: &[Self]) -> bool {
        held.iter().any(|held| match held {
            Self::Admin => true,
            Self::Deploy => self != Self::Admin,
            held => *held == self,
        })
    }
}

/// Who a credential is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// An API key.
    Key {
        /// Which.
        key: KeyId,
    },
    /// A log-in.
    Session {
        /// Which.
        session: SessionId,
        /// Whose.
        user: UserId,
    },
}

/// The control plane's answer about a credential (`POST /internal/credentials/verify`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who it is.
    pub principal: Principal,
    /// The account it acts for.
    pub account: AccountId,
    /// What it may do there.
    pub scopes: Vec<Scope>,
    /// Only for this function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionId>,
    /// Not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl Grant {
    /// Whether it may do this; `deploy` includes reading and invoking, `admin` everything.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        scope.is_in(&self.scopes)
    }
}

/// The question about a credential. Only its SHA-256 travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyCredential {
    /// SHA-256 of the whole key or session token, hex.
    pub sha256: String,
    /// The account that a session wants to act for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Name>,
}

/// What the control plane says each second, and at once when a credential is revoked
/// (subject `cc.core.events.control`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPulse {
    /// Which control plane.
    pub instance: InstanceId,
    /// The newest revision that it has published to the `routes` bucket.
    pub revision: u64,
    /// Hex SHA-256 of credentials revoked in the last 10 s.
    pub revoked: Vec<String>,
}

/// What each gateway says each second, and at once when its revision moves (subject `cc.core.events.gateway`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayPulse {
    /// Which gateway.
    pub instance: InstanceId,
    /// It has applied all routes up to this revision.
    pub revision: u64,
    /// It takes no new requests.
    pub draining: bool,
}
