//! Why a process is not confined.

use std::io;

/// Why a process is not confined. What a kernel lacks is no error: see [`crate::Enforcement`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only Linux is known here.
    #[error("processes cannot be confined on {0}")]
    Unsupported(&'static str),
    /// A path of the confinement is not there, or may not be looked at.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Path(#[from] landlock::PathFdError),
    /// Landlock refused the rules.
    #[cfg(target_os = "linux")]
    #[error("Landlock: {0}")]
    Ruleset(#[from] landlock::RulesetError),
    /// No filter can be built for this processor.
    #[cfg(target_os = "linux")]
    #[error("seccomp: {0}")]
    Filter(#[from] seccompiler::BackendError),
    /// The kernel refused a step.
    #[error("{step}: {source}")]
    Step {
        /// Which.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing is done there"))]
    pub(crate) fn step(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Step { step, source }
    }
}
