//! `crowdcloud lend`: this machine joins a platform, and works for it until it is stopped, revoked, or leaves.
//!
//! ```text
//! token --look, ask, register--> node.json --renew--> run ... 10 minutes before the JWT ends: drain, renew, run
//! ```
//! There are two processes: this one, `supervisor`, holds the keys; its child, `worker`, is confined and works. It connects
//! through the platform's gateway, and listens nowhere.

mod agreed;
mod boot_clock;
mod channel;
mod folder;
mod handles;
mod install;
mod join;
mod leave;
mod reach;
mod spawn;
mod supervisor;
mod taken_over;
mod terms;
mod worker;

use std::ffi::OsString;
use std::time::Duration;

use executor::NodeKeys;
use protocol::node::{Admission, NodeWant, Nonce, PublicKey};
use protocol::signed::Signed;
use protocol::{Code, NodeId};

use self::boot_clock::Alarm;
use self::channel::Signer;
use self::folder::{Folder, Lent};
pub(crate) use self::folder::{Joined, joined, own_node_folder};
use self::leave::How;
use self::reach::Reach;
use self::spawn::Place;
use self::supervisor::supervise;
pub(crate) use self::worker::{WorkerArgs, run as work};
use super::parts::parse;
use super::service::node_keys;
use super::{log, runtime};
use crate::args::{Global, Lend, LendStart, LendVerb};
use crate::authorities::Authorities;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// A JWT is renewed so long before it ends, or at half of its time.
const RENEW_BEFORE: Duration = Duration::from_secs(600);
/// Between two tries to renew.
const RETRY: Duration = Duration::from_secs(10);

/// `crowdcloud lend`
pub(crate) fn lend(args: Lend, global: &Global) -> Result<(), Failure> {
    log::start(global);
    let runtime = runtime::build(runtime::Threads::RunPath)?;
    let result = runtime.block_on(Box::pin(run(args, global)));
    runtime.shutdown_background();
    result
}

async fn run(mut args: Lend, global: &Global) -> Result<(), Failure> {
    let stop = runtime::stop_on_signals()?;
    let output = Output::new(global);
    let path = args.which.data.clone().map_or_else(own_node_folder, Ok)?;
    let authorities = Authorities::of(global.ca_file.as_deref())?;
    if let Some(LendVerb::Leave { forget }) = args.verb {
        let how = if forget { How::Forget } else { How::Tell };
        return tokio::select! {
            left = leave::leave(&output, &args.which, path, (how, authorities)) => left,
            () = stop.cancelled() => Err(Failure::silent(Exit::Interrupted)),
        };
    }
    spawn::check_confinement(&args.start)?;
    let token = args.start.token.as_deref().map(join::token).transpose()?;
    if token.is_none() && !Folder::has_node(&path) {
        return Err(no_token());
    }
    if args.start.dry_run {
        return install::show(&output, &args, &path);
    }
    let folder = Folder::open(path)?;
    let mut keys = node_keys(folder.path())?;
    let mut lent = match (folder.lent()?, token) {
        (Some(lent), Some(token)) if lent.token != Some(token.id) => {
            join::clear_left(&output, &lent, &folder, &keys).await?;
            keys = node_keys(folder.path())?;
            join::join(&output, &args.start, &folder, &keys, (token, &authorities)).await?
        }
        (Some(lent), _) => {
            let lent = lent.believing(authorities);
            folder.keep(&lent)?;
            lent
        }
        (None, Some(token)) => join::join(&output, &args.start, &folder, &keys, (token, &authorities)).await?,
        (None, None) => return Err(no_token()),
    };
    args.start = agreed::renew(&output, args.start, &folder, &mut lent)?;
    if args.start.install {
        return install::install(&output, &args, folder.path());
    }
    lent.behind_proxy |= args.start.behind_proxy;
    // Its owner knows it by the name that the platform knows.
    args.start.name = lent.name.clone().or(args.start.name.take());
    let (reach, start) = (lent.reach()?, Nonce(rand::random()));
    let mut first = true;
    while !stop.is_cancelled() {
        let admission = tokio::select! {
            admission = renewed(&reach, &folder, &keys, &mut lent) => admission,
            () = stop.cancelled() => break,
        };
        let admission = admission.map_err(|failure| refused(&folder, &mut lent, failure))?;
        if std::mem::take(&mut first) {
            let fingerprint = keys.public().receipt.fingerprint();
            output.note(format!("{} lends to {}; Ctrl-C stops it", admission.node, lent.origin));
            output.note(format!("its fingerprint is {fingerprint}: whoever confirms the node compares it"));
        }
        let config = config(&args.start, &folder, admission.node, lent.root)?;
        let place = Place::open(&config, flags(&args.start), folder.path(), &args.start)?;
        let signer = Signer { keys: &keys, node: admission.node, start };
        let renewal = Alarm::after(used_for(admission.expires.since(reach.now())));
        let supervised = supervise(&place, &signer, (&admission, renewal), reach.way(), &stop).await;
        supervised.map_err(|failure| refused(&folder, &mut lent, failure))?;
    }
    output.note("stopped; `crowdcloud lend` lends this machine again");
    Ok(())
}

