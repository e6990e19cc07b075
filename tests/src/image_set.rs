//! The set of images: what people have of containers, as data. `recipes` says of each image what it is made of, how it is
//! called, and what the right response is. `make` makes it of packages from Debian, npm and PyPI, without a container
//! tool, once for this machine. The platform's tests run each kind once, and in `cargo xtask bench faults` the whole set;
//! `cargo xtask bench images` measures it.

mod archive;
mod make;
mod recipes;
mod sources;

use serde_json::Value;

pub use self::archive::{Layout, Packed, Packing};
pub use self::recipes::{all, each_kind};

/// Limits of every image, as flags of `deploy`: with the same ones, all share the template of one size of machine.
pub const LIMITS: [&str; 4] = ["--memory", "256MiB", "--timeout", "60s"];

/// An image, and what it does when it runs.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Its name, which is its function's, too.
    pub name: &'static str,
    /// What it is in the set for.
    pub shows: &'static str,
    /// Its layers, the lowest first.
    layers: Vec<Layer>,
    /// Its configuration: user, command, environment, ports.
    config: Value,
    form: Form,
    /// What is said at its deploy, beside its name and the limits.
    flags: &'static [&'static str],
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of an image.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It runs.
    Runs {
        /// Words of what its deploy says.
        notes: &'static [&'static str],
        /// Calls that are made one after the other.
        calls: Vec<Call>,
        /// What its log has after them.
        log: &'static str,
    },
    /// Its deploy says why it does not run.
    Refused {
        /// The problem's code.
        code: &'static str,
        /// Words of the reason.
        because: &'static str,
    },
}

/// A call, and the right response.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub path: &'static str,
    /// The request's body: a command's input.
    pub body: &'static str,
    /// The response's status.
    pub status: u16,
    /// The response's body, white space at its end aside; none where it is a program's own page.
    pub says: Option<&'static str>,
}

/// One layer.
#[derive(Debug, Clone, Default)]
struct Layer {
    sources: Vec<Source>,
    /// What lies over them.
    entries: Vec<Entry>,
    packing: Packing,
}

/// Where files come from.
#[derive(Debug, Clone)]
enum Source {
    /// Debian's packages and all that they need, below the root. Their scripts do not run.
    Debian(&'static [&'static str]),
    /// A package of npm's and all that it needs, in `node_modules` of this folder.
    Npm { package: &'static str, into: &'static str },
    /// One program of a package of npm's.
    NpmProgram { package: &'static str, path: &'static str, into: &'static str },
    /// A wheel of PyPI's, unpacked into this folder.
    Pypi { wheel: &'static str, sha256: &'static str, into: &'static str },
    /// A certificate authority of the image's own, trusted beside those of `ca-certificates`; a server's certificate and
    /// key of it in this folder.
    Authority { into: &'static str },
}

/// A file, a folder or a link.
#[derive(Debug, Clone)]
struct Entry {
    path: &'static str,
    what: What,
    mode: u32,
    /// Its user and its group.
    owner: u32,
}

#[derive(Debug, Clone)]
enum What {
    Text(&'static str),
    /// Text behind a hole of so many bytes.
    Sparse(u64, &'static str),
    Folder,
    Link(&'static str),
}

/// How an image is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// An OCI layout with this image alone.
    Oci,
    /// An OCI layout whose index has the same image for other machines, where it fails, and a builder's attestation.
    OciIndex,
    /// An OCI layout with an image for 64-bit ARM.
    OciArm,
    /// As `docker save` writes it.
    Docker,
    /// The files themselves, of which no byte of a hole is stored.
    Files,
}

impl Recipe {
    /// What is said at its deploy, beside the archive and its name.
    #[must_use]
    pub fn flags(&self) -> Vec<&'static str> {
        LIMITS.iter().chain(self.flags).copied().collect()
    }

    /// The calls of an image that runs.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        match &self.outcome {
            Outcome::Runs { calls, .. } => calls,
            Outcome::Refused { .. } => &[],
        }
    }
}

impl Call {
    /// Whether this is the right response; else what is wrong with it.
    ///
    /// # Errors
    /// What was expected, and what came.
    pub fn judge(&self, status: u16, body: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(body);
        let is_right = status == self.status && self.says.is_none_or(|says| says == text.trim_end());
        let Self { method, path, says, .. } = self;
        let wanted = format!("{} {:?}", self.status, says.unwrap_or("anything"));
        if is_right { Ok(()) } else { Err(format!("{method} {path}: wanted {wanted}, got {status} {text:?}")) }
    }
}

#[cfg(test)]
mod tests;
