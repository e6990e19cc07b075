//! The catalogue of errors: one stable code for each way to be refused or to fail, and the problem
//! document (RFC 9457) that carries it.

use serde::{Deserialize, Serialize};

use crate::field::Field;
use crate::headers;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $retry:literal, $title:literal, $help:literal;)*) => {
        /// A stable error code. What users' programs may match on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl Code {
            /// Every code, for documentation and for the test that produces each.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Whether the same request may succeed later.
            #[must_use]
            pub const fn retry(self) -> bool {
                match self { $(Self::$name => $retry,)* }
            }

            /// What it means, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }
        }
    };
}

codes! {
    // What a request says.
    InvalidRequest = "invalid_request", 400, false, "The request cannot be understood", "Check the request against the API document at /api/v1/openapi.json.";
    InvalidField = "invalid_field", 422, false, "A value is not allowed", "Change the named field to a value within the stated range.";
    InvalidName = "invalid_name", 422, false, "This name is not allowed", "Use 2 to 30 of a-z, 0-9 and single dashes, and no reserved word.";
    NotUnderstood = "not_understood", 501, false, "A part of the platform is too old for this", "Update the software of the part that answers; the details name the field that it does not know.";
    MissingAccount = "missing_account", 400, false, "The request names no account", "Name the account in the x-crowdcloud-account header.";
    PreconditionFailed = "precondition_failed", 412, false, "It has changed since you read it", "Read it again, then repeat the change with the new ETag in If-Match.";
    PreconditionRequired = "precondition_required", 428, false, "The change does not say what it replaces", "Read it first, then send its ETag in If-Match; `If-Match: *` replaces whatever is there.";
    IdempotencyMismatch = "idempotency_mismatch", 422, false, "This Idempotency-Key was used for another request", "Use a new key for a new request.";
    IdempotencyPending = "idempotency_pending", 409, true, "A request with this Idempotency-Key has no answer yet", "Wait for the first request's answer, or list what it would have made.";
    HeadersTooLarge = "headers_too_large", 431, false, "The request's head is too large", "Send fewer or shorter headers.";
    UriTooLong = "uri_too_long", 414, false, "The request's path and query are too long", "Send in the body what is long.";
    BodyTooLarge = "body_too_large", 413, false, "The body is larger than this function accepts", "Send less, or raise `limits.body` of the function.";
    BodyIncomplete = "body_incomplete", 400, false, "The request's body broke off", "Send all of the body before the connection is closed: as many bytes as Content-Length says, or the last chunk.";
    MethodNotAllowed = "method_not_allowed", 405, false, "This resource has no such method", "See the API document for the methods it has.";
    UpgradeNotSupported = "upgrade_not_supported", 501, false, "Protocol upgrades are not supported", "Send plain HTTP requests; stream with long bodies instead.";
    RequestTimeout = "request_timeout", 408, true, "The request did not arrive in time", "Send the request's head and body without long pauses, and not too slowly.";
    UnknownHost = "unknown_host", 421, false, "This host is not answered for here", "Use the address that the platform was started with, or start it with `--host HOST` (CROWDCLOUD_HOSTS, `hosts` in config.toml).";

    // Who asks.
    Unauthenticated = "unauthenticated", 401, false, "A key or a log-in is needed", "Send `Authorization: Bearer cck_...`, or log in.";
    InvalidKey = "invalid_key", 401, false, "This key is unknown, expired or revoked", "Make a new key with `crowdcloud keys create`.";
    InvalidLogin = "invalid_login", 401, false, "The e-mail address or the password is wrong", "Check both. The log-in page of the portal sends a link for a new password.";
    CodeNeeded = "code_needed", 401, false, "The log-in needs a code of the second factor", "Send the code that the app shows, or a recovery code, to /api/v1/sessions/code within 5 minutes, with the cookie of this answer.";
    InvalidCode = "invalid_code", 401, false, "The code of the second factor is wrong, or was used", "Type the code that the app shows now: each is good once, and for a minute at most. Check the clock of its device, or use a recovery code.";
    Forbidden = "forbidden", 403, false, "This key or role may not do that", "Use a key with the needed scope, or ask an owner of the account.";
    CrossSite = "cross_site", 403, false, "The request comes from another site", "Make the request from the portal itself, or use an API key.";
    RateLimited = "rate_limited", 429, true, "Too many requests", "Wait as long as Retry-After says.";
    ShareExceeded = "share_exceeded", 429, true, "The account uses its share of this", "End something that uses it, or try again as Retry-After says; the details name what it is.";

    // What it asks for.
    NotFound = "not_found", 404, false, "There is no such thing", "Check the name, and that the key belongs to its account.";
    FunctionNotFound = "function_not_found", 404, false, "There is no such function", "Check the account's and the function's name; a private function needs a key of its account.";
    VersionNotFound = "version_not_found", 404, false, "The function has no such version or alias", "List them with `crowdcloud versions FUNCTION`.";
    InvitationInvalid = "invitation_invalid", 404, false, "This invitation is unknown, used or expired", "Ask for a new one.";
    ResetInvalid = "reset_invalid", 404, false, "This link for a new password is unknown, used or expired", "Ask for a new one on the log-in page.";
    NameTaken = "name_taken", 409, false, "This name is taken", "Choose another name.";
    EmailTaken = "email_taken", 409, false, "There is a user with this e-mail address", "Log in instead.";
    EmailCodeNeeded = "email_code_needed", 422, false, "A code has to show that the e-mail address is yours", "Sign up again with the code that was sent to the address.";
    SecondFactorOn = "second_factor_on", 409, false, "The user has a second factor", "Turn it off first.";
    LastOwner = "last_owner", 409, false, "An account needs an owner", "Make another member an owner first.";
    NotReady = "not_ready", 409, true, "This version is not ready", "Wait until it is `ready`, or deploy again if it has failed.";
    JobEnded = "job_ended", 409, false, "The job has ended", "There is nothing left to cancel; `crowdcloud jobs show JOB` says how it ended.";
    JobNotEnded = "job_not_ended", 409, true, "The job has not ended", "Wait for its end: `crowdcloud jobs wait JOB`.";
    QueueInUse = "queue_in_use", 409, false, "A trigger takes from this queue", "Delete the trigger first: `crowdcloud triggers delete NAME`.";
    LimitReached = "limit_reached", 422, false, "A limit of the account is reached", "Delete what is not needed, or ask the operator for more.";
    StorageFull = "storage_full", 507, false, "The account keeps as much as it may", "Delete functions that are not needed, wait until uploads and jobs are old enough to go, or ask the operator for more; `crowdcloud usage` says what takes the room.";

    // What is deployed.
    NotWasm = "not_wasm", 422, false, "The artifact is not WebAssembly", "Deploy a component or a WASI command; for other programs use the VM lane.";
    InvalidWasm = "invalid_wasm", 422, false, "The WebAssembly does not validate", "Build it again; the details say where it breaks.";
    NoEntryPoint = "no_entry_point", 422, false, "The artifact has no entry point", "Export `_start` (a WASI command) or `wasi:http/incoming-handler` (a component); for an image name an entry point in it, or a command at the deploy.";
    WrongWorld = "wrong_world", 422, false, "The component is of another world", "Target `wasi:http/proxy` or `wasi:cli/command`.";
    UnknownImport = "unknown_import", 422, false, "The artifact imports what is not offered", "Remove the named import; the docs list what is offered.";
    CompileLimit = "compile_limit", 422, false, "Compiling the artifact takes too much", "The details say which bound was hit; split the largest functions, leave out what is not called, or build with optimisation for size.";
    CompileFailed = "compile_failed", 422, false, "The artifact could not be compiled", "The details say why; large functions may need splitting.";
    ImageInvalid = "image_invalid", 422, false, "The image cannot be used", "Deploy an OCI image archive, a tar archive of files, a Linux executable or a script; the details say what is wrong with this one.";
    ImageTooLarge = "image_too_large", 413, false, "The image is too large once it is unpacked", "The details name the limit; leave out what is not needed.";
    WrongArchitecture = "wrong_architecture", 422, false, "The image is for another kind of machine", "Build it for the architecture that the details name.";
    ExceedsNodes = "exceeds_nodes", 422, false, "No node is large enough", "Ask for at most what the details say.";
    ArtifactTooLarge = "artifact_too_large", 413, false, "The artifact is too large", "The maximum is at /api/v1/limits.";
    ArtifactNotFound = "artifact_not_found", 422, false, "The account has no such artifact", "Upload it first: an artifact with POST /api/v1/artifacts, an input with POST /api/v1/uploads.";

    // What a run does: the function's fault.
    Trap = "trap", 502, false, "The function trapped", "See the run's logs.";
    OutOfMemory = "out_of_memory", 502, false, "The function needed more memory than it may use", "Raise `limits.memory`.";
    StackOverflow = "stack_overflow", 502, false, "The function's recursion was too deep", "See the run's logs.";
    NoResponse = "no_response", 502, false, "The function ended without a response", "Set a response on every path of the handler.";
    FunctionExit = "function_exit", 502, false, "The command ended with an error", "See the run's logs for its stderr.";
    InvalidResponse = "invalid_response", 502, false, "The function's response is not valid HTTP", "Check the status and headers that it sets.";
    NeverListened = "never_listened", 502, false, "The server did not listen on its port", "Listen on 127.0.0.1 or all addresses, on the port in the variable PORT; the notes of the version (`crowdcloud versions show`) say how it was chosen.";
    GuestCrashed = "guest_crashed", 502, false, "The function's machine crashed", "See the run's logs.";
    TimedOut = "timed_out", 504, false, "The function did not finish by its deadline", "Raise `limits.timeout`, or make it faster.";
    EgressLimit = "egress_limit", 502, false, "The function's own connections carried more than they may", "Raise `limits.egress_bytes`, or send and fetch less.";
    ResponseTooLarge = "response_too_large", 502, false, "The function's response is too large", "Return less, or raise the limit.";

    // What the platform lacks.
    NoNode = "no_node", 503, true, "No node can take this run", "The details say why each node was refused; try again, or change placement and limits.";
    Overloaded = "overloaded", 503, true, "All nodes are busy", "Try again as Retry-After says.";
    ConcurrencyLimit = "concurrency_limit", 429, true, "The function runs as often at once as it may", "Try again, or raise `limits.concurrency`.";
    NodeLost = "node_lost", 502, true, "The node was lost during the run", "Try again if the call may be repeated.";
    NodeCopied = "node_copied", 409, true, "Another process is connected as this node", "End the other process; a machine of its own needs credentials of its own.";
    NodeKeysDiffer = "node_keys_differ", 409, false, "The node's keys are not the registered ones", "Restore the node's own keys, which stand in its folder; a machine that is new, or a copy of one, joins with a token of its own.";
    NodeMachineDiffers = "node_machine_differs", 409, false, "This is not the machine that has joined", "A copy of a machine joins by itself: in a new folder, with a new token. Nothing is held against it.";
    NodeRestored = "node_restored", 409, false, "The node's folder is a copy, or of an earlier time", "Go on with the newest copy of the folder; any other one joins anew, in a new folder, with a new token.";
    NodeTokenInvalid = "node_token_invalid", 401, false, "This token is not one of this platform's", "Make a new token in the portal or with `crowdcloud nodes tokens create`, and paste its line whole.";
    NodeTokenUsed = "node_token_used", 410, false, "This token was used by another machine", "Each token is for one machine, once. Make a new one with `crowdcloud nodes tokens create`.";
    NodeTokenExpired = "node_token_expired", 410, false, "This token has expired", "Make a new one with `crowdcloud nodes tokens create`.";
    NodeKeysTaken = "node_keys_taken", 409, false, "Another node has these keys", "A copy of a machine needs keys of its own: delete the folder `keys` in its data folder, and join with a new token.";
    NodeSuspended = "node_suspended", 403, false, "This node, or its machine, is shut out", "Ask the operator; the details say why.";
    NodeState = "node_state", 409, false, "The node's state does not allow this", "Look at its state: `crowdcloud nodes list`.";
    NodeLeft = "node_left", 410, false, "This node has left, or was revoked", "To come back, join again with a token of its own: `crowdcloud nodes tokens create`.";
    BatchConflict = "batch_conflict", 409, false, "Another batch was committed under this number", "No request of yours: a gateway or a node sends batches. Its disk was changed, or two processes share it.";
    NodeFailed = "node_failed", 502, true, "The node could not do the run", "Try again; another node will be used.";
    NodePaused = "node_paused", 502, true, "The node's owner took it back during the run", "Try again if the call may be repeated; another node will be used.";
    ControlPlaneUnavailable = "control_plane_unavailable", 503, true, "The control plane cannot be reached", "Try again in a moment.";
    Draining = "draining", 503, true, "This process is shutting down", "Try again; another one will answer.";
    StorageUnavailable = "storage_unavailable", 503, true, "The store cannot be reached", "Try again in a moment.";
    DisksFull = "disks_full", 507, true, "The platform's disks are full", "Nothing was kept. Ask the operator for more room, then send it again.";
    Internal = "internal", 500, true, "Something broke on our side", "Try again; if it stays, report the request id.";
}

