//! Functions, their versions, and the aliases that lead to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::ids::{FunctionId, VersionId};
use crate::manifest::{Base, Kind, Lane, LaneChoice, Limits, PlacementClass};
use crate::names::Name;
use crate::placement::LaneReason;
use crate::route::Share;
use crate::units::{ByteSize, Digest, Timestamp};

api_types! {
    /// `POST /functions`
    #[serde(deny_unknown_fields)]
    pub struct CreateFunction {
        /// The name.
        pub name: String,
        /// Whether anybody may call it.
        #[serde(default)]
        pub public: bool,
    }

    /// `PATCH /functions/{name}`
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct ChangeFunction {
        /// Whether anybody may call it.
        #[serde(default)]
        pub public: Option<bool>,
        /// Renames it. Versions, aliases, keys, triggers, jobs, usage and logs stay its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<String>,
    }

    /// A named thing of an account that can be invoked.
    pub struct Function {
        /// The id.
        pub id: FunctionId,
        /// The name.
        pub name: Name,
        /// Whether anybody may call it.
        pub public: bool,
        /// The URL for programs, as a path: `/f/<account>/<function>/`.
        pub path: String,
        /// The host for browsers: `<function>--<account>.<functions domain>`.
        pub host: String,
        /// The newest version's number.
        pub latest: Option<u32>,
        /// The aliases.
        pub aliases: Vec<Alias>,
        /// The version that most calls without a reference go to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub live: Option<LiveVersion>,
        /// What keeps runs from beginning now, where something does that is no matter of a moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub warning: Option<String>,
        /// When it was made.
        pub created: Timestamp,
        /// When it last changed.
        pub updated: Timestamp,
        /// When it was deleted, where it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub deleted: Option<Timestamp>,
    }

    /// What the alias `live` leads to, by its largest share.
    #[derive(Copy, Eq)]
    pub struct LiveVersion {
        /// Its number.
        pub number: u32,
        /// The lane that its runs take.
        pub lane: Lane,
        /// Why that lane.
        pub lane_reason: LaneReason,
        /// What one run may use.
        pub limits: Limits,
    }

    /// A movable name for a version.
    pub struct Alias {
        /// The name.
        pub name: Name,
        /// Shares sum up to 100.
        pub shares: Vec<Share>,
        /// For `If-Match`.
        pub etag: String,
        /// When it last moved.
        pub updated: Timestamp,
    }

    /// `PUT /functions/{name}/aliases/{alias}`
    #[serde(deny_unknown_fields)]
    pub struct SetAlias {
        /// Shares sum up to 100.
        pub shares: Vec<Share>,
    }

    /// `POST /functions/{name}/versions`
    #[serde(deny_unknown_fields)]
    pub struct CreateVersion {
        /// An artifact that was uploaded before.
        pub artifact: Digest,
        /// How it is spoken to; found out where it is left out.
        #[serde(default)]
        pub kind: Option<Kind>,
        /// The lane.
        #[serde(default)]
        pub lane: LaneChoice,
        /// Whose nodes it trusts.
        #[serde(default)]
        pub placement: PlacementClass,
        /// Hosts that it may call.
        #[serde(default)]
        pub egress: Vec<String>,
        /// What one run may use.
        #[serde(default, deserialize_with = "crate::limits::written_limits")]
        pub limits: Limits,
        /// Environment variables.
        #[serde(default)]
        pub env: BTreeMap<String, String>,
        /// Moves this alias to the version when it is ready; none: `live`.
        #[serde(default)]
        pub alias: Option<Name>,
        /// What it stands on in the VM lane; a script or an executable finds its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub base: Option<Base>,
        /// What to start in the VM lane, in place of what the image says.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub command: Vec<String>,
        /// Makes the function in the same step, where there is none of this name: a refused deploy leaves nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub create: Option<NewFunction>,
    }

    /// A function that comes with its first version.
    #[derive(Copy, Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct NewFunction {
        /// Whether anybody may call it.
        #[serde(default)]
        pub public: bool,
    }

    /// A version's life: `compiling`, then for ever `ready` or `failed`.
    #[derive(Copy, Eq, Hash)]
    #[serde(rename_all = "lowercase")]
    pub enum VersionState {
        /// A node checks and compiles it.
        Compiling,
        /// It can run.
        Ready,
        /// It cannot.
        Failed,
    }

    /// One immutable deployment of a function.
    pub struct Version {
        /// The id.
        pub id: VersionId,
        /// Counts from 1.
        pub number: u32,
        /// Where it is in its life.
        pub state: VersionState,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub problem: Option<Problem>,
        /// The artifact's digest.
        pub artifact: Digest,
        /// The artifact's size.
        pub artifact_size: ByteSize,
        /// How it is spoken to.
        pub kind: Option<Kind>,
        /// What the artifact is, for people.
        pub format: Option<String>,
        /// The lane that it asks for.
        pub lane: LaneChoice,
        /// The lane that its runs take, once that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub runs_in: Option<Lane>,
        /// Why that lane.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub lane_reason: Option<LaneReason>,
        /// What was found in the artifact and decided, and what was left out: whole sentences.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub notes: Vec<String>,
        /// What keeps its runs from beginning now, where something does that is no matter of a moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub warning: Option<String>,
        /// What it stands on in the VM lane.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub base: Option<Base>,
        /// What is started in the VM lane, in place of what the image says.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub command: Vec<String>,
        /// Whose nodes it trusts.
        pub placement: PlacementClass,
        /// Hosts that it may call.
        pub egress: Vec<String>,
        /// What one run may use.
        pub limits: Limits,
        /// Environment variables.
        pub env: BTreeMap<String, String>,
        /// Who deployed it.
        pub created_by: String,
        /// When.
        pub created: Timestamp,
        /// The aliases that have a share on it.
        pub aliases: Vec<Name>,
    }

    /// `POST /functions/{name}/rollback`
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct Rollback {
        /// The version to go back to; none: the one that `live` had before.
        #[serde(default)]
        pub to: Option<u32>,
    }

    /// The answer to `POST /artifacts` (the body is the artifact).
    pub struct Artifact {
        /// BLAKE3 of its bytes.
        pub digest: Digest,
        /// Its size.
        pub size: ByteSize,
    }
}
