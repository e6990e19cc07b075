//! Every metric of the platform: its name and what it says, for the code that counts and for whoever reads `/metrics`.
//!
//! Units stand last in a name; values of labels come from fixed sets.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// What a metric's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How many values there were up to each bound.
    Histogram,
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// What they say.
    pub help: &'static str,
}

macro_rules! metric_names {
    ($($constant:ident = $kind:ident $name:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: &str = $name;
        )*

        /// All of them.
        pub const ALL: &[Metric] = &[$(Metric { name: $name, kind: Kind::$kind, help: $help },)*];
    };
}

metric_names! {
    GATEWAY_REQUESTS = Counter "gateway_requests_total", "Requests that were answered, by the code of the problem; `ok` is none.";
    GATEWAY_RUN_SECONDS = Histogram "gateway_run_seconds", "Time of a run from its request's head to the end of its response.";
    GATEWAY_RUN_HEAD_SECONDS = Histogram "gateway_run_head_seconds", "Time of a run from its request's head to its response's head.";
    GATEWAY_RUN_PART_SECONDS = Histogram "gateway_run_part_seconds", "Time of each part of a run at the gateway.";
    GATEWAY_RUN_RETRIES = Counter "gateway_run_retries_total", "Further nodes that were asked because one could not do a run.";
    GATEWAY_REQUESTS_IN_FLIGHT = Gauge "gateway_requests_in_flight", "Requests whose response's head has not been sent.";
    GATEWAY_CONNECTIONS = Gauge "gateway_connections", "Open connections.";
    GATEWAY_CONNECTIONS_REFUSED = Counter "gateway_connections_refused_total", "Connections that were refused because their client had too many.";
    GATEWAY_NODE_CONNECTIONS = Gauge "gateway_node_connections", "Nodes that are connected through this gateway.";
    GATEWAY_KEY_CACHE = Counter "gateway_key_cache_total", "Look-ups of keys in the authentication cache, by result.";
    GATEWAY_ROUTES = Counter "gateway_routes_total", "Look-ups of functions' routes in memory, by result.";
    GATEWAY_OBSERVATIONS = Counter "gateway_observations_total", "Observations of runs, by what became of them at the spool.";
    GATEWAY_SPOOL_BYTES = Gauge "gateway_spool_bytes", "Bytes of observations that wait for the control plane.";
    GATEWAY_RUNS_UNLEARNED = Counter "gateway_runs_unlearned_total", "Runs that the gateway's placement could not learn from, because too many waited.";
    GATEWAY_MODEL_TRUSTED = Gauge "gateway_model_trusted", "Whether the gateway places by the model (1) or without it (0).";
    GATEWAY_MODEL_ERROR = Gauge "gateway_model_error", "Mean error of the gateway's predictions of recent runs, of the logarithm of time.";
    CONTROL_PLANE_SETTLEMENT_SECONDS = Histogram "control_plane_settlement_seconds", "Time of a batch of halves of bills in settlement.";
    CONTROL_PLANE_RUNS_UNLEARNED = Counter "control_plane_runs_unlearned_total", "Runs of jobs that placement could not learn from, because too many waited.";
    CONTROL_PLANE_MODEL_TRUSTED = Gauge "control_plane_model_trusted", "Whether the control plane places jobs by the model (1) or without it (0).";
    CONTROL_PLANE_MODEL_ERROR = Gauge "control_plane_model_error", "Mean error of the control plane's predictions of recent jobs' runs, of the logarithm of time.";
    MODEL_ERROR = Gauge "crowdcloud_model_error", "Mean error of the newest model that this control plane has trained on held-out runs, of the logarithm of time.";
    OBSERVATIONS = Counter "crowdcloud_observations_total", "Observations of runs that settlement has taken.";
    RECEIPTS = Counter "crowdcloud_receipts_total", "Receipts of nodes that settlement has taken.";
    HALVES_TOO_LATE = Counter "crowdcloud_halves_too_late_total", "Halves of bills that came after their run was forgotten.";
    HALVES_VOID = Counter "crowdcloud_halves_void_total", "Halves of bills that could not be read and count for nothing.";
    NODE_RUNS = Counter "crowdcloud_node_runs_total", "Runs that have ended on this node, by outcome.";
    NODE_CPU_MICROSECONDS = Counter "crowdcloud_node_cpu_microseconds_total", "CPU time of the runs that have ended on this node.";
    NODE_RUN_PART_SECONDS = Histogram "crowdcloud_node_run_part_seconds", "Time of each part of a run on this node.";
    NODE_RUNNING = Gauge "crowdcloud_node_running", "Runs on this node now.";
    NODE_SLOTS = Gauge "crowdcloud_node_slots", "Runs that this node takes at once.";
    NODE_LOAD = Gauge "crowdcloud_node_load", "Busy cores of this node's machine over all its cores, 0 to 1.";
    NODE_MESSAGES_DROPPED = Counter "crowdcloud_node_messages_dropped_total", "Messages of nodes that were dropped, by node and by what they were.";
    STORE_FAULTS = Counter "crowdcloud_store_faults_total", "Copies of segments that an engine of the store should have kept or given, by what was wrong: missing, damaged, failed, full or slow.";
    PART_CPU_NANOSECONDS = Counter "crowdcloud_part_cpu_nanoseconds_total", "CPU time of each part of calls; counted with CROWDCLOUD_PROFILE=parts.";
}

/// What a process that places runs says of what it has learned.
#[derive(Debug, Clone, Copy)]
pub struct LearningNames {
    /// Runs that were not learned from.
    pub runs_unlearned: &'static str,
    /// Whether its model is trusted.
    pub model_trusted: &'static str,
    /// How far its model is off.
    pub model_error: &'static str,
}

impl LearningNames {
    /// The gateway's.
    pub const GATEWAY: Self = Self {
        runs_unlearned: GATEWAY_RUNS_UNLEARNED,
        model_trusted: GATEWAY_MODEL_TRUSTED,
        model_error: GATEWAY_MODEL_ERROR,
    };
    /// The control plane's.
    pub const CONTROL_PLANE: Self = Self {
        runs_unlearned: CONTROL_PLANE_RUNS_UNLEARNED,
        model_trusted: CONTROL_PLANE_MODEL_TRUSTED,
        model_error: CONTROL_PLANE_MODEL_ERROR,
    };
}

/// Tells this process's recorder what each of them says.
pub fn describe() {
    for &Metric { name, kind, help } in ALL {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram => describe_histogram!(name, help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_descriptions_are_whole() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len(), "a name stands twice");
        for Metric { name, kind, help } in ALL {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name} has no buckets");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
        }
    }
}
