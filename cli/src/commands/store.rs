//! The store: what its operator asks the platform, and does on the machine with the data folder.

mod copies;
mod key;

pub(super) use key::{export_line, findings, told_unused};

use crate::args::StoreVerb;
use crate::context::Context;
use crate::failure::Failure;

/// `store`
pub(super) async fn store(context: &Context, verb: StoreVerb) -> Result<(), Failure> {
    match verb {
        StoreVerb::Status { credentials } => copies::status(context, credentials).await,
        StoreVerb::Check { credentials } => copies::check(context, credentials).await,
        StoreVerb::Drain { disk, undo, credentials } => copies::drain(context, &disk, undo, credentials).await,
        StoreVerb::Replace { disk, credentials } => copies::replace(context, &disk, credentials).await,
        StoreVerb::Forget { disk, credentials } => copies::forget(context, &disk, credentials).await,
        StoreVerb::Copies { copies, credentials } => copies::set(context, copies, credentials).await,
        StoreVerb::Key { verb } => key::key(context, &verb),
    }
}
