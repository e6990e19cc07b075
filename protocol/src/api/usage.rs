//! What an account's runs used, told by function, by principal, by day and so on.
//!
//! `GET /api/v1/usage?by=X` tells it by one thing, and `by=TIME,X` by a time and one thing: the groups are then in the order
//! of time, and each has `at`, the beginning of its period. `X` is one of `function`, `version`, `lane`, `principal`,
//! `member`, `source` and `status`; `TIME` is one of `minute` (of the last 3 days), `hour` (of the last 90 days), `day` and
//! `month` (both of all time), in UTC. `by=TIME` alone is the sum of each period. Groups without runs are left out: a chart
//! fills the gaps with nothing. `function`, `version`, `lane`, `source`, `principal` and `member` select runs; what was
//! summed up without the asked property (`unknown`, `other`) is not selected.
//!
//! Beside the sums it tells what the store keeps of the account now ([`Kept`]).
//!
//! `GET /api/v1/usage/now` is what is there at this moment ([`UsageNow`]).

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Timestamp};

api_types! {
    /// What usage is told by.
    #[derive(Copy, Eq, Default)]
    #[serde(rename_all = "snake_case")]
    pub enum UsageBy {
        /// The function.
        #[default]
        Function,
        /// The function's version.
        Version,
        /// The lane.
        Lane,
        /// On whose behalf it ran: a key, a user, a trigger, the public.
        Principal,
        /// The member: what ran for a key counts for the user whose it is now, or whose it was when it was revoked.
        /// Triggers and the public stay as they are.
        Member,
        /// What made the run: a call, a test, a job, a schedule, a queue.
        Source,
        /// The class of the response's status, `1xx` to `9xx`; `none` where there was none.
        Status,
        /// The minute. Of the last 3 days.
        Minute,
        /// The hour, in UTC. Of the last 90 days.
        Hour,
        /// The day, in UTC.
        Day,
        /// The month, in UTC.
        Month,
    }

    /// Sums over settled runs. Each run is counted once.
    #[derive(Default, Copy, Eq)]
    pub struct UsageSums {
        /// Settled runs.
        pub runs: u64,
        /// Of them: the function answered.
        pub succeeded: u64,
        /// The function failed.
        pub failed: u64,
        /// The deadline came first.
        pub timed_out: u64,
        /// The caller went away. They are not in `latency`, since the function did not end them.
        pub cancelled: u64,
        /// The platform failed. They are not in `latency` either.
        pub platform_failed: u64,
        /// Settled with one half missing, or with halves that disagree.
        pub flagged: u64,
        /// Runs that found the artifact loaded.
        #[serde(default)]
        pub warm: u64,
        /// Runs that found it on disk, and waited for it to be loaded.
        #[serde(default)]
        pub cached: u64,
        /// Runs that waited for it to be fetched, and compiled or converted.
        #[serde(default)]
        pub cold: u64,
        /// From the request's head to the answer's end, in microseconds.
        pub wall_us: u64,
        /// CPU time, in microseconds.
        pub cpu_us: u64,
        /// The most memory that each run held times its wall time, in KiB times milliseconds.
        #[serde(default)]
        pub memory_kib_ms: u64,
        /// The CPUs that each run might use times its wall time, in microseconds.
        #[serde(default)]
        pub reserved_cpu_us: u64,
        /// The memory that each run might use times its wall time, in KiB times milliseconds.
        #[serde(default)]
        pub reserved_memory_kib_ms: u64,
        /// Bytes of the requests' bodies.
        pub bytes_in: ByteSize,
        /// Bytes of the answers' bodies.
        pub bytes_out: ByteSize,
        /// Bytes that the runs' own connections to other hosts carried, both ways.
        #[serde(default)]
        pub egress_bytes: ByteSize,
        /// How long the runs took that the function ended; none where there are none of them, or it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub latency: Option<Latency>,
    }

    /// Quantiles of wall time, from the request's head to the answer's end, of runs that the function ended: it
    /// answered, failed or ran out of time. Runs that were cancelled, and those that the platform failed, do not count. At
    /// most 3.2 % beside the true value.
    #[derive(Copy, Eq)]
    pub struct Latency {
        /// Half of the runs took no longer, in microseconds.
        pub p50_us: u64,
        /// 95 of 100 took no longer.
        pub p95_us: u64,
        /// 99 of 100 took no longer.
        pub p99_us: u64,
    }

    /// The sums of one function, one principal, one day and so on; or of one of them in one period of time. Groups without
    /// runs are left out.
    pub struct UsageGroup {
        /// What it is: an id, or a word. `unknown` for runs of which nobody recorded it; `other` for rare values of a period
        /// that had too many to keep each. By time alone: the beginning of the minute or hour, the day (`2026-11-30`), or the
        /// month (`2026-11`). In one report, no two groups have the same `at` and `key`.
        pub key: String,
        /// The same for people: a function's name, a key's name, a user's address.
        pub name: String,
        /// The beginning of its minute, hour, day or month, in UTC; none where time does not tell the groups apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub at: Option<Timestamp>,
        /// The sums.
        pub usage: UsageSums,
    }

    /// `GET /usage`: a page of groups, and the sums over all of them.
    pub struct UsageReport {
        /// What it is told by: what `key` and `name` of the groups are.
        pub by: UsageBy,
        /// The time that it is told by, be it alone or beside `by`: a minute, an hour, a day or a month begins at each
        /// group's `at`. None where time does not tell the groups apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub every: Option<UsageBy>,
        /// The beginning of the period that was answered. That is the asked one, except where only the sums of whole
        /// hours or days are left: then it begins with such a one. By time, it begins with a whole minute, hour, day or
        /// month, and no earlier than there are sums of such.
        pub from: Timestamp,
        /// The end of the period that was answered, which does not belong to it any more.
        pub to: Timestamp,
        /// The groups of this page: by time where they have one, then by name.
        pub items: Vec<UsageGroup>,
        /// The cursor of the next page; none on the last.
        pub next: Option<String>,
        /// The sums over all groups, of other pages too.
        pub total: UsageSums,
        /// What the store keeps of the account now. None where the report is of one function, and for keys of one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub kept: Option<Kept>,
    }

    /// What the store keeps of an account, as it was some seconds ago.
    #[derive(Copy, Eq)]
    pub struct Kept {
        /// What counts: `functions`, `uploads` and `jobs`.
        pub bytes: ByteSize,
        /// So much may be kept; then uploads and jobs are refused.
        pub limit: ByteSize,
        /// What it is.
        pub by: KeptBy,
    }

    /// Bytes in the store, of what they are. What is a part of the rows themselves, such as short inputs, is not among them.
    #[derive(Copy, Eq)]
    pub struct KeptBy {
        /// What versions of functions are made of.
        pub functions: ByteSize,
        /// Other uploads: inputs of jobs, and what was not deployed.
        pub uploads: ByteSize,
        /// Inputs of jobs that are not uploads any more, and outputs.
        pub jobs: ByteSize,
        /// What only deleted functions are made of, as long as they can be restored. It does not count as long as it is not
        /// more than may be kept.
        pub deleted: ByteSize,
        /// The history of runs, and logs. They have bounds of their own, and do not count.
        pub history: ByteSize,
    }

    /// `GET /usage/now`: what an account has going on, and what there is to run it.
    ///
    /// The control plane knows of a job from its submission on, and of a call after it has ended: `jobs` is what is there
    /// at `at`, and `last_minute` stands for calls.
    pub struct UsageNow {
        /// When that was.
        pub at: Timestamp,
        /// The account's jobs.
        pub jobs: JobsNow,
        /// The last full minute, on average.
        pub last_minute: LastMinute,
        /// The account's own nodes.
        pub own: NodesNow,
        /// The nodes that the platform's operator answers for, which all accounts share.
        pub operator: NodesNow,
    }

    /// The jobs of an account that have not ended.
    #[derive(Copy, Eq, Default)]
    pub struct JobsNow {
        /// They wait for a node, or for their time.
        pub queued: u64,
        /// They are on a node, or on their way to one.
        pub running: u64,
        /// The CPUs that these may use.
        pub reserved_cpus: u64,
        /// The memory that these may use.
        pub reserved_memory: ByteSize,
    }

    /// What the settled runs that began within the last full minute used, calls and jobs: averages over the 60 seconds.
    ///
    /// A run counts with all of it in the minute in which it began, and once it is settled, some seconds after it has ended.
    /// So what runs for minutes is not in it yet, and later makes its own minute larger.
    #[derive(Copy, Default)]
    pub struct LastMinute {
        /// Its beginning.
        pub from: Timestamp,
        /// Its end.
        pub to: Timestamp,
        /// Runs that began within it.
        pub runs: u64,
        /// CPUs in use on average.
        pub cpus: f64,
        /// CPUs that the runs might have used, on average.
        pub reserved_cpus: f64,
        /// Memory in use on average, where each run counts with the most that it held.
        pub memory: ByteSize,
        /// Memory that the runs might have used, on average.
        pub reserved_memory: ByteSize,
    }

    /// Nodes that report now, as they say.
    #[derive(Copy, Default)]
    pub struct NodesNow {
        /// How many.
        pub nodes: u64,
        /// Cores that they lend.
        pub cores: u64,
        /// Of these, how many are busy, with whatever it is.
        pub busy_cores: f64,
        /// Memory that they lend.
        pub memory: ByteSize,
        /// Of that, what is promised to runs, of all accounts.
        pub reserved_memory: ByteSize,
        /// Runs that they take at once.
        pub slots: u64,
        /// Runs now, of all accounts.
        pub running: u64,
    }
}

impl KeptBy {
    /// Nothing.
    pub const NONE: Self = Self {
        functions: ByteSize(0),
        uploads: ByteSize(0),
        jobs: ByteSize(0),
        deleted: ByteSize(0),
        history: ByteSize(0),
    };

    /// What counts of it.
    #[must_use]
    pub const fn bytes(&self) -> ByteSize {
        self.functions.saturating_add(self.uploads).saturating_add(self.jobs)
    }
}

impl UsageBy {
    /// Whether it is a time.
    #[must_use]
    pub const fn is_time(self) -> bool {
        matches!(self, Self::Minute | Self::Hour | Self::Day | Self::Month)
    }
}
