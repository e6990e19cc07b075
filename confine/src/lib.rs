//! Confines a process before it handles anything of strangers. A [`Confinement`] says as data what the process may
//! still do; all else is refused by the kernel, by what it has for that:
//!
//! - no new privileges, no core dumps, not dumpable, an identity of its own where one is given;
//! - Landlock: paths, TCP ports, signals and abstract sockets;
//! - seccomp: calls by which a process reaches others, the kernel's rarer parts, or sockets ([`Network`]).
//!
//! ```text
//! Confinement --prepare--> Prepared --apply-------> this process, and what it starts
//!                             |
//!                             +------before_exec--> a child, between fork and exec
//! ```
//!
//! What a kernel lacks is left out and named: [`Enforcement`]. Whoever needs all of it refuses to go on. Other systems
//! than Linux confine nothing: there `prepare` fails.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod confinement;
mod enforcement;
mod error;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(all(test, target_os = "linux"))]
mod tests;

pub use confinement::{Children, Confinement, Identity, Network};
pub use enforcement::{Enforcement, Gap};
pub use error::Error;
#[cfg(target_os = "linux")]
pub use linux::{Folder, Prepared, refuse_inspection};
#[cfg(not(target_os = "linux"))]
pub use other::{Folder, Prepared, refuse_inspection};

#[cfg(target_os = "linux")]
use linux::kernel;
#[cfg(not(target_os = "linux"))]
use other::kernel;

impl Confinement {
    /// What this machine's kernel enforces of it. Nothing is changed.
    #[must_use]
    pub fn enforcement(&self) -> Enforcement {
        kernel().enforces(self)
    }

    /// Opens every path and builds the filters, so that what is left are system calls.
    ///
    /// # Errors
    /// When a path cannot be opened, when the kernel refuses what it said it has, and on other systems than Linux.
    pub fn prepare(&self) -> Result<Prepared, Error> {
        Prepared::new(self)
    }
}
