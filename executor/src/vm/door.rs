//! The lane as the node sees it: it is looked for in the background, so that wasm runs need not wait for it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fabric::Fabric;
use protocol::node::{Accelerator, VmLane, printable};
use tokio::sync::Notify;

use super::tools::Tools;
use super::versions::Lane;
use crate::admission::Admission;
use crate::compile::Compiler;
use crate::config::Config;

/// A machine that was too busy to start a guest may do so later: tried again after so long, then twice that.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// See the module.
pub(crate) struct Door(ArcSwap<State>);

enum State {
    Starting,
    Ready(Arc<Lane>),
    Missing(String),
}

impl Door {
    /// Begins to look; `changed` is notified when it is known.
    pub(crate) fn open(
        config: &Arc<Config>,
        fabric: &Fabric,
        compiler: &Compiler,
        admission: &Arc<Admission>,
        changed: Arc<Notify>,
    ) -> Arc<Self> {
        let tools = match Tools::find(config) {
            Ok(tools) => tools,
            Err(why) => {
                tracing::info!(why, "this node has no VM lane");
                return Arc::new(Self(ArcSwap::from_pointee(State::Missing(why))));
            }
        };
        let door = Arc::new(Self(ArcSwap::from_pointee(State::Starting)));
        let (opened, config, fabric) = (Arc::clone(&door), Arc::clone(config), fabric.clone());
        let (compiler, admission) = (compiler.clone(), Arc::clone(admission));
        tokio::spawn(async move {
            let mut pause = PAUSE;
            loop {
                let (tools, fabric) = (tools.clone(), fabric.clone());
                let opening = Lane::open(&config, tools, fabric, compiler.clone(), Arc::clone(&admission));
                let (state, done) = match opening.await {
                    Ok(lane) => (State::Ready(lane), true),
                    Err(why) => {
                        tracing::warn!(why, again_after_s = pause.as_secs(), "this node has no VM lane");
                        (State::Missing(why), false)
                    }
                };
                opened.0.store(Arc::new(state));
                changed.notify_one();
                if done {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        });
        door
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
