//! How a local node joins: as any other, with a token that is made here and that nobody else sees.

use control_plane::LocalJoin;
use executor::NodeKeys;
use protocol::TokenId;
use protocol::node::TokenSeed;

use crate::failure::{Exit, Failure};

/// A token's public half, and what the node with this configuration and these keys asks for with it.
pub(super) fn local(config: &executor::Config, keys: &NodeKeys) -> Result<LocalJoin, Failure> {
    let seed = TokenSeed(rand::random());
    let register = keys
        .register(executor::probe(config), TokenId::new(), &seed, None)
        .map_err(|why| Failure::new(Exit::Platform, "node_keys", "The local node cannot join").why(why))?;
    Ok(LocalJoin { token_key: seed.public(), register })
}
