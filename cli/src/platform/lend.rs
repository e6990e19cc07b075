//! `crowdcloud lend`: this machine joins a platform, and works for it until it is stopped, revoked, or leaves. Where it is
//! suspended, or refused for now, it waits.
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
mod suspended;
mod taken_over;
mod terms;
mod worker;

use std::ffi::OsString;
use std::pin::pin;
use std::time::{Duration, Instant};

use executor::NodeKeys;
use protocol::node::{Admission, NodeWant, Nonce, PublicKey};
use protocol::signed::Signed;
use protocol::{Code, NodeId, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::boot_clock::Alarm;
use self::channel::Signer;
use self::folder::{Folder, Lent};
pub(crate) use self::folder::{Joined, joined, own_node_folder};
use self::leave::How;
use self::reach::Reach;
use self::spawn::Place;
use self::supervisor::supervise;
use self::suspended::{Next, Patience};
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
    let said = global.ca_file.as_deref().map(Authorities::named).transpose()?;
    if let Some(LendVerb::Leave { forget }) = args.verb {
        let how = if forget { How::Forget } else { How::Tell };
        return tokio::select! {
            left = leave::leave(&output, &args.which, path, (how, said)) => left,
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
    let authorities = said.clone().unwrap_or_default();
    let mut keys = node_keys(folder.path())?;
    let mut lent = match (folder.lent()?, token) {
        (Some(lent), Some(token)) if lent.token != Some(token.id) => {
            join::clear_left(&output, &lent, &folder, &keys).await?;
            keys = node_keys(folder.path())?;
            join::join(&output, &args.start, &folder, &keys, (token, &authorities)).await?
        }
        (Some(lent), _) => {
            let lent = lent.believing(said);
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
    let mut lending = Lending {
        output: &output,
        flags: &args.start,
        folder: &folder,
        keys: &keys,
        reach: lent.reach()?,
        start: Nonce(rand::random()),
        stop: &stop,
        is_greeted: false,
    };
    // They are its worker's: where none runs they end nothing.
    let _held = [SignalKind::user_defined1(), SignalKind::user_defined2()].map(signal);
    if lent.asks_again.take().is_some() {
        folder.keep(&lent)?;
    }
    let mut patience = Patience::default();
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let Err(failure) = Box::pin(lending.work(&mut lent)).await else { continue };
        let next = Next::after(&failure);
        if next == Next::End {
            if failure.is(Code::NodeLeft) {
                suspended::keep(&folder, &mut lent, &failure, None);
            } else if failure.is_platforms() {
                suspended::clear(&folder, &mut lent);
            }
            return Err(failure);
        }
        let pause = patience.next(begun.elapsed(), rand::random());
        if next == Next::Suspended {
            let is_new = lent.asks_again.is_none();
            suspended::keep(&folder, &mut lent, &failure, Some(Timestamp::now().plus(pause)));
            if is_new {
                output.note(format!("{} (node_suspended)", failure.what()));
                output.note(
                    "nothing is lent until the operator lets it in again: it stays, asks by itself, and goes on then",
                );
            }
        }
        tracing::warn!(code = failure.code(), ask_again_s = pause.as_secs(), "the platform refuses this node for now");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
    output.note("stopped; `crowdcloud lend` lends this machine again");
    Ok(())
}

/// What a machine that has joined lends with.
struct Lending<'a> {
    output: &'a Output,
    flags: &'a LendStart,
    folder: &'a Folder,
    keys: &'a NodeKeys,
    reach: Reach,
    /// Which start of this program.
    start: Nonce,
    stop: &'a CancellationToken,
    /// Its owner was told which node it is.
    is_greeted: bool,
}

impl Lending<'_> {
    /// Works with one JWT: until that is to be renewed, or until this is stopped.
    async fn work(&mut self, lent: &mut Lent) -> Result<(), Failure> {
        let was_suspended = lent.asks_again.is_some();
        let admission = tokio::select! {
            admission = renewed(&self.reach, self.folder, self.keys, lent) => admission?,
            () = self.stop.cancelled() => return Ok(()),
        };
        if was_suspended && lent.asks_again.is_none() {
            self.output.note("the operator has let the node in again: it goes on");
        }
        if !std::mem::replace(&mut self.is_greeted, true) {
            let fingerprint = self.keys.public().receipt.fingerprint();
            self.output.note(format!("{} lends to {}; Ctrl-C stops it", admission.node, lent.origin));
            self.output.note(format!("its fingerprint is {fingerprint}: whoever confirms the node compares it"));
        }
        let config = config(self.flags, self.folder, admission.node, lent.root)?;
        let place = Place::open(&config, flags(self.flags), self.folder.path(), self.flags)?;
        let signer = Signer { keys: self.keys, node: admission.node, start: self.start };
        let renewal = Alarm::after(used_for(admission.expires.since(self.reach.now())));
        let is_taken = Notify::new();
        let working = supervise(&place, &signer, (&admission, renewal), (self.reach.way(), &is_taken), self.stop);
        let mut working = pin!(working);
        loop {
            tokio::select! {
                worked = &mut working => return worked,
                // Also where the platform could not be asked for a new JWT.
                () = is_taken.notified() => suspended::clear(self.folder, lent),
            }
        }
    }
}

fn no_token() -> Failure {
    Failure::usage("The token is missing")
        .why("this machine has not joined a platform yet")
        .help("make one in the portal or with `crowdcloud nodes tokens create`, and add --token ccl1_...")
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
    // The operator's own nodes alone have disks for blobs.
    config.store_dir.clear();
    config.store_dir_new.clear();
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
                (lent.admission, lent.shut_out, lent.asks_again) = (admission, None, None);
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
