//! What is counted. Handles are made once: counting takes no lock and looks nothing up.

use std::sync::OnceLock;
use std::time::Duration;

use fabric::metric_names;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use protocol::Code;

/// Latencies, in seconds: 8 buckets each decade where it matters, and up to the longest run, which is a job's.
const BUCKETS: [f64; 22] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 120.0,
    300.0, 900.0, 1800.0, 3600.0,
];

/// This process's recorder; the first call installs it. Nothing when somebody else has installed another one.
pub fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
                .ok()?
                .install_recorder()
                .inspect_err(|error| tracing::warn!(%error, "metrics are recorded by somebody else"))
                .inspect(|_| metric_names::describe())
                .ok()
        })
        .as_ref()
}

/// The gateway's meters.
pub(crate) struct Meters {
    ok: Counter,
    by_code: Vec<(Code, Counter)>,
    pub(crate) run_seconds: Histogram,
    pub(crate) head_seconds: Histogram,
    routing_seconds: Histogram,
    placement_seconds: Histogram,
    node_seconds: Histogram,
    response_seconds: Histogram,
    pub(crate) in_flight: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) node_connections: Gauge,
    pub(crate) turned_away: Counter,
    pub(crate) key_cache_hits: Counter,
    pub(crate) key_cache_misses: Counter,
    pub(crate) route_hits: Counter,
    pub(crate) route_misses: Counter,
    pub(crate) retries: Counter,
    pub(crate) spooled: Counter,
    pub(crate) spool_lost: Counter,
    pub(crate) spool_bytes: Gauge,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let part = |part: &'static str| histogram!(metric_names::GATEWAY_RUN_PART_SECONDS, "part" => part);
        let counted = |code: &'static str| counter!(metric_names::GATEWAY_REQUESTS, "code" => code);
        Self {
            ok: counted("ok"),
            by_code: Code::ALL.iter().map(|&code| (code, counted(code.as_str()))).collect(),
            run_seconds: histogram!(metric_names::GATEWAY_RUN_SECONDS),
            head_seconds: histogram!(metric_names::GATEWAY_RUN_HEAD_SECONDS),
            routing_seconds: part("routing"),
            placement_seconds: part("placement"),
            node_seconds: part("node"),
            response_seconds: part("response"),
            in_flight: gauge!(metric_names::GATEWAY_REQUESTS_IN_FLIGHT),
            connections: gauge!(metric_names::GATEWAY_CONNECTIONS),
            node_connections: gauge!(metric_names::GATEWAY_NODE_CONNECTIONS),
            turned_away: counter!(metric_names::GATEWAY_CONNECTIONS_REFUSED),
            key_cache_hits: counter!(metric_names::GATEWAY_KEY_CACHE, "result" => "hit"),
            key_cache_misses: counter!(metric_names::GATEWAY_KEY_CACHE, "result" => "miss"),
            route_hits: counter!(metric_names::GATEWAY_ROUTES, "result" => "hit"),
            route_misses: counter!(metric_names::GATEWAY_ROUTES, "result" => "miss"),
            retries: counter!(metric_names::GATEWAY_RUN_RETRIES),
            spooled: counter!(metric_names::GATEWAY_OBSERVATIONS, "result" => "spooled"),
            spool_lost: counter!(metric_names::GATEWAY_OBSERVATIONS, "result" => "lost"),
            spool_bytes: gauge!(metric_names::GATEWAY_SPOOL_BYTES),
        }
    }

    /// A request was answered: by whom it was meant for, or by us with this code.
    pub(crate) fn answered(&self, code: Option<Code>) {
        match code {
            None => self.ok.increment(1),
            Some(code) => {
                if let Some((_, counter)) = self.by_code.iter().find(|(of, _)| *of == code) {
                    counter.increment(1);
                }
            }
        }
    }

    /// A node was chosen, or none could be.
    pub(crate) fn ranked(&self, took: Duration) {
        self.placement_seconds.record(took);
    }

    /// A node responds: how long it took until nodes could be asked, and from then on to the response's head.
    pub(crate) fn head_came(&self, routing: Duration, node: Duration) {
        self.routing_seconds.record(routing);
        self.node_seconds.record(node);
    }

    /// A run is over.
    pub(crate) fn run_ended(&self, head: Duration, whole: Duration) {
        self.head_seconds.record(head);
        self.response_seconds.record(whole.saturating_sub(head));
        self.run_seconds.record(whole);
    }
}

#[cfg(test)]
mod tests {
    use protocol::Limits;

    use super::*;

    #[test]
    fn the_longest_run_has_a_bucket() {
        assert!(BUCKETS.is_sorted());
        assert!(BUCKETS[BUCKETS.len() - 1] >= Limits::MAX.timeout.duration().as_secs_f64());
    }
}
