//! How far the platform trusts a node: the levels, and what a node lacks for the next one. Pure.
//!
//! ```text
//!       20 agreed checks, 5 of them with the operator's nodes, 24 h       30 days, and the operator vouches
//!  new ------------------------------------------------------------> proven ---------------------------> verified
//!   ^                                                                  |                                    |
//!   +-------------- a proven lie: honesty is zero, for good -----------+------------------------------------+
//!
//!  operator: configured, whatever it has done
//! ```
//! `own` is no level: a node of the version's own account is `own` once its owner has confirmed which machine it is. How
//! often a node answers is counted apart from whether it tells the truth.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::manifest::PlacementClass;
use crate::units::Timestamp;

/// Agreed checks before a node is proven.
pub const CHECKS_NEEDED: u32 = 20;
/// How many of them are with the operator's nodes, or with results that the platform knows.
pub const OPERATOR_CHECKS_NEEDED: u32 = 5;
/// How long before that it has joined.
pub const NEW_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long it is proven before it can be verified.
pub const PROVEN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// How far the platform trusts a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TrustLevel {
    /// It has just joined: it gets checks, and its own account's runs.
    New,
    /// Its results were checked often enough: it gets runs that any node may do.
    Proven,
    /// It has been proven for long, and the operator vouches for its owner.
    Verified,
    /// It is the operator's.
    Operator,
}

impl TrustLevel {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Proven => "proven",
            Self::Verified => "verified",
            Self::Operator => "operator",
        }
    }

    /// The widest placement class that it serves for accounts of others; those that know no levels go by it.
    #[must_use]
    pub const fn class(self) -> PlacementClass {
        match self {
            Self::New | Self::Proven => PlacementClass::Any,
            Self::Verified => PlacementClass::Verified,
            Self::Operator => PlacementClass::Operator,
        }
    }
}

impl fmt::Display for TrustLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What placement must know of a node's trust, in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTrust {
    /// How far others trust it.
    pub level: TrustLevel,
    /// Its owner has confirmed which machine it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirmed: bool,
    /// It has returned a wrong result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lied: bool,
    /// Its agreed checks.
    #[serde(default)]
    pub agreed: u32,
}

impl NodeTrust {
    /// What a record of a release without levels means.
    #[must_use]
    pub const fn of_class(class: PlacementClass) -> Self {
        let level = match class {
            PlacementClass::Operator => TrustLevel::Operator,
            PlacementClass::Verified => TrustLevel::Verified,
            PlacementClass::Own | PlacementClass::Any => TrustLevel::Proven,
        };
        Self { level, confirmed: true, lied: false, agreed: 0 }
    }
}

/// What a node has done so far, as far as its level goes by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustRecord {
    /// Its level where it is configured: that of the operator's nodes.
    pub fixed: Option<TrustLevel>,
    /// When it joined.
    pub joined: Timestamp,
    /// Checks that agreed.
    pub agreed: u32,
    /// Those of them that were with the operator's nodes, or with known results.
    pub agreed_with_operator: u32,
    /// It has returned a wrong result.
    pub lied: bool,
    /// Since when it is proven.
    pub proven: Option<Timestamp>,
    /// The operator vouches for it or for its owner.
    pub vouched: bool,
}

/// What a node lacks for the next level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Missing {
    /// Agreed checks.
    Checks {
        /// So many there are.
        agreed: u32,
        /// So many are needed.
        needed: u32,
    },
    /// Agreed checks with the operator's nodes.
    OperatorChecks {
        /// So many there are.
        agreed: u32,
        /// So many are needed.
        needed: u32,
    },
    /// It joined less than a day ago.
    Age {
        /// When that is over.
        until: Timestamp,
    },
    /// It has not been proven for long enough.
    ProvenFor {
        /// When it will have been.
        until: Timestamp,
    },
    /// The operator does not vouch for it, nor for its owner.
    Vouch,
    /// It has returned a wrong result: there is no next level.
    Honesty,
}

impl TrustRecord {
    /// The level that it has earned by now.
    #[must_use]
    pub fn level(&self, now: Timestamp) -> TrustLevel {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        if self.lied || !self.for_proven(now).is_empty() {
            return TrustLevel::New;
        }
        if self.for_verified(now).is_empty() { TrustLevel::Verified } else { TrustLevel::Proven }
    }

    /// What it lacks for the level after that.
    #[must_use]
    pub fn missing(&self, now: Timestamp) -> Vec<Missing> {
        match self.level(now) {
            TrustLevel::New if self.lied => vec![Missing::Honesty],
            TrustLevel::New => self.for_proven(now),
            TrustLevel::Proven => self.for_verified(now),
            TrustLevel::Verified | TrustLevel::Operator => Vec::new(),
        }
    }

