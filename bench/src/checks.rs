//! What must hold for the figures to count.

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
