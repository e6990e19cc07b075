//! Which node or token is meant: that of this id, or the only one of this name.

use protocol::api::{Node, NodeDetails, NodeToken, Page};
use protocol::{NodeId, TokenId};

use crate::client::{Client, segment};
use crate::failure::{Exit, Failure};

/// Tokens that are looked through for a name, and nodes of one name.
const ROWS_MAX: u32 = 200;
/// Of those that are called the same, so many are named.
const NAMED_MAX: usize = 5;
const NODES: &str = "crowdcloud nodes list --all";

/// The node, in full.
pub(super) async fn find(client: &Client, node: &str) -> Result<NodeDetails, Failure> {
    by_id(client, find_id(client, node).await?).await
}

/// The node of this id, in full.
pub(super) async fn by_id(client: &Client, id: NodeId) -> Result<NodeDetails, Failure> {
    client.get(&format!("/nodes/{}", segment(&id.to_string()))).await
}

/// The node's id.
pub(super) async fn find_id(client: &Client, node: &str) -> Result<NodeId, Failure> {
    if let Ok(id) = node.parse::<NodeId>() {
        return Ok(id);
    }
    only_node(&called(client, node).await?, node)
}

/// The only one of those that are called so.
pub(super) fn only_node(called: &[Node], name: &str) -> Result<NodeId, Failure> {
    let meant = called.iter().map(|node| {
        let owner = node.owner.as_ref().map(|owner| format!(" of {owner}"));
        (node.id, format!("{} ({}{})", node.id, node.state, owner.unwrap_or_default()))
    });
    only(meant, &format!("node is called {name}"), NODES)
}

/// The nodes that are called so; where none is there any more, those that were.
pub(super) async fn called(client: &Client, name: &str) -> Result<Vec<Node>, Failure> {
    let path = format!("/nodes?limit={ROWS_MAX}&name={}", segment(name));
    let there: Page<Node> = client.get(&path).await?;
    if !there.items.is_empty() {
        return Ok(there.items);
    }
    let all: Page<Node> = client.get(&format!("{path}&all=true")).await?;
    Ok(all.items)
}

/// The token's id.
pub(super) async fn find_token(client: &Client, token: &str) -> Result<TokenId, Failure> {
    if let Ok(id) = token.parse::<TokenId>() {
        return Ok(id);
    }
    let page: Page<NodeToken> = client.get(&format!("/nodes/tokens?limit={ROWS_MAX}")).await?;
    let called = page.items.iter().filter(|made| made.name.as_deref() == Some(token));
    let meant = called.map(|made| (made.id, made.id.to_string()));
    only(meant, &format!("token is called {token}"), "crowdcloud nodes tokens list")
}

/// The only one of those that may be meant, each with its words.
fn only<T>(meant: impl Iterator<Item = (T, String)>, what: &str, list: &str) -> Result<T, Failure> {
    let mut meant = meant.take(NAMED_MAX);
    match (meant.next(), meant.next()) {
        (Some((one, _)), None) => Ok(one),
        (Some((_, first)), Some((_, second))) => {
            let named: Vec<String> = [first, second].into_iter().chain(meant.map(|(_, words)| words)).collect();
            Err(Failure::usage(format!("More than one {what}"))
                .why(named.join(", "))
                .help(format!("name it by its id: {list}")))
        }
        (None, _) => Err(Failure::new(Exit::NotFound, "not_found", format!("No {what}")).help(list)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_of_them_or_none() {
        let among = |ids: &[u8]| {
            only(ids.iter().map(|id| (*id, format!("number {id}"))), "node is called attic", "crowdcloud nodes list")
        };
        assert_eq!(among(&[7]).unwrap(), 7);
        assert_eq!(among(&[]).err().unwrap().exit(), Exit::NotFound);
        let ambiguous = among(&[7, 8, 9]).err().unwrap();
        assert_eq!(ambiguous.exit(), Exit::Usage);
        assert!(ambiguous.what().contains("number 7, number 8, number 9"), "{}", ambiguous.what());
    }
}
