//! What an account's runs used, told by function, by principal, by day and so on.

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
        /// The member: what ran for a key counts for the user whose it is now. Triggers, the public and deleted keys
        /// stay as they are.
        Member,
        /// What made the run: a call, a test, a job, a schedule, a queue.
        Source,
        /// The class of the response's status, `1xx` to `9xx`; `none` where there was none.
        Status,
        /// The day, in UTC.
        Day,
        /// The hour, in UTC.
        Hour,
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
        /// The caller went away.
        pub cancelled: u64,
        /// The platform failed.
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
        /// How long the runs took; none where that is known of no run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub latency: Option<Latency>,
    }

    /// Quantiles of wall time, from the request's head to the answer's end, of runs that the function ended: it
    /// answered, failed or ran out of time. At most 3.2 % beside the true value.
    #[derive(Copy, Eq)]
    pub struct Latency {
        /// Half of the runs took no longer, in microseconds.
        pub p50_us: u64,
        /// 95 of 100 took no longer.
        pub p95_us: u64,
        /// 99 of 100 took no longer.
        pub p99_us: u64,
    }

    /// The sums of one function, one principal, one day and so on.
    pub struct UsageGroup {
        /// What it is: an id, a word, or the beginning of the day or hour. `unknown` for runs of which nobody recorded it;
        /// `other` for rare values of a period that had too many to keep each.
        pub key: String,
        /// The same for people: a function's name, a key's name, a user's address.
        pub name: String,
        /// The sums.
        pub usage: UsageSums,
    }

    /// `GET /usage`: a page of groups, and the sums over all of them.
    pub struct UsageReport {
        /// What it is told by.
        pub by: UsageBy,
        /// The beginning of the period that was answered. That is the asked one, except where only the sums of whole
        /// hours or days are left: then it begins with such a one.
        pub from: Timestamp,
        /// The end of the period that was answered, which does not belong to it any more.
        pub to: Timestamp,
        /// The groups of this page: days and hours by time, others by name.
        pub items: Vec<UsageGroup>,
        /// The cursor of the next page; none on the last.
        pub next: Option<String>,
        /// The sums over all groups, of other pages too.
        pub total: UsageSums,
    }
}
