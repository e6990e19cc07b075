//! Whose machines a version may run on, as a choice: each says who could read the work there.

use protocol::PlacementClass;

use super::form::Choice;

/// The choices, the most nodes first.
pub(crate) const PLACEMENTS: &[Choice] = &[
    placement(PlacementClass::Any, "Any node"),
    placement(PlacementClass::Verified, "Verified nodes"),
    placement(PlacementClass::Operator, "The operator's nodes"),
    placement(PlacementClass::Own, "Own nodes"),
];

const fn placement(class: PlacementClass, label: &'static str) -> Choice {
    (class.as_str(), label, class.readers())
}

/// The class of this word.
pub(crate) fn of_word(word: &str) -> Option<PlacementClass> {
    PlacementClass::ALL.into_iter().find(|class| class.as_str() == word)
}
