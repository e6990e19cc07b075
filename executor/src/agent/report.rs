//! The report: each second, what the node has and does.

use std::sync::Arc;
use std::time::Duration;

use fabric::{Fabric, metric_names, subjects};
use protocol::node::{CACHED_MAX, NodeReport, WARM_MAX};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::artifacts::Library;
use crate::config::Config;
use crate::sys;
use crate::vm::Door;

const EVERY: Duration = Duration::from_secs(1);
/// What is on disk is listed with every so many reports.
const LIST_EVERY: u64 = 10;

/// Publishes reports until it is stopped; at once when `now` is notified.
pub(super) async fn publish(
    config: Arc<Config>,
    fabric: Fabric,
    admission: Arc<Admission>,
    library: Arc<Library>,
    vm: Arc<Door>,
    now: Arc<Notify>,
    stop: CancellationToken,
) {
    let subject = subjects::report(config.node);
    let mut busy_time = sys::busy_time();
    let mut load = 0.0;
    let mut cached = Vec::new();
    for sequence in 0.. {
        let lane = vm.lane();
        let mut warm = library.warm_digests(WARM_MAX);
        warm.extend(lane.iter().flat_map(|lane| lane.warm_digests(WARM_MAX)));
        warm.truncate(WARM_MAX);
        if sequence % LIST_EVERY == 0 {
            cached = library.cached_digests(CACHED_MAX).await;
            if let Some(lane) = &lane {
                cached.extend(lane.cached_digests(CACHED_MAX).await);
            }
            cached.truncate(CACHED_MAX);
        }
        let report = NodeReport {
            v: NodeReport::VERSION,
            node: config.node,
            sequence,
            cores: config.cores,
            load,
            memory_total: config.memory,
            memory_free: admission.memory_free(),
            slots: config.slots,
            running: admission.running(),
            lanes: super::hello::lanes(lane.is_some()),
            arch: std::env::consts::ARCH.to_owned(),
            warm,
            cached: cached.clone(),
            draining: admission.is_draining(),
            vm: Some(vm.report()),
            boot: Some(fabric.boot().clone()),
        };
        metrics::gauge!(metric_names::NODE_RUNNING).set(f64::from(report.running));
        metrics::gauge!(metric_names::NODE_SLOTS).set(f64::from(report.slots));
        metrics::gauge!(metric_names::NODE_LOAD).set(f64::from(report.load));
        let published = match serde_json::to_vec(&report) {
            Ok(json) => fabric.publish(&subject, json).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = published {
            tracing::warn!(error, "a report cannot be published");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {
                let later = sys::busy_time();
                load = sys::load_between(std::mem::replace(&mut busy_time, later), later);
            }
            () = now.notified() => {}
            () = stop.cancelled() => return,
        }
    }
}
