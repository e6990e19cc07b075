//! What a lender keeps of their own machine.
//!
//! ```text
//!  what was agreed (flags) --+
//!  wish on the machine ------+--> caps in force ---+
//!  wish from the portal -----+                     |
//!  owner: pause, drain ------------+               +--> Decision: whether runs are taken, whether those that
//!  clock: quiet hours, month ------+--> pauses ----+             run are given back, what is lent
//!  machine: load, memory, battery -+
//! ```
//! An executor tells a [`Lender`] what happens and what time it is, and does as the [`Decision`] says. There is no clock, no
//! thread and no network here; [`machine`] and [`document`] alone read and write files.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod caps;
pub mod control;
pub mod document;
mod hours;
mod lender;
pub mod machine;
mod meter;
mod owner;
mod pause;

pub use caps::Wish;
pub use hours::{BadHours, QuietHours};
pub use lender::{Decision, Lender, Policy, Seen};
pub use meter::{Ended, Meter, Today};
pub use owner::{OwnerWatch, Sample};
pub use pause::{OwnerPause, Pauses, Reason};
pub use protocol::node::{Above, Caps, PauseSource as Source};