    fn for_proven(&self, now: Timestamp) -> Vec<Missing> {
        let (agreed, with_operator, until) = (self.agreed, self.agreed_with_operator, self.joined.plus(NEW_FOR));
        let checks = (agreed < CHECKS_NEEDED).then_some(Missing::Checks { agreed, needed: CHECKS_NEEDED });
        let operator = Missing::OperatorChecks { agreed: with_operator, needed: OPERATOR_CHECKS_NEEDED };
        let operator = (with_operator < OPERATOR_CHECKS_NEEDED).then_some(operator);
        let age = (now < until).then_some(Missing::Age { until });
        [checks, operator, age].into_iter().flatten().collect()
    }

    fn for_verified(&self, now: Timestamp) -> Vec<Missing> {
        let until = self.proven.unwrap_or(now).plus(PROVEN_FOR);
        let long = (now < until).then_some(Missing::ProvenFor { until });
        let vouch = (!self.vouched).then_some(Missing::Vouch);
        [long, vouch].into_iter().flatten().collect()
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checks { agreed, needed } => write!(f, "{agreed} of {needed} checks agreed"),
            Self::OperatorChecks { agreed, needed } => {
                write!(f, "{agreed} of {needed} checks with the operator's nodes agreed")
            }
            Self::Age { until } => write!(f, "it joined less than a day ago, until {}", minute(until)),
            Self::ProvenFor { until } => write!(f, "it has been proven for less than 30 days, until {}", minute(until)),
            Self::Vouch => f.write_str("the operator does not vouch for its owner"),
            Self::Honesty => f.write_str("it has returned a wrong result"),
        }
    }
}

/// For people: to the minute.
fn minute(at: &Timestamp) -> String {
    let text = at.to_string();
    text.get(..16).map_or_else(|| text.clone(), |minute| format!("{} UTC", minute.replace('T', " ")))
}

/// How a check of a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It returned what was expected.
    Agreed,
    /// It returned something else.
    Differed,
    /// It took the run and returned no result.
    Failed,
}

impl CheckOutcome {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::Differed => "differed",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = NEW_FOR;
    const JOINED: Timestamp = Timestamp(1_795_336_980_000);

    fn fresh() -> TrustRecord {
        TrustRecord {
            fixed: None,
            joined: JOINED,
            agreed: 0,
            agreed_with_operator: 0,
            lied: false,
            proven: None,
            vouched: false,
        }
    }

    #[test]
    fn a_node_is_proven_by_checks_and_time_alone() {
        let (later, until) = (JOINED.plus(DAY), JOINED.plus(DAY));
        let missing = fresh().missing(JOINED);
        let wanted = [
            Missing::Checks { agreed: 0, needed: 20 },
            Missing::OperatorChecks { agreed: 0, needed: 5 },
            Missing::Age { until },
        ];
        assert_eq!(missing, wanted);
        assert_eq!(Missing::Checks { agreed: 3, needed: 20 }.to_string(), "3 of 20 checks agreed");
        let checked = TrustRecord { agreed: 20, agreed_with_operator: 5, ..fresh() };
        assert_eq!(checked.level(JOINED), TrustLevel::New);
        assert_eq!(checked.level(later), TrustLevel::Proven);
        assert_eq!(TrustRecord { agreed: 19, ..checked }.level(later), TrustLevel::New);
        assert_eq!(TrustRecord { agreed_with_operator: 4, ..checked }.level(later), TrustLevel::New);
        assert_eq!(TrustRecord { vouched: true, ..fresh() }.level(later), TrustLevel::New, "a vouch proves nothing");
    }

    #[test]
    fn verified_takes_thirty_days_and_a_vouch() {
        let proven = JOINED.plus(DAY);
        let checked = TrustRecord { agreed: 20, agreed_with_operator: 20, proven: Some(proven), ..fresh() };
        let vouched = TrustRecord { vouched: true, ..checked };
        let long = proven.plus(PROVEN_FOR);
        assert_eq!(vouched.level(proven), TrustLevel::Proven);
        assert_eq!(vouched.missing(proven), [Missing::ProvenFor { until: long }]);
        assert_eq!(checked.level(long), TrustLevel::Proven, "a score alone verifies nobody");
        assert_eq!(checked.missing(long), [Missing::Vouch]);
        assert_eq!((vouched.level(long), vouched.missing(long)), (TrustLevel::Verified, vec![]));
    }

    #[test]
    fn a_lie_ends_all_trust_but_what_is_configured() {
        let long = JOINED.plus(DAY).plus(PROVEN_FOR);
        let lied = TrustRecord {
            agreed: 99,
            agreed_with_operator: 99,
            proven: Some(JOINED),
            vouched: true,
            lied: true,
            ..fresh()
        };
        assert_eq!((lied.level(long), lied.missing(long)), (TrustLevel::New, vec![Missing::Honesty]));
        let operator = TrustRecord { fixed: Some(TrustLevel::Operator), ..fresh() };
        assert_eq!((operator.level(JOINED), operator.missing(JOINED)), (TrustLevel::Operator, vec![]));
        assert!(TrustLevel::New < TrustLevel::Proven && TrustLevel::Verified < TrustLevel::Operator);
    }
}
