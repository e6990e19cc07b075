//! The store: what its operator does on the machine with the data folder.

mod key;

pub(super) use key::unexported;

use crate::args::StoreVerb;
use crate::context::Context;
use crate::failure::Failure;

/// `store`
pub(super) fn store(context: &Context, verb: StoreVerb) -> Result<(), Failure> {
    match verb {
        StoreVerb::Key { verb } => key::key(context, &verb),
    }
}
