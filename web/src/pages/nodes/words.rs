//! What nodes are called: whose they are, where they are and why, what their VM lane is made of.

use protocol::PlacementClass;
use protocol::api::Node;
use protocol::node::{Confinement, NodeState, VmLane};

use crate::format;

/// Whose it is, and who can read what runs there.
pub(crate) fn whose(node: &Node) -> (&'static str, &'static str) {
    match node.class {
        _ if node.own => ("own", "A node of this account: whoever administers the machine can read what runs on it."),
        PlacementClass::Own => ("own", "A node of the account that asks."),
        PlacementClass::Operator => ("operator", "The operator's own machine: the operator can read what runs on it."),
        PlacementClass::Verified => {
            ("verified", "A verified lender's machine: the lender and the operator could read what runs on it.")
        }
        PlacementClass::Any => ("lender", "A lender's machine: whoever has root there can read what runs on it."),
    }
}

/// Where a node is, and why: a tone, and words.
pub(crate) fn state(node: &Node) -> (&'static str, String) {
    let plain = node.state.to_string();
    match node.state {
        NodeState::Online => ("good", plain),
        NodeState::Paused | NodeState::Draining => ("warn", node.paused.map_or(plain, |paused| paused.to_string())),
        NodeState::Joining | NodeState::Calibrating => ("warn", plain),
        NodeState::Suspended => {
            let reason = node.state_reason.as_ref().map(|reason| format!(": {reason}"));
            ("bad", plain + reason.as_deref().unwrap_or_default())
        }
        NodeState::Offline | NodeState::Left | NodeState::Revoked => ("bad", plain),
    }
}

/// What a node's VM lane is made of, or why there is none.
pub(crate) fn vm(vm: Option<&VmLane>) -> String {
    match vm {
        None => String::new(),
        Some(VmLane::Starting) => "vm: looks which accelerator works".to_owned(),
        Some(VmLane::Missing { why }) => format!("no vm: {why}"),
        Some(VmLane::Ready { accelerator, turns_per_ms }) => {
            format!("{accelerator} · {} turns/ms", format::thousands(u64::from(*turns_per_ms)))
        }
    }
}

/// What the kernel of a node's machine leaves open to a guest that breaks out; nothing where it leaves nothing.
pub(crate) fn confinement(confinement: &Confinement) -> Option<String> {
    match confinement {
        Confinement::Full => None,
        Confinement::Partial { .. } | Confinement::None { .. } => Some(confinement.to_string()),
    }
}

/// Its memory, as far as it is promised. What is free of one that does not report nobody knows.
pub(crate) fn memory(node: &Node) -> String {
    let total = format::bytes(node.memory.0);
    if node.state.reports() { format!("{} free of {total}", format::bytes(node.memory_free.0)) } else { total }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage, clamped")]
pub(crate) fn percent(load: f32) -> u32 {
    (load * 100.0).round().clamp(0.0, 100.0) as u32
}
