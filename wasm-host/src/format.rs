//! What an artifact of WebAssembly is.

use protocol::Kind;
use serde::{Deserialize, Serialize};

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A component that handles HTTP requests, WASI p2.
    HttpComponent,
    /// A component that runs once, WASI p2.
    CommandComponent,
    /// A core module that runs once, WASI p1.
    Module,
}

impl Format {
    /// How it is spoken to.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::HttpComponent => Kind::Http,
            Self::CommandComponent | Self::Module => Kind::Command,
        }
    }

    /// For people.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::HttpComponent => "component (wasi:http@0.2)",
            Self::CommandComponent => "component (wasi:cli@0.2)",
            Self::Module => "module (wasi p1)",
        }
    }
}
