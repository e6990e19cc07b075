//! The control plane's configuration: every bound of its queues, bodies, retries and caches is here.

mod mail;

use std::path::PathBuf;

use fabric::shares::TenantShare;
use protocol::api::RegisterNode;
use protocol::node::PublicKey;
use protocol::{ByteSize, Millis, NodeId, PlacementClass};
use serde::{Deserialize, Serialize};

pub use mail::{MailOptions, SmtpUrl};

/// A node that the operator starts beside the control plane (embedded mode).
#[derive(Debug, Clone)]
pub struct LocalNode {
    /// Its id.
    pub id: NodeId,
    /// For people.
    pub name: String,
    /// The placement class that it serves.
    pub class: PlacementClass,
    /// With what it joins; none where its keys are noted at its first hello.
    pub join: Option<LocalJoin>,
}

/// How a local node joins: as any other, with a token that is made where it is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LocalJoin {
    /// The public half of the token's key.
    pub token_key: PublicKey,
    /// What it asks for.
    pub register: RegisterNode,
}

/// By what jobs are ordered and placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum JobsPolicy {
    /// What was learned of earlier runs: short ones first, each where it is soon done.
    Learned,
    /// First come, first served, on the node with the least work: what the learned one is measured against.
    LeastLoaded,
}

/// How the control plane runs.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// The database: `sqlite:///path/to/file` or `postgres://user:password@host/name`.
    #[arg(long, env = "CROWDCLOUD_DATABASE", default_value = "sqlite://crowdcloud.db")]
    pub database: String,
    /// Connections to the database.
    #[arg(long, default_value_t = 16)]
    pub database_connections_max: u32,
    /// What one account may have of all that `finite` lists, in percent of what all others leave of it.
    #[arg(long, env = "CROWDCLOUD_TENANT_SHARE", default_value_t = TenantShare::DEFAULT, value_name = "PERCENT")]
    pub tenant_share: TenantShare,
    /// Requests that use the database at once; unless it is set, as many as there are cores, and fewer than connections.
    #[arg(long)]
    pub requests_max: Option<u32>,
    /// Requests that wait for their turn.
    #[arg(long, default_value_t = 1024)]
    pub requests_waiting_max: u32,
    /// How long a request waits for its turn.
    #[arg(long, default_value = "10s")]
    pub request_wait_max: Millis,
    /// Requests that wait for a job or a message.
    #[arg(long, default_value_t = 512)]
    pub waits_max: u32,
    /// The file with the platform's root secret (32 bytes): the keys of tickets and other secrets are derived from it.
    /// All control planes have the same, and nobody else has it. It is made where it is missing.
    #[arg(long, env = "CROWDCLOUD_TICKET_KEY", default_value = "ticket.key")]
    pub ticket_key: PathBuf,
    /// The root secret is lost: make another one, for this start and all later ones. Second factors and the machines of lenders
    /// are not known any more.
    #[arg(long, env = "CROWDCLOUD_TICKET_KEY_NEW")]
    pub ticket_key_new: bool,
    /// The folder of the store's master keys; unless it is set, `store-keys` beside the root secret. All control planes have
    /// the same keys. The first one is made where there is no blob yet; a new database takes the newest of those that are there.
    #[arg(long, env = "CROWDCLOUD_STORE_KEYS", value_name = "DIR")]
    pub store_keys: Option<PathBuf>,
    /// Where the one-time token that makes the operator is written while there is no operator.
    #[arg(long, default_value = "operator.token")]
    pub operator_token: PathBuf,
    /// The file with the key of the lenders' NATS account, which signs nodes' users; without it no machine joins here.
    #[arg(long, env = "CROWDCLOUD_LENDERS_KEY", value_name = "FILE")]
    pub lenders_key: Option<PathBuf>,
    /// The public key that releases are signed with (32 bytes, base64url): nodes are told it.
    #[arg(long, env = "CROWDCLOUD_RELEASE_KEY", value_name = "KEY")]
    pub release_key: Option<PublicKey>,
    /// Nodes that belong to the operator from the start.
    #[arg(skip)]
    pub local_nodes: Vec<LocalNode>,
    /// The domain under which browsers find functions.
    #[arg(long, env = "CROWDCLOUD_FUNCTIONS_DOMAIN", default_value = "localhost:8080")]
    pub functions_domain: String,
    /// Mails and links for new passwords.
    #[command(flatten)]
    pub mail: MailOptions,
    /// Replicas of the JetStream buckets: 1 embedded, 3 in a cluster.
    #[arg(long, default_value_t = 1)]
    pub replicas: usize,

    /// Settles nothing: gateways and nodes keep their halves of bills on disk until the next start without it, as far as
    /// they have room. For work on the database, and to measure the rest of the path.
    #[arg(long, env = "CROWDCLOUD_SETTLEMENT_PAUSED")]
    pub settlement_paused: bool,

    /// The largest JSON body of the public API.
    #[arg(long, default_value_t = ByteSize::mib(1))]
    pub body_max: ByteSize,
    /// The largest JSON body of what strangers may send too: sign-ups, log-ins, and the rest about users and accounts.
    #[arg(long, default_value_t = ByteSize::kib(16))]
    pub identity_body_max: ByteSize,
    /// The largest body of nodes and gateways: checkpoints, observations, logs.
    #[arg(long, default_value_t = ByteSize::mib(8))]
    pub batch_max: ByteSize,
    /// The largest artifact (shown at `/limits`; the gateway enforces it).
    #[arg(long, default_value_t = ByteSize::mib(128))]
    pub artifact_max: ByteSize,
    /// The largest request head (shown at `/limits`; the gateway enforces it).
    #[arg(long, default_value_t = protocol::headers::HEAD_SIZE_MAX)]
    pub head_max: ByteSize,
    /// Bytes that an account may upload in an `upload_window`, those of uploads that broke off included; then 429.
    #[arg(long, default_value_t = ByteSize::mib(4096))]
    pub upload_window_max: ByteSize,
    /// See `upload_window_max`.
    #[arg(long, default_value = "1h")]
    pub upload_window: Millis,
    /// Bytes in the store that are kept of an account: functions, uploads, inputs and outputs of jobs; then uploads and jobs
    /// are refused. What only deleted functions are made of may be as much again.
    #[arg(long, default_value_t = ByteSize::mib(10_240))]
    pub account_kept_max: ByteSize,
    /// Days that uploads are kept which no version of a function is made of, and which no trigger names.
    #[arg(long, default_value_t = 30)]
    pub uploads_days: u32,

    /// Memory that hashing a password takes, in KiB.
    #[arg(long, default_value_t = 19_456)]
    pub password_memory_kib: u32,
    /// Passes over that memory.
    #[arg(long, default_value_t = 2)]
    pub password_passes: u32,
    /// Passwords that are hashed at once.
    #[arg(long, default_value_t = 2)]
    pub password_hashes_max: usize,
    /// Passwords that wait to be hashed; beyond it: 429.
    #[arg(long, default_value_t = 256)]
    pub password_waits_max: usize,
    /// Failed log-ins for one e-mail address at once, and in each `login_window`; then 429. A device that has logged in
    /// before, and a user who changes their password, have as many of their own.
    #[arg(long, default_value_t = 10)]
    pub login_failures_max: u32,
    /// See `login_failures_max`.
    #[arg(long, default_value = "15m")]
    pub login_window: Millis,
    /// Failed log-ins from one client (an IPv4 address, or an IPv6 network of 64 bits) at once, and in each
    /// `login_client_window`; then 429. Many people may be behind one address.
    #[arg(long, default_value_t = 30)]
    pub login_client_failures_max: u32,
    /// See `login_client_failures_max`.
    #[arg(long, default_value = "3m")]
    pub login_client_window: Millis,
    /// Sign-ups from one client at once, and in each `signups_window`; then 429.
    #[arg(long, default_value_t = 20)]
    pub signups_max: u32,
    /// See `signups_max`.
    #[arg(long, default_value = "2m")]
    pub signups_window: Millis,
    /// Addresses, clients, devices and users whose tries are remembered, of each kind so many; the one that was tried
    /// longest ago is forgotten first.
    #[arg(long, default_value_t = 100_000)]
    pub tries_kept_max: usize,
    /// How long a log-in lasts after its last use.
    #[arg(long, default_value = "30d")]
    pub session_age_max: Millis,
    /// Log-ins of a user at once; beyond it the one that was unused for longest ends.
    #[arg(long, default_value_t = 100)]
    pub sessions_max: u32,
    /// How often a stream's or wait's caller is checked again, while it runs.
    #[arg(long, default_value = "400ms")]
    pub standing_check: Millis,
    /// How long an invitation lasts.
    #[arg(long, default_value = "7d")]
    pub invitation_age_max: Millis,
    /// How long an `Idempotency-Key` is remembered.
    #[arg(long, default_value = "24h")]
    pub idempotency_age_max: Millis,
    /// Refusals of an account that are remembered for it at once, and in each `idempotency_age_max`; others are made anew
    /// when the request is repeated.
    #[arg(long, default_value_t = 1000)]
    pub idempotency_refusals_max: u32,

    /// Functions of an account.
    #[arg(long, default_value_t = 1000)]
    pub functions_max: u32,
    /// Versions of a function that are kept; older ones without an alias are deleted.
    #[arg(long, default_value_t = 100)]
    pub versions_max: u32,
    /// Aliases of a function.
    #[arg(long, default_value_t = 20)]
    pub aliases_max: u32,
    /// Keys of an account.
    #[arg(long, default_value_t = 200)]
    pub keys_max: u32,
    /// Accounts that a user may make.
    #[arg(long, default_value_t = 20)]
    pub accounts_max: u32,
    /// Open invitations of an account.
    #[arg(long, default_value_t = 100)]
    pub invitations_max: u32,
    /// Unused tokens of an account, with which machines join.
    #[arg(long, default_value_t = 100)]
    pub node_tokens_max: u32,
    /// How long a token is good.
    #[arg(long, default_value = "1h")]
    pub node_token_lasts: Millis,
    /// Nodes of an account.
    #[arg(long, default_value_t = 1000)]
    pub nodes_max: u32,
    /// How often a new node is sent a run whose result is known; one that is proven a sixth as often; never where this is 0.
    #[arg(long, env = "CROWDCLOUD_NODE_CHECKS_EVERY", default_value = "1h")]
    pub node_checks_every: Millis,
    /// How long a lender's machine may be connected before it renews its NATS user, which it does in time.
    #[arg(long, default_value = "24h")]
    pub node_jwt_lasts: Millis,
    /// Requests of machines that join, renew or leave, from one client at once, and in each `joins_window`; then 429.
    #[arg(long, default_value_t = 60)]
    pub joins_max: u32,
    /// See `joins_max`.
    #[arg(long, default_value = "1m")]
    pub joins_window: Millis,
    /// Environment variables of a version.
    #[arg(long, default_value_t = 100)]
    pub env_count_max: u32,
    /// Their bytes in all.
    #[arg(long, default_value_t = ByteSize::kib(32))]
    pub env_size_max: ByteSize,
    /// Hosts that a version may call.
    #[arg(long, default_value_t = 50)]
    pub egress_max: u32,

    /// How long a deploy waits for its version to become ready.
    #[arg(long, default_value = "60s")]
    pub prepare_wait_max: Millis,
    /// How long one node may take to check and compile: a little longer than its own bound, so that its verdict arrives.
    #[arg(long, default_value = "330s")]
    pub prepare_time_max: Millis,
    /// How often versions without a node are tried again.
    #[arg(long, default_value = "2s")]
    pub prepare_retry: Millis,
    /// Versions that are prepared at once.
    #[arg(long, default_value_t = 8)]
    pub prepares_max: usize,
    /// Versions that are being prepared or wait for it.
    #[arg(long, default_value_t = 1024)]
    pub prepares_waiting_max: u32,
    /// How long a change waits for the live gateways to have it.
    #[arg(long, default_value = "3s")]
    pub announce_wait_max: Millis,
    /// A node or gateway that has not spoken for so long is not live.
    #[arg(long, default_value = "3s")]
    pub silence_max: Millis,
    /// How long a leader's lease lasts without renewal: after its death nobody publishes routes, dispatches jobs or settles
    /// runs for so long.
    #[arg(long, env = "CROWDCLOUD_LEASE", default_value = "5s")]
    pub lease: Millis,

    /// How long a half of a run waits in memory for the other one, before it becomes a row; its batch is acknowledged as
    /// much later.
    #[arg(long, default_value = "1s")]
    pub settle_hold: Millis,
    /// The pause between two transactions of settlement: what has come meanwhile is settled together. It is up to one and a
    /// half times as long where they take long.
    #[arg(long, default_value_t = Millis(200))]
    pub settle_every: Millis,
    /// Halves that wait in memory at most; with more of them, none waits.
    #[arg(long, default_value_t = 65_536)]
    pub settle_waiting_max: usize,

    /// How long settlement waits for the other half of a run.
    #[arg(long, default_value = "60s")]
    pub settle_wait_max: Millis,
    /// Runs in one block of an account's history; so many wait at most before they are packed.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u64).range(1..=16_384))]
    pub block_runs: u64,
    /// However few runs wait, they are packed into a block after so long.
    #[arg(long, env = "CROWDCLOUD_BLOCK_AGE_MAX", default_value = "10m")]
    pub block_age_max: Millis,
    /// Runs that began so long ago and are in a block have no rows of their own any more.
    #[arg(long, env = "CROWDCLOUD_ROWS_AGE", default_value = "10m")]
    pub rows_age: Millis,
    /// Memory for blocks that were read lately.
    #[arg(long, default_value_t = ByteSize::mib(16))]
    pub block_cache: ByteSize,
    /// Days that runs and their logs are kept.
    #[arg(long, default_value_t = 7)]
    pub runs_days: u32,
    /// Days that the audit is kept: who changed what.
    #[arg(long, env = "CROWDCLOUD_AUDIT_DAYS", default_value_t = 400)]
    pub audit_days: u32,
    /// Days that deleted functions and their versions are kept; longer where runs or jobs tell of them.
    #[arg(long, default_value_t = 30)]
    pub deleted_days: u32,
    /// Runs that are kept at most, of all accounts; beyond it, whoever has the most loses the oldest block.
    #[arg(long, default_value_t = 10_000_000)]
    pub runs_max: u64,
    /// Bytes of an account's blocks that are kept; beyond it, it loses the oldest.
    #[arg(long, default_value_t = ByteSize::mib(2048))]
    pub history_bytes_max: ByteSize,
    /// Runs that one page of a list looks at, where it searches for some of them; then it may be short, and says where to
    /// go on.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub runs_scanned_max: u64,
    /// A download packs what is in no block yet, for one account at most so often; others wait for their turn.
    #[arg(long, default_value = "5s")]
    pub receipts_pause: Millis,
    /// Downloads of receipts at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub receipt_downloads_max: u32,
    /// Days that nodes' checkpoints are kept.
    #[arg(long, default_value_t = 90)]
    pub checkpoints_days: u32,
    /// Lines of logs that are rows of the database at most, of all accounts; beyond it, those that are in blocks go at once,
    /// and where the store takes no blocks, whoever has the most loses the oldest.
    #[arg(long, default_value_t = 2_000_000)]
    pub log_lines_max: u64,
    /// Lines of logs in one block at most; a block has 1 MiB of text at most, too.
    #[arg(long, default_value_t = 8_192, value_parser = clap::value_parser!(u64).range(1..))]
    pub log_block_lines_max: u64,
    /// An account's lines of logs become a block at least so often, where there are some.
    #[arg(long, default_value = "10m")]
    pub log_block_age_max: Millis,
    /// How long lines of logs that are in a block are rows, too.
    #[arg(long, default_value = "5m")]
    pub log_rows_age: Millis,
    /// Bytes of logs that an account keeps; beyond it, it loses the oldest.
    #[arg(long, default_value_t = ByteSize::mib(1024))]
    pub log_bytes_max: ByteSize,
    /// Bytes of logs that all accounts keep together; beyond it, whoever has the most loses the oldest.
    #[arg(long, default_value_t = ByteSize::mib(16 * 1024))]
    pub log_bytes_total_max: ByteSize,
    /// Bytes of one run's log that are kept.
    #[arg(long, default_value_t = ByteSize::kib(256))]
    pub log_size_max: ByteSize,
    /// Lines that come later than this after their run has surely ended are dropped.
    #[arg(long, default_value = "5m")]
    pub log_late_max: Millis,
    /// How long a blob to which nothing refers any more stays in the store, so that whoever reads it can finish.
    #[arg(long, env = "CROWDCLOUD_STORE_DOOMED_FOR", default_value = "24h")]
    pub store_doomed_for: Millis,
    /// How long a process that puts something into the store may be silent: what it puts is refused afterwards, and what it
    /// has left behind is deleted.
    #[arg(long, env = "CROWDCLOUD_STORE_EPOCH_LEASE", default_value = "60s")]
    pub store_epoch_lease: Millis,
    /// Bytes a second that are read and written to bring back copies that are lost, and as many to check those that there
    /// are: calls are to notice nothing of it.
    #[arg(long, env = "CROWDCLOUD_STORE_REPAIR_RATE", default_value_t = ByteSize::mib(32), value_name = "SIZE")]
    pub store_repair_rate: ByteSize,
    /// How often the scheduler's model is trained anew, where there are new runs; never where this is 0.
    #[arg(long, default_value = "5m")]
    pub train_every: Millis,
    /// The newest runs, so many at most, are learned from.
    #[arg(long, default_value_t = 50_000)]
    pub train_runs_max: u64,
    /// Samples of runs that are kept to be learned from, when the runs' rows are gone.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub training_samples_max: u64,
    /// Log streams (`follow=true`) at once.
    #[arg(long, default_value_t = 256)]
    pub log_follows_max: usize,

    /// Jobs of an account that may wait or run.
    #[arg(long, default_value_t = 100_000)]
    pub jobs_open_max: u64,
    /// Jobs of one array.
    #[arg(long, default_value_t = 1000)]
    pub job_array_max: u32,
    /// Arrays that are submitted at once: each writes many rows.
    #[arg(long, default_value_t = 2)]
    pub job_arrays_max: u32,
    /// Jobs of an account that run at once.
    #[arg(long, default_value_t = 500)]
    pub jobs_running_max: u32,
    /// The share of each node's slots that jobs may take, in percent; the rest stays for calls.
    #[arg(long, default_value_t = 75, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub jobs_slots_share: u32,
    /// By what jobs are ordered and placed.
    #[arg(long, value_enum, default_value = "learned")]
    pub jobs_policy: JobsPolicy,
    /// The longest time limit of a job.
    #[arg(long, default_value = "1h")]
    pub job_timeout_max: Millis,
    /// The most retries of a job.
    #[arg(long, default_value_t = 20)]
    pub job_retries_max: u32,
    /// The longest pause before a job's first retry.
    #[arg(long, default_value = "1h")]
    pub job_backoff_max: Millis,
    /// After so many tries that the platform lost, a job is dead.
    #[arg(long, default_value_t = 20)]
    pub job_losses_max: u32,
    /// The largest input in the body of `POST /jobs`; larger ones are uploaded before.
    #[arg(long, default_value_t = ByteSize::kib(512))]
    pub job_input_max: ByteSize,
    /// Inputs and outputs beyond this are in the store.
    #[arg(long, default_value_t = ByteSize::kib(64))]
    pub job_inline_max: ByteSize,
    /// Ended jobs that are kept at most, with their inputs and outputs; beyond it, whoever has the most loses the oldest.
    #[arg(long, default_value_t = 500_000)]
    pub jobs_kept_max: u64,
    /// Days that ended jobs, their logs and their outputs are kept.
    #[arg(long, default_value_t = 7)]
    pub jobs_days: u32,
    /// A node takes a job within so long, or another one is asked.
    #[arg(long, default_value = "1s")]
    pub job_accept_within: Millis,
    /// How often the dispatcher looks at the rows, even where nobody wakes it.
    #[arg(long, default_value = "200ms")]
    pub jobs_poll: Millis,
    /// Streams of job events at once.
    #[arg(long, default_value_t = 512)]
    pub job_streams_max: usize,
    /// Webhooks may go to private addresses: only where everybody who has an account may reach them anyway.
    #[arg(long)]
    pub webhook_private: bool,
    /// Webhooks that are told at once.
    #[arg(long, default_value_t = 32)]
    pub webhooks_max: u32,
    /// How long a webhook's receiver may take.
    #[arg(long, default_value = "10s")]
    pub webhook_timeout: Millis,
    /// Tries to deliver a webhook.
    #[arg(long, default_value_t = 8)]
    pub webhook_tries_max: u32,
    /// The pause before the second try; each further one is three times as long.
    #[arg(long, default_value = "2s")]
    pub webhook_backoff: Millis,
}

/// Connections that are left to the platform's own work.
const OWN_CONNECTIONS: u32 = 4;

impl Config {
    /// What is set of the way of jobs' runs.
    pub(crate) fn placing(&self) -> placing::Settings {
        placing::Settings { accept_within: self.job_accept_within.duration(), ..placing::Settings::default() }
    }

    /// The folder of the store's master keys.
    pub(crate) fn store_keys(&self) -> PathBuf {
        self.store_keys.clone().unwrap_or_else(|| self.ticket_key.with_file_name("store-keys"))
    }

    /// Requests that use the database at once. Beyond one for each core they would only hold each other up; and the fewer
    /// they are, the sooner it is another tenant's turn.
    #[must_use]
    pub fn requests_max(&self) -> u32 {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most = self.database_connections_max.saturating_sub(OWN_CONNECTIONS).max(2);
        self.requests_max.unwrap_or_else(|| u32::try_from(cores()).unwrap_or(u32::MAX).clamp(2, most))
    }
}

impl Default for Config {
    /// The defaults of the command line.
    fn default() -> Self {
        use clap::{Args as _, FromArgMatches as _};
        let command = Self::augment_args(clap::Command::new("control-plane"));
        let matches = command.get_matches_from(["control-plane"]);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}
