//! Lending: what the owner of this machine says to the node on it.

pub(crate) mod socket;
pub(crate) mod status;
mod stopped;

use lending::control::{Request, Status};

use self::socket::Connection;
use crate::args::{Caps, Lend, LendStart, LendVerb};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::write_out;

/// `lend`
pub(crate) async fn lend(context: &Context, args: Lend) -> Result<(), Failure> {
    // The environment may name a token at any time.
    if (LendStart { token: None, ..args.start }) != LendStart::default() {
        return Err(Failure::usage("What is lent is said when the node is started")
            .why("a node that runs is only told to lend less")
            .help("crowdcloud lend caps set --help"));
    }
    let mut node = match Connection::open(&args.which).await {
        Ok(node) => node,
        Err(failure) => {
            let is_status = matches!(args.verb, Some(LendVerb::Status { .. }));
            let suspended = is_status.then(|| stopped::suspended(&args.which)).flatten();
            let Some(suspended) = suspended else { return Err(failure) };
            return context.output.result(&suspended, || suspended.text());
        }
    };
    let request = match args.verb {
        None | Some(LendVerb::Leave { .. }) => return Err(Failure::usage("not a client command")),
        Some(LendVerb::Status { watch: true }) => return watch(context, &mut node).await,
        Some(LendVerb::Status { watch: false }) => Request::Status,
        Some(LendVerb::Pause { lasts }) => Request::Pause { lasts },
        Some(LendVerb::Resume) => Request::Resume,
        Some(LendVerb::Drain) => Request::Drain,
        Some(LendVerb::Caps { verb: None }) => {
            let status = node.ask(&Request::Status).await?;
            return context.output.result(&status.caps, || status::caps(&status));
        }
        Some(LendVerb::Caps { verb: Some(Caps::Set(set)) }) => {
            let takes_hours_away = set.takes_hours_away();
            let status = node.ask(&Request::SetCaps { wish: set.into() }).await?;
            if takes_hours_away && !status.quiet_hours.is_empty() {
                context.output.note("these quiet hours were agreed when the node was started: lend --quiet-hours none");
            }
            return context.output.result(&status.caps, || status::caps(&status));
        }
    };
    let about = request == Request::Status;
    let status = node.ask(&request).await?;
    context.output.result(&status, || if about { status::whole(&status) } else { status::state(&status) })
}

/// Until Ctrl-C, or until the node ends.
async fn watch(context: &Context, node: &mut Connection) -> Result<(), Failure> {
    let terminal = console::Term::stdout();
    node.watch().await?;
    loop {
        let status: Status = node.told().await?;
        if context.output.json {
            let mut line = serde_json::to_vec(&status).unwrap_or_default();
            line.push(b'\n');
            write_out(&line)?;
        } else {
            if terminal.is_term() {
                terminal.clear_screen()?;
            }
            context.output.text(status::whole(&status))?;
        }
    }
}
