//! What hosts a run of a WebAssembly program: the same code on a node and in the runner inside a microVM, so that a
//! function cannot tell the lanes apart.
//!
//! ```text
//!            first turn, in the caller's task
//!                |                     |
//!              ended                waits or computes
//!                |                     |
//!      answer in one piece     a task of its own -> (computes: the guests' own threads)
//!                                      |
//!                          head -> body, streamed -> end
//! ```
//! Whatever happens, the record gets one verdict, and settles when the last part of the run has gone. There is no
//! compiler here, no address that is connected to and no account: the host that uses this has them.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod body;
pub mod cgi;
mod driver;
mod egress;
mod foreign;
mod format;
mod guest;
mod head;
mod host;
mod lengths;
mod limits;
mod log;
pub mod machine;
mod pace;
mod pool;
mod random;
mod record;
mod start;
mod stdio;
mod sys;
mod verdict;

pub use body::{Broken, Outgoing, presentable};
pub use driver::{Apart, Started, Turn, drive};
pub use egress::{Connect, Counted, Egress, Meter, NOT_NAMED, NoConnection, NoWay, Through};
pub use foreign::{is_about_a_guest, remark};
pub use format::Format;
pub use guest::{ComponentGuest, ModuleGuest};
pub use head::Head;
pub use host::{Host, Program, code_config};
pub use limits::TABLE_ELEMENTS_MAX;
pub use log::{LINE_BYTES_MAX, LINES_MAX, Line, LogWriter, RunLogBook};
pub use pace::Pace;
pub use pool::{PoolConfig, TICK, running_engine};
pub use random::COMPONENT_RANDOM_BYTES_MAX;
pub use record::{Record, Settle};
pub use start::{Surroundings, guest_request};
pub use stdio::{EndOnDrop, Pipe};
pub use verdict::Verdict;
