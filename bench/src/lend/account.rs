//! The account whose machines are lent: what it asks of the platform.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use protocol::api::{Node, NodeToken, Page};
use protocol::node::{JoinToken, NodeState, NodeWish, WishedPause};
use protocol::{NodeId, headers};

use super::relay::Relay;
use crate::http::{self, Target};
use crate::platform::{Parts, Platform};

/// A node's state is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A state comes within so long: `offline` after three seconds without a report.
const WITHIN: Duration = Duration::from_secs(30);
/// So many calls in a row come from the node where calls are to go.
const IN_A_ROW: u32 = 5;

pub(super) struct Account<'a> {
    pub(super) platform: &'a Platform,
    pub(super) parts: &'a Parts,
    /// Machines' folders.
    pub(super) folder: &'a Path,
    key: String,
}

impl<'a> Account<'a> {
    pub(super) fn of(platform: &'a Platform, parts: &'a Parts, folder: &'a Path) -> anyhow::Result<Self> {
        let key = platform.command(&["token"], "")?.trim().to_owned();
        Ok(Self { platform, parts, folder, key })
    }

    fn at(&self, path: &str) -> Target {
        self.platform.at(&format!("/api/v1{path}")).with_key(&self.key)
    }

    /// A token for a machine that finds the platform behind this relay, by HTTPS.
    pub(super) fn token(&self, name: &str, relay: &Relay) -> anyhow::Result<(JoinToken, NodeId)> {
        let made = self.platform.command(&["nodes", "tokens", "create", "--name", name, "--json"], "")?;
        let made: NodeToken = serde_json::from_str(&made).with_context(|| made.clone())?;
        let token: JoinToken = made.token.context("a token without its text")?.parse()?;
        let origin = format!("https://{}", relay.address);
        Ok((JoinToken::new(origin, token.root, token.id, token.seed)?, made.node.context("a token without its node")?))
    }

    /// Waits until the node is that.
    pub(super) async fn until(&self, node: NodeId, state: NodeState) -> anyhow::Result<()> {
        let (target, began) = (self.at("/nodes?limit=200"), Instant::now());
        loop {
            let page: Page<Node> = http::get_json(&target).await?;
            let found = page.items.iter().find(|one| one.id == node).map(|one| one.state);
            if found == Some(state) {
                return Ok(());
            }
            ensure!(began.elapsed() < WITHIN, "{node} is not {state} within {WITHIN:?}, but {found:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the node has the VM lane.
    pub(super) async fn has_vm_lane(&self, node: NodeId, within: Duration) -> anyhow::Result<()> {
        let (target, began) = (self.at("/nodes?limit=200"), Instant::now());
        loop {
            let page: Page<Node> = http::get_json(&target).await?;
            let found = page.items.into_iter().find(|one| one.id == node);
            if found.as_ref().is_some_and(|one| one.lanes.contains(&protocol::Lane::Vm)) {
                return Ok(());
            }
            ensure!(began.elapsed() < within, "no VM lane within {within:?}: {:?}", found.and_then(|one| one.vm));
            tokio::time::sleep(LOOK_EVERY * 40).await;
        }
    }

    /// Cuts the node off for good.
    pub(super) async fn revoke(&self, node: NodeId) -> anyhow::Result<()> {
        let target = self.at(&format!("/nodes/{node}/revoke")).with_json(&serde_json::json!({}))?;
        let answer = http::get(&target).await?;
        ensure!(answer.status().is_success(), "{}: {:?}", answer.status(), answer.body());
        Ok(())
    }

    /// Takes the machine back from afar, or lends it again.
    pub(super) async fn paused(&self, node: NodeId, paused: bool) -> anyhow::Result<()> {
        let wish = NodeWish { pause: paused.then(WishedPause::default), ..NodeWish::default() };
        let answer = http::get(&self.at(&format!("/nodes/{node}/wish")).putting(&wish)?).await?;
        ensure!(answer.status().is_success(), "{}: {:?}", answer.status(), answer.body());
        Ok(())
    }

    /// Waits until calls of this function go to this node.
    pub(super) async fn come_from(&self, target: &Target, node: NodeId) -> anyhow::Result<()> {
        let (node, began, mut row) = (node.to_string(), Instant::now(), 0);
        while row < IN_A_ROW {
            let answer = http::get(target).await?;
            let there = answer.headers().get(headers::NODE).is_some_and(|from| from.as_bytes() == node.as_bytes());
            row = if answer.status().is_success() && there { row + 1 } else { 0 };
            ensure!(began.elapsed() < WITHIN, "calls do not go to {node}: {} {:?}", answer.status(), answer.body());
        }
        Ok(())
    }
}
