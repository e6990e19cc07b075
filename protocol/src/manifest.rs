//! The manifest, `crowdcloud.toml`: how a function is described, with defaults and maxima.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::field::Invalid;
use crate::names::Name;
use crate::units::{ByteSize, Millis};

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
    /// Nodes of the same account.
    Own,
    /// The operator's nodes.
    Operator,
    /// Nodes that the operator has verified, and the operator's.
    Verified,
    /// Any node.
    #[default]
    Any,
}

/// What one run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Limits {
    /// Memory of an instance.
    pub memory: ByteSize,
    /// Wall time from the request's head to the answer's end.
    pub timeout: Millis,
    /// Bytes of a request's body, and of an answer's.
    pub body: ByteSize,
    /// Runs at once. Each gateway counts its own.
    pub concurrency: u32,
    /// CPUs; the wasm lane grants one.
    pub cpus: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(128),
            timeout: Millis::seconds(30),
            body: ByteSize::mib(32),
            concurrency: 50,
            cpus: 1,
        }
    }
}

/// Limits as users write them: an unknown key is a mistake. (On the wire it may be a later release's: see [`crate::wire`].)
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenLimits {
    memory: ByteSize,
    timeout: Millis,
    body: ByteSize,
    concurrency: u32,
    cpus: u32,
}

impl Default for WrittenLimits {
    fn default() -> Self {
        let Limits { memory, timeout, body, concurrency, cpus } = Limits::default();
        Self { memory, timeout, body, concurrency, cpus }
    }
}

/// Reads limits that a user has written.
pub(crate) fn written_limits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
    let WrittenLimits { memory, timeout, body, concurrency, cpus } = WrittenLimits::deserialize(deserializer)?;
    Ok(Limits { memory, timeout, body, concurrency, cpus })
}

/// What a guest's kernel and agent need beside the function.
const VM_OWN_MIB: u64 = 96;
/// The smallest VM.
const VM_MIN_MIB: u64 = 128;

impl Limits {
    /// The most that a version may ask for.
    pub const MAX: Self = Self {
        memory: ByteSize::mib(65_536),
        timeout: Millis::seconds(1800),
        body: ByteSize::mib(512),
        concurrency: 1000,
        cpus: 64,
    };

    /// The most that the wasm lane grants: one CPU, and all that WebAssembly can address. What asks for more is of the
    /// VM lane.
    pub const WASM_MAX: Self =
        Self { memory: ByteSize::mib(4096), timeout: Millis::seconds(900), cpus: 1, ..Self::MAX };

    /// The least that makes sense.
    pub const MIN: Self =
        Self { memory: ByteSize::mib(1), timeout: Millis(10), body: ByteSize(0), concurrency: 1, cpus: 1 };

    /// What a run takes of a node's memory: a VM has a kernel beside the function. Few sizes, so that VMs of one size
    /// share a template.
    #[must_use]
    pub fn memory_in(&self, lane: Lane) -> ByteSize {
        match lane {
            Lane::Wasm => self.memory,
            Lane::Vm => {
                let whole = (self.memory.0 >> 20).saturating_add(VM_OWN_MIB).max(VM_MIN_MIB);
                let step = (1 << whole.ilog2()) / 4;
                ByteSize(whole.div_ceil(step).saturating_mul(step) << 20)
            }
        }
    }

    /// The first field that is out of range, with the range.
    ///
    /// # Errors
    /// Names the field, its value and the allowed range.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_up_to(&Self::MAX)
    }

    /// The same with another maximum.
    ///
    /// # Errors
    /// Names the field, its value and the allowed range.
    pub fn check_up_to(&self, max: &Self) -> Result<(), Invalid> {
        fn within<T: PartialOrd + std::fmt::Display>(name: &str, value: T, min: T, max: T) -> Result<(), Invalid> {
            let field = format!("limits.{name}");
            if value < min || value > max {
                let why = format!("{field} is {value}; allowed: {min} to {max}");
                return Err(Invalid::new(field, why));
            }
            Ok(())
        }
        within("memory", self.memory, Self::MIN.memory, max.memory)?;
        within("timeout", self.timeout, Self::MIN.timeout, max.timeout)?;
        within("body", self.body, Self::MIN.body, max.body)?;
        within("concurrency", self.concurrency, Self::MIN.concurrency, max.concurrency)?;
        within("cpus", self.cpus, Self::MIN.cpus, max.cpus)
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
    #[serde(default, deserialize_with = "written_limits")]
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
