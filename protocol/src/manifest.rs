//! The manifest, `crowdcloud.toml`: how a function is described, with defaults and maxima.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::limits::Limits;
use crate::names::Name;

/// How a function is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A WASI HTTP component.
    #[default]
    Http,
    /// Body on stdin, head in the environment, stdout is the response.
    Command,
    /// An HTTP server on `$PORT`: the VM lane.
    Server,
}

/// The lane that a version asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum LaneChoice {
    /// The platform decides, and says why.
    #[default]
    Auto,
    /// wasmtime.
    Wasm,
    /// A QEMU microVM.
    Vm,
}

/// What an artifact is, as far as lanes are concerned. A node finds it out when it prepares a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ArtifactForm {
    /// WebAssembly.
    #[default]
    Wasm,
    /// What a VM starts: an image, an archive of files, an executable, a script.
    Image,
}

impl ArtifactForm {
    /// Whether it is WebAssembly.
    #[must_use]
    pub fn is_wasm(&self) -> bool {
        *self == Self::Wasm
    }
}

/// What a single file, or an archive of files, stands on in the VM lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// Python 3 with numpy, and all of `shell`.
    Python,
    /// Shells, the usual small tools, and the common libraries.
    Shell,
}

impl Base {
    /// As a manifest writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Shell => "shell",
        }
    }
}

impl std::str::FromStr for Base {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = [Self::Python, Self::Shell].into_iter().find(|base| base.as_str() == name);
        found.ok_or_else(|| format!("`{name}` is no base; there are `python` and `shell`"))
    }
}

/// The sandbox that a run happens in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// wasmtime.
    Wasm,
    /// A QEMU microVM.
    Vm,
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wasm => "wasm",
            Self::Vm => "vm",
        })
    }
}

/// Whose nodes a version trusts. A lender with root can read what runs on their machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum PlacementClass {
    /// Nodes of the same account that its owner has confirmed.
    Own,
    /// The operator's nodes.
    Operator,
    /// Nodes that have been proven for long and whose owners the operator vouches for, the operator's, and `own` ones.
    Verified,
    /// Any proven node, and all of the same account.
    #[default]
    Any,
}

impl PlacementClass {
    /// All of them, the fewest nodes first.
    pub const ALL: [Self; 4] = [Self::Own, Self::Operator, Self::Verified, Self::Any];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Operator => "operator",
            Self::Verified => "verified",
            Self::Any => "any",
        }
    }

    /// Who could read the work, in one sentence.
    #[must_use]
    pub const fn readers(self) -> &'static str {
        match self {
            Self::Own => "Only whoever runs this account's own nodes could read the work.",
            Self::Operator => "The platform's operator could read the work.",
            Self::Verified => "The operator, and lenders for whom the operator vouches, could read the work.",
            Self::Any => "Anybody who lends a proven node could read the work that runs there.",
        }
    }
}

/// `crowdcloud.toml`. An unknown key is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The function's name.
    pub name: Name,
    /// How it is spoken to; found from the artifact where it is left out.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// The built file, relative to the manifest.
    pub artifact: String,
    /// How to build it: a command line, run in the manifest's folder.
    #[serde(default)]
    pub build: Option<String>,
    /// The lane.
    #[serde(default)]
    pub lane: LaneChoice,
    /// What it stands on in the VM lane; a script or an executable finds its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// What to start in the VM lane, in place of what the image says: a command line, or the list of its words.
    #[serde(default, deserialize_with = "crate::command_line::written", skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Whether anybody may call it.
    #[serde(default)]
    pub public: bool,
    /// Whose nodes it trusts.
    #[serde(default)]
    pub placement: PlacementClass,
    /// Hosts that it may call.
    #[serde(default)]
    pub egress: Vec<String>,
    /// What one run may use.
    #[serde(default, deserialize_with = "crate::limits::written_limits")]
    pub limits: Limits,
    /// Environment variables. Secrets never stand here.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// A call that shows what it does: `deploy` prints it as a curl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
    /// The account to deploy to, where neither flag nor environment names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The platform, where neither flag nor environment names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A call that shows what a function does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Example {
    /// The method; GET, or POST where there is a body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path and query after the function's name: `/`, `?width=320`.
    pub path: String,
    /// The body: a text, or `@file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The file that the answer goes to, where it is not for reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}
