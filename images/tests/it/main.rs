//! Images from real archives, made here without any container tool, and looked at with the kernel's and squashfs'
//! own eyes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod archives;
mod bad;
mod bases;
mod documents;
mod files;
mod layers;
mod limits;
mod look;
mod singles;
mod skopeo;
