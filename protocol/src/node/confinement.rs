//! How far the kernel of a lender's machine holds back a guest that has broken out of its sandbox.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a node's executor is confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Confinement {
    /// All that it asks for is enforced.
    Full,
    /// All but this, which the machine's kernel is too old for.
    Partial {
        /// What is missing.
        missing: String,
    },
    /// Files, or calls of the kernel, are not restricted at all; its owner lends it all the same.
    None {
        /// What is missing.
        missing: String,
    },
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("confined"),
            Self::Partial { missing } => write!(f, "confined, but for {missing}"),
            Self::None { missing } => write!(f, "unconfined: {missing}"),
        }
    }
}
