//! Requests and answers of the public API, `/api/v1`: one definition for server, portal and command line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Problem};
use crate::ids::{AccountId, FunctionId, InvitationId, KeyId, NodeId, RunId, SessionId, UserId, VersionId};
use crate::manifest::{Base, Kind, Lane, LaneChoice, Limits, PlacementClass};
use crate::names::{Name, Reference};
use crate::node::VmLane;
use crate::placement::LaneReason;
use crate::receipt::{Outcome, Usage};
use crate::route::{Scope, Share};
use crate::units::{ByteSize, Digest, Timestamp};

macro_rules! api_types {
    ($($item:item)*) => {$(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        $item
    )*};
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// The cursor of the next page; none on the last.
    pub next: Option<String>,
}

api_types! {
    /// Personal or company.
    #[derive(Copy, Eq, Hash)]
    #[serde(rename_all = "lowercase")]
    pub enum AccountKind {
        /// One person's.
        Personal,
        /// An organisation's, with members.
        Company,
    }

    /// A user's role in an account.
    #[derive(Copy, Eq, Hash, PartialOrd, Ord)]
    #[serde(rename_all = "lowercase")]
    pub enum Role {
        /// Deploys, runs, sees own costs.
        Member,
        /// Members, keys, budgets, settings too.
        Admin,
        /// Everything.
        Owner,
    }

    /// `POST /signup`
    #[serde(deny_unknown_fields)]
    pub struct Signup {
        /// The log-in name.
        pub email: String,
        /// At least 10 characters.
        pub password: String,
        /// The name of the account that is made; not needed with an invitation.
        #[serde(default)]
        pub account: Option<String>,
        /// Personal, or an organisation's.
        #[serde(default)]
        pub kind: Option<AccountKind>,
        /// Joins this account instead of making one.
        #[serde(default)]
        pub invitation: Option<String>,
        /// The one-time token that makes the operator.
        #[serde(default)]
        pub operator_token: Option<String>,
    }

    /// `POST /sessions`
    #[serde(deny_unknown_fields)]
    pub struct Login {
        /// The log-in name.
        pub email: String,
        /// The password.
        pub password: String,
    }

    /// `GET /me`; also the answer to sign-up and log-in, which set the session cookie.
    pub struct Me {
        /// The user; none for an API key.
        pub user: Option<User>,
        /// The accounts that the user is a member of, or the key's account.
        pub accounts: Vec<Membership>,
        /// What the credential may do, where it is a key.
        pub scopes: Option<Vec<Scope>>,
    }

    /// A person who logs in.
    pub struct User {
        /// The id.
        pub id: UserId,
        /// The log-in name.
        pub email: String,
        /// May see `/operator`.
        pub operator: bool,
        /// When the user signed up.
        pub created: Timestamp,
    }

    /// An account, and the role that the asker has in it.
    pub struct Membership {
        /// The account.
        pub account: Account,
        /// The role.
        pub role: Role,
    }

    /// What owns functions, keys and credits.
    pub struct Account {
        /// The id.
        pub id: AccountId,
        /// Unique, part of functions' URLs.
        pub name: Name,
        /// Personal or company.
        pub kind: AccountKind,
        /// When it was made.
        pub created: Timestamp,
    }

    /// `POST /accounts`
    #[serde(deny_unknown_fields)]
    pub struct CreateAccount {
        /// The name.
        pub name: String,
        /// Personal or company.
        pub kind: AccountKind,
    }

    /// `PUT /me/password`
    #[serde(deny_unknown_fields)]
    pub struct ChangePassword {
        /// The old one.
        pub current: String,
        /// The new one; other sessions end.
        pub new: String,
    }

    /// A log-in.
    pub struct Session {
        /// The id.
        pub id: SessionId,
        /// What the client called itself.
        pub user_agent: String,
        /// When it began.
        pub created: Timestamp,
        /// When it was last used.
        pub last_used: Timestamp,
        /// When it ends.
        pub expires: Timestamp,
        /// It is the one that asks.
        pub current: bool,
    }

    /// A user in an account.
    pub struct Member {
        /// Who.
        pub user: UserId,
        /// The log-in name.
        pub email: String,
        /// The role.
        pub role: Role,
        /// Since when.
        pub joined: Timestamp,
    }

    /// `PATCH /members/{user}`
    #[serde(deny_unknown_fields)]
    pub struct ChangeRole {
        /// The new role.
        pub role: Role,
    }

    /// `POST /invitations`
    #[serde(deny_unknown_fields)]
    pub struct CreateInvitation {
        /// The role that it gives.
        pub role: Role,
        /// A note for whom it is.
        #[serde(default)]
        pub email: Option<String>,
    }

    /// An invitation to join an account.
    pub struct Invitation {
        /// The id.
        pub id: InvitationId,
        /// The role that it gives.
        pub role: Role,
        /// For whom it is.
        pub email: Option<String>,
        /// The path of the link, `/invite/...`: shown once, when it is made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub path: Option<String>,
        /// When it ends.
        pub expires: Timestamp,
        /// When it was made.
        pub created: Timestamp,
    }

    /// `GET /invitations/by-token/{token}`: what the invited sees.
    pub struct InvitationPreview {
        /// The account.
        pub account: Name,
        /// The role.
        pub role: Role,
    }

    /// `POST /invitations/accept`
    #[serde(deny_unknown_fields)]
    pub struct AcceptInvitation {
        /// The link's last part.
        pub token: String,
    }

    /// `POST /keys`
    #[serde(deny_unknown_fields)]
    pub struct CreateKey {
        /// For people.
        pub name: String,
        /// What it may do.
        pub scopes: Vec<Scope>,
        /// Only for this function.
        #[serde(default)]
        pub function: Option<Name>,
        /// Days until it ends; none: never.
        #[serde(default)]
        pub expires_days: Option<u32>,
    }

    /// An API key.
    pub struct Key {
        /// The id.
        pub id: KeyId,
        /// For people.
        pub name: String,
        /// What it may do.
        pub scopes: Vec<Scope>,
        /// Only for this function.
        pub function: Option<Name>,
        /// The key itself, `cck_<id>_<secret>`: shown once, when it is made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub secret: Option<String>,
        /// When it was made.
        pub created: Timestamp,
        /// When it ends.
        pub expires: Option<Timestamp>,
        /// About when it was last used.
        pub last_used: Option<Timestamp>,
    }

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
        /// When it was made.
        pub created: Timestamp,
        /// When it last changed.
        pub updated: Timestamp,
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
        #[serde(default)]
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

    /// A run, as lists show it.
    pub struct Invocation {
        /// The run.
        pub run: RunId,
        /// The function's name.
        pub function: Name,
        /// The version's number.
        pub version: u32,
        /// The node that did it.
        pub node: Option<NodeId>,
        /// The lane.
        pub lane: Lane,
        /// Why that lane; none where its version was deleted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub lane_reason: Option<LaneReason>,
        /// What it was allowed to use: CPUs, memory, time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limits: Option<Limits>,
        /// How it ended.
        pub outcome: Outcome,
        /// The answer's status.
        pub status: u16,
        /// The platform's code, where it answered instead of the function.
        pub code: Option<Code>,
        /// The request's method.
        pub method: String,
        /// The request's path.
        pub path: String,
        /// When its head was read.
        pub received: Timestamp,
        /// From then to the answer's end, in microseconds.
        pub wall_us: u64,
        /// What it used, as settled.
        pub usage: Usage,
        /// Both halves agree; else only one has come so far.
        pub settled: bool,
    }

    /// `GET /functions/{name}/usage`: sums over its settled runs. Each run is counted once.
    #[derive(Default, Copy, Eq)]
    pub struct FunctionUsage {
        /// Settled runs.
        pub runs: u64,
        /// Of them: the function answered.
        pub succeeded: u64,
        /// The function failed.
        pub failed: u64,
        /// The deadline came first.
        pub timed_out: u64,
        /// The caller went away.
        pub cancelled: u64,
        /// The platform failed.
        pub platform_failed: u64,
        /// Settled with one half missing, or with halves that disagree.
        pub flagged: u64,
        /// From the request's head to the answer's end, in microseconds.
        pub wall_us: u64,
        /// CPU time, in microseconds.
        pub cpu_us: u64,
        /// Bytes of the requests' bodies.
        pub bytes_in: ByteSize,
        /// Bytes of the answers' bodies.
        pub bytes_out: ByteSize,
    }

    /// `POST /functions/{name}/test`: one call from the portal, answered as data, never as a page.
    #[serde(deny_unknown_fields)]
    pub struct TestCall {
        /// The method.
        pub method: String,
        /// Path and query.
        pub path: String,
        /// Headers.
        #[serde(default)]
        pub headers: Vec<(String, String)>,
        /// The body, base64.
        #[serde(default)]
        pub body: String,
        /// A version or an alias.
        #[serde(default)]
        pub reference: Option<Reference>,
    }

    /// What the function answered to a test call.
    pub struct TestAnswer {
        /// The run.
        pub run: RunId,
        /// The node that did it.
        pub node: Option<NodeId>,
        /// The status.
        pub status: u16,
        /// The headers.
        pub headers: Vec<(String, String)>,
        /// The body, base64.
        pub body: String,
        /// From the call to the answer's end, in microseconds.
        pub wall_us: u64,
        /// The platform's code, where it answered instead of the function.
        pub code: Option<Code>,
    }

    /// A lender's machine.
    pub struct Node {
        /// The id.
        pub id: NodeId,
        /// For people.
        pub name: String,
        /// It has reported within 3 s.
        pub online: bool,
        /// The placement class that it serves.
        pub class: PlacementClass,
        /// The architecture.
        pub arch: String,
        /// The lanes.
        pub lanes: Vec<Lane>,
        /// Cores lent.
        pub cores: u32,
        /// Memory lent.
        pub memory: ByteSize,
        /// Of that, not promised to a run.
        pub memory_free: ByteSize,
        /// The machine's load, 0 to 1.
        pub load: f32,
        /// Runs that it takes at once.
        pub slots: u32,
        /// Runs now.
        pub running: u32,
        /// It takes no new runs.
        pub draining: bool,
        /// The last report.
        pub last_seen: Option<Timestamp>,
        /// How its VM lane is, by its last report.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub vm: Option<VmLane>,
    }

    /// `GET /limits`
    pub struct PlatformLimits {
        /// What a version gets where it says nothing.
        pub defaults: Limits,
        /// The most that it may ask for.
        pub maxima: Limits,
        /// The least.
        pub minima: Limits,
        /// The largest artifact.
        pub artifact: ByteSize,
        /// The largest request head.
        pub headers: ByteSize,
        /// Bytes of a run's log that are kept.
        pub log: ByteSize,
        /// Versions that a function keeps.
        pub versions: u32,
        /// Functions that an account has.
        pub functions: u32,
        /// Environment variables of a version: count.
        pub env_count: u32,
        /// Environment variables of a version: bytes in all.
        pub env_bytes: ByteSize,
        /// How long runs and logs are kept, in days.
        pub runs_days: u32,
    }
}
