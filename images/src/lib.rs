//! Turns what a user deploys for the VM lane into one read-only root file system and its configuration.
//!
//! ```text
//! input --source--> uncompressed file --kind--> OCI | docker | root file system | executable | script
//!                                                 |                 |
//!                                            oci: documents,        |
//!                                            digests, layers        |
//!                                                 v                 v
//!                                     layer: tar entries --> tree (metadata in memory)
//!                                                                  |         contents stay in the input,
//!                                                                  v         or go to one spill file
//!                                          entry: what starts, as whom --> squash --> squashfs + digest
//! ```
//!
//! Nothing of an archive is ever written to the host by name: the tree lives in memory, contents in files without a
//! name. All of it blocks; run it where blocking is allowed, and cancel it with [`Stop`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod accounts;
mod archive;
pub mod bases;
mod convert;
mod elf;
mod entry;
mod error;
mod image;
mod layer;
mod limits;
mod oci;
mod single;
mod source;
mod sparse;
mod squash;
mod tree;

pub use convert::{Options, convert};
pub use error::{Blame, Bound, Error};
pub use image::{Architecture, Choice, Dropped, Identity, Image, ImageConfig, InputKind, Report, RootFs, User};
pub use limits::{Limits, Stop};
