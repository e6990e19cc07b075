//! Why no node may do a run, in words.

use std::collections::BTreeMap;

use super::{Placement, Refusal, Refused, RefusedNodes};
use crate::manifest::PlacementClass;
use crate::words;

/// What a version waits for that trusts its account's own nodes alone.
pub const NO_OWN_NODE: &str = "no own node is online";

impl Placement {
    /// Why there is no candidate, for people: `2 nodes: 1 draining, 1 without a free slot`.
    #[must_use]
    pub fn summary(&self) -> String {
        summary(&self.refused)
    }

    /// The same for a version that trusts these nodes: where it trusts its account's own alone, others are none.
    #[must_use]
    pub fn summary_for(&self, trusted: PlacementClass) -> String {
        if trusted != PlacementClass::Own {
            return self.summary();
        }
        let own = self.refused.iter().filter(|refused| refused.why != Refusal::PlacementClass);
        let own: Vec<Refused> = own.copied().collect();
        let is_away = |why: Refusal| why.is_pause() || matches!(why, Refusal::Silent | Refusal::Draining);
        match own.as_slice() {
            [] => format!("{NO_OWN_NODE}: the account has none"),
            away if away.iter().all(|refused| is_away(refused.why)) => format!("{NO_OWN_NODE}: {}", summary(away)),
            there => summary(there),
        }
    }
}

/// Why nodes were refused, for people: `2 nodes: 1 draining, 1 new: 3 of 20 checks agreed`.
#[must_use]
pub fn summary(refused: &[Refused]) -> String {
    if refused.is_empty() {
        return "no nodes".to_owned();
    }
    let parts: Vec<String> = counts(refused).iter().map(|of| format!("{} {of}", of.nodes)).collect();
    format!("{}: {}", words::count(refused.len(), "node"), parts.join(", "))
}

/// How many nodes were refused, by reason.
pub(super) fn counts(refused: &[Refused]) -> Vec<RefusedNodes> {
    let mut counts = BTreeMap::<Refusal, RefusedNodes>::new();
    for one in refused {
        let of = counts.entry(one.why).or_insert(RefusedNodes { why: one.why, nodes: 0, agreed: None });
        of.nodes = of.nodes.saturating_add(1);
        of.agreed = of.agreed.max(one.agreed);
    }
    counts.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::ids::NodeId;

    fn said(trusted: PlacementClass, refused: &[Refusal]) -> String {
        let refused = refused.iter().map(|why| Refused::of(NodeId::new(), *why)).collect();
        Placement { ranked: Vec::new(), refused, policy: Cow::Borrowed("test") }.summary_for(trusted)
    }

    #[test]
    fn own_nodes_that_are_away_are_the_reason_and_those_of_others_are_none() {
        use Refusal::{PausedByOwner, PlacementClass as Foreign, Silent, TooSmall};
        let own = |refused: &[Refusal]| said(PlacementClass::Own, refused);
        assert_eq!(own(&[Foreign, Foreign]), "no own node is online: the account has none");
        assert_eq!(own(&[Foreign, Silent]), "no own node is online: 1 node: 1 silent");
        let both = "no own node is online: 2 nodes: 1 silent, 1 paused by its owner";
        assert_eq!(own(&[PausedByOwner, Foreign, Silent]), both);
        assert_eq!(own(&[TooSmall, Silent]), "2 nodes: 1 silent, 1 too small for the limits");
        let any = said(PlacementClass::Any, &[Silent]);
        assert_eq!(any, "1 node: 1 silent");
    }
}
