//! The report: each second, what the node has and does. What it lists of artifacts is most of a report: it is sent when it
//! has changed, each ten seconds, and where somebody asks who has not heard it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fabric::{Fabric, metric_names, subjects};
use protocol::Digest;
use protocol::node::{CACHED_MAX, Confinement, NodeReport, WARM_MAX};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::artifacts::Library;
use crate::config::Config;
use crate::keeper::Lent;
use crate::sys;
use crate::vm::LaneProbe;

const EVERY: Duration = Duration::from_secs(1);
/// What is on disk is listed with every so many reports.
const LIST_EVERY: u64 = 10;

/// With every so many reports all is listed, though it is the same.
const WHOLE_EVERY: u64 = 10;

/// What was listed last.
#[derive(Default)]
struct Listed {
    /// With which report; none where all is to be listed.
    sequence: Option<u64>,
    warm: BTreeSet<Digest>,
    cached: BTreeSet<Digest>,
}

impl Listed {
    /// The report that listed the same a moment ago; none where this one, which is listed from now on, has to.
    fn as_before(&mut self, sequence: u64, warm: &[Digest], cached: &[Digest]) -> Option<u64> {
        let set = |list: &[Digest]| list.iter().copied().collect::<BTreeSet<_>>();
        // Their order says what was used last, which nobody goes by.
        let (warm, cached) = (set(warm), set(cached));
        let recent = self.sequence.filter(|listed| sequence.saturating_sub(*listed) < WHOLE_EVERY);
        if recent.is_some() && (&self.warm, &self.cached) == (&warm, &cached) {
            return recent;
        }
        *self = Self { sequence: Some(sequence), warm, cached };
        None
    }
}

/// What is reported of.
pub(super) struct Reported {
    pub(super) admission: Arc<Admission>,
    pub(super) lent: Arc<Lent>,
    pub(super) library: Arc<Library>,
    pub(super) vm: Arc<LaneProbe>,
    pub(super) confinement: Option<Confinement>,
}

/// Publishes reports until it is stopped; at once when `now` is notified, and one that lists all when `whole` is.
pub(super) async fn publish(
    config: Arc<Config>,
    fabric: Fabric,
    of: Reported,
    (now, whole): (Arc<Notify>, Arc<Notify>),
    stop: CancellationToken,
) {
    let Reported { admission, lent, library, vm, confinement } = of;
    let subject = subjects::report(config.node);
    let mut busy_time = sys::busy_time();
    let mut load = 0.0;
    let mut cached = Vec::new();
    let mut listed = Listed::default();
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
        let lists = listed.as_before(sequence, &warm, &cached);
        let caps = lent.caps();
        let report = NodeReport {
            v: NodeReport::VERSION,
            node: config.node,
            sequence,
            cores: caps.cores,
            load,
            memory_total: caps.memory,
            memory_free: admission.memory_free().min(caps.memory),
            slots: config.slots,
            running: admission.running(),
            lanes: super::hello::lanes(lane.is_some()),
            arch: std::env::consts::ARCH.to_owned(),
            warm: if lists.is_some() { Vec::new() } else { warm },
            cached: if lists.is_some() { Vec::new() } else { cached.clone() },
            draining: admission.is_draining(),
            vm: Some(vm.report()),
            boot: Some(fabric.boot().clone()),
            lending: Some(lent.report(&admission)),
            confinement: confinement.clone(),
            lists,
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
            () = whole.notified() => listed = Listed::default(),
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_listed_when_it_changes_and_now_and_then() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let mut listed = Listed::default();
        assert_eq!(listed.as_before(0, &[], &[]), None, "the first report lists all");
        assert_eq!(listed.as_before(1, &[], &[]), Some(0));
        assert_eq!(listed.as_before(2, &[one], &[]), None);
        assert_eq!(listed.as_before(3, &[one], &[]), Some(2));
        assert_eq!(listed.as_before(4, &[one, two], &[one]), None);
        assert_eq!(listed.as_before(5, &[two, one], &[one]), Some(4), "in whatever order");
        assert_eq!(listed.as_before(13, &[one, two], &[one]), Some(4));
        assert_eq!(listed.as_before(14, &[one, two], &[one]), None, "now and then");
        assert_eq!(listed.as_before(15, &[one, two], &[]), None);
    }
}
