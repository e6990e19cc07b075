//! Copies of a node: its disk in another machine, or its folder as it was earlier. Its keys alone do not tell them apart.

use protocol::node::{Fingerprint, Hello};
use protocol::{Code, Digest};

use crate::db::entities::nodes;
use crate::error::{Result, refuse};

/// Refuses a hello of another machine than the one that has joined, or with a count of starts that is none of the node.
pub(super) fn check(row: &nodes::Model, hello: &Hello) -> Result<()> {
    let said = hello.fingerprint;
    let machine = said.and_then(|said| said.machine);
    if row.machine.is_some_and(|registered| Some(registered.0) != machine) {
        let detail = "The node's keys are on another machine than the one that has joined: its disk is a copy.";
        return Err(refuse(Code::NodeMachineDiffers, detail));
    }
    let starts = starts(hello);
    if starts < row.starts {
        let detail = format!(
            "By its folder the node was started {starts} times, and the platform has heard of {}: the folder is a copy, or \
             comes from a backup.",
            row.starts
        );
        return Err(refuse(Code::NodeRestored, detail));
    }
    if starts > 0 && starts == row.starts && row.start.map(|start| start.0) != start(hello) {
        let detail = format!("Start {starts} of the node has been heard already, of {}.", whose(row, said));
        return Err(refuse(Code::NodeRestored, detail));
    }
    Ok(())
}

/// Whose another start of the node is.
pub(super) fn whose(row: &nodes::Model, said: Option<Fingerprint>) -> &'static str {
    match (row.machine_boot, said.and_then(|said| said.boot)) {
        (Some(one), Some(other)) if one.0 == other => "another process on the same machine",
        (Some(_), Some(_)) => "another machine, or of this one before it was booted again",
        _ => "another process",
    }
}

/// How often the node was started; none where it says nothing of it.
pub(super) fn starts(hello: &Hello) -> i64 {
    hello.fingerprint.map_or(0, |said| i64::from(said.starts))
}

/// Which start of the node this is.
pub(super) fn start(hello: &Hello) -> Option<Digest> {
    hello.boot.as_ref().map(|boot| Digest::of(&boot.0))
}
