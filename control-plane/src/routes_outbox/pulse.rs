//! Pulses: the control plane's each second, and what the gateways say in theirs.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fabric::subjects::{CONTROL_PULSE, GATEWAY_PULSE};
use protocol::route::{ControlPulse, GatewayPulse};
use tokio_util::sync::CancellationToken;

use crate::App;

const EVERY: Duration = Duration::from_secs(1);
/// A revoked credential stands in the pulses for so long.
const REVOKED_KEPT: Duration = Duration::from_secs(10);
const REVOKED_MAX: usize = 1000;

/// Credentials that were revoked a moment ago.
#[derive(Default)]
pub(crate) struct Revoked(Mutex<VecDeque<(String, Instant)>>);

impl Revoked {
    pub(super) fn add(&self, sha256: String) {
        let mut list = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if list.len() >= REVOKED_MAX {
            list.pop_front();
        }
        list.push_back((sha256, Instant::now()));
    }

    fn list(&self, now: Instant) -> Vec<String> {
        let mut list = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        list.retain(|(_, at)| now.duration_since(*at) <= REVOKED_KEPT);
        list.iter().map(|(sha256, _)| sha256.clone()).collect()
    }
}

/// Publishes the pulse each second, and at once when something was revoked.
pub(crate) async fn beat(app: App, stop: CancellationToken) {
    let Some(fabrics) = &app.fabrics else { return };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
            () = app.routes.pulse_now.notified() => {}
        }
        let pulse = ControlPulse {
            instance: app.instance,
            revision: *app.routes.newest.borrow(),
            revoked: app.routes.revoked.list(Instant::now()),
        };
        let Ok(payload) = serde_json::to_vec(&pulse) else { continue };
        match tokio::time::timeout(EVERY, fabrics.core.publish(CONTROL_PULSE, payload)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "pulse publishing failed"),
            Err(_) => tracing::warn!("pulse publishing timed out"),
        }
    }
}

/// Hears the gateways until it is stopped.
pub(crate) async fn listen(app: App, stop: CancellationToken) {
    let Some(fabrics) = &app.fabrics else { return };
    while !stop.is_cancelled() {
        match fabrics.core.events(GATEWAY_PULSE).await {
            Ok(mut pulses) => {
                while let Some(Some(pulse)) = stop.run_until_cancelled(pulses.next()).await {
                    if let Ok(pulse) = protocol::wire::read::<GatewayPulse>(&pulse.payload) {
                        app.routes.gateway_said(&pulse, app.config.silence_max.duration());
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "subscription to gateway pulses failed"),
        }
        stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
    }
}
