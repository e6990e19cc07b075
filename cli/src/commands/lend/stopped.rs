//! A node that has joined a platform, and does not run: what its owner is told in place of its state.

use crate::args::LocalNode;
use crate::failure::{Exit, Failure};
use crate::platform::{self, Joined};

/// Says so where the folder that is meant has such a node.
pub(super) fn stopped(which: &LocalNode) -> Option<Failure> {
    let folder = which.data.clone().or_else(|| platform::own_node_folder().ok())?;
    let flag = which.data.as_ref().map_or_else(String::new, |data| format!(" --data {}", data.display()));
    Some(told(&platform::joined(&folder)?, &flag))
}

fn told(node: &Joined, flag: &str) -> Failure {
    let Joined { name, origin, shut_out, is_held } = node;
    let failed = |what: String| Failure::new(Exit::NotFound, "node_not_running", what);
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

    #[test]
    fn a_node_that_is_stopped_is_named_with_what_starts_it() {
        let mut node = Joined {
            name: "attic".to_owned(),
            origin: "https://cloud.example.org".to_owned(),
            shut_out: None,
            is_held: false,
        };
        let said = told(&node, "").what();
        assert!(said.contains("attic of https://cloud.example.org is joined but does not run"), "{said}");
        node.shut_out = Some("the operator has suspended it".to_owned());
        assert!(told(&node, "").what().ends_with("the operator has suspended it"));
        node.is_held = true;
        assert!(told(&node, "").what().contains("not listen yet"));
    }
}
