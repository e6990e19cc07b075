//! The process that works: confined before its first instruction, it holds no seed and runs strangers' functions.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, OnceLock};

use executor::{Given, ReceiptKey};
use fabric::{Credentials, FabricError, NonceKey, Sign};
use tokio::sync::oneshot;

use super::channel::{Ask, Start, Supervisor};
use super::reach::{Lost, Reach};
use super::{handles, taken_over};
use crate::args::Global;
use crate::failure::{Exit, Failure};
use crate::platform::service::die_with;
use crate::platform::{log, runtime};

/// What the supervisor starts.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    /// The supervisor: this process dies with it
    #[arg(long, hide = true, value_name = "PID")]
    supervisor: u32,
    #[command(flatten)]
    config: Box<executor::Config>,
}

/// Works until a signal, or until the platform refuses the node.
pub(crate) fn run(args: WorkerArgs, global: &Global) -> Result<(), Failure> {
    log::start(global);
    die_with(args.supervisor)?;
    let inherited = |why: io::Error| {
        Failure::new(Exit::Usage, "no_supervisor", "This command is for `crowdcloud lend`, which starts it").why(why)
    };
    let socket = UnixStream::from(handles::take(handles::SUPERVISOR).map_err(inherited)?);
    let control = UnixListener::from(handles::take(handles::CONTROL).map_err(inherited)?);
    let supervisor = Arc::new(Supervisor::new(socket));
    let start = supervisor.start().map_err(inherited)?;
    let mut config = *args.config;
    // The operator's own nodes alone have disks for blobs.
    config.store_dir.clear();
    config.store_dir_new.clear();
    let program = handles::path(handles::PROGRAM).into_os_string();
    config.compile_command = Some(vec![program, executor::compile::SUBCOMMAND.into()]);
    let runtime = runtime::build(runtime::Threads::RunPath)?;
    let result = runtime.block_on(Box::pin(serve(config, start, control, Arc::clone(&supervisor))));
    runtime.shutdown_background();
    result
}

async fn serve(
    config: executor::Config,
    start: Start,
    control: UnixListener,
    supervisor: Arc<Supervisor>,
) -> Result<(), Failure> {
    let stop = runtime::stop_on_signals()?;
    let (nonces, connections) = (Arc::clone(&supervisor), Arc::clone(&supervisor));
    let (receipts, ticks) = (Arc::clone(&supervisor), Arc::clone(&supervisor));
    let unsigned = |error: io::Error| FabricError::Credentials(error.to_string());
    let key = NonceKey::Elsewhere(Arc::new(move |nonce: &[u8]| nonces.sign_nonce(nonce).map_err(unsigned)));
    let sign: Sign = Arc::new(move |challenge| connections.sign_connection(challenge).map_err(unsigned));
    let reach = Reach::by(start.way)?;
    let (credentials, expires) = (Credentials { jwt: start.jwt, key }, start.expires);
    let connected = tokio::select! {
        connected = reach.connect(config.node, (credentials, expires), sign) => connected,
        () = stop.cancelled() => return Ok(()),
    };
    let fabric = match connected {
        Ok(fabric) => fabric,
        Err(why) => return Err(ended(supervisor, why).await),
    };
    let given = Given {
        told: start.told,
        code: start.code,
        receipts: ReceiptKey::Elsewhere(Arc::new(move |digest: &protocol::Digest| receipts.sign_checkpoint(digest))),
        control: Some(control),
        ours: Some(Arc::new(move || ticks.cpu_ticks())),
    };
    let (ready, is_ready) = oneshot::channel();
    let (told, data) = (Arc::clone(&supervisor), config.data.clone());
    tokio::spawn(async move {
        if is_ready.await.is_ok() {
            let tell = move || {
                told.tell(&Ask::Ready);
                taken_over::as_asked(&data);
            };
            drop(tokio::task::spawn_blocking(tell).await);
        }
    });
    let shutdown = stop.child_token();
    let serving = Box::pin(executor::serve(config, given, fabric.clone(), ready, shutdown.clone()));
    let lost = OnceLock::new();
    let watching = async {
        drop(lost.set(reach.lost(&fabric, expires).await));
        shutdown.cancel();
        std::future::pending().await
    };
    let served = tokio::select! {
        served = serving => served,
        never = watching => never,
    };
    fabric.close().await;
    match (lost.into_inner(), served) {
        (Some(why), _) => Err(ended(supervisor, why).await),
        (None, Ok(())) => Ok(()),
        (None, Err(executor::Error::Refused(problem))) => Err(last_word(supervisor, Ask::Refused { problem }).await),
        (None, Err(why)) => Err(Failure::new(Exit::Platform, "service_failed", "The node cannot go on").why(why)),
    }
}

/// There is no connection any more.
async fn ended(supervisor: Arc<Supervisor>, why: Lost) -> Failure {
    match why {
        Lost::Expired => last_word(supervisor, Ask::Expired).await,
        Lost::Otherwise(FabricError::Refused(problem)) => last_word(supervisor, Ask::Refused { problem }).await,
        Lost::Otherwise(why) => {
            Failure::new(Exit::Platform, "connection", "The platform cannot be connected to").why(why)
        }
    }
}

/// The supervisor says why, or does what is to be done.
async fn last_word(supervisor: Arc<Supervisor>, why: Ask) -> Failure {
    drop(tokio::task::spawn_blocking(move || supervisor.tell(&why)).await);
    Failure::silent(Exit::Platform)
}
