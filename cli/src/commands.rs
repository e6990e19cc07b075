//! The client commands: each turns flags into requests, and answers into text or JSON.

mod access;
mod accounts;
mod audit;
mod build;
mod curl;
mod deploy;
mod doctor;
mod functions;
mod invoke;
mod jobs;
pub(crate) mod lend;
mod login;
mod logs;
mod new;
mod nodes;
mod queues;
mod receipts;
mod runs;
mod store;
mod triggers;
mod usage;
mod versions;

pub(crate) use login::start_session;

use clap::CommandFactory as _;
use protocol::api::Page;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::{Cli, Command, Global, List};
use crate::client::{Client, segment};
use crate::context::Context;
use crate::failure::Failure;
use crate::manifest::Project;

/// Runs one.
pub(crate) async fn run(command: Command, global: &Global) -> Result<(), Failure> {
    let project = match &command {
        Command::Deploy(_) | Command::Build(_) => None,
        _ => Project::here(),
    };
    let context = || Context::new(global, project.as_ref());
    match command {
        Command::Signup(args) => login::signup(&context()?, args).await,
        Command::Login(args) => login::login(&context()?, args).await,
        Command::Logout => login::logout(&context()?).await,
        Command::Whoami => login::whoami(&context()?).await,
        Command::Token => login::token(&context()?),
        Command::New(args) => new::new(&context()?, &args),
        Command::Build(args) => build::build(&Context::new(global, None)?, &args).await,
        Command::Deploy(args) => deploy::deploy(global, args).await,
        Command::Invoke(args) => invoke::invoke(&context()?, args).await,
        Command::Logs(args) => logs::logs(&context()?, &args).await,
        Command::Functions { verb } => functions::functions(&context()?, verb).await,
        Command::Versions { function, verb } => {
            versions::versions(&context()?, function.or_else(|| name(project.as_ref())), verb).await
        }
        Command::Rollback(args) => versions::rollback(&context()?, &args).await,
        Command::Aliases { function, verb } => {
            versions::aliases(&context()?, function.or_else(|| name(project.as_ref())), verb).await
        }
        Command::Keys { verb } => access::keys(&context()?, verb).await,
        Command::Invocations { verb } => runs::invocations(&context()?, verb).await,
        Command::Usage(args) => usage::usage(&context()?, &args).await,
        Command::Receipts { verb } => receipts::receipts(&context()?, verb).await,
        Command::Jobs { verb } => jobs::jobs(&context()?, verb).await,
        Command::Queues { verb } => queues::queues(&context()?, verb).await,
        Command::Triggers { verb } => triggers::triggers(&context()?, verb).await,
        Command::Accounts { verb } => accounts::accounts(&context()?, verb).await,
        Command::Audit { verb } => audit::audit(&context()?, verb).await,
        Command::Nodes { verb } => nodes::nodes(&context()?, verb).await,
        Command::Store { verb } => store::store(&context()?, verb).await,
        Command::Lend(args) => lend::lend(&context()?, *args).await,
        Command::VmSetup { base, into } => doctor::vm_setup(&Context::new(global, None)?, &base, into),
        Command::Open { function } => doctor::open(&context()?, function.as_deref()).await,
        Command::Doctor { place } => doctor::doctor(&context()?, &place).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "crowdcloud", &mut script);
            crate::output::write_out(&script)
        }
        Command::Up(_) | Command::Service(_) => Err(Failure::usage("not a client command")),
    }
}

/// A key, for `up --check`.
pub(crate) async fn create_key(
    client: &Client,
    name: &str,
    scopes: Vec<protocol::route::Scope>,
    function: Option<protocol::Name>,
) -> Result<protocol::api::Key, Failure> {
    access::create(client, name.to_owned(), scopes, function, None).await
}

fn name(project: Option<&Project>) -> Option<String> {
    project.map(|project| project.manifest.name.to_string())
}

/// The function that a command without one means.
fn needed(function: Option<String>) -> Result<String, Failure> {
    function.ok_or_else(|| {
        Failure::usage("No function is named")
            .why("there is no crowdcloud.toml in this folder that would name one")
            .help("add the function's name; `crowdcloud functions` lists them")
    })
}

/// A path with what is asked for.
fn queried(path: &str, query: &[(&str, String)]) -> String {
    let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", segment(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// The path of one page of a list.
fn paged(path: &str, list: &List) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    let cursor = list.cursor.as_deref().map(|cursor| format!("&cursor={}", segment(cursor)));
    format!("{path}{separator}limit={}{}", list.limit, cursor.unwrap_or_default())
}

/// One page of a list, as text or JSON.
async fn show_page<T: DeserializeOwned + Serialize>(
    context: &Context,
    client: &Client,
    path: &str,
    list: &List,
    text: impl FnOnce(&[T]) -> String,
) -> Result<(), Failure> {
    let page: Page<T> = client.get(&paged(path, list)).await?;
    context.output.result(&page, || text(&page.items))?;
    if page.items.is_empty() {
        context.output.note("nothing there yet");
    } else if let Some(next) = &page.next {
        context.output.note(format!("more: --cursor {next}"));
    }
    Ok(())
}
