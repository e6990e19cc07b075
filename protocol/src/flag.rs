//! What can be wrong with a settled run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::{ParseUnitError, parse_error};

/// Why a run's figures are not what both halves say: one is missing, or they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The gateway's half has not come.
    NoObservation,
    /// The node's half has not come.
    NoReceipt,
    /// The node claims more than the gateway saw, or than the ticket or physics allow.
    OverClaimed,
    /// The node's receipt says something else than its `end` did.
    Contradicted,
    /// The call brought its answer, but no `end` of the node: its receipt is its only word.
    NoEnd,
}

impl Flag {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::NoObservation, Self::NoReceipt, Self::OverClaimed, Self::Contradicted, Self::NoEnd];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoObservation => "no_observation",
            Self::NoReceipt => "no_receipt",
            Self::OverClaimed => "over_claimed",
            Self::Contradicted => "contradicted",
            Self::NoEnd => "no_end",
        }
    }

    /// What it says, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NoObservation => "the gateway has not told what it saw of the run",
            Self::NoReceipt => "the node has not sent its receipt",
            Self::OverClaimed => "the node claimed more than the gateway saw, or than is possible; the lesser counts",
            Self::Contradicted => {
                "the node's receipt says something else than it said at the run's end; the lesser counts"
            }
            Self::NoEnd => "the node said nothing at the run's end; its receipt is its only word",
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Flag {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let flag = Self::ALL.into_iter().find(|flag| flag.as_str() == text);
        flag.ok_or_else(|| parse_error(text, "a flag such as no_receipt"))
    }
}

#[cfg(test)]
mod tests {
    use super::Flag;

    #[test]
    fn a_word_is_the_same_in_text_and_in_json() {
        for flag in Flag::ALL {
            assert_eq!(flag.as_str().parse(), Ok(flag));
            assert_eq!(serde_json::to_string(&flag).unwrap(), format!("\"{flag}\""));
        }
        assert!("none".parse::<Flag>().is_err());
    }
}
