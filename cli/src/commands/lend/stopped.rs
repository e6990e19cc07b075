//! A node that has joined a platform, and does not work: what its owner is told in place of its state.

use protocol::Timestamp;
use protocol::node::NodeState;
use serde::Serialize;

use crate::args::LocalNode;
use crate::failure::{Exit, Failure};
use crate::output::{fields, time};
use crate::platform::{self, Joined};

/// A node that the operator has suspended, and whose process waits until it is let in again.
#[derive(Debug, Serialize)]
pub(super) struct Suspended {
    name: String,
    origin: String,
    state: NodeState,
    reason: String,
    asks_again: Timestamp,
}

impl Suspended {
    fn of(node: Joined) -> Option<Self> {
        let Joined { name, origin, shut_out, asks_again, is_held: _ } = node;
        let (reason, asks_again) = (shut_out?, asks_again?);
        Some(Self { name, origin, state: NodeState::Suspended, reason, asks_again })
    }

    pub(super) fn text(&self) -> String {
        fields(&[
            ("node", format!("{} of {}", self.name, self.origin)),
            ("state", self.state.to_string()),
            ("why", self.reason.clone()),
            ("asks again", format!("{}, by itself", time(self.asks_again))),
        ])
    }
}

/// The node that is meant, where it waits to be let in again.
pub(super) fn suspended(which: &LocalNode) -> Option<Suspended> {
    Suspended::of(meant(which)?)
}

fn meant(which: &LocalNode) -> Option<Joined> {
    let folder = which.data.clone().or_else(|| platform::own_node_folder().ok())?;
    platform::joined(&folder)
}

/// Says so where the folder that is meant has a node that does not work.
pub(super) fn stopped(which: &LocalNode) -> Option<Failure> {
    let flag = which.data.as_ref().map_or_else(String::new, |data| format!(" --data {}", data.display()));
    Some(told(&meant(which)?, &flag))
}

fn told(node: &Joined, flag: &str) -> Failure {
    let Joined { name, origin, shut_out, asks_again, is_held } = node;
    let failed = |what: String| Failure::new(Exit::NotFound, "node_not_running", what);
    if let (Some(why), Some(at)) = (shut_out, asks_again) {
        return failed(format!("The operator of {origin} has suspended the node {name}"))
            .why(why)
            .help(format!("it asks again by itself at {}; `crowdcloud lend leave{flag}` ends it for good", time(*at)));
    }
    if *is_held {
        return failed(format!("The node {name} of {origin} does not listen yet")).help("try again in a moment");
    }
    let failure = failed(format!("The node {name} of {origin} is joined but does not run"));
    match shut_out {
        None => failure.help(format!("`crowdcloud lend{flag}` starts it")),
        Some(why) => failure.why(why).help(format!("once it may come back, `crowdcloud lend{flag}` starts it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attic() -> Joined {
        Joined {
            name: "attic".to_owned(),
            origin: "https://cloud.example.org".to_owned(),
            shut_out: None,
            asks_again: None,
            is_held: false,
        }
    }

    #[test]
    fn a_node_that_is_stopped_is_named_with_what_starts_it() {
        let mut node = attic();
        let said = told(&node, "").what();
        assert!(said.contains("attic of https://cloud.example.org is joined but does not run"), "{said}");
        node.shut_out = Some("the operator has suspended it".to_owned());
        assert!(told(&node, "").what().ends_with("the operator has suspended it"));
        node.is_held = true;
        assert!(told(&node, "").what().contains("not listen yet"));
    }

    #[test]
    fn a_node_that_waits_to_be_let_in_again_says_why_and_when_it_asks() {
        let why = Some("it returns garbage".to_owned());
        let node = || Joined { shut_out: why.clone(), asks_again: Some(Timestamp::now()), is_held: true, ..attic() };
        let said = told(&node(), "").what();
        assert!(said.contains("has suspended the node attic") && said.contains("it returns garbage"), "{said}");
        let suspended = Suspended::of(node()).unwrap();
        assert!(suspended.text().contains("it returns garbage") && suspended.text().contains("by itself"));
        assert_eq!(serde_json::to_value(&suspended).unwrap()["state"], "suspended");
        assert!(Suspended::of(Joined { asks_again: None, ..node() }).is_none(), "it has left");
    }
}
