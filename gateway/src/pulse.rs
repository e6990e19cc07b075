//! The two pulses: the control plane's, which brings revocations and the newest revision, and this gateway's own,
//! which tells how far its routes are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fabric::{Fabric, subjects};
use protocol::InstanceId;
use protocol::route::{ControlPulse, GatewayPulse};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::keys::Keys;
use crate::routes::Routes;

const PULSE_EACH: Duration = Duration::from_secs(1);

/// Listens to the control plane until `stop`; wakes the routes' watch when it stays `behind` too long.
pub(crate) async fn hear_control(
    fabric: Fabric,
    keys: Arc<Keys>,
    routes: Arc<Routes>,
    behind: Arc<Notify>,
    behind_max: Duration,
    stop: CancellationToken,
) {
    let listen = async {
        let mut behind_since = None;
        loop {
            match fabric.events(subjects::CONTROL_PULSE).await {
                Ok(mut pulses) => loop {
                    let wait = behind_since.map_or(PULSE_EACH, |since: Instant| {
                        behind_max.saturating_sub(since.elapsed()).max(Duration::from_millis(20))
                    });
                    match tokio::time::timeout(wait, pulses.next()).await {
                        Ok(None) => break,
                        Ok(Some(message)) => match protocol::wire::read::<ControlPulse>(&message.payload) {
                            Ok(pulse) => {
                                keys.pulse(&pulse, Instant::now());
                                routes.announce(pulse.revision);
                            }
                            Err(error) => tracing::error!(%error, "the control plane's pulse is not understood"),
                        },
                        Err(_) => {}
                    }
                    match behind_since {
                        _ if !routes.behind() => behind_since = None,
                        None => behind_since = Some(Instant::now()),
                        Some(since) if since.elapsed() >= behind_max => {
                            tracing::warn!("routes are behind; reading them anew");
                            behind.notify_one();
                            behind_since = None;
                        }
                        Some(_) => {}
                    }
                },
                Err(error) => tracing::debug!(%error, "cannot listen to the control plane"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    stop.run_until_cancelled(listen).await;
}

/// Says each second, and at once when it moves, up to which revision routes are applied.
pub(crate) async fn pulse(
    fabric: Fabric,
    instance: InstanceId,
    routes: Arc<Routes>,
    draining: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    let mut applied = routes.applied();
    let mut each = tokio::time::interval(PULSE_EACH);
    loop {
        let stopping = tokio::select! {
            () = stop.cancelled() => true,
            _ = each.tick() => false,
            _ = applied.changed() => false,
        };
        let pulse = GatewayPulse {
            instance,
            revision: *applied.borrow_and_update(),
            draining: stopping || draining.load(Ordering::Relaxed),
        };
        let payload = serde_json::to_vec(&pulse).unwrap_or_default();
        if let Err(error) = fabric.publish(subjects::GATEWAY_PULSE, payload).await {
            tracing::debug!(%error, "the pulse was not sent");
        }
        if stopping {
            return;
        }
    }
}
