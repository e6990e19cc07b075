//! The lane as the node sees it: it is looked for in the background, so that wasm runs need not wait for it, and
//! as long as it takes: its parts may be fetched while the node runs.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use fabric::Fabric;
use protocol::node::{Accelerator, VmLane, printable};
use tokio::sync::Notify;

use super::tools::{Missing, Tools};
use super::versions::Lane;
use crate::admission::Admission;
use crate::compile::Compiler;
use crate::config::Config;

/// Parts that are missing are looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A machine that was too busy to start a guest may do so later: tried again after so long, then twice that.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// See the module.
pub(crate) struct LaneProbe(ArcSwap<State>);

enum State {
    Starting,
    Ready(Arc<Lane>),
    Missing(String),
}

impl LaneProbe {
    /// Begins to look; `changed` is notified when it is known.
    pub(crate) fn open(
        config: &Arc<Config>,
        fabric: &Fabric,
        compiler: &Compiler,
        admission: &Arc<Admission>,
        changed: Arc<Notify>,
    ) -> Arc<Self> {
        let first = Tools::first_look(config);
        let state = match &first {
            Ok(()) => State::Starting,
            Err(why) => {
                tracing::info!(%why, "this node has no VM lane");
                State::Missing(why.to_string())
            }
        };
        let probe = Arc::new(Self(ArcSwap::from_pointee(state)));
        if let Err(Missing::ForGood(_)) = first {
            return probe;
        }
        let look = Look { config: Arc::clone(config), fabric: fabric.clone(), compiler: compiler.clone() };
        tokio::spawn(look.until_ready(Arc::downgrade(&probe), Arc::clone(admission), changed));
        probe
    }

    fn become_missing(&self, why: String, changed: &Notify) {
        match &**self.0.load() {
            State::Missing(same) if *same == why => {}
            _ => {
                tracing::info!(why, "this node has no VM lane");
                self.0.store(Arc::new(State::Missing(why)));
                changed.notify_one();
            }
        }
    }

    /// The lane, where it is there.
    pub(crate) fn lane(&self) -> Option<Arc<Lane>> {
        match &**self.0.load() {
            State::Ready(lane) => Some(Arc::clone(lane)),
            State::Starting | State::Missing(_) => None,
        }
    }

    /// What the node says of it.
    pub(crate) fn report(&self) -> VmLane {
        match &**self.0.load() {
            State::Starting => VmLane::Starting,
            State::Missing(why) => VmLane::Missing { why: printable(why) },
            State::Ready(lane) => {
                let speed = lane.speed();
                let accelerator = match speed.accelerator {
                    microvm::Accelerator::Kvm => Accelerator::Kvm,
                    microvm::Accelerator::Tcg => Accelerator::Tcg,
                };
                VmLane::Ready { accelerator, turns_per_ms: speed.turns_per_ms }
            }
        }
    }
}

/// What it takes to look.
struct Look {
    config: Arc<Config>,
    fabric: Fabric,
    compiler: Compiler,
}

impl Look {
    /// Looks until the lane is there or the node has gone: parts that are missing may come, and a machine that was too
    /// busy may be less so.
    async fn until_ready(self, probe: Weak<LaneProbe>, admission: Arc<Admission>, changed: Arc<Notify>) {
        let mut pause = PAUSE;
        loop {
            let Some(probe) = probe.upgrade() else { return };
            let config = Arc::clone(&self.config);
            let found = tokio::task::spawn_blocking(move || Tools::find(&config)).await;
            let tools = match found.unwrap_or_else(|error| Err(Missing::Yet(error.to_string()))) {
                Ok(tools) => tools,
                Err(why) => {
                    probe.become_missing(why.to_string(), &changed);
                    drop(probe);
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
            };
            if let State::Missing(_) = &**probe.0.load() {
                probe.0.store(Arc::new(State::Starting));
                changed.notify_one();
            }
            let (fabric, compiler) = (self.fabric.clone(), self.compiler.clone());
            match Lane::open(&self.config, tools, fabric, compiler, Arc::clone(&admission)).await {
                Ok(lane) => {
                    probe.0.store(Arc::new(State::Ready(lane)));
                    changed.notify_one();
                    return;
                }
                Err(why) => {
                    tracing::warn!(why, again_after_s = pause.as_secs(), "this node has no VM lane");
                    probe.become_missing(why, &changed);
                }
            }
            drop(probe);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