fn no_token() -> Failure {
    Failure::usage("The token is missing")
        .why("this machine has not joined a platform yet")
        .help("make one in the portal or with `crowdcloud nodes tokens create`, and add --token ccl1_...")
}

/// Keeps why the platform shuts the node out, so that its owner is told also later, and says how it comes back.
fn refused(folder: &Folder, lent: &mut Lent, failure: Failure) -> Failure {
    let is_suspended = failure.is(Code::NodeSuspended);
    if !is_suspended && !failure.is(Code::NodeLeft) {
        return failure;
    }
    lent.shut_out = Some(failure.what());
    if let Err(unkept) = folder.keep(lent) {
        tracing::warn!(error = unkept.what(), "why the node was shut out is not kept");
    }
    match is_suspended {
        true => failure.help("once the operator has resumed the node, start `crowdcloud lend` again"),
        false => failure,
    }
}

/// How long a JWT that lasts so long is used.
fn used_for(lasts: Duration) -> Duration {
    lasts.saturating_sub(RENEW_BEFORE.min(lasts / 2))
}

/// The node's settings, by the flags of what is lent.
fn config(start: &LendStart, folder: &Folder, node: NodeId, platform: PublicKey) -> Result<executor::Config, Failure> {
    let mut data = OsString::from("--node-data=");
    data.push(folder.path());
    let line = [data, format!("--node-id={node}").into()].into_iter().chain(flags(start)).collect();
    let mut config: executor::Config = parse("executor", line)?;
    config.vm_tools.get_or_insert_with(super::vm_tools);
    config.platform = Some(platform);
    Ok(config)
}

/// The flags of what is lent, as a node knows them.
fn flags(start: &LendStart) -> Vec<OsString> {
    let mut line: Vec<OsString> = Vec::new();
    line.extend(start.name.as_ref().map(|name| OsString::from(format!("--node-name={name}"))));
    let (valued, plain) = start.lent.of_node();
    line.extend(valued.into_iter().map(|(flag, value)| OsString::from(format!("{flag}={value}"))));
    line.extend(plain.into_iter().map(OsString::from));
    line.extend((!start.egress.unwrap_or(false)).then(|| OsString::from("--no-egress")));
    line.extend(start.no_vm.unwrap_or(false).then(|| OsString::from("--no-vm")));
    line
}

/// A new JWT. While the platform cannot be reached, the old one as long as it lasts; then it tries on.
async fn renewed(reach: &Reach, folder: &Folder, keys: &NodeKeys, lent: &mut Lent) -> Result<Admission, Failure> {
    loop {
        let told = lent.told(keys)?;
        let asked = keys.ask(told.node, NodeWant::Renewal).map_err(|why| unsigned(&why))?;
        let renewing = async {
            let (client, _) = reach.platform().await?;
            client.post::<Signed>("/nodes/renew", &asked).await
        };
        match renewing.await {
            Ok(admission) => {
                (lent.admission, lent.shut_out) = (admission, None);
                let told = lent.told(keys)?;
                folder.keep(lent)?;
                return Ok(told);
            }
            Err(failure) if !matches!(failure.exit(), Exit::Platform | Exit::Timeout | Exit::Limit) => {
                return Err(failure);
            }
            Err(failure) => tracing::warn!(error = failure.what(), "the platform cannot be reached"),
        }
        if told.expires.since(reach.now()) > RENEW_BEFORE {
            return Ok(told);
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn unsigned(why: &fabric::FabricError) -> Failure {
    Failure::new(Exit::Platform, "node_keys", "The node's keys cannot sign").why(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_is_used_until_shortly_before_its_end() {
        assert_eq!(used_for(Duration::from_secs(86_400)), Duration::from_secs(85_800));
        assert_eq!(used_for(Duration::from_secs(8)), Duration::from_secs(4));
        assert_eq!(used_for(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_node_has_egress_only_where_its_owner_lends_it() {
        let has = |start: &LendStart| !flags(start).iter().any(|flag| flag == "--no-egress");
        assert!(!has(&LendStart::default()));
        assert!(has(&LendStart { egress: Some(true), ..LendStart::default() }));
    }
}