impl Code {
    /// Whether a problem of this code is always about one input, which only its maker knows: such a problem is made with
    /// [`Problem::of`].
    #[must_use]
    pub const fn needs_field(self) -> bool {
        matches!(
            self,
            Self::InvalidField
                | Self::InvalidName
                | Self::NameTaken
                | Self::EmailTaken
                | Self::EmailCodeNeeded
                | Self::ArtifactNotFound
                | Self::ExceedsNodes
        )
    }

    /// The header that problems of this code are about.
    #[must_use]
    pub const fn header(self) -> Option<&'static str> {
        match self {
            Self::MissingAccount => Some(headers::ACCOUNT),
            Self::PreconditionFailed | Self::PreconditionRequired => Some("If-Match"),
            Self::IdempotencyMismatch | Self::IdempotencyPending => Some("Idempotency-Key"),
            _ => None,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A problem document (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{code}: {detail}")]
pub struct Problem {
    /// Where the code is documented.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The code's meaning.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: Code,
    /// What was wrong this time.
    pub detail: String,
    /// What to do.
    pub help: String,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// The run or request that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The input that it is about: a path in the body, with dots and indexes (`limits.cpus`, `shares[0].weight`; `$` is
    /// the whole body), or the name of a parameter or a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Field>,
}

impl Problem {
    /// The media type of a problem document.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// A problem that is about no input, and what was wrong this time. What is about an input is made with
    /// [`Problem::of`]; `cargo xtask lint` sees to it.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self::made(code, code.header().map(Field::from), detail.into())
    }

    /// A problem with this input.
    #[must_use]
    pub fn of(code: Code, field: impl Into<Field>, detail: impl Into<String>) -> Self {
        Self::made(code, Some(field.into()), detail.into())
    }

    /// Another problem's code, field and words: the catalogue's own come from here.
    #[must_use]
    pub fn again(code: Code, field: Option<Field>, detail: impl Into<String>) -> Self {
        Self::made(code, field, detail.into())
    }

    fn made(code: Code, field: Option<Field>, detail: String) -> Self {
        Self {
            type_uri: format!("/docs/errors#{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail,
            help: code.help().to_owned(),
            retry: code.retry(),
            instance: None,
            field,
        }
    }

    /// The same, with advice for this very case.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// The same, about this run or request.
    #[must_use]
    pub fn about(mut self, instance: impl std::fmt::Display) -> Self {
        self.instance = Some(instance.to_string());
        self
    }

    /// The same about this input, where it does not name one yet.
    #[must_use]
    pub fn at(mut self, field: impl Into<Field>) -> Self {
        self.field = self.field.or_else(|| Some(field.into()));
        self
    }

    /// The same, where the body that it is about is a member of something larger.
    #[must_use]
    pub fn under(mut self, parent: &Field) -> Self {
        if self.code.header().is_none() {
            self.field = self.field.map(|field| field.under(parent));
        }
        self
    }

    /// The document's bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::made(code, code.header().map(Field::from), code.title().to_owned())
    }
}
