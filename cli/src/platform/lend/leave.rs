//! `lend leave`: the node finishes what it has and ends, the platform is told, and all that lending put here goes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lending::control::Request;
use protocol::node::NodeWant;
use protocol::words;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};

use super::folder::Folder;
use super::unsigned;
use crate::args::LocalNode;
use crate::authorities::Authorities;
use crate::commands::lend::socket::Connection;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::platform::service::node_keys;
use crate::prompt;

/// Runs that take longer are given back: they are done elsewhere.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);
/// A node that was told to stop has ended by then.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How a node leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The platform is told.
    Tell,
    /// Nobody is told: the platform is gone, or what was kept of it is damaged.
    Forget,
}

/// `lend leave`
pub(super) async fn leave(
    output: &Output,
    which: &LocalNode,
    path: PathBuf,
    (how, authorities): (How, Option<Authorities>),
) -> Result<(), Failure> {
    if !Folder::has_node(&path) {
        return Err(Failure::new(Exit::NotFound, "not_lent", "This machine is no node")
            .why(format!("{} holds none", path.display()))
            .help("name its folder with --data DIR"));
    }
    let what = match how {
        How::Tell => "Leave the platform for good, and delete",
        How::Forget => "Tell the platform nothing, and delete",
    };
    prompt::confirm(output, &format!("{what} {}", path.display()))?;
    if let Some(pid) = Folder::holder(&path) {
        drain(output, &LocalNode { data: Some(path.clone()), ..which.clone() }).await?;
        stop(pid, &path).await?;
    }
    let folder = Folder::open(path)?;
    if how == How::Forget {
        return forget(output, folder);
    }
    let keys = node_keys(folder.path())?;
    let lent = folder.lent()?.ok_or_else(|| Failure::new(Exit::NotFound, "not_lent", "This machine is no node"))?;
    let lent = lent.believing(authorities);
    let node = lent.told(&keys)?.node;
    let (client, _) = lent.reach()?.platform().await.map_err(unreached)?;
    let asked = keys.ask(node, NodeWant::Leave).map_err(|why| unsigned(&why))?;
    let gone = client.send(client.api(Method::POST, "/nodes/leave")?.json(&asked)).await.map(drop);
    // One that was revoked has left already.
    gone.or_else(|failure| if failure.code() == "node_left" { Ok(()) } else { Err(unreached(failure)) })?;
    folder.delete()?;
    output.result(&serde_json::json!({ "left": node }), || format!("{node} has left {}", lent.origin))
}

/// Deletes the folder alone.
fn forget(output: &Output, folder: Folder) -> Result<(), Failure> {
    // What is damaged is deleted, too.
    let lent = folder.lent().ok().flatten();
    let node = lent.as_ref().and_then(|lent| Some(lent.told(&node_keys(folder.path()).ok()?).ok()?.node));
    folder.delete()?;
    let named = node.map_or_else(|| "the node".to_owned(), |node| node.to_string());
    output.result(&serde_json::json!({ "forgotten": node }), || format!("{named} is forgotten on this machine"))?;
    let origin = lent.map_or_else(|| "the platform".to_owned(), |lent| lent.origin);
    output.note(format!(
        "{origin} was told nothing, and lists the node until its owner revokes it there: in the portal under Nodes, or \
         with `crowdcloud nodes revoke {}`",
        node.map_or_else(|| "NODE".to_owned(), |node| node.to_string())
    ));
    Ok(())
}

/// A platform that is gone, or is another one by now, holds nobody.
fn unreached(failure: Failure) -> Failure {
    let is_gone = matches!(failure.exit(), Exit::Platform | Exit::Timeout) || failure.code() == "platform_key";
    if !is_gone {
        return failure;
    }
    failure.help(
        "try again when the platform is back; where it is gone for good, `crowdcloud lend leave --forget` deletes the \
         folder without telling it",
    )
}

/// The node that runs takes nothing new, and finishes what it has.
async fn drain(output: &Output, which: &LocalNode) -> Result<(), Failure> {
    // One that does not listen is only stopped.
    let Ok(mut node) = Connection::open(which).await else { return Ok(()) };
    let Ok(mut status) = node.ask(&Request::Drain).await else { return Ok(()) };
    let (spinner, begun) = (output.spinner("finishing what runs"), Instant::now());
    while status.running > 0 && begun.elapsed() < DRAINED_WITHIN {
        tokio::time::sleep(LOOK_EVERY).await;
        status = node.ask(&Request::Status).await?;
    }
    spinner.finish_and_clear();
    if status.running > 0 {
        output.note(format!("{} given back, which others will do", words::count(status.running, "run")));
    }
    Ok(())
}

/// Ends the process that lends, and waits until it has let go of its folder.
async fn stop(pid: u32, path: &Path) -> Result<(), Failure> {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        kill_process(pid, Signal::INT).ok();
    }
    let begun = Instant::now();
    while Folder::holder(path).is_some() {
        if begun.elapsed() > STOPPED_WITHIN {
            return Err(Failure::new(Exit::Conflict, "data_in_use", "The node does not end")
                .why(format!("process {pid} lends with {}", path.display()))
                .help("end it, and try again"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_cannot_reach_a_platform_is_told_how_to_leave_without_it() {
        let shown = |failure: Failure| format!("{failure:?}");
        let gone = Failure::new(Exit::Platform, "connection", "it cannot be reached").help("start it");
        assert!(shown(unreached(gone)).contains("leave --forget"));
        let another = Failure::new(Exit::Authentication, "platform_key", "it is another one");
        assert!(shown(unreached(another)).contains("leave --forget"));
        let refused = Failure::new(Exit::Authentication, "node_suspended", "it is suspended");
        assert!(!shown(unreached(refused)).contains("--forget"));
    }
}
