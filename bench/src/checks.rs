//! What must hold for the figures to count, and what was hoped of them.

use std::borrow::Cow;

use serde::Serialize;

/// One check.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    /// What must hold.
    pub(crate) what: Cow<'static, str>,
    /// Whether it did.
    pub(crate) held: bool,
    /// What was found.
    pub(crate) found: String,
}

impl Check {
    pub(crate) fn new(what: impl Into<Cow<'static, str>>, held: bool, found: impl Into<String>) -> Self {
        Self { what: what.into(), held, found: found.into() }
    }
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// This or more.
    AtLeast,
    /// This or less.
    AtMost,
}

/// A goal, met or missed: the figures count either way.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Goal {
    /// Which figure.
    pub(crate) what: String,
    /// What was wanted of it.
    pub(crate) bound: Bound,
    /// How much.
    pub(crate) limit: f64,
    /// What it is: the median.
    pub(crate) found: f64,
    /// Whether that is enough.
    pub(crate) met: bool,
}

impl Goal {
    pub(crate) fn new(what: impl Into<String>, bound: Bound, limit: f64, found: f64) -> Self {
        let met = match bound {
            Bound::AtLeast => found >= limit,
            Bound::AtMost => found <= limit,
        };
        Self { what: what.into(), bound, limit, found, met }
    }

    /// For people.
    pub(crate) fn wanted(&self) -> String {
        match self.bound {
            Bound::AtLeast => format!("at least {}", self.limit),
            Bound::AtMost => format!("at most {}", self.limit),
        }
    }

    /// For people.
    pub(crate) fn word(&self) -> &'static str {
        if self.met { "met   " } else { "MISSED" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_met_at_their_limit_and_nothing_is_no_figure() {
        let met = |bound, found| Goal::new("x", bound, 30.0, found).met;
        assert!(met(Bound::AtLeast, 30.0) && met(Bound::AtMost, 30.0));
        assert!(!met(Bound::AtLeast, 29.9) && !met(Bound::AtMost, 30.1));
        assert!(!met(Bound::AtLeast, f64::NAN) && !met(Bound::AtMost, f64::NAN));
        assert_eq!(Goal::new("x", Bound::AtMost, 0.25, 0.1).wanted(), "at most 0.25");
    }
}
